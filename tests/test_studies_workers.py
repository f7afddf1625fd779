"""Processes that do a study's jobs side by side, and survive each other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import cast

import pytest

from pipeline.storage import lock, project
from pipeline.studies import workers
from pipeline.studies.plan import Job
from pipeline.studies.workers import NEVER_BEGUN, Ended, LocalProcesses, cores, failure
from pipeline.terminal.errors import UserError
from tests.harness.worker_acts import Act, act


@pytest.fixture(autouse=True)
def _acting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "run_job", act)
    monkeypatch.setattr(workers, "PRELOADED", ["pipeline.studies.workers", "tests.harness.worker_acts"])
    monkeypatch.setattr(workers, "BETWEEN_LOOKS", 0.05)


def done(jobs: Sequence[Job], wanted: int | None) -> Iterator[tuple[list[Job], list[Ended]]]:
    return LocalProcesses(wanted).run(jobs, lambda _job: True)


def jobs(folder: Path, *names: str, threads: int = 1) -> list[Job]:
    return [cast(Job, Act(name, folder, threads)) for name in names]


def name_of(job: Job) -> str:
    return cast(Act, job).name


def ends(looks: Iterator[tuple[list[Job], list[Ended]]]) -> dict[str, Ended]:
    """How each job ended, once; while it has not it may be among those that run."""
    found: dict[str, Ended] = {}
    for running, told in looks:
        for ended in told:
            assert name_of(ended.job) not in found
            found[name_of(ended.job)] = ended
        assert not found.keys() & {name_of(job) for job in running}
    return found


@contextmanager
def begun(looks: Iterator[tuple[list[Job], list[Ended]]]) -> Iterator[Iterator[tuple[list[Job], list[Ended]]]]:
    """The iteration, left early when the block ends."""
    assert isinstance(looks, Generator)
    with closing(looks):
        yield looks


def tries(folder: Path, name: str) -> list[str]:
    """The process ids of the workers that began the job."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def reasons(found: dict[str, Ended]) -> dict[str, str | None]:
    return {name: None if ended.failure is None else ended.failure.reason for name, ended in found.items()}


def test_no_jobs_need_no_worker() -> None:
    assert list(done([], None)) == []


def test_each_job_has_a_process_of_its_own_and_its_word_is_its_last(tmp_path: Path) -> None:
    names = [f"job-{number}" for number in range(5)]
    assert reasons(ends(done(jobs(tmp_path, *names), 1))) == dict.fromkeys(names)
    assert len({line for name in names for line in tries(tmp_path, name)}) == 5
    assert not active_children()


def test_what_another_sweep_does_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    names = ["a", "b", "c", "d"]
    with lock.only_one(project.run_root("a") / ".lock"), lock.only_one(project.run_root("c") / ".lock"):
        order = list(ends(done(jobs(tmp_path, *names), 1)))
    assert order == ["b", "d", "a", "c"]


def test_a_lock_that_can_not_be_read_is_left_to_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "RUNS", tmp_path / "runs")
    (project.run_root("a") / ".lock").mkdir(parents=True)
    assert list(ends(done(jobs(tmp_path, "a", "b"), 1))) == ["a", "b"]


def test_a_job_that_fails_in_any_way_fails_alone(tmp_path: Path) -> None:
    names = ["a", "kill", "b", "raise", "exit", "c", "person", "leave", "d"]
    found = ends(done(jobs(tmp_path, *names), 2))
    assert reasons(found) == {
        **dict.fromkeys("abcd"),
        "kill": "its process was killed (SIGKILL): by a person, or by the system for lack of memory",
        "raise": "ValueError: first line",
        "exit": "its process ended with status 3",
        "leave": "its process ended with status 0",
        "person": "a.b: must be\nmore",
    }
    assert all(len(tries(tmp_path, name)) == 1 for name in names)
    raised, killed = found["raise"].failure, found["kill"].failure
    assert raised is not None
    assert "in _work" in raised.traceback
    assert "ValueError: first line\nsecond line" in raised.traceback
    assert killed is not None
    assert killed.traceback == ""


def test_jobs_of_different_threads_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 3)
    mixed = [*jobs(tmp_path, "a", "b", threads=2), *jobs(tmp_path, "c"), *jobs(tmp_path, "d", threads=9)]
    together = []
    seen = set()
    for running, ended in done(mixed, None):
        together.append(sum(job.configuration.training.threads for job in [*running, *(one.job for one in ended)]))
        seen |= {name_of(one.job) for one in ended}
    assert seen == set("abcd")
    # More threads than cores only where the job would never be done else.
    assert set(together) <= {1, 2, 3, 9}


def test_workers_that_can_not_be_started_fail_their_jobs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", refuse)
    assert reasons(ends(done(jobs(tmp_path, "a", "b"), 1))) == dict.fromkeys("ab", NEVER_BEGUN)
    monkeypatch.undo()
    monkeypatch.setattr(workers, "run_job", act)
    assert reasons(ends(done(jobs(tmp_path, "a"), 1))) == {"a": None}


def test_the_process_that_workers_come_from_may_die(tmp_path: Path) -> None:
    with begun(done(jobs(tmp_path, "nap-1", "nap-2", "a"), 1)) as looks:
        next(looks)
        wait_for(lambda: bool(tries(tmp_path, "nap-1")))
        os.kill(parent_of(int(tries(tmp_path, "nap-1")[0])), signal.SIGKILL)
        assert reasons(ends(looks)) == dict.fromkeys(["nap-1", "nap-2", "a"])


SWEEP = """\
import sys
import time
from pathlib import Path
from pipeline.studies import workers
from tests.harness.worker_acts import Act, act
workers.run_job = act
workers.PRELOADED = ["pipeline.studies.workers", "tests.harness.worker_acts"]
jobs = [Act(name, Path(sys.argv[1])) for name in ("sleep-1", "sleep-2")]
for _ in workers.LocalProcesses(2).run(jobs, lambda _job: True):
    pass
"""


def test_a_sweep_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)])
    wait_for(lambda: len([*tries(tmp_path, "sleep-1"), *tries(tmp_path, "sleep-2")]) == 2)
    left = [int(process) for name in ("sleep-1", "sleep-2") for process in tries(tmp_path, name)]
    left.append(parent_of(left[0]))
    assert len(set(left)) == 3
    assert parent_of(left[-1]) == sweep.pid
    sweep.kill()
    sweep.wait()
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in left))


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, "was not seen in time"
        time.sleep(0.05)


BLOCKED = """\
import sys, time
from multiprocessing import get_context
from pathlib import Path
from pipeline.studies import workers
worker = get_context(sys.argv[1]).Process(target=time.sleep, args=(60,), daemon=True)
assert workers._start(worker, forked=sys.argv[1] == "forkserver")
print(Path(f"/proc/{worker.pid}/status").read_text().partition("SigBlk:")[2].split()[0])
worker.kill()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc tells which signals a process blocks")
@pytest.mark.parametrize("method", ["forkserver", pytest.param("spawn", marks=pytest.mark.long)])
def test_no_worker_is_reached_by_ctrl_c_from_its_first_moment_not_even_the_first(method: str) -> None:
    alone = subprocess.run([sys.executable, "-c", BLOCKED, method], capture_output=True, text=True, check=True)
    assert int(alone.stdout, 16) & 1 << (signal.SIGINT - 1)


def test_leaving_the_iteration_early_kills_the_workers(tmp_path: Path) -> None:
    with begun(done(jobs(tmp_path, "sleep-1", "nap-1", "sleep-2", "sleep-3"), 2)) as looks:
        seen = []
        for running, told in looks:
            seen.append(({name_of(job) for job in running}, [name_of(ended.job) for ended in told]))
            if tries(tmp_path, "sleep-1") and tries(tmp_path, "sleep-2"):
                break
    # A look tells what runs while it runs.
    assert seen[0] == ({"sleep-1", "nap-1"}, [])
    assert seen[-1] == ({"sleep-1", "sleep-2"}, [])
    assert [told for _, told in seen if told] == [["nap-1"]]
    for name in ("sleep-1", "sleep-2"):
        process = int(tries(tmp_path, name)[0].split()[0])
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert tries(tmp_path, "sleep-3") == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("clumsy", "ClumsyError: one and two"), ("configuration", "a.b: must be 3.")],
)
def test_a_reason_arrives_whatever_kind_of_exception_gave_it(tmp_path: Path, name: str, reason: str) -> None:
    found = ends(done(jobs(tmp_path, name, "a"), 1))
    assert len(tries(tmp_path, name)) == 1
    assert reasons(found) == {name: reason, "a": None}


# The pure parts


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize(
    ("threads", "wanted", "count"), [(1, None, 8), (2, None, 4), (3, None, 2), (9, None, 1), (9, 5, 5), (1, 1, 1)]
)
def test_jobs_times_threads_are_the_cores_unless_another_number_is_wanted(
    threads: int, wanted: int | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    assert LocalProcesses(wanted).slots(jobs(tmp_path, *"abcdefghij", threads=threads)) == count


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (-signal.SIGSEGV, "its process was ended by signal 11 (Segmentation fault)"),
        (1, "its process ended with status 1"),
        (0, "its process ended with status 0"),
    ],
)
def test_how_a_process_died_is_told_in_words(status: int, reason: str) -> None:
    assert workers.death_in_words(status) == reason


@pytest.mark.parametrize(
    ("error", "reason", "traced"),
    [
        (UserError("key: rule"), "key: rule", False),
        (ValueError("one\ntwo"), "ValueError: one", True),
        (ValueError("\n  one  \n"), "ValueError: one", True),
        (MemoryError(), "MemoryError", True),
        (SystemExit(3), "SystemExit: 3", True),
    ],
)
def test_a_reason_is_what_a_person_can_use(error: BaseException, reason: str, traced: bool) -> None:
    found = failure(error)
    assert found.reason == reason
    assert bool(found.traceback) == traced
