"""Writing that leaves the old or the new, never a half.

What is being written lies beside its place as `.<name>.<random>.partial`, locked by its writer. One without a lock was
left by a writer that was killed: the next writer of that name removes it.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"

AT_FDCWD, RENAME_EXCHANGE, RENAME_SWAP = -100, 2, 2
"""Of renameat2 (Linux, fcntl.h and linux/fs.h) and of renamex_np (macOS, stdio.h)."""


def write_file(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`; after a kill at any moment the path holds the old content or the new.

    Raises OSError with the path's name; the path then holds the one or the other.
    """
    with naming(path), _partial(path, _make_file) as partial:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well it takes the place of what was at `path`, in one step.

    When the block raises, what was there stays and the new folder is removed. An OSError in the block that names no
    file, or one in the new folder, names the place that it would have at `path`.
    """
    with naming(path), _partial(path, _make_folder) as partial:
        yield partial
        for written in (*partial.rglob("*"), partial):
            _sync(written)
        _put(partial, path)
        _sync(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError name the file at `path`: one of `write` names none, others name the partial one beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        name, beside = error.filename, f"{path.parent / f'.{path.name}.'}"
        if not isinstance(name, str):
            name = str(path)
        elif name.startswith(beside):
            name = str(path / name.removeprefix(beside).partition(os.sep)[2])
        raise OSError(error.errno, error.strerror, name) from error


def sync_folder(folder: Path, root: Path) -> None:
    """Wait until all that lies in `folder`, and the names of the folders from `root` to it, are on the disk.

    For what others have written. Nothing is done where there is no such folder.
    """
    if folder.is_dir() and folder.is_relative_to(root):
        upwards = [folder, *folder.parents]
        for path in (*folder.rglob("*"), *upwards[: upwards.index(root) + 1]):
            _sync(path)


def _put(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; what was there, if anything, is then at `folder`, or gone."""
    # A folder that is not empty can't be replaced by a rename.
    if not target.exists():
        folder.replace(target)
    elif not _exchanged(folder, target):
        # A kill between the two renames leaves nothing at `target`, never a half: it is made again.
        aside = _new_name(target)
        try:
            target.replace(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _clear(target)
        try:
            folder.replace(target)
        except OSError:
            aside.replace(target)
            raise
        # A power cut could undo the renames, and not the removals in what would then be at `target` again.
        _sync(target.parent)
        _remove(aside)


def _clear(folder: Path) -> None:
    """Remove a folder that can't be moved: overlayfs renames none that lies in a lower layer, such as an image's.

    What says what it holds (run.json, evaluation.json, summary.json, study.json) goes first: what a kill leaves is then
    no record, never one that looks whole, and is made again.
    """
    for path in sorted(folder.glob("*.json")):
        path.unlink()
    shutil.rmtree(folder)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two paths in one step; False where the system or the file system has no such step, or not for these two."""
    system = ctypes.CDLL(None, use_errno=True)
    if hasattr(system, "renameat2"):
        status = system.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    elif hasattr(system, "renamex_np"):
        status = system.renamex_np(os.fsencode(one), os.fsencode(other), RENAME_SWAP)
    else:
        return False
    number = ctypes.get_errno()
    if status != 0 and number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV):
        raise OSError(number, os.strerror(number), str(other))
    return bool(status == 0)


@contextmanager
def _partial(path: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    """Yield what `make` made beside `path`, locked until the end or the process's; what lies there then is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    while True:
        partial = _new_name(path)
        descriptor = make(partial)
        # A file system without locks: nobody can take it for abandoned there.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if partial.exists():
            break
        # Another writer of this name took it for abandoned before it was locked.
        _close(descriptor)
    try:
        yield partial
    finally:
        _remove(partial)
        _close(descriptor)


def _new_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{PARTIAL}")


def _make_file(partial: Path) -> int:
    """A descriptor of a new file; who may read it is as the umask says."""
    return os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _make_folder(partial: Path) -> int:
    """A descriptor of a new folder; who may enter it is as the umask says."""
    partial.mkdir()
    try:
        return os.open(partial, os.O_RDONLY)
    except FileNotFoundError:
        return _make_folder(partial)


def _close(descriptor: int) -> None:
    """Close a descriptor by which nothing was written: an error says nothing."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of `path` have left."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        # A living writer's is locked, and may be gone in a moment.
        with contextlib.suppress(OSError):
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                _close(lock)


def _remove(path: Path) -> None:
    """Remove a file or a folder as far as that can be done: what is left is the next writer's to remove."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        _close(descriptor)
