"""All studies and runs of this project at once: what an emptied store held before is there again."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import TRAINING, read_record
from pipeline.storage import project
from pipeline.studies.study import STUDY, read_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar
from pipeline.tracking.dvc_records import Restorer, cached_records
from pipeline.tracking.models import Export
from pipeline.tracking.run_mirror import Mirror, unfinished
from pipeline.tracking.store import Store
from pipeline.tracking.study_mirror import StudyMirror


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
    restored, mirror = Restored(), Mirror(store, REPRO_STUDY)
    studies = []
    for path in sorted(project.STUDIES.glob(f"*/{STUDY}")):
        with restored.keep_problem():
            studies.append(read_study(path.parent))
    # The oldest first, as they were made: of what a clock measured twice the store keeps the first.
    _restore_cached(restored, mirror, export)
    if (project.RECORD / TRAINING / "run.json").exists():
        with restored.keep_problem():
            restored.runs.add(mirror.bring_up(read_record(project.RECORD), export))
    swept = {cell.identity for study in studies for cell in study.cells}
    for work in sorted(project.CHECKPOINTS.glob("*")):
        with restored.keep_problem():
            if work.name not in swept and (record := unfinished(work.name)) is not None:
                restored.runs.add(mirror.bring_up(record))
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
        for record in progress.track(records, description="DVC's cache"):
            with tempfile.TemporaryDirectory(prefix="record-") as folder:
                if not restorer.restore(record, Path(folder)):
                    restored.lost += 1
                    continue
                try:
                    restored.runs.add(mirror.bring_up(read_record(Path(folder)), export))
                except UserError:
                    restored.unreadable += 1
