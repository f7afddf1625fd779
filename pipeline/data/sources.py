"""Fetching the raw files: the sources are tried in order until one serves.

What a source can offer, and how long it is waited for.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from rich.progress import Progress

from pipeline.config.schema import FolderSource, RawFile, RawFiles, Source, WebSource
from pipeline.data.debian import Debian
from pipeline.data.download import Web, keep
from pipeline.storage import project
from pipeline.storage.atomic import write_folder
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console

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


HOME = "https://github.com/zalandoresearch/fashion-mnist"


def fetch(files: RawFiles, sources: Sequence[Source], target: Path, patience: Patience | None = None) -> None:
    """Fill the folder `target` with the four decompressed IDX files, in place of what was there; all four or none.

    Says where each came from. Raises UserError when a file can't be had from any source, with each source's reason.
    """
    patience = patience or Patience()
    # What a source needs lies in the new folder, so that it is removed with it after a kill.
    with (
        write_folder(target) as folder,
        TemporaryDirectory(dir=folder, prefix=".sources-") as scratch,
        bar("bytes") as progress,
    ):
        origins = [_opened(source, patience, Path(scratch)) for source in sources]
        unreachable: dict[str, str] = {}
        for file in raw_files(files).values():
            place = _first_right(file, origins, unreachable, folder / file.name, progress)
            console.print(f"{file.name}: from {place}", markup=False)


def raw_files(files: RawFiles) -> Mapping[str, RawFile]:
    """The four files by their part: train_images, train_labels, test_images, test_labels."""
    return {part: getattr(files, part) for part in RawFiles.model_fields}


def _opened(source: Source, patience: Patience, scratch: Path) -> Origin:
    if isinstance(source, FolderSource):
        return Folder(project.ROOT / source.path)
    if isinstance(source, WebSource):
        return Web(source.address, patience)
    own = scratch / source.package
    own.mkdir(exist_ok=True)
    return Debian(source.package, patience, own)


def _first_right(
    file: RawFile, origins: Sequence[Origin], unreachable: dict[str, str], path: Path, progress: Progress
) -> str:
    """Put the file at `path` and return the place it came from; `unreachable` gains the sources to leave alone."""
    reasons = []
    for origin in origins:
        if origin.title in unreachable:
            reasons.append(f"{origin.title}: {unreachable[origin.title]}")
            continue
        task = progress.add_task(file.name, total=file.bytes)
        try:
            offer = origin.offer(file.name)
            keep(offer, file, path, partial(progress.advance, task))
            return offer.place
        except UnavailableError as error:
            reasons.append(f"{origin.title}: {error}")
            if isinstance(error, UnreachableError):
                unreachable[origin.title] = str(error)
        finally:
            progress.remove_task(task)
    raise UserError("\n       ".join([f"{file.name}: no source serves it.", *reasons, _by_hand()]))


def _by_hand() -> str:
    return (
        f"Get the four .gz files from {HOME}, put them into {project.BY_HAND}/ as they are, then run this again, "
        "or name another place in data.sources."
    )
