"""What workers do in tests/test_studies_workers.py. It imports little, because each worker imports it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.terminal.errors import UserError


@dataclass(frozen=True)
class Act:
    """In place of a job: what to do, the folder in which its worker leaves word, and its threads."""

    name: str
    folder: Path
    threads: int = 1

    @property
    def configuration(self) -> "Act":
        return self

    @property
    def training(self) -> "Act":
        return self

    @property
    def identity(self) -> "Act":
        return self


class ClumsyError(Exception):
    """Can be sent by a worker and not be read again: it is made of two values and keeps one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def act(job: Act, _sync: Callable[[Path], None]) -> None:
    """Ends like a job of the pipeline."""
    with (job.folder / job.name).open("a") as file:
        file.write(f"{os.getpid()}\n")
    match job.name.partition("-")[0]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "leave":
            os._exit(0)
        case "raise":
            raise ValueError("first line\nsecond line")
        case "person":
            raise UserError("a.b: must be\nmore")
        case "clumsy":
            raise ClumsyError("one", "two")
        case "configuration":
            from pipeline.config.messages import refused  # noqa: PLC0415 - it imports pydantic

            raise refused("a.b", "must be 3.")
        case "sleep":
            time.sleep(60)
        case "nap":
            time.sleep(1)
