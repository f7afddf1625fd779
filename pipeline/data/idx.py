"""The IDX format of the MNIST family (http://yann.lecun.com/exdb/mnist): a header, then the numbers.

The header: two zero bytes, the type of the numbers, how many dimensions, then each dimension as a big-endian uint32.
"""

import math
import struct
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.messages import shown
from pipeline.terminal.errors import UserError

UNSIGNED_BYTE = 0x08
OTHER_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
MOST_DIMENSIONS = 4

LABELS = (1,)
GREY_IMAGES = (3,)
COLOUR_IMAGES = (4,)
ANYTHING = range(1, MOST_DIMENSIONS + 1)
BEGINNINGS = {
    b"\x1f\x8b": "gzip, not yet decompressed",
    b"pk\x03\x04": "a zip archive",
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"\x93numpy": "a NumPy file",
}
"""In small letters."""
CONTENTS = {1: "labels", 3: "images", 4: "images with channels"}


def decode_idx(data: bytes, path: Path, dimensions: Collection[int] = ANYTHING) -> NDArray[np.uint8]:
    """The array that an IDX file holds: uint8, of the shape its header tells, not writable.

    `path` is for messages; `dimensions` says how many there may be. Raises UserError for all that is not exactly so.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise _damaged(path, "must begin with two zero bytes, a type and a number of dimensions", appearance(data[:64]))
    if data[2] != UNSIGNED_BYTE:
        kind = OTHER_TYPES.get(data[2], f"the unknown type 0x{data[2]:02x}")
        raise _damaged(path, "must hold unsigned bytes (type 0x08)", kind)
    if data[3] not in dimensions:
        raise _damaged(path, f"must have {_counted(dimensions)}", _content(data[3]))
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise _damaged(path, f"must have a header of {header} bytes", f"{len(data)} bytes in all")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    if 0 in shape:
        raise _damaged(path, "must have at least 1 in each dimension", _sizes(shape))
    # Python's whole numbers: four dimensions of 2³² do not overflow, and nothing is allocated for them.
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise _damaged(path, f"must have {expected:,} bytes, as its header says ({_sizes(shape)})", f"{len(data):,}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def appearance(beginning: bytes) -> str:
    """What a file that begins so seems to be, for messages."""
    if not beginning:
        return "nothing"
    start = beginning.lstrip().lower()
    for mark, kind in BEGINNINGS.items():
        if start.startswith(mark):
            return kind
    text = beginning.decode("ascii", errors="replace")
    if all(character.isascii() and (character.isprintable() or character.isspace()) for character in text):
        return f"text that begins with {shown(text[:30])}"
    return f"bytes that begin with {beginning[:4].hex(' ')}"


def _damaged(path: Path, rule: str, present: str) -> UserError:
    return UserError(
        f"{path}: as an IDX file it {rule}; found {present}. Fetch it again (dvc repro --force fetch), "
        "or mend what data.files and data.image_shape say about it."
    )


def _content(dimensions: int) -> str:
    content = f" ({CONTENTS[dimensions]})" if dimensions in CONTENTS else ""
    return f"{dimensions}{content}"


def _counted(dimensions: Collection[int]) -> str:
    if len(dimensions) > 1:
        return f"{min(dimensions)} to {max(dimensions)} dimensions"
    (only,) = dimensions
    return f"{_content(only)} dimension{'s' if only > 1 else ''}"


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
