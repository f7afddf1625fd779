"""Fetching the raw files: folders, web addresses and Debian packages are tried in order until one serves."""

import os
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from pipeline.config.schema import DebianSource, FolderSource, RawFile, RawFiles, Source, WebSource
from pipeline.data.download import (
    PIECE,
    SourceFile,
    Timeouts,
    UnavailableError,
    UnreachableError,
    download_verified,
    received,
)
from pipeline.storage import project
from pipeline.storage.atomic import write_folder
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console

HOME = "https://github.com/zalandoresearch/fashion-mnist"

Opener = Callable[[str], SourceFile]
"""Gives the IDX file of a name, as a source holds it. Raises UnavailableError."""


def fetch(files: RawFiles, sources: Sequence[Source], target: Path, timeouts: Timeouts | None = None) -> None:
    """Fill the folder `target` with the four decompressed IDX files, in place of what was there; all four or none.

    Says where each came from. Raises UserError when a file can't be had from any source, with each source's reason.
    """
    # What a source needs lies in the new folder, so that it is removed with it after a kill.
    with (
        write_folder(target) as folder,
        TemporaryDirectory(dir=folder, prefix=".sources-") as scratch,
        bar("bytes") as progress,
    ):
        openers = dict(_opened(source, timeouts or Timeouts(), Path(scratch)) for source in sources)
        unreachable: dict[str, str] = {}
        for part in RawFiles.model_fields:
            file: RawFile = getattr(files, part)
            place = _download(file, openers, unreachable, folder / file.name, progress)
            console.print(f"{file.name}: from {place}", markup=False)


def _opened(source: Source, timeouts: Timeouts, scratch: Path) -> tuple[str, Opener]:
    """What a source is called, and what opens its files."""
    match source:
        case FolderSource():
            folder = project.ROOT / source.path
            return str(folder), partial(in_folder, folder)
        case WebSource():
            return source.address, partial(_at_address, source.address.rstrip("/"), timeouts)
        case DebianSource():
            package = DebianPackage(source.package, timeouts, scratch / source.package)
            return package.title, package.open


def _download(
    file: RawFile, openers: Mapping[str, Opener], unreachable: dict[str, str], path: Path, progress: Progress
) -> str:
    """Put the file at `path` and return the place it came from; `unreachable` gains the sources to leave alone."""
    reasons = []
    for title, opener in openers.items():
        if title in unreachable:
            reasons.append(f"{title}: {unreachable[title]}")
            continue
        task = progress.add_task(file.name, total=file.bytes)
        try:
            opened = opener(file.name)
            download_verified(opened, file, path, partial(progress.advance, task))
            return opened.place
        except UnavailableError as error:
            reasons.append(f"{title}: {error}")
            if isinstance(error, UnreachableError):
                unreachable[title] = str(error)
        finally:
            progress.remove_task(task)
    way = f"Get the four .gz files from {HOME}, put them into {project.BY_HAND}/ as they are, then run this again"
    if imported := [Path(title).name for title in openers if Path(title).parent == project.IMPORTED]:
        way = f"Import them here too (python -m pipeline.import_images {imported[0]} … --replace)"
    way = f"{way}, or name another place in data.sources."
    raise UserError("\n       ".join([f"{file.name}: no source serves it.", *reasons, way]))


def _at_address(address: str, timeouts: Timeouts, name: str) -> SourceFile:
    place = f"{address}/{name}.gz"
    return SourceFile(place, received(place, timeouts))


def in_folder(folder: Path, name: str) -> SourceFile:
    """`<name>.gz` if the folder holds it, or else `<name>`. Raises UnavailableError."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return SourceFile(str(path), _read(path))
    if not folder.is_dir():
        raise UnreachableError("is no folder")
    raise UnavailableError(f"holds neither {name}.gz nor {name}")


def _read(path: Path) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise UnavailableError(f"{path.name} can't be read: {error.strerror}") from None


@dataclass(frozen=True)
class DebianPackage:
    """A package that holds `<name>.gz` somewhere: downloaded into the new folder `scratch`, never installed.

    So it needs no root.
    """

    package: str
    timeouts: Timeouts
    scratch: Path

    @property
    def title(self) -> str:
        return f"Debian package {self.package}"

    def open(self, name: str) -> SourceFile:
        """`<name>.gz`; the first call downloads the package. Raises UnavailableError."""
        for path in sorted(self._contents.rglob(f"{name}.gz")):
            return SourceFile(f"{self.title}, {path.relative_to(self._contents)}", _read(path))
        raise UnavailableError(f"holds no {name}.gz")

    @cached_property
    def _contents(self) -> Path:
        """The folder into which the package is unpacked."""
        lists = self.scratch / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        try:
            self._run("apt-get", "download", self.package)
        except UnreachableError:
            # The system's package lists may be missing or old, and only root may renew them.
            own_lists = ("-o", f"Dir::State::Lists={lists}")
            self._run("apt-get", "update", *own_lists)
            self._run("apt-get", "download", self.package, *own_lists)
        packages = [path.name for path in self.scratch.glob("*.deb")]
        if len(packages) != 1:
            raise UnreachableError(f"gave {len(packages)} .deb files, not one")
        self._run("dpkg-deb", "-x", packages[0], "contents")
        return self.scratch / "contents"

    def _run(self, program: str, *arguments: str) -> None:
        """A command in the scratch folder. Raises UnreachableError with the last line that it said."""
        output = self.scratch / "output.txt"
        # Say little, wait no longer than for other sources.
        seconds = max(1, round(self.timeouts.read))
        limits = [f"Acquire::{kind}::Timeout={seconds}" for kind in ("http", "https", "ftp")]
        quiet = ["-q", *(word for limit in (*limits, "Acquire::Retries=0") for word in ("-o", limit))]
        try:
            # Into a file: the end of a pipe would have to be waited for while a grandchild holds it.
            with output.open("wb") as file:
                subprocess.run(
                    [program, *(quiet if program == "apt-get" else []), *arguments],
                    cwd=self.scratch,
                    env=os.environ | {"LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=self.timeouts.command,
                    check=True,
                )
        except FileNotFoundError:
            raise UnreachableError(f"there is no {program} on this machine") from None
        except PermissionError:
            raise UnreachableError(f"{program} may not be run") from None
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"{program} took more than {self.timeouts.command:g} s") from None
        except subprocess.CalledProcessError:
            raise UnreachableError(f"{program} {arguments[0]} failed: {_complaint(output)}") from None


def _complaint(output: Path) -> str:
    """The last error that a command told, or else its last line."""
    lines = list(filter(None, map(str.strip, output.read_text("utf-8", errors="replace").splitlines())))
    return ([line for line in lines if line.startswith("E:")] or lines or ["it said nothing"])[-1]
