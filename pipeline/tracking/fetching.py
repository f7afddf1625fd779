"""The small files of a run's record, back from the store."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.schema import Tracking
from pipeline.run.record import TRAINING
from pipeline.terminal.errors import UserError
from pipeline.tracking.patience import open_soon
from pipeline.tracking.store import StoreUnreachableError, check_place, reaching, shown

FILES = "run.json", "history.csv", "environment.json"

MOST_BYTES = 20_000_000
"""Of each of them: a history of 100,000 epochs has 10 MB. A server may say that it is small, and send for ever."""


def fetched_training(tracking: Tracking, run_id: str, folder: Path) -> Path:
    """What the store holds of the training part of an MLflow run, put below `folder`; returns where.

    Raises UserError where there is no such run, or no record with it.
    """
    if not run_id.isalnum():
        raise UserError(f"{run_id}: is no record's folder, no identity in runs/, and no MLflow run id.")
    try:
        store = open_soon(tracking)
    except StoreUnreachableError as error:
        raise UserError(f"{run_id}: is no record here, and {error}.") from None
    try:
        with reaching(store.address):
            check_place(store.address, store.client.get_run(run_id).info.artifact_uri)
    except StoreUnreachableError as error:
        raise UserError(f"{run_id}: is no record here, and {error}.") from None
    for name in FILES:
        try:
            with _files_of_at_most(MOST_BYTES):
                found = Path(store.client.download_artifacts(run_id, f"{TRAINING}/{name}", str(folder)))
            if not found.is_file():
                raise IsADirectoryError("a folder in place of a file")
        except Exception as error:  # mlflow raises several kinds, the file system's among them
            reason = str(error).splitlines()[0][:200]
            raise UserError(
                f"{run_id}: is no record here, and {shown(store.address)} has no {TRAINING}/{name} of it ({reason})."
            ) from None
    return found.parent


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """This process writes no larger file meanwhile: mlflow's download has no limit of its own."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
