"""What a source can offer, and how long it is waited for."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PIECE = 1 << 16


@dataclass(frozen=True)
class Patience:
    """What a source may cost. Times in seconds."""

    connect: float = 5
    read: float = 10
    window: float = 15
    """In each such time of waiting for a web source …"""
    slowest: float = 20_000
    """… this many bytes a second must have come."""
    command: float = 300
    """For one call of apt-get or dpkg-deb."""


class UnavailableError(Exception):
    """Why a source does not serve a file, as the end of a sentence that begins with the source's title."""


class UnreachableError(UnavailableError):
    """Why a source will serve no file at all: it is not worth a second try."""


@dataclass(frozen=True)
class Offer:
    """A file as a source holds it: where, whether it is gzipped, and its bytes.

    `pieces` raises UnavailableError; close it when it is not read to its end.
    """

    place: str
    gzipped: bool
    pieces: Generator[bytes, None, None]


class Origin(Protocol):
    """A source, opened."""

    @property
    def title(self) -> str: ...

    def offer(self, name: str) -> Offer:
        """The IDX file `name`. Raises UnavailableError."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds `<name>.gz` or `<name>`."""

    path: Path

    @property
    def title(self) -> str:
        return str(self.path)

    def offer(self, name: str) -> Offer:
        """`<name>.gz` if it is there, or else `<name>`. Raises UnavailableError."""
        for path in (self.path / f"{name}.gz", self.path / name):
            if path.is_file():
                return Offer(str(path), gzipped=path.suffix == ".gz", pieces=_read(path))
        if not self.path.is_dir():
            raise UnreachableError("is no folder")
        raise UnavailableError(f"holds neither {name}.gz nor {name}")


def _read(path: Path) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise UnavailableError(f"{path.name} can't be read: {error.strerror}") from None
