"""Files from the web, from servers that may stall, drip, or send round in circles.

A file's bytes are decompressed on the way and kept only if they are the right ones.
"""

import contextlib
import hashlib
import queue
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pipeline.config.schema import RawFile
from pipeline.data.idx import appearance

PIECE = 1 << 16
AT_ONCE = 1 << 20
MOST_REDIRECTS = 5
GZIP_START = b"\x1f\x8b"


@dataclass(frozen=True)
class Timeouts:
    """What a source may cost, in seconds."""

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
class SourceFile:
    """A file as a source holds it: where (gzipped where that ends in .gz), and its bytes.

    `pieces` raises UnavailableError; close it when it is not read to its end.
    """

    place: str
    pieces: Generator[bytes, None, None]


def download_verified(source: SourceFile, file: RawFile, path: Path, advance: Callable[[int], object]) -> None:
    """Write the decompressed bytes of `source` to `path`, if their number and their SHA-256 are those of `file`.

    Until that is known they lie beside it under another name. `advance` is told how many bytes were added.
    Raises UnavailableError when they are not, or do not come.
    """
    partial = path.with_name(f"{path.name}.partial")
    digest = hashlib.sha256()
    size = 0
    try:
        with closing(source.pieces) as pieces, partial.open("wb") as output:
            for piece in decompressed(pieces, file.bytes) if source.place.endswith(".gz") else pieces:
                size += len(piece)
                if size > file.bytes:
                    raise UnavailableError(f"serves another file: more than {file.bytes:,} bytes")
                digest.update(piece)
                output.write(piece)
                advance(len(piece))
        if size < file.bytes:
            raise UnavailableError(f"serves another file: {size:,} bytes, not {file.bytes:,}")
        if digest.hexdigest() != file.sha256:
            raise UnavailableError(f"serves another file: its SHA-256 is {digest.hexdigest()}, not {file.sha256}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def decompressed(pieces: Iterable[bytes], most: int) -> Generator[bytes, None, None]:
    """The content of one gzip member, of which no more than `most` + 1 bytes are ever made.

    Raises UnavailableError for what is no gzip, damaged, cut off, or followed by something.
    """
    engine = zlib.decompressobj(wbits=31)
    beginning = b""
    taken = made = consumed = 0
    # What can't be compressed grows by 5 bytes in 16 kB; a header may hold a name.
    most_taken = most + most // 100 + (1 << 16)
    for piece in pieces:
        beginning = beginning or piece[:64]
        taken += len(piece)
        if engine.eof or taken > most_taken:
            break
        # A part after the other: what a piece holds may be a thousand times larger.
        rest, goes_on = piece, True
        while goes_on and made <= most:
            room = min(most + 1 - made, AT_ONCE)
            try:
                content = engine.decompress(rest, room)
            except zlib.error as error:
                kind = (
                    f"damaged gzip ({error})" if beginning[:2] == GZIP_START else f"{appearance(beginning)}, not gzip"
                )
                raise UnavailableError(f"serves {kind}") from None
            rest, goes_on = engine.unconsumed_tail, len(content) == room
            made += len(content)
            yield content
        if made > most:
            return
        consumed = taken - len(engine.unused_data)
    if not taken:
        raise UnavailableError("serves an empty file")
    if not engine.eof and taken > most_taken:
        raise UnavailableError(f"serves more than {most_taken:,} compressed bytes for a file of {most:,}")
    if not engine.eof:
        raise UnavailableError(f"serves gzip that is cut off after {made:,} of {most:,} bytes")
    if taken > consumed:
        raise UnavailableError("serves gzip with something after its end")


Arrivals = queue.Queue[bytes | UnavailableError | None]
"""Pieces, then None for the end or an error."""


def received(address: str, timeouts: Timeouts) -> Generator[bytes, None, None]:
    """The body at an address as it arrives, as long as it comes fast enough. Raises UnavailableError.

    Only waiting counts, not what is done with the pieces. A thread receives them: time-outs of sockets end neither the
    look-up of a name nor headers that come byte by byte.
    """
    arrivals: Arrivals = queue.Queue(maxsize=64)
    over = threading.Event()
    threading.Thread(target=_receive, args=(address, timeouts, arrivals, over), daemon=True).start()
    waited, size = 0.0, 0
    try:
        while True:
            began = time.monotonic()
            try:
                arrival = arrivals.get(timeout=timeouts.window - waited)
            except queue.Empty:
                arrival = b""
            waited += time.monotonic() - began
            if arrival is None:
                return
            if isinstance(arrival, UnavailableError):
                raise arrival
            size += len(arrival)
            if waited >= timeouts.window:
                if size < timeouts.slowest * timeouts.window:
                    raise UnreachableError(f"is too slow: {size:,} bytes in {timeouts.window:g} s")
                waited, size = 0.0, 0
            if arrival:
                yield arrival
    finally:
        over.set()
        # The thread may be waiting for room in the queue.
        with contextlib.suppress(queue.Empty):
            while True:
                arrivals.get_nowait()


def _receive(address: str, timeouts: Timeouts, arrivals: Arrivals, over: threading.Event) -> None:
    try:
        with requests.Session() as session:
            session.max_redirects = MOST_REDIRECTS
            # The file is gzipped already: the server is not to wrap it again, and what it sends is not to be unwrapped.
            headers = {"Accept-Encoding": "identity"}
            limits = timeouts.connect, timeouts.read
            with session.get(address, stream=True, timeout=limits, headers=headers) as response:
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
        arrivals.put(_refusal(error, timeouts))


def _refusal(error: Exception, timeouts: Timeouts) -> UnavailableError:
    """The reason in an exception of requests or urllib3."""
    match error:
        case requests.ConnectTimeout():
            return UnreachableError(f"gives no connection within {timeouts.connect:g} s")
        case requests.ReadTimeout() | ReadTimeoutError():
            return UnreachableError(f"sends nothing for {timeouts.read:g} s")
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
