"""The reports of studies among their artifacts in MLflow."""

from pathlib import Path

from pipeline.config.schema import Tracking
from pipeline.tracking.patience import open_soon, within
from pipeline.tracking.store import Store, StoreUnreachableError, check_place, reaching, settle

NAME = "report"

ATTACHED_WITHIN = 60.0
"""Seconds for a report of some twenty files."""


def attached(tracking: Tracking, study: str, folder: Path) -> str:
    """Put the report in `folder` among the artifacts of the study's run; returns what to tell."""
    try:
        run_id = attach(tracking, study, folder)
    except StoreUnreachableError as error:
        return f"not attached in MLflow ({error}); the same line attaches it once the store can be reached"
    if run_id is None:
        return f"not attached: MLflow has no run of this study yet; `python -m pipeline.track {study}` makes it"
    return f"attached in MLflow to run {run_id}"


def attach(tracking: Tracking, study: str, folder: Path) -> str | None:
    """Put `folder` as NAME among the artifacts of the study's run, whose id is returned; None where it has none.

    Raises StoreUnreachableError.
    """
    store = open_soon(tracking)
    return within(ATTACHED_WITHIN, tracking, lambda: _attached(store, study, folder))


def _attached(store: Store, study: str, folder: Path) -> str | None:
    with reaching(store.address):
        wanted = f"tags.study = '{study}' and tags.role = 'study'"
        found = store.client.search_runs([store.experiment_id], wanted, max_results=1)
        if not found:
            return None
        check_place(store.address, found[0].info.artifact_uri)
        run_id = str(found[0].info.run_id)
        store.client.log_artifacts(run_id, str(folder), NAME)
        settle(store, found[0].info.artifact_uri)
        return run_id
