"""What must be done once is done once, though the answer to the request that did it may be lost, or late.

Waiting for a store has an end, whatever the store does.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from pipeline.config.schema import Tracking
from pipeline.tracking.store import Store, StoreUnreachableError, address, check_place, open_store, shown, writing

ANSWERS_WITHIN = 15.0
"""Seconds in which a store must answer a person who waits for it: one of 5 s a call does."""

Result = TypeVar("Result")


def within(seconds: float, tracking: Tracking, call: Callable[[], Result]) -> Result:
    """What `call`, which talks to the store, returns. Raises StoreUnreachableError when it needs longer.

    It is then left to itself: for commands that are about to end.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        if future.done():
            raise
        raise StoreUnreachableError(f"{shown(address(tracking))}: did not do its part within {seconds:.0f} s") from None


def open_soon(tracking: Tracking) -> Store:
    """The store, where somebody waits for it. Raises StoreUnreachableError."""
    return within(ANSWERS_WITHIN, tracking, lambda: open_store(tracking))


RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
ATTEMPTS = 3

Found = TypeVar("Found")


def ensured(find: Callable[[], Found], make: Callable[[], Found]) -> Found:
    """What `find` finds, else what `make` makes: for requests that must not be done twice.

    What an earlier request did and could not tell is found by the next search; nothing is done without one.
    """
    attempts = ATTEMPTS
    while not (found := find()):
        attempts -= 1
        try:
            with _sent_once():
                return make()
        except Exception:
            # It may have been done all the same.
            if not attempts:
                raise
    return found


def found_or_made(store: Store, tags: Mapping[str, str], name: str, started: int | None = None) -> Any:
    """The MLflow run with these tags; made, with a name and a start in milliseconds, when there is none."""
    wanted = " and ".join(f"tags.{tag} = '{text}'" for tag, text in tags.items())

    def find() -> list[Any]:
        return list(store.client.search_runs([store.experiment_id], wanted))

    def make() -> list[Any]:
        return [store.client.create_run(store.experiment_id, start_time=started, tags=dict(tags), run_name=name)]

    with writing():
        run = _only_one(store, ensured(find, make))
    check_place(store.address, run.info.artifact_uri)
    return run


def _only_one(store: Store, found: list[Any]) -> Any:
    """Of several the one in which most is written, the same for everybody who asks; empty ones are deleted.

    A request that was given up may still arrive, and make a second one, in which nobody writes.
    """
    first, *others = sorted(found, key=lambda run: (-_written(run), run.info.start_time or 0, run.info.run_id))
    for other in others:
        if not _written(other):
            store.client.delete_run(other.info.run_id)
    return first


def _written(run: Any) -> int:
    """How much of a record or a study a run holds: `outcome` is of the first that is written."""
    return len(run.data.metrics) + ("outcome" in run.data.tags)


@contextlib.contextmanager
def _sent_once() -> Iterator[None]:
    """mlflow repeats a request that was not answered: one that makes something would make two."""
    before = os.environ[RETRIES]
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before
