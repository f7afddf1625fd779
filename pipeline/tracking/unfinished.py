"""Runs that did not come to their end, as the store shall have them."""

from dataclasses import replace

from pipeline.run.record import EVALUATION, TRAINING
from pipeline.run.whole import Record, read_record
from pipeline.storage import lock, project


def killed(record: Record) -> Record:
    """The record, which still says "running" when nobody writes it any more."""
    run = replace(record.training.run, outcome="interrupted", reason="killed")
    return replace(record, training=replace(record.training, run=run))


def unfinished(identity: str, part: str = EVALUATION) -> Record | None:
    """The record of a run that failed or was stopped and that nobody trains now; None where there is none.

    One whose process was killed in its last moment may lie whole in runs/. Raises UserError where it is damaged.
    """
    root, work = project.run_root(identity), project.checkpoint(identity)
    if (root / part / "evaluation.json").exists():
        return read_record(root, part)
    if not (work / TRAINING / "run.json").exists() or lock.is_held(work / "lock"):
        return None
    record = read_record(work)
    return killed(record) if record.training.run.outcome == "running" else record
