"""A study in MLflow: one parent run with its verdict, its table and its report, its runs as children."""

import time
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, RunTag

from pipeline.config.messages import counted
from pipeline.run.record import EVALUATION, TEST_EVALUATION, Record, read_record
from pipeline.storage import digest, project
from pipeline.studies.study import ENDED, Study
from pipeline.studies.study_summary import count_outcomes, titles
from pipeline.terminal.errors import UserError
from pipeline.tracking import fields, study_fields
from pipeline.tracking.addresses import check_place
from pipeline.tracking.run_mirror import NAME, STATUS, Mirror, missing_tags, unfinished, write_status
from pipeline.tracking.store import Store, ensure_run, is_own, reaching, search_runs, settle, write_experiment_tags

REPORT = "report"
"""The folder of a report among the artifacts of its study, and the tag that says where in it its page is."""


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
        """Let the study's page begin with its links and the verdict, and attach a report where there is one.

        Returns what to tell. Raises StoreUnreachableError.
        """
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
