"""The mirror as the end of a stage: what could not be told to MLflow is said, and costs nothing.

A process beside ours that imports MLflow, which takes seconds, so that ours need not.

Tracking beside a training: another process talks to MLflow, so that its imports, waits and faults cost nothing.

The training, or the sweep, names the folder of a record or of a study on the companion's standard input whenever
there is more in it; the companion brings MLflow up to it. When the input ends, it closes what has not ended and leaves.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.config.schema import Tracking
from pipeline.run.record import read_record
from pipeline.run.weights import export_network
from pipeline.storage import project
from pipeline.tracking.run_mirror import Mirror
from pipeline.tracking.store import StoreUnreachableError, open_store
from pipeline.tracking.timeouts import within

if TYPE_CHECKING:
    from pipeline.config.schema import Tracking


def started(command: Sequence[str]) -> "subprocess.Popen[str]":
    """`command`, to be told on its standard input what to do; what it says on standard output is for a person."""
    # A session of its own: Ctrl-C is for us, and we then tell it how we ended.
    return subprocess.Popen(
        command,
        cwd=project.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8:backslashreplace"},
        start_new_session=True,
    )


def dismiss(process: "subprocess.Popen[str]") -> None:
    """End it, whatever it does."""
    process.kill()
    process.communicate()


COMMAND = [sys.executable, "-m", "pipeline.track", "--follow"]

LONGEST_WAIT = 30.0
"""Seconds that a finished training waits for its companion."""

_early: list[subprocess.Popen[str]] = []
"""The process of the next companion, where it has been started before anybody knows what it will be told."""


@contextlib.contextmanager
def started_early() -> Iterator[None]:
    """Let the next companion import MLflow, which takes seconds, while what needs it is still being planned.

    Its process ends with the block where no companion took it.
    """
    _early.append(_started())
    try:
        yield
    finally:
        _dismiss()


def _started() -> subprocess.Popen[str]:
    process = started(COMMAND)
    if process.stdin is not None:
        # A companion that does not read shall hold nobody up.
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _dismiss() -> None:
    while _early:
        dismiss(_early.pop())


class Companion:
    """A context in which `sync` may be called; `said` holds what went wrong once it has been left."""

    def __init__(self, tracking: "Tracking", study: str, part: str) -> None:
        self._study = study
        self._tracking = tracking
        self._part = part
        self._process: subprocess.Popen[str] | None = None
        self._missed = False
        self.said = ""

    def __enter__(self) -> Self:
        if self._tracking.enabled:
            self._process = _early.pop() if _early else _started()
            self._write(settings(self._tracking, self._study))
        else:
            _dismiss()
        return self

    def sync(self, root: Path) -> None:
        """There is more in the record at `root`. Returns at once."""
        self._write(json.dumps({"record": str(root), "part": self._part}))

    def sync_study(self, folder: Path) -> None:
        """There is more in the study in `folder`. Returns at once."""
        self._write(json.dumps({"study": str(folder)}))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        try:
            self.said = process.communicate(timeout=LONGEST_WAIT)[0].strip()
        except subprocess.TimeoutExpired:
            process.kill()
            self.said = f"the store did not keep up within {LONGEST_WAIT:.0f} s"
        if process.returncode and not self.said:
            self.said = f"the process that writes to the store ended with status {process.returncode}"
        if self._missed and not self.said:
            self.said = "the process that writes to the store did not listen for a while"

    def _write(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        # Lines this short are taken whole or not at all; a companion that is gone says so at the end.
        try:
            os.write(self._process.stdin.fileno(), f"{line}\n".encode())
        except BlockingIOError:
            self._missed = True
        except (OSError, ValueError):
            pass


def settings(tracking: "Tracking", study: str) -> str:
    """The first line that a companion reads."""
    return json.dumps({"tracking": tracking.model_dump(mode="json"), "study": study})


LONGEST_STAGE_WAIT = 60.0
"""Seconds that a finished evaluation waits for the store."""


def mirrored(tracking: Tracking, root: Path, study: str) -> None:
    """Bring MLflow up to the record at `root`; a store that is away, or too slow, is one line."""
    record = read_record(root)
    try:
        within(
            LONGEST_STAGE_WAIT, tracking, lambda: Mirror(open_store(tracking)).bring_up(record, study, export_network)
        )
    except StoreUnreachableError as error:
        print(f"tracking: {error}. The record is complete; `python -m pipeline.track` brings MLflow up to it.")
