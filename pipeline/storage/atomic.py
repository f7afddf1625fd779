"""Writing that leaves the old or the new, never a half."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`; after a kill at any moment the path holds the old content or the new.

    Raises OSError with the path's name; the old content is then still there.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        # An error of `write` names no file, one of `mkstemp` a file that nobody knows.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well it is renamed to `path`, in place of what was there.

    When the block raises, what was there stays and the new folder is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    try:
        yield partial
        partial.chmod(0o755)
        for found in (*partial.rglob("*"), partial):
            _sync(found)
        move_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_folder(source: Path, target: Path) -> None:
    """Rename `source` to `target`, in place of what was there. Both lie on one file system.

    What was there is put aside by a rename of its own: a kill between the two leaves nothing at `target`, never a half.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        # A folder that is not empty can't be replaced by a rename: put the old one aside first.
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial"))
        target.replace(aside)
        try:
            source.replace(target)
        except OSError:
            aside.replace(target)
            raise
        shutil.rmtree(aside)
    else:
        source.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
