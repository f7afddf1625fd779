"""Studies conducted without a training and without MLflow: who does the runs, and who is told of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.storage import project
from pipeline.studies.plan import Job
from pipeline.studies.workers import Ended, MayStart
from tests.harness.studies import write_record


class Told:
    """In place of the companion: what it was told, in order."""

    def __init__(self) -> None:
        self.said = ""
        self.folders: list[Path] = []

    def __call__(self, *_: object) -> "Told":
        return self

    def __enter__(self) -> "Told":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sync(self, root: Path) -> None:
        self.folders.append(root)

    def sync_study(self, folder: Path) -> None:
        self.folders.append(folder)


class Acting:
    """An executor whose jobs do what `act` says. It keeps the jobs that it was given, and by whom they may start."""

    def __init__(self, act: Any, slots: int = 256) -> None:
        self.act = act
        self.most = slots
        self.given: list[Job] = []

    def slots(self, jobs: Sequence[Job]) -> int:
        return min(self.most, len(jobs))

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        self.may_start = may_start
        self.given.extend(jobs)
        yield from self.act(list(jobs))


def finish(job: Job, accuracy: float = 0.9) -> None:
    """Write the record of a job as if it had been trained and scored."""
    write_record(
        project.run_root(job.identity.name),
        job.configuration,
        found=job.identity,
        scoring=job.scoring,
        accuracy=accuracy,
    )
