"""MLflow away: nothing is lost, and it is said once."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.harness.mlflow_store import client, curve, runs
from tests.harness.project import HARD, prepared_project
from tests.harness.sweeps import LINE, faulty, faulty_project, sweep

NOWHERE = "http://127.0.0.1:9"


def test_a_training_whose_store_cannot_be_reached_is_told_and_brought_up_later(tmp_path: Path) -> None:
    project = prepared_project(tmp_path, *HARD, "training.epochs=1")
    output = project.verb("train", MLFLOW_TRACKING_URI=NOWHERE)
    (told,) = [line for line in output.splitlines() if line.startswith("tracking:")]
    assert f"{NOWHERE}: does not answer" in told
    assert "pipeline.track" in told
    assert "Traceback" not in output
    project.verb("track")
    (run,) = runs(client(project))
    assert [step for step, _ in curve(client(project), run, "loss/training")] == [1]


@pytest.mark.long
def test_a_store_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    project = prepared_project(tmp_path, *HARD, "training.epochs=1")
    output = project.run("dvc", "repro", MLFLOW_TRACKING_URI=NOWHERE)
    told = [line for line in output.splitlines() if line.startswith("tracking:")]
    assert told
    assert all("pipeline.track" in line for line in told)
    assert len(told) <= 2
    assert all(f"{NOWHERE}: does not answer" in line for line in told)
    assert "Traceback" not in output
    project.verb("track")
    (run,) = runs(client(project))
    assert run.info.status == "FINISHED"
    assert [step for step, _ in curve(client(project), run, "loss/training")] == [1]


@pytest.mark.long
def test_a_database_that_is_locked_or_none_costs_nothing(tmp_path: Path) -> None:
    project = prepared_project(tmp_path, *HARD, "training.epochs=1")
    database = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        output = project.run("dvc", "repro")
    told = [line for line in output.splitlines() if line.startswith("tracking:")]
    assert len(told) == 2, output
    assert all(f"{database}: is locked by another program" in line for line in told)
    text = "no database\n" * 1000
    database.write_text(text)
    output = project.run("dvc", "repro", "--force", "train", "evaluate")
    told = [line for line in output.splitlines() if line.startswith("tracking:")]
    assert len(told) == 2, output
    assert all(f"{database}: is no database: move it away" in line and "pipeline.track" in line for line in told)
    assert "Traceback" not in output
    assert database.read_text() == text
    database.rename(tmp_path / "away")
    project.verb("track")
    (run,) = runs(client(project))
    assert run.info.status == "FINISHED"


@pytest.mark.long
def test_runs_that_failed_while_the_store_was_away_are_told_by_track(tmp_path: Path) -> None:
    project = faulty_project(tmp_path)
    with faulty(project, seed0="raise"):
        output = project.run("dvc", "repro", status=None, MLFLOW_TRACKING_URI=NOWHERE)
        assert "told to fail" in output
        sweep(project, *LINE[1:], status=1, MLFLOW_TRACKING_URI=NOWHERE)
    project.verb("track")
    (name,) = (path.name for path in (tmp_path / "studies").iterdir())
    project.verb("track", name)
    found = {(run.data.tags["study"], run.data.tags.get("outcome")): run for run in runs(client(project))}
    assert {key: run.info.status for key, run in found.items()} == {
        ("dvc repro", "failed"): "FAILED",
        (name, "failed"): "FAILED",
        (name, "finished"): "FINISHED",
    }
