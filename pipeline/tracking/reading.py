"""What an MLflow store holds of runs, as plain values, to compare them where their records are not at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.tracking.patience import open_soon
from pipeline.tracking.store import Store, reaching, shown

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
