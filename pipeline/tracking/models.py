"""The Keras model of a run, as others use it: one, and whole."""

import re
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.record.record import TrainingPart
from pipeline.terminal.errors import UserError
from pipeline.tracking.store import Store

Export = Callable[[TrainingPart], Any]
"""Makes the Keras model of a record; called only when the store has none."""


def write_model(store: Store, run_id: str, training: TrainingPart, export: Export) -> None:
    """Leave one whole model with the run; what an outage left half-written is deleted."""
    if not _whole(_models(store, run_id)):
        _log(store, run_id, training, export(training))
    models = _models(store, run_id)
    kept = _whole(models)[0].model_id
    for model in models:
        if model.model_id != kept:
            store.client.delete_logged_model(model.model_id)


def _models(store: Store, run_id: str) -> list[Any]:
    return list(store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'"))


def _whole(models: list[Any]) -> list[Any]:
    return [model for model in models if model.status == LoggedModelStatus.READY]


def _log(store: Store, run_id: str, training: TrainingPart, model: Any) -> None:
    """The model with its signature: raw images uint8 in, probabilities out."""
    from mlflow import keras as flavor  # noqa: PLC0415 - it imports TensorFlow

    shape = [-1, *model.input_shape[1:]]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), [-1, model.output_shape[-1]])]),
    )
    versions: Any = training.environment["versions"]
    if not all(re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", str(version)) for version in versions.values()):
        raise UserError(f"{training.folder}: says that it was made with versions that are none.")
    requirements = [f"{package}=={versions[package]}" for package in ("keras", "numpy", "tensorflow")]
    # Without it the model would go to the default experiment, in a folder mlruns of the current one.
    mlflow.set_experiment(experiment_id=store.experiment_id)
    Model.log(
        artifact_path=None,
        name="model",
        flavor=flavor,
        run_id=run_id,
        model=model,
        signature=signature,
        pip_requirements=requirements,
    )
