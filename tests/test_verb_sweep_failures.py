"""Sweeps in which something goes wrong: failures, kills, interruptions. Real workers, real signals."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.mlflow_store import client, curve
from tests.harness.project import Project
from tests.harness.sweeps import children, faulty, faulty_project, parent, study, sweep


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return faulty_project(tmp_path_factory.mktemp("sweeps"))


def test_failures_are_isolated_told_and_tried_again(prepared: Project) -> None:
    line = "model.conv.kernel_size=3", "seed=range(31,34)", "study.name=failing"
    with faulty(prepared, seed31="raise", seed32="die"):
        said = sweep(prepared, *line, status=1)
    assert re.search(r"31 +│ RuntimeError: told to fail", said)
    assert re.search(r"32 +│ its process was killed \(SIGKILL\)", said)
    assert "error: 2 of 3 runs failed" in said
    assert "Traceback" not in said
    cells = {cell["seed"]: cell for cell in study(prepared, "failing")["cells"]}
    assert {seed: cell["state"] for seed, cell in cells.items()} == {
        31: "failed", 32: "failed", 33: "finished"
    }  # fmt: skip
    found = {int(run.data.params["seed"]): run for run in children(prepared, "failing")}
    assert {seed: run.info.status for seed, run in found.items()} == {
        31: "FAILED", 32: "FAILED", 33: "FINISHED"
    }  # fmt: skip
    assert found[31].data.tags["reason"] == "RuntimeError: told to fail"
    assert "SIGKILL" in found[32].data.tags["reason"]
    assert "reason" not in found[33].data.tags
    assert parent(prepared, "failing").info.status == "FAILED"
    trace = prepared.path / "checkpoints" / cells[31]["identity"] / "failure.txt"
    assert "told to fail" in trace.read_text()
    assert "1 done already, 2 to do" in sweep(prepared, *line)
    again = {int(run.data.params["seed"]): run for run in children(prepared, "failing")}
    assert {run.info.run_id for run in again.values()} == {run.info.run_id for run in found.values()}
    assert {run.info.status for run in again.values()} == {"FINISHED"}
    assert not [run for run in again.values() if "reason" in run.data.tags]
    assert [step for step, _ in curve(client(prepared), again[32], "loss/training")] == [1, 2]
    assert parent(prepared, "failing").info.status == "FINISHED"
    assert list((prepared.path / "checkpoints").glob("*/training")) == []


@pytest.mark.long
def test_a_loss_that_is_not_finite_is_an_outcome_and_not_tried_again(prepared: Project) -> None:
    diverging = (
        "training=article",
        "training.optimizer=sgd",
        "training.learning_rate=100",
        "model.conv.activation=linear",
    )
    line = (*diverging, "training.epochs=2", "seed=0", "study.name=diverging")
    assert "diverged" in sweep(prepared, *line)
    (run,) = children(prepared, "diverging")
    assert run.info.status == "FINISHED"
    assert run.data.tags["outcome"] == "diverged"
    assert "1 done already, 0 to do" in sweep(prepared, *line, "tracking=off")


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.long),
    ],
)
def test_a_sweep_that_is_stopped_leaves_no_run_running_and_goes_on(
    prepared: Project, number: signal.Signals, status: int
) -> None:
    seed = 40 + int(number)
    name = f"stopped_{number.name}"
    line = "model.conv.kernel_size=3", f"seed={seed},{seed + 100}", f"study.name={name}"
    with faulty(prepared, **{f"seed{seed}": "hold", f"seed{seed + 100}": "hold"}):
        running = prepared.start("python", "-c", UNIGNORED, "python", "-m", "pipeline.sweep", "-m", *line)
        wait_for(lambda: len(epochs(prepared, name)) == 2)
        workers = descendants(running.pid)
        if number == signal.SIGKILL:
            os.kill(running.pid, number)
        else:
            os.killpg(running.pid, number)
        assert running.wait(60) == status
        wait_for(lambda: not any(is_training(worker) for worker in workers))
    wait_for(lambda: {run.info.status for run in children(prepared, name)} == {"KILLED"})
    assert parent(prepared, name).info.status == "KILLED"
    said = sweep(prepared, *line)
    assert "0 done already, 2 to do" in said
    found = children(prepared, name)
    assert {run.info.status for run in found} == {"FINISHED"}, said
    assert len(found) == 2
    for run in found:
        assert [step for step, _ in curve(client(prepared), run, "loss/training")] == [1, 2]


@pytest.mark.long
def test_two_sweeps_of_one_study_divide_its_runs(prepared: Project) -> None:
    line = "model.conv.kernel_size=3", "seed=60,61,62", "study.name=divided", "study.jobs=1", "tracking=off"
    start = "python", "-m", "pipeline.sweep", "-m", *line
    with faulty(prepared, seed60="hold"):
        one = prepared.start(*start)
        wait_for(lambda: list((prepared.path / "checkpoints").glob("*/training/history.csv")))
        other = prepared.start(*start)
        wait_for(lambda: scored_seeds(prepared, "divided") == {61, 62})
        assert one.poll() is None
        assert other.poll() is None
    assert [one.wait(120), other.wait(120)] == [0, 0]
    assert scored_seeds(prepared, "divided") == {60, 61, 62}
    assert study(prepared, "divided")["state"] == "finished"


@pytest.mark.long
def test_a_race_that_is_killed_and_then_divided_ends_with_the_runs_of_one_alone(prepared: Project) -> None:
    line = "model.conv.filters=1,16", "seed=range(80,86)", "study.stop=decided", "study.jobs=1", "tracking=off"
    start = "python", "-m", "pipeline.sweep", "-m", *line, "study.name=killed_race"
    with faulty(prepared, seed81="hold"):
        killed = prepared.start(*start)
        wait_for((prepared.path / "studies" / "killed_race" / "study.json").exists)
        wait_for(lambda: scored_seeds(prepared, "killed_race") == {80})
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(60)
    both = [prepared.start(*start) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    divided = study(prepared, "killed_race")
    shutil.move(prepared.path / "runs", prepared.path / "runs_before")
    sweep(prepared, *line, "study.name=alone")
    alone = study(prepared, "alone")
    for run in (*divided["cells"], *alone["cells"]):
        del run["seconds"]
    assert divided["cells"] == alone["cells"]
    assert divided["state"] == alone["state"] == "finished"
    assert any(run["state"] == "waiting" for run in alone["cells"])


def scored_seeds(project: Project, name: str) -> set[int]:
    """The seeds whose runs are scored, by their records."""
    cells = study(project, name)["cells"]
    scored = {path.parent.parent.name for path in (project.path / "runs").glob("*/evaluation/evaluation.json")}
    return {cell["seed"] for cell in cells if cell["identity"] in scored}


UNIGNORED = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that Ctrl-C reaches, however this process was started."""


def epochs(project: Project, name: str) -> list[Any]:
    """The study's runs of which the store holds an epoch. Looks at the file alone: mlflow would make the tables."""
    query = (
        "SELECT DISTINCT metrics.run_uuid FROM metrics JOIN tags ON tags.run_uuid = metrics.run_uuid "
        "WHERE metrics.key = 'loss/training' AND tags.key = 'study' AND tags.value = ?"
    )
    with contextlib.suppress(sqlite3.OperationalError):
        where = f"file:{project.path / 'mlflow.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(where, uri=True)) as database:
            return database.execute(query, (name,)).fetchall()
    return []


def wait_for(seen: Any, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "was not seen in time"
        time.sleep(0.3)


def descendants(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split("\n")
    parents = {int(line.split()[0]): int(line.split()[1]) for line in found if line.strip()}
    below = [child for child, above in parents.items() if above == pid]
    return below + [deeper for child in below for deeper in descendants(child)]


def is_training(pid: int) -> bool:
    """Whether the process is there and is a worker."""
    try:
        return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
