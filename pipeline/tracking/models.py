"""Models in MLflow: the Keras model of a run, one and whole whatever went wrong on the way, and those that were
released, versions of one name in its registry, of which aliases say which is the champion.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from pipeline.run.record import EVALUATION, EvaluationPart, Record, TrainingPart
from pipeline.run.weights import export_network
from pipeline.terminal.errors import UserError
from pipeline.tracking import fields
from pipeline.tracking.addresses import check_place
from pipeline.tracking.download import artifacts_of, download_file, registered, stored_run
from pipeline.tracking.store import Store, ensure, reaching, search_runs, settle

CHAMPION, PREVIOUS = "champion", "previous"

DESCRIPTION = "Networks of this project that were released: the champion is the one to use, previous the one before."


def import_for_models() -> Any:
    """MLflow's way with Keras models, after TensorFlow, which takes seconds."""
    # First: it imports TensorFlow without what that prints.
    import_module("pipeline.network")
    from mlflow import keras  # noqa: PLC0415 - it imports TensorFlow

    return keras


def write_model(store: Store, run_id: str, record: Record) -> None:
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
            _save(model, run_id, record.training, export_network(record.training), Path(folder) / "model")
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
    import_for_models().save_model(
        model,
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, model_id=logged.model_id, run_id=run_id
        ),
        signature=signature,
        pip_requirements=[f"{package}=={versions[package]}" for package in ("keras", "numpy", "tensorflow")],
    )


@dataclass(frozen=True)
class Version:
    """A released model: its number, the run it comes from, which weights, which test images."""

    number: int
    run_id: str
    weights: str
    images: str


class Registry:
    """The versions of one model `name` in a store. Every method raises StoreUnreachableError."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name

    def version_of(self, alias: str) -> Version | None:
        """The version that has the alias."""
        with reaching(self.store.address):
            version = registered(self.store, self.name, alias)
            return None if version is None else _version(version)

    def register(self, training: TrainingPart, scored: EvaluationPart, run_id: str) -> Version:
        """The version that holds the network, made where there is none from the MLflow run that holds the record with
        its model.
        """
        client = self.store.client
        with reaching(self.store.address):
            if not client.search_registered_models(f"name = '{self.name}'"):
                client.create_registered_model(self.name, description=DESCRIPTION)
            versions = map(_version, client.search_model_versions(f"name = '{self.name}'"))
            version = next((one for one in versions if one.weights == training.run.weights), None)
            if version is None:
                (model,) = client.search_logged_models([self.store.experiment_id], f"source_run_id = '{run_id}'")[:1]
                tags = {
                    "identity": training.run.identity,
                    "weights": str(training.run.weights),
                    "images": scored.images_digest,
                    "class_names": json.dumps(scored.class_names, ensure_ascii=False),
                }
                version = _version(
                    client.create_model_version(
                        self.name, model.artifact_location, run_id=run_id, tags=tags, model_id=model.model_id
                    )
                )
            return version

    def attach(self, version: Version, description: str, files: Mapping[str, str]) -> str:
        """Put the card of a version with it, its files by their names with its run; returns where these lie."""
        client = self.store.client
        with reaching(self.store.address):
            location = artifacts_of(self.store, version.run_id)
            client.update_model_version(self.name, str(version.number), description=description)
            for name, text in files.items():
                client.log_text(version.run_id, text, f"card/{name}")
            settle(self.store, location)
        return f"{location}/card"

    def crown(self, version: Version) -> None:
        """Make a version the champion; the former one is then the previous."""
        former = self.version_of(CHAMPION)
        with reaching(self.store.address):
            if former is not None and former.number != version.number:
                self.store.client.set_registered_model_alias(self.name, PREVIOUS, str(former.number))
            self.store.client.set_registered_model_alias(self.name, CHAMPION, str(version.number))

    def answers(self, version: Version) -> NDArray[np.bool_]:
        """Which test image its network is right about, bool [n]. Raises UserError where the store does not say."""
        with tempfile.TemporaryDirectory() as folder, reaching(self.store.address):
            location = artifacts_of(self.store, version.run_id)
            try:
                path = download_file(self.store, location, f"{EVALUATION}/correct.npy", Path(folder))
                answers = np.asarray(np.load(path, allow_pickle=False))
            except (OSError, ValueError, MlflowException):
                answers = np.empty(0)
        if answers.dtype != np.bool_ or answers.ndim != 1:
            raise UserError(
                f"version {version.number} of {self.name}: the store has no predictions of it, so it can't be "
                "compared. To replace it all the same: --anyway"
            )
        return np.asarray(answers, dtype=np.bool_)

    def opened(self) -> int:
        """How many networks the test images have scored in this store, each counted once."""
        with reaching(self.store.address):
            runs = [stored_run(run) for run in search_runs(self.store, "")]
        return len({run.tags.get("identity", run.run_id) for run in runs if fields.score_name("test") in run.metrics})


def _version(version: Any) -> Version:
    tags = dict(version.tags)
    return Version(
        number=int(version.version),
        run_id=str(version.run_id),
        weights=str(tags.get("weights", "")),
        images=str(tags.get("images", "")),
    )
