"""The bytes of one file: decompressed on the way, kept only if they are the right ones."""

import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path

from pipeline.config.schema import RawFile
from pipeline.data.idx import appearance
from pipeline.data.offers import Offer, UnavailableError

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
