"""A study is conducted: what ended is kept and told to MLflow, also when the sweep is stopped. Without a training."""

import contextlib
import errno
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import prepared
from pipeline.run.record import read_training
from pipeline.storage import lock, project
from pipeline.studies.hydra_entry import launch_one
from pipeline.studies.job import Failure
from pipeline.studies.plan import Job, job_of
from pipeline.studies.run_study import conduct
from pipeline.studies.study import Point, Study, read_study
from pipeline.studies.workers import Ended
from pipeline.terminal.errors import UserError
from tests.harness.settings import article, article_values
from tests.harness.studies import a_project, declared, prepare, swept, write_record

TRACKING = article().tracking


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    prepare()


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


@pytest.fixture
def companion(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr("pipeline.studies.run_study.Companion", told)
    return told


def job(seed: int) -> Job:
    return job_of(swept({"seed": seed}), prepared.training_digest(project.PREPARED, swept().data), declared())


def grid(*seeds: int) -> list[Point]:
    return [Point(f"seed={seed}", article_values({"data.validation_images": 10, "seed": seed})) for seed in seeds]


def finish(job: Job) -> None:
    write_record(project.run_root(job.identity.name), job.configuration, found=job.identity, scoring=job.scoring)


def workers_that(monkeypatch: pytest.MonkeyPatch, act: Any) -> list[Job]:
    """In place of real workers: `act` yields what they are seen to do. Returns the jobs that they were given."""
    given: list[Job] = []

    def done(jobs: Sequence[Job], _wanted: int | None) -> Iterator[tuple[list[Job], list[Ended]]]:
        given.extend(jobs)
        yield from act(list(jobs))

    monkeypatch.setattr("pipeline.studies.run_study.done", done)
    return given


def one_by_one(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
    for job in jobs:
        yield [job], []
        if job.seed == 1:
            yield [], [Ended(job, Failure("out of memory", "Traceback"))]
        else:
            finish(job)
            yield [], [Ended(job)]


def mended(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
    for job in jobs:
        finish(job)
        yield [], [Ended(job)]


def study() -> Study:
    return read_study(project.study("kernels"))


def states() -> dict[int, str]:
    return {cell.seed: cell.state for cell in study().cells}


def test_a_failure_is_kept_told_and_alone_tried_again(
    monkeypatch: pytest.MonkeyPatch, companion: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    workers_that(monkeypatch, one_by_one)
    with pytest.raises(UserError, match=r"^1 of 3 runs failed\."):
        conduct(grid(0, 1, 2), declared(), TRACKING)
    assert states() == {0: "finished", 1: "failed", 2: "finished"}
    assert study().state == "failed"
    failed = next(cell for cell in study().cells if cell.seed == 1)
    work = project.checkpoint(failed.identity)
    assert (work / "failure.txt").read_text() == "Traceback"
    assert read_training(work / "training").run.reason == failed.reason == "out of memory"
    assert work in companion.folders
    assert companion.folders[-1] == project.study("kernels")
    assert "out of memory" in capsys.readouterr().out
    given = workers_that(monkeypatch, one_by_one)
    with pytest.raises(UserError, match=r"^1 of 3 runs failed\."):
        conduct(grid(0, 1, 2), declared(), TRACKING)
    assert [job.seed for job in given] == [1]


def test_a_finished_study_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch, companion: Told) -> None:
    workers_that(monkeypatch, one_by_one)
    conduct(grid(0, 2), declared(), TRACKING)
    given = workers_that(monkeypatch, one_by_one)
    conduct(grid(2, 0, 2), declared(), TRACKING)
    assert given == []
    assert study().state == "finished"
    assert companion.said == ""


def test_settings_that_can_not_exist_stop_a_sweep_unless_it_may_go_on(
    monkeypatch: pytest.MonkeyPatch, companion: Told
) -> None:
    given = workers_that(monkeypatch, one_by_one)
    values = article_values({"data.validation_images": 10, "model.conv.kernel_size": 99})
    wrong = Point("model.conv.kernel_size=99", values)
    with pytest.raises(UserError, match=r"study\.leave_out_refused=true"):
        conduct([*grid(0), wrong], declared(), TRACKING)
    assert (given, companion.folders, project.STUDIES.exists()) == ([], [], False)
    conduct([*grid(0), wrong], declared(leave_out_refused=True), TRACKING)
    assert [job.seed for job in given] == [0]
    assert study().refused[0]["setting"] == "model.conv.kernel_size=99"
    with pytest.raises(UserError, match="no setting of this grid can exist"):
        conduct([wrong], declared(leave_out_refused=True), TRACKING)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OSError(28, "No space left on device")])
def test_a_sweep_that_is_stopped_says_so_of_the_runs_it_leaves(
    monkeypatch: pytest.MonkeyPatch, companion: Told, error: BaseException
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        finish(jobs[0])
        yield [jobs[1]], [Ended(jobs[0])]
        raise error

    workers_that(monkeypatch, stopped)
    with pytest.raises(type(error)):
        conduct(grid(0, 1, 2), declared(), TRACKING)
    left = job(1)
    run = read_training(project.checkpoint(left.identity.name) / "training").run
    assert run.outcome == "interrupted"
    assert str(run.reason) in ("the sweep was interrupted", str(error))
    assert project.checkpoint(left.identity.name) in companion.folders
    assert study().state == "interrupted"
    assert states()[0] == "finished"
    assert not project.checkpoint(job(2).identity.name).exists()


def test_a_run_that_ended_in_the_moment_the_sweep_is_stopped_is_finished_for_mlflow_too(
    monkeypatch: pytest.MonkeyPatch, companion: Told
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield [jobs[0]], []
        finish(jobs[0])
        raise KeyboardInterrupt

    workers_that(monkeypatch, stopped)
    with pytest.raises(KeyboardInterrupt):
        conduct(grid(0), declared(), TRACKING)
    # Its curves were told while it ran: what is not told now stays RUNNING.
    ended = project.run_root(job(0).identity.name)
    assert ended in companion.folders or states() == {0: "finished"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_impatient_second_signal_waits_until_the_runs_are_closed(
    monkeypatch: pytest.MonkeyPatch, companion: Told, number: signal.Signals
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        raise KeyboardInterrupt

    def impatient(root: Path) -> None:
        signal.raise_signal(number)
        companion.folders.append(root)

    workers_that(monkeypatch, stopped)
    monkeypatch.setattr(companion, "sync", impatient)
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
            conduct(grid(0, 1), declared(), TRACKING)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert raised.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    for seed in (0, 1):
        left = project.checkpoint(job(seed).identity.name)
        assert read_training(left / "training").run.outcome == "interrupted"
        assert left in companion.folders
    assert study().state == "interrupted"


@pytest.mark.parametrize("how", ["interrupted", "failed"])
def test_a_run_with_which_another_sweep_goes_on_is_not_closed(
    monkeypatch: pytest.MonkeyPatch, companion: Told, how: str
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        if how == "interrupted":
            raise KeyboardInterrupt
        yield [], [Ended(one, Failure("its process was killed")) for one in jobs]

    workers_that(monkeypatch, stopped)
    work = project.checkpoint(job(0).identity.name)
    with lock.only_one(work / "lock"), pytest.raises((KeyboardInterrupt, UserError)):
        conduct(grid(0), declared(), TRACKING)
    assert not (work / "training").exists()
    assert work not in companion.folders
    assert study().state == how


def test_the_state_of_a_study_is_that_of_all_its_runs_not_of_the_last_call(
    monkeypatch: pytest.MonkeyPatch, companion: Told
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        raise KeyboardInterrupt

    workers_that(monkeypatch, stopped)
    with pytest.raises(KeyboardInterrupt):
        conduct(grid(3), declared(), TRACKING)
    workers_that(monkeypatch, one_by_one)
    conduct(grid(0), declared(), TRACKING)
    assert (study().state, states()) == ("interrupted", {3: "waiting", 0: "finished"})
    with pytest.raises(UserError, match=r"^1 of 1 runs failed\."):
        conduct(grid(1), declared(), TRACKING)
    conduct(grid(3), declared(), TRACKING)
    assert study().state == "failed"
    workers_that(monkeypatch, mended)
    conduct(grid(1), declared(), TRACKING)
    assert study().state == "finished"
    assert companion.folders[-1] == project.study("kernels")


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("epochs", "outcome"), [(10, "running"), (2, "diverged"), (2, "running")])
def test_a_checkpoint_that_a_kill_left_beside_a_finished_run_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, companion: Told, held: bool, epochs: int, outcome: Any
) -> None:
    workers_that(monkeypatch, one_by_one)
    conduct(grid(0), declared(), TRACKING)
    work = project.checkpoint(job(0).identity.name)
    write_record(work, job(0).configuration, found=job(0).identity, outcome=outcome, epochs=epochs, accuracy=None)
    with lock.only_one(work / "lock") if held else contextlib.nullcontext():
        conduct(grid(0), declared(), TRACKING)
    another = held or (epochs, outcome) == (2, "running")
    assert work.exists() == another
    assert companion.said == ""


@pytest.mark.parametrize("held", [False, True])
def test_a_damaged_checkpoint_is_told_before_a_worker_starts_anew(
    monkeypatch: pytest.MonkeyPatch, companion: Told, capsys: pytest.CaptureFixture[str], held: bool
) -> None:
    workers_that(monkeypatch, one_by_one)
    path = project.checkpoint(job(0).identity.name) / "state"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    with lock.only_one(path.parent / "lock") if held else contextlib.nullcontext():
        conduct(grid(0), declared(), TRACKING)
    told = f"{path}: is damaged: removed, training starts anew" in capsys.readouterr().out
    assert told != held
    assert path.exists() == held
    assert companion.said == ""


def one(**changes: object) -> Point:
    """One job of another launcher, untracked."""
    values = article_values({"data.validation_images": 10, "tracking.enabled": False})
    return Point("", values | {"study": declared(**changes).model_dump()})


def test_jobs_of_other_launchers_join_the_study_once_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.studies.hydra_entry.run_job", lambda job, _sync: finish(job))
    launch_one(one())
    assert states() == {0: "finished"}
    assert "done already" not in capsys.readouterr().out
    launch_one(one())
    assert "the one setting, seed 0: done already" in capsys.readouterr().out


def test_other_launchers_too_forget_a_checkpoint_that_a_kill_left_beside_a_finished_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.studies.hydra_entry.run_job", lambda job, _sync: finish(job))
    launch_one(one())
    work = project.checkpoint(job(0).identity.name)
    write_record(work, job(0).configuration, found=job(0).identity, outcome="running", epochs=10, accuracy=None)
    launch_one(one())
    assert not work.exists()


def test_a_job_of_another_launcher_that_fails_is_no_waiting_run_of_a_finished_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_job: Job, _sync: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pipeline.studies.hydra_entry.run_job", fails)
    with pytest.raises(MemoryError):
        launch_one(one())
    run = read_training(project.checkpoint(job(0).identity.name) / "training").run
    assert (run.outcome, run.reason) == ("failed", "MemoryError")
    assert states() == {0: "failed"}


def test_a_disk_that_is_full_is_told_by_the_first_file_that_it_did_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_job: Job, _sync: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "first")

    def fails_too(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "second")

    monkeypatch.setattr("pipeline.studies.hydra_entry.run_job", fails)
    monkeypatch.setattr("pipeline.studies.hydra_entry.close_unfinished", fails_too)
    with pytest.raises(OSError, match="first"):
        launch_one(one())
