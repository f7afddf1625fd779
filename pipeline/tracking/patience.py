"""Waiting for a store has an end, whatever the store does."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from pipeline.config.schema import Tracking
from pipeline.tracking.store import Store, StoreUnreachableError, address, open_store, shown

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
