"""The mirror worker: the mirror process's program. It mirrors records, and their study, while these are written.

`python -m pipeline.tracking.mirror_worker` reads what a pipeline.tracking.mirror_process.MirrorProcess writes.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import Record, read_record
from pipeline.storage import project
from pipeline.studies.study import read_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.mirror import Mirror, StudyMirror, killed
from pipeline.tracking.models import import_for_models
from pipeline.tracking.store import Store, open_store

LAST_ATTEMPTS, BETWEEN_ATTEMPTS, LAST_WITHIN = 3, 1.0, 10.0
"""How often, after how many seconds, and until when a store that fails is tried again when nothing more comes."""

Message = dict[str, Any]
"""`{"record": folder, "part": which evaluation}`, `{"study": folder}`,
`{"announced": folder of a study, "verdict": a sentence, "report": folder or None}`: there is more in that folder.
"""


def main() -> int:
    # Only what is for a person goes out: mlflow prints the address of each run that ends.
    with contextlib.redirect_stdout(sys.stderr):
        problem, said = follow(sys.stdin)
    print(problem or said or "", flush=True)
    # Somebody waits for this process, and Python needs 0.7 s to take mlflow apart.
    os._exit(1 if problem else 0)


def follow(lines: Iterable[str]) -> tuple[str | None, str | None]:
    """Read the settings (pipeline.tracking.mirror_process.settings), then messages; bring MLflow up to what they name.

    It ends with the input. What could not be written is tried again with the next message. Returns what went wrong
    with the last attempt, and what became of a verdict, or None.
    """
    os.nice(19)
    reader = iter(lines)
    if (first := next(reader, None)) is None:
        return None, None
    settings = json.loads(first)
    worker = _Worker(Tracking.model_validate(settings["tracking"]), settings["study"], model=settings["model"])
    named: queue.Queue[Message | None] = queue.Queue()
    threading.Thread(target=_read, args=(reader, named), daemon=True).start()
    if settings["model"]:
        # While the run is being scored: somebody waits when it has been.
        import_for_models()
    ended = False
    while not ended:
        newest = _newest(named)
        ended = newest[-1] is None
        worker.take([message for message in newest if message is not None])
        if ended:
            worker.close()
        began = time.monotonic()
        worker.write()
    for _ in range(LAST_ATTEMPTS - 1):
        if worker.unreachable is None or time.monotonic() > began + LAST_WITHIN:
            break
        time.sleep(BETWEEN_ATTEMPTS)
        worker.write()
    return worker.problem, worker.told


class _Worker:
    """Remembers what has not been written yet, and which runs have not ended."""

    def __init__(self, tracking: Tracking, study: str, *, model: bool) -> None:
        self.unreachable: str | None = None
        self.told: str | None = None
        self._unreadable: dict[str, str] = {}
        self._tracking = tracking
        self._study = study
        self._model = model
        self._store: Store | None = None
        self._waiting: dict[str, Message] = {}
        self._growing: dict[str, Message] = {}
        self._closing = False

    @property
    def problem(self) -> str | None:
        """Why the store is not up to all that was named."""
        return self.unreachable or next(iter(self._unreadable.values()), None)

    def take(self, messages: Iterable[Message]) -> None:
        """A folder that is named twice is read once."""
        self._waiting |= {json.dumps(message): message for message in messages}

    def close(self) -> None:
        """Nobody writes any more: what has not ended was killed, what was read while it was moved is read again."""
        self._closing = True
        self.take(json.loads(key) for key in self._unreadable)
        self._unreadable.clear()
        self.take(self._growing.values())

    def write(self) -> None:
        """Bring the store up to all that waits."""
        try:
            if self._store is None and self._waiting:
                self._store = open_store(self._tracking)
                # Another store may answer at this address next time: ask it what it has.
                self._mirror = StudyMirror(self._store, self._study)
                self._repro = Mirror(self._store, self._study)
            self.unreachable = None
            for key, message in list(self._waiting.items()):
                try:
                    self._write_one(message)
                except UserError as error:
                    self._unreadable[key] = str(error)
                del self._waiting[key]
        except (StoreUnreachableError, UserError) as error:
            # What asks goes on with a sentence of its own.
            self._store, self.unreachable = None, str(error).removesuffix(".")

    def _write_one(self, message: Message) -> None:
        if "study" in message:
            self._write_study(message)
        elif "announced" in message:
            report = message["report"] and Path(message["report"])
            self.told = self._mirror.announce(read_study(Path(message["announced"])), message["verdict"], report)
        elif (record := self._read(message)) is not None:
            mirror = self._repro if self._study == REPRO_STUDY else self._mirror
            mirror.bring_up(record, model=self._model)
            run = record.training.run
            self._keep(run.identity, message, growing=run.outcome == "running")

    def _write_study(self, message: Message) -> None:
        study = read_study(Path(message["study"]))
        running = study.state == "running"
        if running and self._closing:
            study = replace(study, state="interrupted")
        self._mirror.bring_up_study(study)
        self._keep(message["study"], message, growing=running)

    def _read(self, message: Message) -> Record | None:
        """The record, killed where nobody writes it any more; None for one that has moved to where it stays."""
        folder = Path(message["record"])
        record = read_record(folder, message["part"]) if folder.exists() else None
        if not self._closing or (record is not None and record.training.run.outcome != "running"):
            return record
        # It may have ended in this moment; where it grew another may be at work: a `dvc repro` of the same run.
        root = project.run_root(folder.name)
        is_scored = (root / message["part"] / "evaluation.json").exists()
        if self._study != REPRO_STUDY and (is_scored or (record is None and root.exists())):
            return read_record(root, message["part"])
        return None if record is None else killed(record)

    def _keep(self, name: str, message: Message, *, growing: bool) -> None:
        self._growing.pop(name, None)
        if growing:
            self._growing[name] = message


def _read(lines: Iterable[str], named: queue.Queue[Message | None]) -> None:
    try:
        for line in lines:
            # Whoever writes may be killed in the middle of a line.
            with contextlib.suppress(ValueError):
                named.put(json.loads(line))
    finally:
        named.put(None)


def _newest(named: queue.Queue[Message | None]) -> list[Message | None]:
    """All messages that wait, at least one; None as the last where the input has ended."""
    newest = [named.get()]
    while not named.empty() and newest[-1] is not None:
        newest.append(named.get())
    return newest


if __name__ == "__main__":
    command.run(main)
