"""What a project's MLflow store holds."""

import contextlib
import sqlite3
import time
from typing import Any

from mlflow import MlflowClient

from tests.project import Project


def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.path}/mlflow.db")


def runs(store: MlflowClient) -> list[Any]:
    return list(store.search_runs([experiment.experiment_id for experiment in store.search_experiments()]))


def curve(store: MlflowClient, run: Any, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in store.get_metric_history(run.info.run_id, name)]


def wait_for_metric(project: Project, name: str) -> None:
    """Wait until the store holds a value of the metric."""
    _wait_for_row(project, "SELECT 1 FROM metrics WHERE key = ?", name)


def wait_for_status(project: Project, status: str) -> None:
    """Wait until a run has the status."""
    _wait_for_row(project, "SELECT 1 FROM runs WHERE status = ?", status)


def _wait_for_row(project: Project, query: str, value: str, seconds: float = 120) -> None:
    """Looks at the file alone: mlflow would make the tables."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.OperationalError):
            where = f"file:{project.path / 'mlflow.db'}?mode=ro"
            with contextlib.closing(sqlite3.connect(where, uri=True)) as database:
                if database.execute(query, (value,)).fetchone():
                    return
        time.sleep(0.2)
    raise AssertionError(f"{value} was not seen in {seconds:.0f} s")


def points(project: Project) -> list[tuple[str, int, float | None]]:
    """Every point of every metric as stored, name, step and value, sorted; a clock's values are left out."""
    with contextlib.closing(sqlite3.connect(project.path / "mlflow.db")) as database:
        found = database.execute("SELECT key, step, value FROM metrics").fetchall()
    return sorted((key, step, None if key.startswith("clock/") else value) for key, step, value in found)
