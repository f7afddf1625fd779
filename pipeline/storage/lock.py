"""One writer at a time. The system frees a lock when its process dies, however it dies."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.storage import project

BETWEEN_TRIES = 1.0


@contextmanager
def only_one(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; when another process holds it, call `waiting` once and wait."""
    lock = FileLock(path)
    if not _acquired(lock, seconds=0):
        if waiting is not None:
            waiting()
        while not _acquired(lock, seconds=BETWEEN_TRIES):
            pass
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    """Try to get the lock for so long."""
    path = Path(lock.lock_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except FileNotFoundError:
        # Who held it has just removed the folder; a link to nowhere would lead there for ever.
        if path.is_symlink():
            raise
        return False
    return True


def stage() -> AbstractContextManager[None]:
    """Hold what every stage of dvc.yaml holds: one that outlived its dvc never writes beside its successor."""
    return only_one(project.STAGE_LOCK, lambda: print("a stage of an earlier dvc is still running; waiting for it"))


@contextmanager
def sweep() -> Iterator[None]:
    """Say that a sweep works here, beside others: `make clean` then removes nothing under it.

    It holds no other lock while it plans, and while its workers import TensorFlow.
    """
    with project.SWEEP_LOCK.open("ab") as file:
        # A file system without locks: then nobody is told.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` where no other process does; whether that is so."""
    lock = FileLock(path)
    free = _acquired(lock, seconds=0)
    try:
        yield free
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file `path` now."""
    if not path.exists():
        return False
    with if_free(path) as free:
        return not free


def others_at_work(own: Path) -> bool:
    """Whether a process makes another run than the one in the folder `own` now: what the clock says is shared."""
    stage = [] if own == project.RECORD else [project.STAGE_LOCK]
    for path in (*stage, *project.RUNS.glob("*/.lock")):
        # One that can't be opened is no sign of work.
        with contextlib.suppress(OSError):
            if path.parent != own and is_held(path):
                return True
    return False
