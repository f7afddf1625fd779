"""Bring MLflow up to what a record holds. Called again it adds nothing; called late it catches up.

Runs that did not come to their end, as the store shall have them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from pipeline.run.record import CLOCK, EVALUATION, TRAINING, EvaluationPart, Record, clock_path, read_record
from pipeline.storage import digest, lock, project
from pipeline.storage.digest import as_json
from pipeline.tracking import fields
from pipeline.tracking.models import Export, write_model
from pipeline.tracking.store import Store, reaching, settle
from pipeline.tracking.timeouts import found_or_made


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


MOST_METRICS = 1000
"""Metrics in one request, by MLflow's limit."""

SMALL = "run.json", "history.csv", "evaluation.json", "metrics.json", "per_class.csv"

STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "diverged": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}


class Mirror:
    """Keeps one store up to records. Remembers how many epochs of a run it has written, to ask only once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client = store.client
        self._epochs: dict[str, int] = {}

    def bring_up(self, record: Record, study: str, export: Export | None = None, parent: str | None = None) -> str:
        """Bring the run of `record` in `study` up to the record; returns its MLflow run id.

        `parent` is the MLflow run id of the study, where it has one.
        Raises StoreUnreachableError at any point; another call goes on from there.
        """
        with reaching(self._store.address):
            tags = {"identity": record.training.run.identity, "study": study, "role": "run"}
            run = found_or_made(self._store, tags, fields.run_name(record), _started(record))
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

    def _write_curves(self, run: Any, record: Record) -> None:
        """The epochs that the store does not have yet, with the time at which each ended (else the run's start)."""
        run_id = str(run.info.run_id)
        if run_id not in self._epochs:
            have = self._client.get_metric_history(run_id, fields.LAST_OF_EPOCH)
            self._epochs[run_id] = max((metric.step for metric in have), default=0)
        times = {time.epoch: time for time in record.training.times}
        missing = [
            Metric(name, value, time.ended if time else int(run.info.start_time), epoch.epoch)
            for epoch in record.training.history[self._epochs[run_id] :]
            for time in (times.get(epoch.epoch),)
            for name, value in fields.epoch_metrics(epoch, time.seconds if time else None).items()
        ]
        for start in range(0, len(missing), MOST_METRICS):
            self._client.log_batch(run_id, metrics=missing[start : start + MOST_METRICS])
        # A training that begins anew (its checkpoint was lost) comes to the same values: they are there already.
        self._epochs[run_id] = max(self._epochs[run_id], len(record.training.history))

    def _write_values(self, run: Any, record: Record, study: str, parent: str | None) -> None:
        """Params, tags and final metrics that the store does not have, or has otherwise."""
        have = run.data
        params = [Param(name, value) for name, value in fields.params(record).items() if name not in have.params]
        wanted = fields.tags(record, study) | ({} if parent is None else {"mlflow.parentRunId": parent})
        tags = [RunTag(name, text) for name, text in wanted.items() if have.tags.get(name) != text]
        final = fields.final_metrics(record).items()
        metrics = [
            Metric(name, value, _known(record, name) or int(run.info.start_time), 0)
            for name, value in final
            if not _told(have.metrics, name, value)
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
        state = digest.of_value({part.name: {**digest.of_folder(part)} for part in parts})
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
        status = "RUNNING" if unscored else STATUS[outcome]
        if run.info.status == status:
            return
        run_id = str(run.info.run_id)
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, end_time=_ended(record))


def _dataset(name: str, whole_digest: str, context: str) -> DatasetInput:
    """MLflow shows 36 characters of a digest; the whole one stands in the source."""
    source = as_json({"sha256": whole_digest, "made by": "dvc repro preprocess"})
    dataset = Dataset(f"{name} {context}", whole_digest[:36], "local", source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])


def _started(record: Record) -> int | None:
    times = record.training.times
    return times[0].ended - round(1000 * times[0].seconds) if times else None


def _told(stored: Mapping[str, float], name: str, value: float) -> bool:
    """Whether the store has it. What a clock measured is told once: measured again it differs each time."""
    return name in stored if name.startswith("clock/") else stored.get(name) == value


def _known(record: Record, name: str) -> int | None:
    """Since when a final metric is known: always the same time, or MLflow would hold it twice."""
    times = record.training.times
    return times[0].ended if times and name.startswith("network/") else _ended(record)


def _ended(record: Record) -> int | None:
    """When the run ended, as far as that is known."""
    times = record.training.times
    scored = None if record.evaluation is None else record.evaluation.scored
    return scored or (times[-1].ended if times else None)
