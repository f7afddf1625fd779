"""What a project's MLflow store holds."""

from typing import Any

from mlflow import MlflowClient

from tests.project import Project


def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.path}/mlflow.db")


def runs(store: MlflowClient) -> list[Any]:
    return list(store.search_runs([experiment.experiment_id for experiment in store.search_experiments()]))


def curve(store: MlflowClient, run: Any, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in store.get_metric_history(run.info.run_id, name)]
