"""MLflow away: nothing is lost, and it is said once."""

from pathlib import Path

from tests.mlflow_store import client, curve, runs
from tests.project import HARD, new_project


def test_a_store_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    project = new_project(tmp_path, *HARD, "training.epochs=1")
    output = project.run("dvc", "repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    told = [line for line in output.splitlines() if line.startswith("tracking:")]
    assert told
    assert all("pipeline.track" in line for line in told)
    assert len(told) <= 2
    assert all("http://127.0.0.1:9: does not answer" in line for line in told)
    assert "Traceback" not in output
    project.verb("track")
    (run,) = runs(client(project))
    assert run.info.status == "FINISHED"
    assert [step for step, _ in curve(client(project), run, "training/loss")] == [1]
