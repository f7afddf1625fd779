"""Memory that runs out: faults/memory.c, preloaded into commands, refuses an allocation, or all from there on."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("memory.c")

LEAST = 16 * 1024
"""Bytes from which an allocation is counted: a tensor, an image, a module, a page of objects."""


@dataclass(frozen=True)
class Memory:
    """Where allocations of at least so many bytes are counted, over all processes of a command."""

    library: Path
    scratch: Path
    least: int = LEAST

    @property
    def _counter(self) -> Path:
        return self.scratch.with_name(f"{self.scratch.name}.allocations")

    @property
    def _log(self) -> Path:
        return self.scratch.with_name(f"{self.scratch.name}.refused")

    def counting(self) -> dict[str, str]:
        """The environment in which allocations are counted anew."""
        self._log.unlink(missing_ok=True)
        self._counter.write_bytes(bytes(8))
        return {
            "LD_PRELOAD": str(self.library),
            "MEMORY_COUNTER": str(self._counter),
            "MEMORY_LEAST": str(self.least),
            "MEMORY_LOG": str(self._log),
        }

    def refusing(self, at: int, *, lasting: bool) -> dict[str, str]:
        """The environment in which the allocation `at` is refused; `lasting`: all from there on."""
        return self.counting() | {"MEMORY_AT": str(at), "MEMORY_LASTING": "1" if lasting else ""}

    def count(self) -> int:
        """How many allocations there were."""
        return int.from_bytes(self._counter.read_bytes(), sys.byteorder)

    def refused(self) -> int | None:
        """The bytes of the first that was refused; None where none was."""
        return int(self._log.read_text("utf-8").split()[2]) if self._log.exists() else None


def library(shared: Path) -> Path:
    """The compiled library, made where it is missing."""
    target = shared / "memory.so"
    if not target.exists():
        command = ("cc", "-shared", "-fPIC", "-O2", "-fno-builtin", "-o", target, SOURCE, "-ldl")
        subprocess.run(command, check=True)
    return target


def reason_not_to() -> str | None:
    """Why memory can't be refused here."""
    if not sys.platform.startswith("linux"):
        return "it preloads a library, as Linux does it"
    if shutil.which("cc") is None:
        return "there is no C compiler (cc)"
    return None if "glibc" in _libc() else "it needs glibc"


def _libc() -> str:
    import platform  # noqa: PLC0415

    return " ".join(platform.libc_ver())
