"""A study in MLflow: one parent run with its grid, its table and its report, its runs as children.

And all studies and runs of this project at once: what an emptied store held before is there again.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import RunTag

from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING, Record, read_record
from pipeline.storage import digest, project
from pipeline.studies.study import ENDED, STUDY, Study, read_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar
from pipeline.tracking import fields
from pipeline.tracking.dvc_records import Restorer, cached_records
from pipeline.tracking.run_mirror import STATUS, Export, Mirror, unfinished, write_status
from pipeline.tracking.store import Store, check_place, ensure_run, reaching, search_runs, settle

REPORT = "report"
"""The folder of a report among the artifacts of its study."""


def attach(store: Store, study: str, folder: Path) -> str:
    """Put the report in `folder` among the artifacts of the study's run; returns what to tell.

    Raises StoreUnreachableError.
    """
    with reaching(store.address):
        wanted = f"tags.study = '{study}' and tags.role = 'study'"
        runs = store.client.search_runs([store.experiment_id], wanted, max_results=1)
        if not runs:
            return f"not attached: MLflow has no run of this study yet; `python -m pipeline.track {study}` makes it"
        run = runs[0].info
        check_place(store.address, run.artifact_uri)
        store.client.log_artifacts(run.run_id, str(folder), REPORT)
        settle(store, run.artifact_uri)
        return f"attached in MLflow to run {run.run_id}"


class StudyMirror:
    """Keeps one store up to a study and its runs."""

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._client = store.client
        self._study = study
        self._mirror = Mirror(store)
        self._parent: str | None = None
        self._known: dict[str, str] | None = None

    def bring_up_run(self, record: Record) -> None:
        """Bring one of the study's runs up to its record. Raises StoreUnreachableError."""
        with reaching(self._store.address):
            self._mirror.bring_up(record, self._study, parent=self.parent())
            run, scored = record.training.run, record.evaluation
            if self._known is not None and scored is not None and STATUS[run.outcome] == "FINISHED":
                self._known[run.identity] = scored.scoring

    def bring_up_study(self, study: Study) -> None:
        """Bring the parent up to the study, and up to their records the finished runs that are not whole in the store.

        Raises StoreUnreachableError, and UserError at the end for a record that can't be read.
        """
        with reaching(self._store.address):
            parent = self.parent()
            self._write_parent(parent, study)
            if self._known is None:
                # Asked once: a study of many runs is brought up after each of them.
                self._known = self._whole(parent)
            part = TEST_EVALUATION if study.images == "test" else EVALUATION
            problems = []
            for cell in study.cells:
                if cell.state in ENDED and self._known.get(cell.identity) != (cell.scoring or ""):
                    try:
                        self.bring_up_run(read_record(project.run_root(cell.identity), part))
                    except UserError as error:
                        # The others shall not wait for it.
                        problems.append(str(error))
            if problems:
                raise UserError(problems[0])

    def bring_up_unfinished(self, study: Study) -> None:
        """Bring up the runs that failed, or were stopped, while the store was away. Raises like `bring_up_study`."""
        part = TEST_EVALUATION if study.images == "test" else EVALUATION
        for cell in study.cells:
            if cell.state not in ENDED and (record := unfinished(cell.identity, part)) is not None:
                self.bring_up_run(record)

    def parent(self) -> str:
        """The MLflow run id of the study, made when it is missing."""
        if self._parent is None:
            tags = {"study": self._study, "role": "study"}
            self._parent = str(ensure_run(self._store, tags, {}, self._study).info.run_id)
        return self._parent

    def _write_parent(self, parent: str, study: Study) -> None:
        run = self._client.get_run(parent)
        tags = fields.study_tags(study)
        stale = {name for name in run.data.tags if name.startswith(fields.GRID)} - tags.keys()
        for name in stale:
            self._client.delete_tag(parent, name)
        table = fields.table_csv(study)
        tags |= {"table": digest.of_value(table)}
        missing = [RunTag(name, text) for name, text in tags.items() if run.data.tags.get(name) != text]
        if missing:
            # The tag that says which table is there comes after the table.
            self._client.log_text(parent, table, "settings.csv")
            settle(self._store, run.info.artifact_uri)
            self._client.log_batch(parent, tags=missing)
        write_status(self._store, run, STATUS[study.state])

    def _whole(self, parent: str) -> dict[str, str]:
        """Identity → scoring of the study's runs that the store holds to their end, which is written last."""
        child = f"tags.`mlflow.parentRunId` = '{parent}'"
        own = f"tags.study = '{self._study}' and tags.role = 'run'"
        runs = search_runs(self._store, f"{own} and {child} and attributes.status = 'FINISHED'")
        return {run.data.tags["identity"]: run.data.tags.get("scoring", "") for run in runs}


@dataclass
class Restored:
    """The runs of `dvc repro` and `dvc exp run`, those in DVC's cache among them, and the studies with theirs.

    `runs` are the MLflow runs that hold the first, `studies` the names of the second; of `lost` records DVC's cache
    has not every file, `unreadable` ones are another version's; `problems` says what else could not be read.
    """

    runs: set[str] = field(default_factory=set)
    studies: list[str] = field(default_factory=list)
    lost: int = 0
    unreadable: int = 0
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def keep_problem(self) -> Iterator[None]:
        """What is damaged shall not keep the rest out of the store."""
        try:
            yield
        except UserError as error:
            self.problems.append(str(error))


def restore(store: Store, export: Export) -> Restored:
    """Bring the store up to all that this project knows of its runs.

    Raises StoreUnreachableError; called again it goes on and adds nothing.
    """
    restored, mirror = Restored(), Mirror(store)
    studies = []
    for path in sorted(project.STUDIES.glob(f"*/{STUDY}")):
        with restored.keep_problem():
            studies.append(read_study(path.parent))
    # The oldest first, as they were made: of what a clock measured twice the store keeps the first.
    _restore_cached(restored, mirror, export)
    if (project.RECORD / TRAINING / "run.json").exists():
        with restored.keep_problem():
            restored.runs.add(mirror.bring_up(read_record(project.RECORD), REPRO_STUDY, export))
    swept = {cell.identity for study in studies for cell in study.cells}
    for work in sorted(project.CHECKPOINTS.glob("*")):
        with restored.keep_problem():
            if work.name not in swept and (record := unfinished(work.name)) is not None:
                restored.runs.add(mirror.bring_up(record, REPRO_STUDY))
    for study in studies:
        with restored.keep_problem():
            restored.studies.append(study.name)
            of_study = StudyMirror(store, study.name)
            of_study.bring_up_study(study)
            of_study.bring_up_unfinished(study)
    return restored


def _restore_cached(restored: Restored, mirror: Mirror, export: Export) -> None:
    restorer, records = Restorer(), cached_records()
    with bar("records") as progress:
        task = progress.add_task("DVC's cache", total=len(records))
        for record in records:
            with tempfile.TemporaryDirectory(prefix="record-") as folder:
                if not restorer.restore(record, Path(folder)):
                    restored.lost += 1
                else:
                    try:
                        restored.runs.add(mirror.bring_up(read_record(Path(folder)), REPRO_STUDY, export))
                    except UserError:
                        restored.unreadable += 1
            progress.advance(task)
