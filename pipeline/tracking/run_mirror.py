"""Bring MLflow up to what a record holds. Called again it adds nothing; called late it catches up."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import CLOCK, EVALUATION, TRAINING, EvaluationPart, Record, clock_path, read_record
from pipeline.storage import digest, lock, project
from pipeline.tracking import fields
from pipeline.tracking.models import write_model
from pipeline.tracking.store import Store, ensure_run, reaching, settle

MOST_METRICS = 1000
"""Metrics in one request, by MLflow's limit."""

SMALL = "run.json", "history.csv", "evaluation.json", "metrics.json", "per_class.csv"

NAME = "mlflow.runName"

SUPERSEDED = "superseded"
"""The role of a run that its record contradicts."""

STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}


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
    """Keeps one store up to the records of a study. Remembers what it holds of their curves, to ask only once."""

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._client = store.client
        self._study = study
        self._points: dict[str, dict[tuple[str, int], float]] = {}

    def bring_up(self, record: Record, *, model: bool = False) -> str:
        """Bring the run of `record` in the study up to the record, with its Keras model where that is wanted; returns
        its MLflow run id.

        Raises StoreUnreachableError at any point; another call goes on from there.
        """
        with reaching(self._store.address):
            own = self._tags_beside(record)
            run = self._run_of(record, own.get(NAME) or fields.run_name(record.training.run))
            run_id = str(run.info.run_id)
            self._write_curves(run, record)
            files = None
            if record.evaluation is not None:
                self._write_datasets(run, record, record.evaluation)
                files = self._write_files(run, record, record.evaluation)
            self._write_values(run, record, fields.tags(record, self._study, files) | own)
            if record.evaluation is not None and model:
                write_model(self._store, run_id, record)
            outcome = record.training.run.outcome
            # A run that has been trained but not yet scored is not at its end.
            unscored = outcome in ("finished", "diverged") and record.evaluation is None
            write_status(self._store, run, "RUNNING" if unscored else STATUS[outcome], _ended(record))
            return run_id

    def _tags_beside(self, _record: Record) -> dict[str, str]:
        """What the record does not say: the experiment of `dvc exp run` by which DVC lists what is made now."""
        name = os.environ.get("DVC_EXP_NAME")
        return {"dvc.exp": name} if name and self._study == REPRO_STUDY else {}

    def _run_of(self, record: Record, name: str) -> Any:
        """The MLflow run of `record`, made with this name where there is none.

        A training that begins anew comes to the same values, but not on another class of processor, nor always on a
        GPU. One whose curves the record contradicts stays as it is, and is called superseded.
        """
        others: dict[str, Any] = {}

        def fits(run: Any) -> bool:
            agrees = self._agrees(run.info.run_id, record)
            if not agrees:
                others[run.info.run_id] = run
            return agrees

        tags = {"identity": record.training.run.identity, "study": self._study}
        times = record.training.times
        started = times[0].ended - round(1000 * times[0].seconds) if times else None
        run = ensure_run(self._store, tags, {"role": "run"}, name, started, fits)
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

    def _write_values(self, run: Any, record: Record, wanted: Mapping[str, str]) -> None:
        """Params, `wanted` tags and final metrics that the store does not have, or has otherwise."""
        have, run_id, times = run.data, str(run.info.run_id), record.training.times
        params = [Param(name, value) for name, value in fields.params(record).items() if name not in have.params]
        tags = missing_tags(run, wanted)
        # Always since the same time, or MLflow would hold them twice.
        known = dict.fromkeys(fields.KNOWN_EARLY, times[0].ended) if times else {}
        since = _ended(record) or int(run.info.start_time)
        metrics = [
            Metric(name, value, known.get(name, since), 0)
            for name, value in fields.final_metrics(record).items()
            # What a clock measured is written once: measured again it differs each time.
            if (name not in have.metrics if fields.is_timed(name) else have.metrics.get(name) != value)
        ]
        if "reason" in have.tags and record.training.run.reason is None:
            # It ended well after all.
            self._client.delete_tag(run_id, "reason")
        if params or tags or metrics:
            self._client.log_batch(run_id, metrics=metrics, params=params, tags=tags)

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

    def _write_files(self, run: Any, record: Record, scored: EvaluationPart) -> str:
        """What both parts name, and the configuration; again when a file has changed. Returns their digest.

        Of a record without pictures (a sweep's) only what is small: it is there to be compared.
        """
        run_id = str(run.info.run_id)
        # Not what lies there: DVC leaves a file beside them where the power is cut while it links. A bundle leaves out
        # what is bulky.
        named = {
            record.training.folder: ("run.json", *record.training.run.files),
            scored.folder: ("evaluation.json", *scored.files),
        }
        parts = {part: [name for name in names if (part / name).exists()] for part, names in named.items()}
        state = digest.of_value(
            {part.name: {name: digest.of_file(part / name) for name in names} for part, names in parts.items()}
        )
        present = {artifact.path for artifact in self._client.list_artifacts(run_id)}
        stored = fields.all_tags(run.data.tags).get(fields.FILES)
        if stored == state and {"training", scored.folder.name, "configuration.json"} <= present:
            return state
        is_whole = any(name.startswith("pictures/") for name in scored.files)
        for part, names in parts.items():
            for file in (part / name for name in names if is_whole or name in SMALL):
                place = file.relative_to(part.parent).parent
                self._client.log_artifact(run_id, str(file), place.as_posix())
            if clock := clock_path(part, record.training.run.identity):
                self._client.log_text(run_id, clock.read_text(encoding="utf-8"), f"{part.name}/{CLOCK}.json")
        self._client.log_text(run_id, digest.as_json(record.training.run.configuration), "configuration.json")
        settle(self._store, run.info.artifact_uri)
        return state


def missing_tags(run: Any, wanted: Mapping[str, str]) -> list[RunTag]:
    """The `wanted` tags that a run does not have, or has otherwise."""
    return [RunTag(name, text) for name, text in wanted.items() if run.data.tags.get(name) != text]


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
    source = digest.as_json({"sha256": whole_digest, "made by": "dvc repro preprocess"})
    dataset = Dataset(f"{name} {context}", whole_digest[:36], "local", source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])


def _is_same(stored: float, value: float) -> bool:
    if math.isinf(value):
        # What MLflow keeps of it is larger, and less than infinite.
        return stored * math.copysign(1, value) > 1.797e308
    return stored == value or (math.isnan(stored) and math.isnan(value))


def _ended(record: Record) -> int | None:
    """When the run ended, as far as that is known."""
    times = record.training.times
    scored = None if record.evaluation is None else record.evaluation.scored
    return scored or (times[-1].ended if times else None)
