"""Files from the web, from servers that may stall, drip, or send round in circles."""

import contextlib
import queue
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pipeline.data.offers import PIECE, Offer, Patience, UnavailableError, UnreachableError

MOST_REDIRECTS = 5

Arrivals = queue.Queue[bytes | UnavailableError | None]
"""Pieces, then None for the end or an error."""


@dataclass(frozen=True)
class Web:
    """An address under which `<name>.gz` lies."""

    address: str
    patience: Patience

    @property
    def title(self) -> str:
        return self.address

    def offer(self, name: str) -> Offer:
        """`<name>.gz`; nothing is asked of the server before its pieces are."""
        address = f"{self.address.rstrip('/')}/{name}.gz"
        return Offer(address, gzipped=True, pieces=_pieces(address, self.patience))


def _pieces(address: str, patience: Patience) -> Generator[bytes, None, None]:
    """The body at an address as it arrives.

    A thread receives it: time-outs of sockets end neither the look-up of a name nor headers that come byte by byte.
    """
    arrivals: Arrivals = queue.Queue(maxsize=64)
    over = threading.Event()
    threading.Thread(target=_receive, args=(address, patience, arrivals, over), daemon=True).start()
    try:
        yield from _in_time(arrivals, patience)
    finally:
        over.set()
        # The thread may be waiting for room in the queue.
        with contextlib.suppress(queue.Empty):
            while True:
                arrivals.get_nowait()


def _in_time(arrivals: Arrivals, patience: Patience) -> Generator[bytes, None, None]:
    """What arrives, as long as it comes fast enough. Only waiting counts, not what is done with the pieces."""
    waited, received = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            arrival = arrivals.get(timeout=patience.window - waited)
        except queue.Empty:
            arrival = b""
        waited += time.monotonic() - began
        if arrival is None:
            return
        if isinstance(arrival, UnavailableError):
            raise arrival
        received += len(arrival)
        if waited >= patience.window:
            if received < patience.slowest * patience.window:
                raise UnreachableError(f"is too slow: {received:,} bytes in {patience.window:g} s")
            waited, received = 0.0, 0
        if arrival:
            yield arrival


def _receive(address: str, patience: Patience, arrivals: Arrivals, over: threading.Event) -> None:
    try:
        with requests.Session() as session:
            session.max_redirects = MOST_REDIRECTS
            # The file is gzipped already: the server is not to wrap it again, and what it sends is not to be unwrapped.
            headers = {"Accept-Encoding": "identity"}
            timeouts = (patience.connect, patience.read)
            with session.get(address, stream=True, timeout=timeouts, headers=headers) as response:
                if response.status_code != requests.codes.ok:
                    raise UnavailableError(f"answers {response.status_code} {response.reason}")
                for piece in response.raw.stream(PIECE, decode_content=False):
                    arrivals.put(piece)
                    if over.is_set():
                        return
        arrivals.put(None)
    except UnavailableError as error:
        arrivals.put(error)
    except (OSError, ValueError, HTTPError) as error:
        arrivals.put(_refusal(error, patience))


def _refusal(error: Exception, patience: Patience) -> UnavailableError:
    """The reason in an exception of requests or urllib3."""
    match error:
        case requests.ConnectTimeout():
            return UnreachableError(f"gives no connection within {patience.connect:g} s")
        case requests.ReadTimeout() | ReadTimeoutError():
            return UnreachableError(f"sends nothing for {patience.read:g} s")
        case requests.ConnectionError():
            return UnreachableError(f"gives no connection ({_cause(error)})")
        case requests.TooManyRedirects():
            return UnavailableError(f"redirects more than {MOST_REDIRECTS} times")
        case HTTPError():
            return UnavailableError(f"breaks off ({_cause(error)})")
        case _:
            return UnavailableError(f"can't be used ({_cause(error)})")


def _cause(error: Exception) -> str:
    """The innermost message: those of requests begin with the address and three wrappings."""
    inner: BaseException = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    return getattr(inner, "strerror", None) or str(inner)
