"""What an MLflow store holds of runs: the small files of a record, and plain values to compare. All is untrusted."""

import json
import re
import resource
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.config.schema import Tracking
from pipeline.run.record import CLOCK, HISTORY, TRAINING, WEIGHTS
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError, address, check_place, is_database, without_secrets
from pipeline.tracking.fields import all_tags, present_name
from pipeline.tracking.store import Store, open_store, reaching, search_runs

ANSWERS_WITHIN = 15.0
"""Seconds in which a store must answer a person who waits for it: one of 5 s a call does."""

ON_A_BUSY_MACHINE = 8
"""Times as long for a database: it is this machine's own work, which takes its time where trainings have all cores."""

FILES = "run.json", HISTORY
CLOCK_FILE = f"{CLOCK}.json"
"""Where it was made; not every record says it."""

MOST_BYTES = 40_000_000
"""Of all of them: a history of 100,000 epochs has 10 MB. A server may say that it is small, and send for ever."""

MOST_WEIGHTS = 200_000_000
"""Bytes: a network has up to 10 million parameters."""

ABSENT = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
"""What MLflow says of a registered model, a version or an alias that is not there."""


def open_soon(tracking: Tracking) -> Store:
    """The store, where somebody waits for it. Raises StoreUnreachableError, when it needs longer than that too.

    It is then left to itself: for commands that are about to end.
    """
    future: Future[Store] = Future()

    def run() -> None:
        try:
            future.set_result(open_store(tracking))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    where = address(tracking)
    within = ANSWERS_WITHIN * (ON_A_BUSY_MACHINE if is_database(where) else 1)
    try:
        return future.result(timeout=within)
    except TimeoutError:
        told = without_secrets(where)
        raise StoreUnreachableError(f"{told}: did not do its part within {within:.0f} s") from None


def artifacts_of(store: Store, run_id: str) -> str:
    """Where the artifacts of a run lie. Raises StoreUnreachableError where that is no place of the store's own."""
    location = store.client.get_run(run_id).info.artifact_uri
    check_place(store.address, location)
    return str(location)


def download_training(tracking: Tracking, run_id: str, folder: Path) -> Path:
    """What the store holds of the training part of an MLflow run, put below `folder`; returns where.

    Raises UserError where there is no such run, or no record with it.
    """
    try:
        store = open_soon(tracking)
        with reaching(store.address):
            location = artifacts_of(store, run_id)
    except StoreUnreachableError as error:
        raise UserError(f"{run_id}: is no record here, and {error}.") from None
    room = MOST_BYTES
    for name in (*FILES, CLOCK_FILE):
        try:
            path = download_file(store, location, f"{TRAINING}/{name}", folder, most=room)
            room -= path.stat().st_size
        except Exception as error:  # mlflow raises several kinds, the file system's among them
            if name == CLOCK_FILE:
                # What was fetched of it is no clock.
                (folder / TRAINING / name).unlink(missing_ok=True)
                break
            # mlflow puts a heading before each file's own reason.
            reason = str(error).rpartition("#####\n")[2].splitlines()[0][:200]
            there = f"{without_secrets(store.address)} has no {TRAINING}/{name} of it ({reason})"
            raise UserError(f"{run_id}: is no record here, and {there}.") from None
    return folder / TRAINING


def download_released(tracking: Tracking, model: str, folder: Path) -> tuple[Path, list[str]]:
    """The training part of the record of the model at `models:/NAME@ALIAS` or `models:/NAME/NUMBER`, put below
    `folder`, and what its classes are called. No model file: such a file can hold code.

    Raises UserError where it can't be had.
    """
    place = re.fullmatch(r"models:/([\w.-]+)(?:@([\w-]+)|/(\d+))", model)
    if place is None:
        raise UserError(f"--model: must be models:/NAME@ALIAS or models:/NAME/NUMBER, not {model}.")
    try:
        store = open_soon(tracking)
        with reaching(store.address):
            version = registered(store, *place.groups())
            if version is None:
                raise UserError(f"{model}: is not there. `python -m pipeline.release` makes one.")
            location = artifacts_of(store, version.run_id)
            for file in (*FILES, WEIGHTS):
                download_file(store, location, f"{TRAINING}/{file}", folder, most=MOST_WEIGHTS)
            return folder / TRAINING, [str(name) for name in json.loads(version.tags.get("class_names", "[]"))]
    except StoreUnreachableError as error:
        raise UserError(f"{model}: can't be had: {error}.") from None


def registered(store: Store, name: str, alias: str | None, number: str | None = None) -> Any:
    """The version of a registered model that has the alias, or else the number; None where there is none."""
    try:
        if alias is None:
            return store.client.get_model_version(name, str(number))
        return store.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None


def download_file(store: Store, location: str, name: str, folder: Path, *, most: int = MOST_BYTES) -> Path:
    """One file of at most so many bytes of the artifacts at `location`, put below `folder`.

    Of what a server calls a folder mlflow fetches every file, without an end: here nothing is a folder.
    """
    repository = get_artifact_repository(location, tracking_uri=store.address)
    repository.list_artifacts = lambda path=None: []  # noqa: ARG005
    # mlflow's download has no limit of its own: meanwhile this process writes no larger file.
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        path = Path(repository.download_artifacts(name, str(folder)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    if not path.is_file():
        raise IsADirectoryError("a folder in place of a file")
    return path


@dataclass(frozen=True)
class StoredRun:
    """One MLflow run, all text untrusted; `metrics` by their present names, `started` in milliseconds since 1970."""

    run_id: str
    status: str
    started: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def find_runs(tracking: Tracking, wanted: str) -> tuple[list[StoredRun], str]:
    """The runs that the filter selects, the oldest first, and the store's address. Raises StoreUnreachableError."""
    store = open_soon(tracking)
    with reaching(store.address):
        return [stored_run(run) for run in search_runs(store, wanted)], without_secrets(store.address)


def get_runs(tracking: Tracking, run_ids: Sequence[str]) -> tuple[list[StoredRun], str]:
    """The runs with these ids, the oldest first, and the store's address. Raises StoreUnreachableError."""
    store = open_soon(tracking)
    with reaching(store.address):
        runs = [stored_run(store.client.get_run(run_id)) for run_id in dict.fromkeys(run_ids)]
    return sorted(runs, key=lambda run: run.started), without_secrets(store.address)


def stored_run(run: Any) -> StoredRun:
    """The plain values of a run of mlflow's."""
    metrics = run.data.metrics
    earlier = {present_name(name): value for name, value in metrics.items() if name != present_name(name)}
    present = {name: value for name, value in metrics.items() if name == present_name(name)}
    return StoredRun(
        run_id=str(run.info.run_id),
        status=str(run.info.status),
        started=int(run.info.start_time or 0),
        params=dict(run.data.params),
        metrics=earlier | present,
        tags=all_tags(run.data.tags),
    )
