"""The mirror as the end of a stage: what could not be told to MLflow is said, and costs nothing."""

from pathlib import Path

from pipeline.config.schema import Tracking
from pipeline.run.exporting import exported
from pipeline.run.whole import read_record
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.patience import within
from pipeline.tracking.store import StoreUnreachableError, open_store

LONGEST_WAIT = 60.0
"""Seconds that a finished evaluation waits for the store."""


def mirrored(tracking: Tracking, root: Path, study: str) -> None:
    """Bring MLflow up to the record at `root`; a store that is away, or too slow, is one line."""
    record = read_record(root)
    try:
        within(LONGEST_WAIT, tracking, lambda: Mirror(open_store(tracking)).bring_up(record, study, exported))
    except StoreUnreachableError as error:
        print(f"tracking: {error}. The record is complete; `python -m pipeline.track` brings MLflow up to it.")
