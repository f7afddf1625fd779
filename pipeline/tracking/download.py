"""What an MLflow store holds of runs, as plain values, to compare them where their records are not at hand.

The small files of a run's record, back from the store.
"""

import contextlib
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.run.record import CLOCK, TRAINING
from pipeline.terminal.errors import UserError
from pipeline.tracking.store import Store, StoreUnreachableError, check_place, reaching, shown
from pipeline.tracking.timeouts import open_soon

FILES = "run.json", "history.csv"
CLOCK_FILE = f"{CLOCK}.json"
"""Where it was made; not every record says it."""

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
    for name in (*FILES, CLOCK_FILE):
        try:
            with _files_of_at_most(MOST_BYTES):
                found = Path(store.client.download_artifacts(run_id, f"{TRAINING}/{name}", str(folder)))
            if not found.is_file():
                raise IsADirectoryError("a folder in place of a file")
        except Exception as error:  # mlflow raises several kinds, the file system's among them
            if name == CLOCK_FILE:
                break
            reason = str(error).splitlines()[0][:200]
            raise UserError(
                f"{run_id}: is no record here, and {shown(store.address)} has no {TRAINING}/{name} of it ({reason})."
            ) from None
    return folder / TRAINING


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """This process writes no larger file meanwhile: mlflow's download has no limit of its own."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


PAGE = 1000


@dataclass(frozen=True)
class StoredRun:
    """One MLflow run; `metrics` are the last values, `started` in milliseconds since 1970. All text is untrusted."""

    run_id: str
    status: str
    started: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def runs_found(tracking: Tracking, wanted: str) -> tuple[list[StoredRun], str]:
    """The runs of the project's experiment that the filter selects, the oldest first, and the store's address.

    Raises StoreUnreachableError, for a filter that is none, too.
    """
    store = open_soon(tracking)
    with reaching(store.address):
        return _searched(store, wanted), shown(store.address)


def runs_by_id(tracking: Tracking, run_ids: Sequence[str]) -> tuple[list[StoredRun], str]:
    """The runs with these ids, the oldest first, and the store's address. Raises StoreUnreachableError."""
    store = open_soon(tracking)
    with reaching(store.address):
        found = [_plain(store.client.get_run(run_id)) for run_id in dict.fromkeys(run_ids)]
    return sorted(found, key=lambda run: run.started), shown(store.address)


def _searched(store: Store, wanted: str) -> list[StoredRun]:
    found: list[StoredRun] = []
    token: str | None = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], wanted, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        found += map(_plain, page)
        token = page.token
        if not token:
            return found


def _plain(run: Any) -> StoredRun:
    return StoredRun(
        run_id=str(run.info.run_id),
        status=str(run.info.status),
        started=int(run.info.start_time or 0),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )
