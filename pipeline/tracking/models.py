"""The Keras model of a run in MLflow: one, whole, whatever went wrong on the way."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.run.record import Record, TrainingPart
from pipeline.terminal.errors import UserError
from pipeline.tracking import fields
from pipeline.tracking.addresses import check_place
from pipeline.tracking.store import Store, ensure, settle

Export = Callable[[TrainingPart], Any]
"""Makes the Keras model of a record; called only when the store has none."""


def write_model(store: Store, run_id: str, record: Record, export: Export) -> None:
    """Leave one whole Keras model with the run: what an outage left half-written is written to its end.

    MLflow's own log_model can't be begun again: a request whose answer was lost makes a second model, or fails for
    ever.
    """

    def models() -> list[Any]:
        found = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
        return sorted(found, key=lambda model: (model.status != LoggedModelStatus.READY, model.model_id))

    def make() -> list[Any]:
        params = fields.params(record)
        return [
            store.client.create_logged_model(store.experiment_id, name="model", source_run_id=run_id, params=params)
        ]

    model = ensure(models, make)[0]
    if model.status != LoggedModelStatus.READY:
        check_place(store.address, model.artifact_location)
        with tempfile.TemporaryDirectory() as folder:
            _save(model, run_id, record.training, export(record.training), Path(folder) / "model")
            store.client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        _link(store, run_id, model.model_id, record)
        settle(store, model.artifact_location)
        # This comes last: a model that is ready is whole.
        store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    for other in models()[1:]:
        # What a request that was given up made besides.
        if other.status != LoggedModelStatus.READY:
            store.client.delete_logged_model(other.model_id)


def _link(store: Store, run_id: str, model_id: str, record: Record) -> None:
    """The model among what the run gave, the run's final metrics among those of the model."""

    def linked() -> bool:
        outputs = store.client.get_run(run_id).outputs
        return outputs is not None and model_id in {output.model_id for output in outputs.model_outputs}

    def link() -> bool:
        store.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        return True

    ensure(linked, link)
    if not store.client.get_logged_model(model_id).metrics:
        # As they stand in the run, or it would hold them twice.
        points = [
            point for name in fields.final_metrics(record) for point in store.client.get_metric_history(run_id, name)
        ]
        own = [Metric(point.key, point.value, point.timestamp, point.step, model_id=model_id) for point in points]
        store.client.log_batch(run_id, metrics=own)


def _save(logged: Any, run_id: str, training: TrainingPart, model: Any, folder: Path) -> None:
    """The model with its signature: raw images uint8 in, probabilities out."""
    from mlflow import keras as flavor  # noqa: PLC0415 - it imports TensorFlow

    shape = [-1, *model.input_shape[1:]]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), [-1, model.output_shape[-1]])]),
    )
    versions = training.run.ingredients["versions"]
    if not isinstance(versions, dict) or not all(
        re.fullmatch(r"[0-9][0-9A-Za-z.+!]*", str(version)) for version in versions.values()
    ):
        raise UserError(f"{training.folder}: says that it was made with versions that are none.")
    flavor.save_model(
        model,
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, model_id=logged.model_id, run_id=run_id
        ),
        signature=signature,
        pip_requirements=[f"{package}=={versions[package]}" for package in ("keras", "numpy", "tensorflow")],
    )
