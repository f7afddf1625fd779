"""A sweep, or a process of it, gets a signal; the same line is typed again, and gets the next."""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from subprocess import Popen

from faults import sweeps
from faults.campaign import Injection, Row
from faults.reference import copied
from tests.harness.project import Project

LINE = sweeps.line("seed=range(2)")
RUNS = 4


@dataclass(frozen=True)
class Attack:
    """Signals to a part of a sweep, one soon after the other."""

    target: str
    signals: tuple[signal.Signals, ...]


TARGETS = "sweep", "group", "worker", "forkserver", "mirror"
ATTACKS = (
    *(Attack(target, (number,)) for target in TARGETS for number in (SIGKILL, SIGTERM)),
    *(Attack(target, (SIGINT,)) for target in TARGETS),
    Attack("group", (SIGINT, SIGINT)),
    Attack("sweep", (SIGTERM, SIGTERM)),
    Attack("group", (SIGINT, SIGKILL)),
)
MOMENTS = "it was started", "it had planned", "a run went on", "all runs were done"
LATEST = 2.5, 5.0, 2.0, 1.0
"""Seconds after the moment until which a signal comes."""


@dataclass(frozen=True)
class Left:
    """What was there after a signal: when the files of finished runs were written, when epochs of begun ones ended."""

    finished: dict[str, dict[str, int]]
    begun: dict[str, list[int]]


def prepare(shared: Path) -> None:
    """A project without a store, what a sweep leaves that nobody interrupts, and its store."""
    project = sweeps.prepared(shared / "project")
    reference = copied(project.path, shared / "reference")
    reference.run(*LINE, "study.name=earlier")
    assert len(sweeps.bits(reference)) == RUNS


def trial(injection: Injection) -> str:
    """The same line three times, each time interrupted, and once more to its end."""
    project = copied(injection.shared / "project", injection.folder / "project")
    if injection.random.random() < 0.5:
        injection.says("with a store")
        take_store(injection.shared / "reference", project)
    hits, left = 0, []
    for moment, attack in strikes(injection.number):
        hits += _struck(project, moment, attack, injection)
        left.append(Left(sweeps.written(project), sweeps.epochs_done(project)))
    with sweeps.watched(project):
        again = project.run(*LINE)
    finished = len(left[-1].finished)
    assert f"{finished} done already, {RUNS - finished} to do" in again, again
    assert "tracking:" not in again, again
    _assert_whole(project, injection.shared, left)
    return f"{hits} of 3 signals came in time, continued to the same bits"


def strikes(number: int) -> list[tuple[int, Attack]]:
    """Moments and attacks of a trial. 24 trials hold each of the attacks at each of the moments."""
    found = []
    for moment in (moment for moment in range(len(MOMENTS)) if moment != number % len(MOMENTS)):
        before = sum(earlier % len(MOMENTS) != moment for earlier in range(number))
        found.append((moment, ATTACKS[(before + 4 * moment) % len(ATTACKS)]))
    return found


def _struck(project: Project, moment: int, attack: Attack, injection: Injection) -> bool:
    """Type the line and interrupt it; whether there was something left to interrupt."""
    names = " and ".join(number.name for number in attack.signals)
    delay = injection.random.uniform(0, LATEST[moment])
    injection.says(f"{names} to the {attack.target} of a sweep {delay:.2f} s after {MOMENTS[moment]}")
    with sweeps.watched(project):
        started = time.time()
        process = sweeps.start(project, *LINE)
        sweeps.wait_until(lambda: process.poll() is not None or _reached(project, moment, started))
        time.sleep(delay)
        hit = _strike(project, process, attack, injection.random)
        said = sweeps.said_by(process)
    injection.says(f"which left with {process.returncode}")
    sweeps.assert_all_leave(project)
    # Before a line of ours has run, Python answers Ctrl-C in its own way.
    assert "Traceback" not in said or (said.rstrip().endswith("KeyboardInterrupt") and "study" not in said), said
    assert process.returncode in _statuses(attack, hit), f"{process.returncode}: {said}"
    return hit


def take_store(source: Path, project: Project) -> None:
    """Give the project a store that holds another study."""
    with (
        closing(sqlite3.connect(source / "mlflow.db")) as found,
        closing(sqlite3.connect(project.path / "mlflow.db")) as database,
    ):
        found.backup(database)
        where = (project.path / "mlartifacts").as_uri()
        database.execute("UPDATE experiments SET artifact_location = ?", (where,))
        database.commit()


def _assert_whole(project: Project, shared: Path, left: list[Left]) -> None:
    """The study is what an uninterrupted sweep leaves, and what was there after each signal has been kept."""
    now = sweeps.written(project)
    for one in left:
        assert {name: now[name] for name in one.finished} == one.finished, "a finished run was written again"
        sweeps.assert_no_epoch_was_done_again(project, one.begun)
    assert sweeps.bits(project) == sweeps.bits(Project(shared / "reference"))
    sweeps.assert_study_is_whole(project, RUNS)
    sweeps.assert_store_is_whole(project, {sweeps.STUDY: RUNS})
    sweeps.assert_tidy(project)
    sweeps.assert_all_leave(project)


def _reached(project: Project, moment: int, started: float) -> bool:
    """Whether the sweep that was started then is at one of MOMENTS."""
    patterns = (
        "params.yaml",
        "studies/*/study.json",
        "checkpoints/*/training/run.json",
        "runs/*/evaluation/metrics.json",
    )
    found = list(project.path.glob(patterns[moment]))
    if moment in (0, 3):
        return len(found) == (1, RUNS)[moment == 3]
    return any(_written(path) > started for path in found)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _strike(project: Project, process: Popen[str], attack: Attack, chance: random.Random) -> bool:
    """Send the signals; whether there was a process to get them."""
    hit = False
    for turn, number in enumerate(attack.signals):
        if turn:
            time.sleep(chance.uniform(0.02, 0.6))
        with suppress(ProcessLookupError):
            if attack.target == "group":
                os.killpg(process.pid, number)
            elif (pid := _victim(project, process, attack.target, chance)) is not None:
                os.kill(pid, number)
            else:
                continue
            hit = hit or process.poll() is None
    return hit


def _victim(project: Project, process: Popen[str], target: str, chance: random.Random) -> int | None:
    """The process to strike; any but the sweep's own is waited for while the sweep runs."""
    if target == "sweep":
        return process.pid if process.poll() is None else None
    find = {"worker": sweeps.workers, "forkserver": sweeps.forkservers, "mirror": sweeps.mirrors}[target]
    found: list[int] = []

    def seen() -> bool:
        found[:] = find(project)
        return bool(found) or process.poll() is not None

    sweeps.wait_until(seen)
    return chance.choice(sorted(found)) if found else None


def _statuses(attack: Attack, hit: bool) -> set[int]:
    """With what a sweep may leave."""
    own = {0, 1} if hit else {0}
    if attack.target in ("sweep", "group"):
        for number in attack.signals:
            own |= {-number, 128 + number}
        own -= {1}
    return own


ROW = Row(
    name="interrupted_sweep",
    fault="SIGKILL, SIGTERM, SIGINT to a sweep, its process group, one of its workers, the process that these are "
    "forked from, its mirror; also twice; three times in each study",
    must_hold="finished runs are kept, the same line continues to the same bits, no run stays RUNNING in MLflow once "
    "the command has been run again, nothing is logged twice, no process stays",
    times=24,
    short=1,
    trial=trial,
    prepare=prepare,
)
