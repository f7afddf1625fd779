"""The mirror process: it talks to MLflow beside us, so that MLflow's imports, waits and faults cost us nothing.

We name, on its standard input, the folder of a record or of a study whenever there is more in it; it brings MLflow up
to that (pipeline.tracking.mirror_worker). When the input ends it closes what has not ended, says what went wrong, and
leaves. Nothing is imported here that MLflow needs.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.storage import project

if TYPE_CHECKING:
    from pipeline.config.schema import Tracking

COMMAND = [sys.executable, "-m", "pipeline.tracking.mirror_worker"]

LONGEST_WAIT = 30.0
"""Seconds that a finished training waits for its mirror process."""

LONGEST_STAGE_WAIT = LONGEST_REPORT_WAIT = 60.0
"""Seconds that a finished evaluation waits, with its files and its model, and a report of some twenty files."""

_early: list[subprocess.Popen[str]] = []
"""The next mirror process, where it has been started before anybody knows what it will be told."""


@contextlib.contextmanager
def started_early() -> Iterator[None]:
    """Let the next mirror process import MLflow (seconds) while something is planned; it ends if nobody took it."""
    _early.append(_start())
    try:
        yield
    finally:
        _end_early()


def announce(tracking: "Tracking", study: str, verdict: str, report: Path | None = None) -> str:
    """Put `verdict` first on the study's page in MLflow, attach the folder `report`; returns what to tell."""
    with MirrorProcess(tracking, study, longest_wait=LONGEST_REPORT_WAIT) as mirror:
        mirror.announce(project.study(study), verdict, report)
    if mirror.failed:
        return f"not in MLflow ({mirror.said}); the same line tells it once the store can be reached"
    return mirror.said


class MirrorProcess:
    """A context in which a process mirrors what is named to it; then `said` holds what went wrong, in a sentence."""

    def __init__(
        self,
        tracking: "Tracking",
        study: str,
        part: str = "evaluation",
        longest_wait: float | None = None,
        *,
        model: bool = False,
    ) -> None:
        """`part` is the evaluation of the records that are named to it, `longest_wait` in seconds; with `model` each
        gets its Keras model, and what that takes is imported at once.
        """
        self._first = settings(tracking, study, model=model)
        self._enabled = tracking.enabled
        self._part = part
        self._longest_wait = longest_wait or LONGEST_WAIT
        self._process: subprocess.Popen[str] | None = None
        self._missed = False
        self.said = ""
        self.failed = False

    def __enter__(self) -> Self:
        if self._enabled:
            self._process = _early.pop() if _early else _start()
            self._write(self._first)
        else:
            _end_early()
        return self

    def sync(self, root: Path) -> None:
        """There is more in the record at `root`. Returns at once."""
        self._write(json.dumps({"record": str(root), "part": self._part}))

    def sync_study(self, folder: Path) -> None:
        """There is more in the study in `folder`. Returns at once."""
        self._write(json.dumps({"study": str(folder)}))

    def announce(self, folder: Path, verdict: str, report: Path | None) -> None:
        """The study in `folder` has a verdict, and perhaps a report in a folder of its own."""
        attached = None if report is None else str(report)
        self._write(json.dumps({"announced": str(folder), "verdict": verdict, "report": attached}))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        try:
            self.said = process.communicate(timeout=self._longest_wait)[0].strip()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.said = f"the store did not keep up within {self._longest_wait:.0f} s"
        self.failed = process.returncode != 0
        if not self.said and (self.failed or self._missed):
            became = f"ended with status {process.returncode}" if self.failed else "did not listen for a while"
            self.said = f"the process that writes to the store {became}"

    def _write(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        # Lines this short are taken whole or not at all; a process that is gone says so at the end.
        try:
            os.write(self._process.stdin.fileno(), f"{line}\n".encode())
        except (OSError, ValueError) as error:
            self._missed |= isinstance(error, BlockingIOError)


def settings(tracking: "Tracking", study: str, *, model: bool = False) -> str:
    """The first line that a mirror process reads."""
    return json.dumps({"tracking": tracking.model_dump(mode="json"), "study": study, "model": model})


def _start() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        COMMAND,
        cwd=project.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8:backslashreplace"},
        # A session of its own: Ctrl-C is for us, and we then tell it how we ended.
        start_new_session=True,
    )
    if process.stdin is not None:
        # One that does not read shall hold nobody up.
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _end_early() -> None:
    while _early:
        process = _early.pop()
        process.kill()
        process.communicate()
