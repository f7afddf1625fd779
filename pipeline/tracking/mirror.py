"""Bring MLflow up to what a record, or a study, holds. Called again it adds nothing; called late it catches up."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from pipeline.config.messages import counted
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import (
    CLOCK,
    EVALUATION,
    TEST_EVALUATION,
    TRAINING,
    EvaluationPart,
    Record,
    clock_path,
    read_record,
)
from pipeline.storage import digest, lock, project
from pipeline.studies.study import ENDED, Study
from pipeline.studies.study_summary import count_outcomes, titles
from pipeline.terminal.errors import UserError
from pipeline.tracking import fields, study_fields
from pipeline.tracking.addresses import check_place
from pipeline.tracking.models import write_model
from pipeline.tracking.store import Store, ensure_run, is_own, reaching, search_runs, settle, write_experiment_tags

MOST_METRICS = 1000
"""Metrics in one request, by MLflow's limit."""

SMALL = "run.json", "history.csv", "evaluation.json", "metrics.json", "per_class.csv"

NAME = "mlflow.runName"

REPORT = "report"
"""The folder of a report among the artifacts of its study, and the tag that says where in it its page is."""

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


class StudyMirror(Mirror):
    """Keeps one store up to a study and its runs."""

    def __init__(self, store: Store, study: str) -> None:
        super().__init__(store, study)
        self._parent: str | None = None
        self._known: dict[str, str] | None = None
        self._views: dict[str, str] = {}
        self._words: dict[str, dict[str, str]] = {}

    def bring_up(self, record: Record, *, model: bool = False) -> str:
        """Bring one of the study's runs up to its record. Raises StoreUnreachableError."""
        run_id = super().bring_up(record, model=model)
        run, scored = record.training.run, record.evaluation
        if self._known is not None and scored is not None and STATUS[run.outcome] == "FINISHED":
            self._known[run.identity] = scored.scoring
        return run_id

    def bring_up_study(self, study: Study, *, all_runs: bool = False) -> None:
        """Bring the parent up to the study, and up to their records the finished runs that are not whole in the store;
        with `all_runs` those too that failed, or were stopped, while the store was away.

        Raises StoreUnreachableError, and UserError at the end for a record that can't be read.
        """
        with reaching(self._store.address):
            # Runs are called by what sets them apart in their study.
            words = titles(study)
            self._words = {
                cell.identity: {NAME: f"{words[cell.setting]}, seed {cell.seed}", fields.SETTING: words[cell.setting]}
                for cell in study.cells
            }
            parent = self.parent()
            self._write_parent(parent, study)
            if self._known is None:
                # Asked once: a study of many runs is brought up after each of them.
                self._known = self._whole(parent)
            part = TEST_EVALUATION if study.images == "test" else EVALUATION
            problems = []
            for cell in study.cells:
                try:
                    if cell.state in ENDED:
                        if self._known.get(cell.identity) != (cell.scoring or ""):
                            self.bring_up(read_record(project.run_root(cell.identity), part))
                    elif all_runs and (record := unfinished(cell.identity, part)) is not None:
                        self.bring_up(record)
                except UserError as error:
                    # The others shall not wait for it.
                    problems.append(str(error))
            if problems:
                raise UserError(problems[0])

    def announce(self, study: Study, verdict: str, report: Path | None) -> str:
        """Put the verdict first on the study's page, attach a report; what to tell. Raises StoreUnreachableError."""
        with reaching(self._store.address):
            wanted = f"tags.study = '{study.name}' and tags.role = 'study'"
            runs = [run for run in search_runs(self._store, wanted) if is_own(run)]
            if not runs:
                return f"MLflow has no run of this study yet; `python -m pipeline.track {study.name}` makes it"
            run = runs[-1]
            check_place(self._store.address, run.info.artifact_uri)
            if report is not None:
                self._client.log_artifacts(run.info.run_id, str(report), REPORT)
                # It lies beside the report too, where it is seen first.
                if (picture := report / "pictures" / "differences.svg").exists():
                    self._client.log_artifact(run.info.run_id, str(picture))
                settle(self._store, run.info.artifact_uri)
            verdict = f"{verdict[:1000]} ({counted(count_outcomes(study.cells)['finished'], 'run')} compared)"
            page = run.data.tags.get(REPORT, "") if report is None else f"{REPORT}/report.html"
            links = study_fields.study_links(self._store.experiment_id, study.name, run.info.run_id, page)
            note = study_fields.study_description(study, verdict, links)
            # No more than this: a sweep may be at work, and says the rest.
            tags = {study_fields.VERDICT: verdict, fields.DESCRIPTION: note} | ({REPORT: page} if page else {})
            self._client.log_batch(run.info.run_id, tags=[RunTag(name, text) for name, text in tags.items()])
            told = "shows the verdict" if report is None else "shows the verdict and the report"
            return f"MLflow run {run.info.run_id} {told}"

    def parent(self) -> str:
        """The MLflow run id of the study, made when it is missing."""
        if self._parent is None:
            tags = {"study": self._study, "role": "study"}
            self._parent = str(ensure_run(self._store, tags, {}, self._study).info.run_id)
        return self._parent

    def _tags_beside(self, record: Record) -> dict[str, str]:
        return {"mlflow.parentRunId": self.parent(), **self._words.get(record.training.run.identity, {})}

    def _write_parent(self, parent: str, study: Study) -> None:
        run = self._client.get_run(parent)
        if (shown := study_fields.experiment_tags() | study_fields.view_tags(study)) != self._views:
            write_experiment_tags(self._store, shown)
            self._views = shown
        table = study_fields.table_csv(study)
        page = run.data.tags.get(REPORT, "")
        links = study_fields.study_links(self._store.experiment_id, study.name, parent, page)
        wanted = study_fields.study_tags(study, digest.of_value(table), run.data.tags.get(study_fields.VERDICT), links)
        tags = missing_tags(run, wanted)
        if tags:
            # The tags say which table is there: they come after it.
            self._client.log_text(parent, table, "settings.csv")
            settle(self._store, run.info.artifact_uri)
        metrics = self._missing_metrics(run, study)
        if tags or metrics:
            self._client.log_batch(parent, tags=tags, metrics=metrics)
        write_status(self._store, run, STATUS[study.state])

    def _missing_metrics(self, run: Any, study: Study) -> list[Metric]:
        """The best setting's values, once the study has ended, over how many runs have."""
        if study.state not in ("finished", "failed"):
            return []
        step = sum(cell.state in ENDED for cell in study.cells)
        values = study_fields.study_metrics(study)
        now = round(1000 * time.time())
        return [Metric(name, value, now, step) for name, value in values.items() if run.data.metrics.get(name) != value]

    def _whole(self, parent: str) -> dict[str, str]:
        """Identity → scoring of the study's runs that the store holds to their end, which is written last.

        One that an earlier version wrote is not whole; one that is called otherwise now gets its new name.
        """
        child = f"tags.`mlflow.parentRunId` = '{parent}'"
        own = f"tags.study = '{self._study}' and tags.role = 'run'"
        whole = {}
        for run in search_runs(self._store, f"{own} and {child} and attributes.status = 'FINISHED'"):
            tags = fields.all_tags(run.data.tags)
            if renamed := missing_tags(run, self._words.get(tags["identity"], {})):
                self._client.log_batch(run.info.run_id, tags=renamed)
            if fields.PARAMETERS in run.data.metrics:
                whole[tags["identity"]] = tags.get("scoring", "")
        return whole


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
