"""Bring MLflow up to what a record holds. Called again it adds nothing; called late it catches up."""

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.run.record import (
    CLOCK,
    EVALUATION,
    TRAINING,
    EvaluationPart,
    Record,
    TrainingPart,
    clock_path,
    read_record,
)
from pipeline.storage import digest, lock, project
from pipeline.storage.digest import as_json
from pipeline.terminal.errors import UserError
from pipeline.tracking import fields
from pipeline.tracking.store import Store, check_place, ensure, ensure_run, reaching, settle

MOST_METRICS = 1000
"""Metrics in one request, by MLflow's limit."""

LARGEST = 1.797e308
"""What MLflow keeps of an infinite value is larger (and less than infinite)."""

SMALL = "run.json", "history.csv", "evaluation.json", "metrics.json", "per_class.csv"

SUPERSEDED = "superseded"
"""The role of a run that its record contradicts."""

STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}

Export = Callable[[TrainingPart], Any]
"""Makes the Keras model of a record; called only when the store has none."""


def killed(record: Record) -> Record:
    """The record, which still says "running" when nobody writes it any more."""
    run = replace(record.training.run, outcome="interrupted", reason="killed")
    return replace(record, training=replace(record.training, run=run))


def unfinished(identity: str, part: str = EVALUATION) -> Record | None:
    """The record of a run that failed or was stopped and that nobody trains now; None where there is none.

    One whose process was killed in its last moment may lie whole in runs/. Raises UserError where it is damaged.
    """
    root, work = project.run_root(identity), project.checkpoint(identity)
    if (root / part / "evaluation.json").exists():
        return read_record(root, part)
    if not (work / TRAINING / "run.json").exists() or lock.is_held(work / "lock"):
        return None
    record = read_record(work)
    return killed(record) if record.training.run.outcome == "running" else record


class Mirror:
    """Keeps one store up to records. Remembers what it holds of their curves, to ask only once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client = store.client
        self._points: dict[str, dict[tuple[str, int], float]] = {}

    def bring_up(self, record: Record, study: str, export: Export | None = None, parent: str | None = None) -> str:
        """Bring the run of `record` in `study` up to the record; returns its MLflow run id.

        `parent` is the MLflow run id of the study, where it has one.
        Raises StoreUnreachableError at any point; another call goes on from there.
        """
        with reaching(self._store.address):
            run = self._run_of(record, study)
            run_id = str(run.info.run_id)
            self._write_curves(run, record)
            self._write_values(run, record, study, parent)
            if record.evaluation is not None:
                self._write_datasets(run, record, record.evaluation)
                self._write_files(run, record, record.evaluation)
                if export is not None:
                    write_model(self._store, run_id, record, export)
            self._write_status(run, record)
            return run_id

    def _run_of(self, record: Record, study: str) -> Any:
        """The MLflow run of `record`, made where there is none.

        A training that begins anew comes to the same values, but not on another class of processor, nor always on a
        GPU. One whose curves the record contradicts stays as it is, and is called superseded.
        """
        others: dict[str, Any] = {}

        def fits(run: Any) -> bool:
            agrees = self._agrees(run.info.run_id, record)
            if not agrees:
                others[run.info.run_id] = run
            return agrees

        tags = {"identity": record.training.run.identity, "study": study}
        run = ensure_run(self._store, tags, {"role": "run"}, fields.run_name(record), _started(record), fits)
        for run_id, other in others.items():
            if other.data.tags.get("role") != SUPERSEDED:
                if other.info.status == "RUNNING":
                    self._client.set_terminated(run_id, "KILLED")
                self._client.set_tag(run_id, "reason", "superseded: the training began anew and came to other values")
                self._client.set_tag(run_id, "role", SUPERSEDED)
        return run

    def _agrees(self, run_id: str, record: Record) -> bool:
        """Whether the losses that a run holds are those of the record, in the epochs that both have."""
        if run_id not in self._points:
            self._points[run_id] = {
                (name, metric.step): metric.value
                for name in (fields.LAST_OF_EPOCH, *fields.LOSSES)
                for metric in self._client.get_metric_history(run_id, name)
            }
        stored = self._points[run_id]
        return all(
            _is_same(stored.get((point.name, point.epoch), point.value), point.value)
            for point in fields.curves(record)
            if point.name in fields.LOSSES
        )

    def _write_curves(self, run: Any, record: Record) -> None:
        """The epochs that the store does not have whole, with the time at which each ended (else the run's start)."""
        run_id, start = str(run.info.run_id), int(run.info.start_time)
        stored = self._points.setdefault(run_id, {})
        missing = [point for point in fields.curves(record) if (fields.LAST_OF_EPOCH, point.epoch) not in stored]
        for first in range(0, len(missing), MOST_METRICS):
            some = missing[first : first + MOST_METRICS]
            metrics = [Metric(point.name, point.value, point.time or start, point.epoch) for point in some]
            self._client.log_batch(run_id, metrics=metrics)
            stored |= {(point.name, point.epoch): point.value for point in some}

    def _write_values(self, run: Any, record: Record, study: str, parent: str | None) -> None:
        """Params, tags and final metrics that the store does not have, or has otherwise."""
        have = run.data
        params = [Param(name, value) for name, value in fields.params(record).items() if name not in have.params]
        wanted = fields.tags(record, study) | ({} if parent is None else {"mlflow.parentRunId": parent})
        tags = [RunTag(name, text) for name, text in wanted.items() if have.tags.get(name) != text]
        metrics = [
            Metric(name, value, _known(record, name) or int(run.info.start_time), 0)
            for name, value in fields.final_metrics(record).items()
            if not _is_written(have.metrics, name, value)
        ]
        if "reason" in have.tags and record.training.run.reason is None:
            # It ended well after all.
            self._client.delete_tag(str(run.info.run_id), "reason")
        if params or tags or metrics:
            self._client.log_batch(str(run.info.run_id), metrics=metrics, params=params, tags=tags)

    def _write_datasets(self, run: Any, record: Record, scored: EvaluationPart) -> None:
        """The images that were trained on and those that scored, each with a digest of all its bytes."""
        if run.inputs.dataset_inputs:
            return
        trained = str(record.training.run.ingredients["data"])
        inputs = [
            _dataset(scored.dataset, trained, "training"),
            _dataset(scored.dataset, scored.images_digest, scored.images),
        ]
        self._client.log_inputs(str(run.info.run_id), datasets=inputs)

    def _write_files(self, run: Any, record: Record, scored: EvaluationPart) -> None:
        """Both parts as they lie on disk, and the configuration; again when a file has changed.

        Of a record without pictures (a sweep's) only what is small: it is there to be compared.
        """
        run_id = str(run.info.run_id)
        parts = record.training.folder, scored.folder
        state = digest.of_value({part.name: dict(digest.of_folder(part)) for part in parts})
        present = {artifact.path for artifact in self._client.list_artifacts(run_id)}
        clocks = {part: path for part in parts if (path := clock_path(part, record.training.run.identity))}
        if run.data.tags.get("files") == state and {"training", scored.folder.name, "configuration.json"} <= present:
            return
        for part in parts:
            if (scored.folder / "pictures").exists():
                self._client.log_artifacts(run_id, str(part), part.name)
            else:
                for file in (part / name for name in SMALL if (part / name).exists()):
                    self._client.log_artifact(run_id, str(file), part.name)
        for part, path in clocks.items():
            self._client.log_text(run_id, path.read_text(encoding="utf-8"), f"{part.name}/{CLOCK}.json")
        self._client.log_text(run_id, as_json(record.training.run.configuration), "configuration.json")
        settle(self._store, run.info.artifact_uri)
        self._client.set_tag(run_id, "files", state)

    def _write_status(self, run: Any, record: Record) -> None:
        outcome = record.training.run.outcome
        # A run that has been trained but not yet scored is not at its end.
        unscored = outcome in ("finished", "diverged") and record.evaluation is None
        write_status(self._store, run, "RUNNING" if unscored else STATUS[outcome], _ended(record))


def write_status(store: Store, run: Any, status: str, ended: int | None = None) -> None:
    """Let a run have the status; one that is not running has an end, by default now, in milliseconds since 1970."""
    if run.info.status == status:
        return
    if status == "RUNNING":
        store.client.update_run(run.info.run_id, status=status)
    else:
        store.client.set_terminated(run.info.run_id, status, end_time=ended)


def _dataset(name: str, whole_digest: str, context: str) -> DatasetInput:
    """MLflow shows 36 characters of a digest; the whole one stands in the source."""
    source = as_json({"sha256": whole_digest, "made by": "dvc repro preprocess"})
    dataset = Dataset(f"{name} {context}", whole_digest[:36], "local", source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])


def _is_same(stored: float, value: float) -> bool:
    if math.isnan(value) or math.isinf(value):
        return math.isnan(stored) if math.isnan(value) else stored * math.copysign(1, value) > LARGEST
    return stored == value


def _is_written(stored: Mapping[str, float], name: str, value: float) -> bool:
    """What a clock measured is written once: measured again it differs each time."""
    return name in stored if name.startswith("clock/") else stored.get(name) == value


def _started(record: Record) -> int | None:
    times = record.training.times
    return times[0].ended - round(1000 * times[0].seconds) if times else None


def _known(record: Record, name: str) -> int | None:
    """Since when a final metric is known: always the same time, or MLflow would hold it twice."""
    times = record.training.times
    return times[0].ended if times and name.startswith("network/") else _ended(record)


def _ended(record: Record) -> int | None:
    """When the run ended, as far as that is known."""
    times = record.training.times
    scored = None if record.evaluation is None else record.evaluation.scored
    return scored or (times[-1].ended if times else None)


def write_model(store: Store, run_id: str, record: Record, export: Export) -> None:
    """Leave one whole Keras model with the run: what an outage left half-written is written to its end.

    MLflow's own log_model can't be begun again: a request whose answer was lost makes a second model, or fails for
    ever.
    """

    def models() -> list[Any]:
        found = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
        return sorted(found, key=lambda model: (model.status != LoggedModelStatus.READY, model.model_id))

    def make() -> list[Any]:
        params = fields.params(record)
        return [
            store.client.create_logged_model(store.experiment_id, name="model", source_run_id=run_id, params=params)
        ]

    model = ensure(models, make)[0]
    if model.status != LoggedModelStatus.READY:
        check_place(store.address, model.artifact_location)
        with tempfile.TemporaryDirectory() as folder:
            _save(model, run_id, record.training, export(record.training), Path(folder) / "model")
            store.client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        _link(store, run_id, model.model_id, record)
        settle(store, model.artifact_location)
        # This comes last: a model that is ready is whole.
        store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    for other in models()[1:]:
        # What a request that was given up made besides.
        if other.status != LoggedModelStatus.READY:
            store.client.delete_logged_model(other.model_id)


def _link(store: Store, run_id: str, model_id: str, record: Record) -> None:
    """The model among what the run gave, the run's final metrics among those of the model."""

    def linked() -> bool:
        outputs = store.client.get_run(run_id).outputs
        return outputs is not None and model_id in {output.model_id for output in outputs.model_outputs}

    def link() -> bool:
        store.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        return True

    ensure(linked, link)
    if not store.client.get_logged_model(model_id).metrics:
        # As they stand in the run, or it would hold them twice.
        points = [
            point for name in fields.final_metrics(record) for point in store.client.get_metric_history(run_id, name)
        ]
        own = [Metric(point.key, point.value, point.timestamp, point.step, model_id=model_id) for point in points]
        store.client.log_batch(run_id, metrics=own)


def _save(logged: Any, run_id: str, training: TrainingPart, model: Any, folder: Path) -> None:
    """The model with its signature: raw images uint8 in, probabilities out."""
    from mlflow import keras as flavor  # noqa: PLC0415 - it imports TensorFlow

    shape = [-1, *model.input_shape[1:]]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), [-1, model.output_shape[-1]])]),
    )
    versions = training.run.ingredients["versions"]
    if not isinstance(versions, dict) or not all(
        re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", str(version)) for version in versions.values()
    ):
        raise UserError(f"{training.folder}: says that it was made with versions that are none.")
    flavor.save_model(
        model,
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, model_id=logged.model_id, run_id=run_id
        ),
        signature=signature,
        pip_requirements=[f"{package}=={versions[package]}" for package in ("keras", "numpy", "tensorflow")],
    )
