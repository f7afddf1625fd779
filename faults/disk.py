"""A disk that is full, broken, or the place of a death: faults/disk.c, preloaded into commands."""

import errno
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")
NOISE = "*__pycache__*", ".git/*"
"""What is no result of the project."""

UNFINISHED = re.compile(r"(^|/)\.([^/]+)\.[a-z0-9_]{8}\.partial")


@dataclass(frozen=True)
class Call:
    """The number-th writing call, by process, on a path below the project."""

    number: int
    process: int
    call: str
    path: str

    @property
    def place(self) -> str:
        """The path that a person knows, in place of an unfinished one."""
        return UNFINISHED.sub(r"\1\2", self.path)


@dataclass(frozen=True)
class Disk:
    """Where a project's writing calls are counted: those on paths that match `only` (all when empty)."""

    library: Path
    root: Path
    only: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = NOISE
    removals: bool = False
    beside: Path | None = None
    """Where the log and the counter lie, if not beside the root."""

    @property
    def _log(self) -> Path:
        return self._place("calls")

    @property
    def _counter(self) -> Path:
        return self._place("counter")

    def _place(self, ending: str) -> Path:
        place = self.beside or self.root
        return place.with_name(f"{place.name}.{ending}")

    def counting(self) -> dict[str, str]:
        """The environment in which calls are counted anew."""
        self._log.unlink(missing_ok=True)
        self._counter.write_bytes(bytes(8))
        return {
            "LD_PRELOAD": str(self.library),
            "DISK_ROOT": str(self.root),
            "DISK_ONLY": ":".join(self.only),
            "DISK_EXCEPT": ":".join(self.left_alone),
            "DISK_COUNTER": str(self._counter),
            "DISK_LOG": str(self._log),
            "DISK_REMOVALS": "1" if self.removals else "",
        }

    def failing(self, at: int, error: str, *, lasting: bool) -> dict[str, str]:
        """The environment in which the call `at` fails, having written half where it can; `lasting`: all from there."""
        return self.counting() | {
            "DISK_AT": str(at),
            "DISK_ACTION": "half",
            "DISK_ERROR": str(getattr(errno, error)),
            "DISK_LASTING": "1" if lasting else "",
        }

    def killing(self, at: int, action: str) -> dict[str, str]:
        """The environment in which the call `at` ends its process by SIGKILL: `kill` before it, `kill_half` in it.

        `cut`: before it the file system at the root forgets what is not on its disk, as without power; root alone may.
        """
        return self.counting() | {"DISK_AT": str(at), "DISK_ACTION": action}

    def calls(self) -> list[Call]:
        """What was counted, in order."""
        if not self._log.exists():
            return []
        lines = (line.split(" ", 3) for line in self._log.read_text(encoding="utf-8").splitlines())
        found = [Call(int(number), int(process), call, path) for number, process, call, path in lines]
        return sorted(found, key=lambda call: call.number)


def library(shared: Path) -> Path:
    """The compiled library, made where it is missing."""
    target = shared / "disk.so"
    if not target.exists():
        subprocess.run(("cc", "-shared", "-fPIC", "-O2", "-o", target, SOURCE, "-ldl"), check=True)
    return target


def reason_not_to() -> str | None:
    """Why calls can't be counted here."""
    if not sys.platform.startswith("linux"):
        return "it preloads a library, as Linux does it"
    return None if shutil.which("cc") else "there is no C compiler (cc)"
