"""How long a command waits for its store when its own work is done: apart from what a busy machine takes to start."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Self

import psutil

BETWEEN_LOOKS = 0.2

RESULTS = {
    "pipeline.train": "record/training/run.json",
    "pipeline.evaluate": "record/evaluation/evaluation.json",
    "pipeline.sweep": "runs/*/evaluation/evaluation.json",
}
"""What is there when a command in a project has done its work (of a sweep: the last of them)."""


class Waits:
    """A context that watches the project at `path`; `seconds` then holds how long each command lived on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended = threading.Event()
        self._seen: dict[str, tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(BETWEEN_LOOKS):
            alive = self._alive()
            for command, result in RESULTS.items():
                count = len([*self._path.glob(result)])
                if count and count != self._seen.get(command, (0, 0.0))[0]:
                    self._seen[command] = count, time.monotonic()
                if count and command in alive:
                    self.seconds[command] = time.monotonic() - self._seen[command][1]

    def _alive(self) -> set[str]:
        found = set()
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            with contextlib.suppress(psutil.Error, OSError):
                commands = [word for word in words if word in RESULTS]
                if commands and Path(process.cwd()) == self._path:
                    found.update(commands)
        return found
