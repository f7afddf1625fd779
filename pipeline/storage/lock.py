"""One writer at a time. The system frees a lock when its process dies, however it dies."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.storage import project


@contextmanager
def only_one(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; when another process holds it, call `waiting` once and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting is not None:
            waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def stage() -> AbstractContextManager[None]:
    """Hold what every stage of dvc.yaml holds: one that outlived its dvc never writes beside its successor."""
    return only_one(project.STAGE_LOCK, lambda: print("a stage of an earlier dvc is still running; waiting for it"))


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file `path` now."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
