"""The companion's side: mirror a record while a training writes it."""

import os
import queue
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.configuration.schema import Tracking
from pipeline.terminal.errors import UserError
from pipeline.tracking.facts import Record, read_record
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import StoreUnreachableError, open_store

LEAST_PRIORITY = 19


def follow(lines: Iterable[str], study: str) -> str | None:
    """Read the settings, then names of record folders; mirror the newest, until the input ends.

    Returns what went wrong with the last attempt, or None. An attempt that fails is made again with the next name.
    """
    os.nice(LEAST_PRIORITY)
    named: queue.Queue[str | None] = queue.Queue()
    reader = iter(lines)
    tracking = Tracking.model_validate_json(next(reader))
    threading.Thread(target=_read, args=(reader, named), daemon=True).start()
    mirror, problem, root = None, None, None
    ended = False
    while not ended:
        newest = _newest(named)
        ended = newest[-1] is None
        root = next((name for name in reversed(newest) if name is not None), root)
        if root is None:
            continue
        try:
            mirror = mirror or Mirror(open_store(tracking))
            mirror.bring_up(_read_record(Path(root), ended), study)
            problem = None
        except (StoreUnreachableError, UserError) as error:
            # Another store may answer at this address next time: ask it what it has.
            mirror, problem = None, str(error)
    return problem


def _read_record(root: Path, ended: bool) -> Record:
    """The record; one that still says "running" when nobody writes it any more was killed."""
    record = read_record(root)
    if ended and record.training.run.outcome == "running":
        run = replace(record.training.run, outcome="interrupted", reason="killed")
        return replace(record, training=replace(record.training, run=run))
    return record


def _read(lines: Iterable[str], named: queue.Queue[str | None]) -> None:
    for line in lines:
        named.put(line.rstrip("\n"))
    named.put(None)


def _newest(named: queue.Queue[str | None]) -> list[str | None]:
    """All names that wait, at least one; None as the last where the input has ended."""
    found = [named.get()]
    while not named.empty() and found[-1] is not None:
        found.append(named.get())
    return found
