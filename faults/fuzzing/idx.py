"""The raw files: whatever a server or a folder holds, decompressed and decoded."""

import gzip
import math
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from random import Random

import numpy as np

from faults.fuzzing.target import LARGEST, Mutate, Target, told
from pipeline.data.download import PIECE, UnavailableError, decompressed
from pipeline.data.idx import ANYTHING, COLOUR_IMAGES, GREY_IMAGES, LABELS, decode_idx
from pipeline.data.prepare import check_labels, checked_images
from pipeline.terminal.errors import UserError
from tests.sample import FOLDER

DIMENSIONS = ANYTHING, LABELS, GREY_IMAGES, COLOUR_IMAGES
PIECES = 64, 4096, PIECE - 1, PIECE
MOST = 1000, 100_000, LARGEST, 2**27
"""The sizes that a configuration says a file has; of the last a bomb of a megabyte reaches the half of a gigabyte."""

GZIPPED = 1
CLASSES = [f"class {number}" for number in range(10)]
PATH = Path("some-file")


def examine(data: bytes) -> bool:
    """The first byte says how the file is read, the others are the file.

    It is taken if and only if it is right by another reckoning, to the same content; else it is refused in a sentence.
    """
    how, content = data[0] if data else 0, data[1:]
    try:
        if how & GZIPPED:
            content = _unpacked(content, PIECES[how >> 3 & 3], MOST[how >> 5 & 3])
        _decoded(content, DIMENSIONS[how >> 1 & 3])
    except (UserError, UnavailableError) as error:
        return told(error)
    return True


def _unpacked(packed: bytes, size: int, most: int) -> bytes:
    """The content, or of a large one its first megabyte."""
    size = size if len(packed) < PIECE else PIECE
    pieces = (packed[start : start + size] for start in range(0, len(packed), size))
    made, beginning = 0, bytearray()
    right = _right_gzip(packed, most)
    try:
        for content in decompressed(pieces, most):
            made += len(content)
            beginning += content[: LARGEST - len(beginning)]
    except UnavailableError:
        assert right is None, "a right gzip was refused"
        raise
    assert made <= most + 1
    if made > most:
        raise UnavailableError("more than there may be")
    assert right is not None, "a wrong gzip was taken"
    assert bytes(beginning) == right
    return right


def _right_gzip(packed: bytes, most: int) -> bytes | None:
    """The first megabyte of a gzip's content, if it is one member and nothing else; None for what is wrong."""
    if len(packed) > most + most // 100 + (1 << 16):
        return None
    engine = zlib.decompressobj(wbits=31)
    made, beginning, waiting = 0, b"", packed
    try:
        while not engine.eof and (waiting or made == 0):
            content = engine.decompress(waiting, 1 << 16)
            waiting = engine.unconsumed_tail
            made += len(content)
            beginning += content[: LARGEST - len(beginning)]
            if not content and not waiting:
                break
        beginning += engine.flush()[: LARGEST - len(beginning)]
    except zlib.error:
        return None
    return beginning if engine.eof and not engine.unused_data and made <= most else None


def _decoded(content: bytes, dimensions: Collection[int]) -> None:
    sizes = _right_sizes(content)
    try:
        array = decode_idx(content, PATH, dimensions)
    except UserError:
        assert sizes is None or len(sizes) not in dimensions, "a right IDX file was refused"
        raise
    assert array.shape == sizes
    assert array.dtype == np.uint8
    assert not array.flags.writeable
    assert array.tobytes() == content[4 + 4 * len(sizes) :]
    if array.ndim == 1:
        check_labels(array, len(array), CLASSES, str(PATH))
        assert len(np.bincount(array)) == len(CLASSES)
    elif array.ndim in (3, 4):
        shape = array.shape[1:] if array.ndim == 4 else (28, 28, 1)
        assert checked_images(array, shape, str(PATH)).shape == (len(array), *shape)


def _right_sizes(content: bytes) -> tuple[int, ...] | None:
    """The dimensions of a right IDX file of bytes, or None."""
    if content[:3] != b"\0\0\x08" or len(content) < 4 or not 1 <= content[3] <= 4:
        return None
    numbers = content[4 : 4 + 4 * content[3]]
    sizes = tuple(int.from_bytes(numbers[at : at + 4]) for at in range(0, len(numbers), 4))
    right = len(sizes) == content[3] and 4 + len(numbers) + math.prod(sizes) == len(content) and 0 not in sizes
    return sizes if right else None


def seeds() -> Iterator[bytes]:
    """The sample's files, small files of all kinds, and some that are wrong in a way of their own."""
    labels = _idx(20)
    wrong = b"", b"<!DOCTYPE html><html>", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"
    plain = [labels, _idx(3, 28, 28), _idx(2, 3, 5, 3), _idx(2, 2), b"\0\0\x08\x04" + b"\xff" * 16, *wrong]
    packed = [gzip.compress(content, mtime=0) for content in plain]
    packed += [packed[0] * 2, packed[0] + b"<!-- -->", packed[1][:-9], gzip.compress(bytes(2**21), mtime=0)]
    for how, content in product((0, 6, 12), plain):
        yield bytes([how]) + content
    for how, content in product((1, 33, 73), packed):
        yield bytes([how]) + content
    for path in sorted(FOLDER.glob("*.gz")):
        yield bytes([65]) + path.read_bytes()
        yield bytes([0]) + gzip.decompress(path.read_bytes())
    yield bytes([121]) + gzip.compress(bytes(2**27), mtime=0)


def _idx(*sizes: int) -> bytes:
    header = bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4) for size in sizes)
    return header + bytes(number % 10 for number in range(math.prod(sizes)))


def words() -> Iterator[bytes]:
    yield from (b"\x1f\x8b\x08", b"\0\0\x08\x01", b"\0\0\x08\x03", b"\0\0\x08\x04", b"\0\0\0\x1c", b"\xff\xff\xff\xff")
    yield from (b"<html", b"<!DOCTYPE html", b"\x93NUMPY", b"PK\x03\x04", b"\x00\x00\xff\xff", b"\0\0\x0d")


def mutated(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A change that leaves a gzip a gzip, or a header that tells the size; or a blind one."""
    if len(data) < 2 or random.random() < 0.4:
        return mutate(data)
    how, content = data[0], data[1:]
    if not how & GZIPPED:
        return bytes([how]) + _with_its_size(mutate(content), random)
    unpacked = b""
    with suppress(zlib.error):
        unpacked = zlib.decompressobj(wbits=31).decompress(content, LARGEST)
    changed = _with_its_size(mutate(unpacked), random)
    return bytes([how]) + gzip.compress(changed, compresslevel=random.randrange(10), mtime=0)


def _with_its_size(content: bytes, random: Random) -> bytes:
    """With a header of one to four dimensions in front of numbers that are as many."""
    if random.random() < 0.5:
        return content
    sizes = [random.choice((1, 2, 3, 10, 28)) for _ in range(random.randrange(4))]
    numbers = content[4 + 4 * (len(sizes) + 1) :]
    first = len(numbers) // math.prod(sizes)
    header = bytes([0, 0, 8, len(sizes) + 1]) + b"".join(size.to_bytes(4) for size in (first, *sizes))
    return header + numbers[: first * math.prod(sizes)]


CODE = "pipeline/data/prepare.py", "pipeline/data/download.py", "pipeline/data/idx.py"
TARGET = Target(CODE, examine, seeds, words, mutated)
