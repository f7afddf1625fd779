"""All that this project knows of its runs, into one store: what an emptied store held before is there again."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.run.dvc_records import Restorer, cached_records
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import TRAINING, read_record
from pipeline.storage import project
from pipeline.studies.study import STUDY, Study, read_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar
from pipeline.tracking.models import Export
from pipeline.tracking.run_mirror import Mirror, unfinished
from pipeline.tracking.store import Store
from pipeline.tracking.study_mirror import StudyMirror


class Everything:
    """The runs of `dvc repro` and `dvc exp run`, those in DVC's cache among them, and the studies with theirs.

    `runs` are the MLflow runs that hold the first, `studies` the names of the second; of `lost` records DVC's cache
    has not every file, `unreadable` ones are another version's; `problems` says what else could not be read.
    """

    def __init__(self, store: Store, export: Export) -> None:
        self._store = store
        self._export = export
        self._mirror = Mirror(store)
        self.runs: set[str] = set()
        self.studies: list[str] = []
        self.lost = 0
        self.unreadable = 0
        self.problems: list[str] = []

    def bring_up(self) -> None:
        """Bring the store up to it. Raises StoreUnreachableError; called again it goes on and adds nothing."""
        studies = list(self._read_studies())
        # The oldest first, as they were made: of what a clock measured twice the store keeps the first.
        self._bring_up_cached()
        if (project.RECORD / TRAINING / "run.json").exists():
            with self._problem_kept():
                self._bring_up_record(project.RECORD)
        for work in sorted(project.CHECKPOINTS.glob("*")):
            if not any(work.name == cell.identity for study in studies for cell in study.cells):
                with self._problem_kept():
                    self._bring_up_unfinished(work.name)
        for study in studies:
            with self._problem_kept():
                mirror = StudyMirror(self._store, study.name)
                self.studies.append(study.name)
                mirror.bring_up_study(study)
                mirror.bring_up_unfinished(study)

    def _bring_up_cached(self) -> None:
        restorer, records = Restorer(), cached_records()
        with bar("records") as progress:
            task = progress.add_task("DVC's cache", total=len(records))
            for record in records:
                with tempfile.TemporaryDirectory(prefix="record-") as folder:
                    if not restorer.restore(record, Path(folder)):
                        self.lost += 1
                    else:
                        try:
                            self._bring_up_record(Path(folder))
                        except UserError:
                            self.unreadable += 1
                progress.advance(task)

    def _bring_up_record(self, root: Path) -> None:
        self.runs.add(self._mirror.bring_up(read_record(root), REPRO_STUDY, self._export))

    def _bring_up_unfinished(self, identity: str) -> None:
        record = unfinished(identity)
        if record is not None:
            self.runs.add(self._mirror.bring_up(record, REPRO_STUDY))

    def _read_studies(self) -> Iterator[Study]:
        for path in sorted(project.STUDIES.glob(f"*/{STUDY}")):
            with self._problem_kept():
                yield read_study(path.parent)

    @contextmanager
    def _problem_kept(self) -> Iterator[None]:
        """What is damaged shall not keep the rest out of the store."""
        try:
            yield
        except UserError as error:
            self.problems.append(str(error))
