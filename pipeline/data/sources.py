"""Fetching the raw files: the sources are tried in order until one serves."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from pipeline.config.schema import FolderSource, RawFile, RawFiles, Source, WebSource
from pipeline.data.debian import Debian
from pipeline.data.download import Folder, Origin, Patience, UnavailableError, UnreachableError, Web, keep
from pipeline.storage import project
from pipeline.storage.atomic import write_folder
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console

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
