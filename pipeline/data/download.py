"""Files from the web, from servers that may stall, drip, or send round in circles.

What a source can offer, and how long it is waited for. The bytes of a file are decompressed on the way and kept only if
they are the right ones.
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
from typing import Protocol

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pipeline.config.schema import RawFile
from pipeline.data.idx import appearance

PIECE = 1 << 16


@dataclass(frozen=True)
class Patience:
    """What a source may cost. Times in seconds."""

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
class Offer:
    """A file as a source holds it: where, whether it is gzipped, and its bytes.

    `pieces` raises UnavailableError; close it when it is not read to its end.
    """

    place: str
    gzipped: bool
    pieces: Generator[bytes, None, None]


class Origin(Protocol):
    """A source, opened."""

    @property
    def title(self) -> str: ...

    def offer(self, name: str) -> Offer:
        """The IDX file `name`. Raises UnavailableError."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds `<name>.gz` or `<name>`."""

    path: Path

    @property
    def title(self) -> str:
        return str(self.path)

    def offer(self, name: str) -> Offer:
        """`<name>.gz` if it is there, or else `<name>`. Raises UnavailableError."""
        for path in (self.path / f"{name}.gz", self.path / name):
            if path.is_file():
                return Offer(str(path), gzipped=path.suffix == ".gz", pieces=_read(path))
        if not self.path.is_dir():
            raise UnreachableError("is no folder")
        raise UnavailableError(f"holds neither {name}.gz nor {name}")


def _read(path: Path) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise UnavailableError(f"{path.name} can't be read: {error.strerror}") from None


GZIP_START = b"\x1f\x8b"
AT_ONCE = 1 << 20


def keep(offer: Offer, file: RawFile, path: Path, advance: Callable[[int], object]) -> None:
    """Write the decompressed bytes of an offer to `path`, if their number and their SHA-256 are those of `file`.

    Until that is known they lie beside it under another name. `advance` is told how many bytes were added.
    Raises UnavailableError when they are not, or do not come.
    """
    partial = path.with_name(f"{path.name}.partial")
    digest = hashlib.sha256()
    size = 0
    try:
        with closing(offer.pieces) as pieces, partial.open("wb") as output:
            for piece in decompressed(pieces, file.bytes) if offer.gzipped else pieces:
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
        try:
            for content in _inflated(engine, piece, most + 1 - made):
                made += len(content)
                yield content
        except zlib.error as error:
            raise UnavailableError(_damage(beginning, error)) from None
        if made > most:
            return
        consumed = taken - len(engine.unused_data)
    if engine.eof:
        if taken > consumed:
            raise UnavailableError("serves gzip with something after its end")
    elif not taken:
        raise UnavailableError("serves an empty file")
    elif taken > most_taken:
        raise UnavailableError(f"serves more than {most_taken:,} compressed bytes for a file of {most:,}")
    else:
        raise UnavailableError(f"serves gzip that is cut off after {made:,} of {most:,} bytes")


def _inflated(engine: "zlib._Decompress", piece: bytes, most: int) -> Generator[bytes, None, None]:
    """What a compressed piece holds, at most so many bytes, a part after the other: it may be a thousand times larger.

    Raises zlib.error.
    """
    while most > 0:
        room = min(most, AT_ONCE)
        content = engine.decompress(piece, room)
        most -= len(content)
        yield content
        if len(content) < room:
            return
        piece = engine.unconsumed_tail


def _damage(beginning: bytes, error: zlib.error) -> str:
    if beginning.startswith(GZIP_START):
        return f"serves damaged gzip ({error})"
    return f"serves {appearance(beginning)}, not gzip"


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
