"""A study is conducted: what ended is kept and told to MLflow, also when the sweep is stopped. Without a training."""

import contextlib
import errno
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import prepared
from pipeline.run.record import read_training
from pipeline.storage import lock, project
from pipeline.studies.plan import Job, job_of
from pipeline.studies.run_study import launch_grid, launch_one, run_study
from pipeline.studies.study import Point, Study, read_study
from pipeline.studies.workers import Ended, Failure
from pipeline.terminal.errors import UserError
from tests.harness.conducting import Acting, Told, finish
from tests.harness.settings import article, article_values
from tests.harness.studies import a_project, declared, prepare, swept, write_record

TRACKING = article().tracking


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    prepare()


@pytest.fixture
def companion(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr("pipeline.studies.run_study.MirrorProcess", told)
    monkeypatch.setattr("pipeline.studies.run_study.started_early", contextlib.nullcontext)
    return told


def job(seed: int) -> Job:
    return job_of(swept({"seed": seed}), prepared.training_digest(project.PREPARED, swept().data), declared())


def grid(*seeds: int) -> list[Point]:
    return [Point(f"seed={seed}", article_values({"data.validation_images": 10, "seed": seed})) for seed in seeds]


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


def test_a_failure_is_kept_told_and_alone_tried_again(companion: Told, capsys: pytest.CaptureFixture[str]) -> None:
    executor = Acting(one_by_one)
    with pytest.raises(UserError, match=r"^1 of 3 runs failed\."):
        run_study(grid(0, 1, 2), declared(), TRACKING, executor)
    assert states() == {0: "finished", 1: "failed", 2: "finished"}
    assert study().state == "failed"
    failed = next(cell for cell in study().cells if cell.seed == 1)
    work = project.checkpoint(failed.identity)
    assert (work / "failure.txt").read_text() == "Traceback"
    assert read_training(work / "training").run.reason == failed.reason == "out of memory"
    assert work in companion.folders
    assert companion.folders[-1] == project.study("kernels")
    assert "out of memory" in capsys.readouterr().out
    executor = Acting(one_by_one)
    with pytest.raises(UserError, match=r"^1 of 3 runs failed\."):
        run_study(grid(0, 1, 2), declared(), TRACKING, executor)
    assert [job.seed for job in executor.given] == [1]


def test_a_large_study_is_not_written_at_each_runs_end_and_a_kill_in_between_loses_no_run(
    companion: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.REST", 1e9)
    finished, states_then = [0, 2, 3, 4], []

    def act(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for look in mended(jobs):
            yield look
            states_then.append(list(states().values()))
        shutil.copytree(project.study("kernels"), killed := project.STUDIES.parent / "killed")
        assert (killed / "study.json").exists()

    run_study(grid(*finished), declared(), TRACKING, Acting(act))
    assert [one.count("finished") for one in states_then] == [1, 1, 1, 1]
    assert states() == dict.fromkeys(finished, "finished")
    assert companion.folders.count(project.study("kernels")) == 4
    # As a kill would have left it.
    shutil.copy(project.STUDIES.parent / "killed" / "study.json", project.study("kernels") / "study.json")
    assert list(states().values()).count("finished") == 1
    executor = Acting(one_by_one)
    run_study(grid(*finished), declared(), TRACKING, executor)
    assert executor.given == []
    assert states() == dict.fromkeys(finished, "finished")


def test_a_finished_study_has_nothing_to_do(companion: Told) -> None:
    executor = Acting(one_by_one)
    run_study(grid(0, 2), declared(), TRACKING, executor)
    executor = Acting(one_by_one)
    run_study(grid(2, 0, 2), declared(), TRACKING, executor)
    assert executor.given == []
    assert study().state == "finished"
    assert companion.said == ""


def test_settings_that_can_not_exist_stop_a_sweep_unless_it_may_go_on(companion: Told) -> None:
    executor = Acting(one_by_one)
    values = article_values({"data.validation_images": 10, "model.conv.kernel_size": 99})
    wrong = Point("model.conv.kernel_size=99", values)
    with pytest.raises(UserError, match=r"study\.leave_out_refused=true"):
        run_study([*grid(0), wrong], declared(), TRACKING, executor)
    assert (executor.given, companion.folders, project.STUDIES.exists()) == ([], [], False)
    run_study([*grid(0), wrong], declared(leave_out_refused=True), TRACKING, executor)
    assert [job.seed for job in executor.given] == [0]
    assert study().refused[0]["setting"] == "model.conv.kernel_size=99"
    with pytest.raises(UserError, match="no setting of this grid can exist"):
        run_study([wrong], declared(leave_out_refused=True), TRACKING, executor)


def test_what_is_refused_starts_no_process_that_talks_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.started_early", lambda: pytest.fail("started"))

    def misspelt() -> Iterator[Point]:
        # As Hydra composes: one job after another.
        yield from grid(0)
        raise UserError("model.conv.kernal_size: is no key")

    with pytest.raises(UserError, match="kernal_size"):
        launch_grid(misspelt())
    with pytest.raises(UserError, match=r"study\.baseline"):
        run_study(grid(0), declared(baseline={"model.depth": 9}), TRACKING, Acting(mended))
    run_study(grid(0), declared(dry_run=True), TRACKING, Acting(mended))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OSError(28, "No space left on device")])
def test_a_sweep_that_is_stopped_says_so_of_the_runs_it_leaves(
    companion: Told, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        finish(jobs[0])
        yield [jobs[1]], [Ended(jobs[0])]
        raise error

    executor = Acting(stopped)
    with pytest.raises(type(error)):
        run_study(grid(0, 1, 2), declared(), TRACKING, executor)
    left = job(1)
    run = read_training(project.checkpoint(left.identity.name) / "training").run
    assert run.outcome == "interrupted"
    assert str(run.reason) in ("the sweep was interrupted", str(error))
    assert project.checkpoint(left.identity.name) in companion.folders
    assert study().state == "interrupted"
    assert states()[0] == "finished"
    assert capsys.readouterr().out.endswith("stopped: 1 of 3 runs done. The same line goes on.\n")
    assert not project.checkpoint(job(2).identity.name).exists()


def test_a_run_that_ended_in_the_moment_the_sweep_is_stopped_is_finished_for_mlflow_too(companion: Told) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield [jobs[0]], []
        finish(jobs[0])
        raise KeyboardInterrupt

    executor = Acting(stopped)
    with pytest.raises(KeyboardInterrupt):
        run_study(grid(0), declared(), TRACKING, executor)
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

    executor = Acting(stopped)
    monkeypatch.setattr(companion, "sync", impatient)
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
            run_study(grid(0, 1), declared(), TRACKING, executor)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert raised.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    for seed in (0, 1):
        left = project.checkpoint(job(seed).identity.name)
        assert read_training(left / "training").run.outcome == "interrupted"
        assert left in companion.folders
    assert study().state == "interrupted"


@pytest.mark.parametrize("how", ["interrupted", "failed"])
def test_a_run_with_which_another_sweep_goes_on_is_not_closed(companion: Told, how: str) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        if how == "interrupted":
            raise KeyboardInterrupt
        yield [], [Ended(one, Failure("its process was killed")) for one in jobs]

    executor = Acting(stopped)
    work = project.checkpoint(job(0).identity.name)
    with lock.only_one(work / "lock"), pytest.raises((KeyboardInterrupt, UserError)):
        run_study(grid(0), declared(), TRACKING, executor)
    assert not (work / "training").exists()
    assert work not in companion.folders
    assert study().state == how


def test_the_state_of_a_study_is_that_of_all_its_runs_not_of_the_last_call(companion: Told) -> None:
    def stopped(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        yield jobs, []
        raise KeyboardInterrupt

    executor = Acting(stopped)
    with pytest.raises(KeyboardInterrupt):
        run_study(grid(3), declared(), TRACKING, executor)
    executor = Acting(one_by_one)
    run_study(grid(0), declared(), TRACKING, executor)
    assert (study().state, states()) == ("interrupted", {3: "waiting", 0: "finished"})
    with pytest.raises(UserError, match=r"^1 of 1 runs failed\."):
        run_study(grid(1), declared(), TRACKING, executor)
    run_study(grid(3), declared(), TRACKING, executor)
    assert study().state == "failed"
    executor = Acting(mended)
    run_study(grid(1), declared(), TRACKING, executor)
    assert study().state == "finished"
    assert companion.folders[-1] == project.study("kernels")


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("epochs", "outcome"), [(10, "running"), (2, "diverged"), (2, "running")])
def test_a_checkpoint_that_a_kill_left_beside_a_finished_run_is_forgotten(
    companion: Told, held: bool, epochs: int, outcome: Any
) -> None:
    executor = Acting(one_by_one)
    run_study(grid(0), declared(), TRACKING, executor)
    work = project.checkpoint(job(0).identity.name)
    write_record(work, job(0).configuration, found=job(0).identity, outcome=outcome, epochs=epochs, accuracy=None)
    with lock.only_one(work / "lock") if held else contextlib.nullcontext():
        run_study(grid(0), declared(), TRACKING, executor)
    another = held or (epochs, outcome) == (2, "running")
    assert work.exists() == another
    assert companion.said == ""


@pytest.mark.parametrize("held", [False, True])
def test_a_damaged_checkpoint_is_told_before_a_worker_starts_anew(
    companion: Told, capsys: pytest.CaptureFixture[str], held: bool
) -> None:
    executor = Acting(one_by_one)
    path = project.checkpoint(job(0).identity.name) / "state"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    with lock.only_one(path.parent / "lock") if held else contextlib.nullcontext():
        run_study(grid(0), declared(), TRACKING, executor)
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
    monkeypatch.setattr("pipeline.studies.run_study.run_job", lambda job, _sync: finish(job))
    launch_one(one())
    assert states() == {0: "finished"}
    assert "done already" not in capsys.readouterr().out
    launch_one(one())
    assert "the one setting, seed 0: done already" in capsys.readouterr().out


def test_other_launchers_too_leave_out_what_the_study_excludes_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.run_job", lambda job, _sync: finish(job))
    launch_one(one(exclude=[{"seed": 0}, {"seed": 1}]))
    assert "excluded" in capsys.readouterr().out
    assert not project.STUDIES.exists()
    # What is excluded elsewhere in the grid is none of its own.
    launch_one(one(exclude=[{"seed": 1}]))
    assert states() == {0: "finished"}


def test_other_launchers_too_leave_out_what_can_not_exist_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for leave_out in (False, True):
        point = one(leave_out_refused=leave_out)
        point.values["model"]["conv"]["kernel_size"] = 99
        with (
            contextlib.nullcontext() if leave_out else pytest.raises(UserError, match=r"^model\.conv\.kernel_size: 99")
        ):
            launch_one(point)
    assert "(no override): left out. model.conv.kernel_size: 99 is larger" in capsys.readouterr().out
    assert not project.STUDIES.exists()


def test_other_launchers_too_forget_a_checkpoint_that_a_kill_left_beside_a_finished_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.run_job", lambda job, _sync: finish(job))
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

    monkeypatch.setattr("pipeline.studies.run_study.run_job", fails)
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

    monkeypatch.setattr("pipeline.studies.run_study.run_job", fails)
    monkeypatch.setattr("pipeline.studies.run_study.close_unfinished", fails_too)
    with pytest.raises(OSError, match="first"):
        launch_one(one())
