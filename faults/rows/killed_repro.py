"""SIGKILL at random moments of `make repro`, to dvc alone or to all of its processes; then the same command again."""

import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, litter, made, results
from pipeline.run.checkpoint import read_checkpoint
from tests.harness.mlflow_store import client, points, runs
from tests.harness.project import Project

COMMAND = "make", "repro"
STARTED = re.compile(r"Running stage '(\w+)'")
GONE_ON = re.compile(r"going on after epoch (\d+)")
EPOCH = re.compile(r"^epoch (\d+)/", re.MULTILINE)
JOBS = 2
LATEST = 1.05
"""Of the time of an uninterrupted run: the last moments shall be hit too, though one trial is slower than another."""


def prepare(shared: Path) -> None:
    """A project that has run nothing yet, and beside it the results and the seconds of an uninterrupted run."""
    start = made(shared / "start", *QUICK)
    start.run("python", "-m", "compileall", "-q", "pipeline")
    copies = [copied(start.path, shared / name) for name in ("whole", "beside")]
    # As many side by side as trials will be.
    with ThreadPoolExecutor(JOBS) as pool:
        seconds = list(pool.map(_seconds, copies))
    (shared / "seconds").write_text(str(max(seconds)), encoding="utf-8")


def _seconds(project: Project) -> float:
    started = time.perf_counter()
    project.run(*COMMAND)
    return time.perf_counter() - started


def trial(injection: Injection) -> str:
    moment = LATEST * float((injection.shared / "seconds").read_text(encoding="utf-8"))
    target = injection.random.choice(("dvc alone", "all processes"))
    hit = False
    while not hit:
        # Where the command had ended by then it was faster than the one that was timed: an earlier moment.
        moment = injection.random.uniform(0, moment)
        shutil.rmtree(injection.folder / "project", ignore_errors=True)
        project = copied(injection.shared / "start", injection.folder / "project")
        output, hit = _killed(project, target, moment)
    injection.says(f"SIGKILL to {target} after {moment:.2f} s of make repro")
    saved = _epochs_saved(project)
    again = project.run(*COMMAND)
    _agree(project, injection.shared / "whole")
    printed = max(map(int, EPOCH.findall(output)), default=0)
    gone_on = GONE_ON.search(again)
    assert gone_on is None or int(gone_on[1]) >= max(printed, saved), f"lost an epoch:\n{output}\n{again}"
    if "torn by a kill" in again:
        return "dvc.lock torn, repaired"
    stages = STARTED.findall(output)
    return f"in {stages[-1]}" if stages else "before the stages"


def _killed(project: Project, target: str, moment: float) -> tuple[str, bool]:
    """What the command printed until it was killed, and whether there was something left to kill."""
    with project.start(*COMMAND) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            hit = _kill(process.pid, target)
        else:
            hit = False
        # An orphan holds the pipe until it ends by itself.
        os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
        process.wait(30)
        output = process.stdout.read() or ""  # type: ignore[union-attr]
    return output, hit


def _kill(pid: int, target: str) -> bool:
    if target == "all processes":
        os.killpg(pid, signal.SIGKILL)
        return True
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if any(Path(word).name == "dvc" for word in child.cmdline()[:2]):
                child.kill()
                return True
        except psutil.NoSuchProcess:
            continue
    # dvc has not begun, or has ended.
    os.killpg(pid, signal.SIGKILL)
    return True


def _epochs_saved(project: Project) -> int:
    found = [read_checkpoint(path) for path in (project.path / "checkpoints").glob("*/state")]
    return max((len(checkpoint.history) for checkpoint in found if checkpoint is not None), default=0)


def _agree(project: Project, whole: Path) -> None:
    """Files byte for byte as without the kill, each metric of each epoch in MLflow once, nothing half-written."""
    assert results(project.path) == results(whole)
    assert litter(project.path) == []
    (run,) = runs(client(project))
    assert run.info.status == "FINISHED"
    assert points(project) == points(Project(whole))


ROW = Row(
    name="killed_repro",
    fault="SIGKILL at a random moment of `make repro`: to dvc alone, or to all of its processes",
    must_hold="the same command ends with the bytes of an uninterrupted run; no whole epoch is lost or in MLflow twice",
    times=200,
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=JOBS,
)
