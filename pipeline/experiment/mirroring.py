"""The mirror as the end of a stage: what could not be told to MLflow is said, and costs nothing."""

from pathlib import Path

from pipeline.configuration.schema import Tracking
from pipeline.experiment.exporting import exported
from pipeline.record.whole import read_record
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import StoreUnreachableError, open_store


def mirrored(tracking: Tracking, root: Path, study: str) -> None:
    """Bring MLflow up to the record at `root`; an unreachable store is one line."""
    try:
        Mirror(open_store(tracking)).bring_up(read_record(root), study, exported)
    except StoreUnreachableError as error:
        print(f"tracking: {error}. The record is complete; `python -m pipeline.track` brings MLflow up to it.")
