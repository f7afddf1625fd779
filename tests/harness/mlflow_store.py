"""What a project's MLflow store holds."""

import contextlib
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from pipeline.storage import digest
from pipeline.tracking.fields import is_timed
from tests.harness.project import Project


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
    return sorted((key, step, None if is_timed(key) else value) for key, step, value in found)


def contents(project: Project) -> dict[str, Any]:
    """All that a store holds of each run, by study, role and identity: everything but ids and when it was asked for."""
    store = as_it_is(project)
    found = runs(store)
    names = {run.info.run_id: _name(run) for run in found}
    assert len(set(names.values())) == len(names)
    return {names[run.info.run_id]: _content(store, run, names) for run in found}


def as_it_is(project: Project) -> MlflowClient:
    """A client of a copy: mlflow keeps a database open that was opened once, though another lies in its place."""
    folder = Path(tempfile.mkdtemp(dir=project.path.parent))
    for path in project.path.glob("mlflow.db*"):
        shutil.copy(path, folder)
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def _name(run: Any) -> str:
    return " ".join(run.data.tags.get(tag, "") for tag in ("study", "role", "identity"))


def _content(store: MlflowClient, run: Any, names: dict[str, str]) -> dict[str, Any]:
    tags = dict(run.data.tags)
    if (parent := tags.get("mlflow.parentRunId")) is not None:
        tags["mlflow.parentRunId"] = names[parent]
    models = store.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return {
        "name and status": (run.info.run_name, run.info.status),
        "params": run.data.params,
        "tags": tags,
        "points": {
            name: [
                (point.step, point.value, point.timestamp) for point in store.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        },
        "images": [(used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs],
        "artifacts": _artifacts(run.info.artifact_uri),
        "models": [(model.status, model.params, sorted(_artifacts(model.artifact_location))) for model in models],
    }


def _artifacts(place: str) -> dict[str, str]:
    return digest.of_folder(Path(unquote(urlsplit(place).path)))
