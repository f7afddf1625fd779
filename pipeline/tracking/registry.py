"""Released models in MLflow's registry: versions of one name, of which aliases say which is the champion."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.config.schema import Tracking
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import EVALUATION, TRAINING, WEIGHTS, Record
from pipeline.run.weights import export_network
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import check_place
from pipeline.tracking.download import FILES, download_file, open_soon
from pipeline.tracking.run_mirror import Mirror
from pipeline.tracking.store import Store, reaching, search_runs, settle

CHAMPION, PREVIOUS = "champion", "previous"

ON_TEST = {"test/accuracy", "accuracy/test"}
"""What the score on test images is called, in older stores and in newer ones."""

DESCRIPTION = "Networks of this project that were released: the champion is the one to use, previous the one before."

ABSENT = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"

MODEL_FILES = 200_000_000
"""Bytes: a network has up to 10 million parameters, and a server may send for ever."""


@dataclass(frozen=True)
class Version:
    """A released model: its number, the run and the identity it comes from, which weights, which test images."""

    number: int
    run_id: str
    identity: str
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
            try:
                return _version(self.store.client.get_model_version_by_alias(self.name, alias))
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise

    def register(self, record: Record) -> Version:
        """The version that holds the record's network, made where there is none. Its run and model are brought up."""
        run_id = Mirror(self.store, REPRO_STUDY).bring_up(record, export_network)
        client, scored = self.store.client, record.evaluation
        if scored is None:
            raise UserError(f"{record.root}: has no scores. Run: dvc repro")
        with reaching(self.store.address):
            if not client.search_registered_models(f"name = '{self.name}'"):
                client.create_registered_model(self.name, description=DESCRIPTION)
            for one in client.search_model_versions(f"name = '{self.name}'"):
                if one.tags.get("weights") == record.training.run.weights:
                    return _version(one)
            (model,) = client.search_logged_models([self.store.experiment_id], f"source_run_id = '{run_id}'")[:1]
            tags = {
                "identity": record.training.run.identity,
                "weights": str(record.training.run.weights),
                "images": scored.images_digest,
                "class_names": json.dumps(scored.class_names, ensure_ascii=False),
            }
            made = client.create_model_version(
                self.name, model.artifact_location, run_id=run_id, tags=tags, model_id=model.model_id
            )
            return _version(made)

    def describe(self, version: Version, text: str, page: str) -> None:
        """Leave the card with the version and with its run."""
        client = self.store.client
        with reaching(self.store.address):
            client.update_model_version(self.name, str(version.number), description=text)
            client.log_text(version.run_id, text, "card/card.md")
            client.log_text(version.run_id, page, "card/card.html")
            settle(self.store, client.get_run(version.run_id).info.artifact_uri)

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
            location = self.store.client.get_run(version.run_id).info.artifact_uri
            check_place(self.store.address, location)
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
            runs = [run for run in search_runs(self.store, "") if ON_TEST & set(run.data.metrics)]
        return len({run.data.tags.get("identity", run.info.run_id) for run in runs})


def download_released(tracking: Tracking, address: str, folder: Path) -> tuple[Path, list[str]]:
    """The training part of the record of the model at `models:/NAME@ALIAS` or `models:/NAME/NUMBER`, put below
    `folder`, and what its classes are called. No model file: such a file can hold code.

    Raises UserError, StoreUnreachableError.
    """
    place = re.fullmatch(r"models:/([\w.-]+)(?:@([\w-]+)|/(\d+))", address)
    if place is None:
        raise UserError(f"--model: must be models:/NAME@ALIAS or models:/NAME/NUMBER, not {address}.")
    name, alias, number = place.groups()
    store = open_soon(tracking)
    with reaching(store.address):
        try:
            client = store.client
            found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise UserError(f"{address}: is not there. `python -m pipeline.release` makes one.") from None
        location = client.get_run(found.run_id).info.artifact_uri
        check_place(store.address, location)
        for file in (*FILES, WEIGHTS):
            download_file(store, location, f"{TRAINING}/{file}", folder, most=MODEL_FILES)
        return folder / TRAINING, [str(name) for name in json.loads(found.tags.get("class_names", "[]"))]


def _version(found: Any) -> Version:
    tags = dict(found.tags)
    return Version(
        number=int(found.version),
        run_id=str(found.run_id),
        identity=str(tags.get("identity", "")),
        weights=str(tags.get("weights", "")),
        images=str(tags.get("images", "")),
    )
