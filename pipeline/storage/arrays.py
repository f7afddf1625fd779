"""Arrays as bytes, for a file that is written by Python: the same arrays give the same bytes.

`numpy.save` itself writes past Python: when the disk is full it says so without a reason, or not at all.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by name."""


def as_npy(array: NDArray[Any]) -> bytes:
    """The array as a .npy file."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array), allow_pickle=False)
    return content.getvalue()


def pack(arrays: Arrays) -> bytes:
    """The arrays as an .npz file, which `numpy.load` reads: nothing in it is compressed."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{name: np.asarray(array, order="C") for name, array in arrays.items()})
    return content.getvalue()


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `pack` wrote, which can't be written to. They lie in `content`, and take no memory beside it.

    Raises ValueError for what it did not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            # What is compressed, or lies in the file once and is named twice, could unpack to any size.
            if sum(member.file_size for member in members) > len(content):
                raise ValueError("it holds more than its bytes")
            return {member.filename.removesuffix(".npy"): _from_npy(archive.read(member)) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, MemoryError, RecursionError) as error:
        raise ValueError(f"it is no archive of arrays ({error})") from None


def digest_of(arrays: Arrays) -> str:
    """SHA-256 over the name, the type, the shape and the bytes of each array, in their order."""
    sha256 = hashlib.sha256()
    for name, array in arrays.items():
        sha256.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha256.update(np.asarray(array, order="C").tobytes())
    return sha256.hexdigest()


def _from_npy(content: bytes) -> NDArray[Any]:
    """The array whose shape and type the header says, where the bytes after it are as many. Raises ValueError."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another version of NumPy's format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    values = memoryview(content)[file.tell() :]
    if by_columns or dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("an array that may hold any object, or is none that is written here")
    if math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"an array of shape {shape} in {len(values):,} bytes")
    return np.ndarray(shape, dtype, buffer=values)
