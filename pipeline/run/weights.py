"""The weights of a run: out of the same bytes whose digest its record holds, and no more than its network takes."""

import hashlib
import io

import h5py

from pipeline.run.reading import refuse_links
from pipeline.run.record import WEIGHTS, TrainingPart
from pipeline.terminal.errors import UserError

ROOM = 1_000_000
"""Bytes that a file of weights has beside them."""


def weights_of(training: TrainingPart, parameters: int) -> bytes:
    """The bytes of the run's weights, as they may be loaded into a network of `parameters` (batch statistics too).

    Raises UserError where they are not those that the record holds, or would take the memory of a larger network.
    """
    path = training.weights
    refuse_links(training.folder)
    most = 4 * parameters + ROOM
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: is larger than the {parameters:,} parameters of its network.")
    if hashlib.sha256(content).hexdigest() != training.files.get(WEIGHTS):
        raise UserError(f"{path}: is not what run.json says was written.")
    # A few bytes of HDF5 can stand for gigabytes.
    if (declared := _declared(content)) > most:
        raise UserError(f"{path}: holds {declared:,} bytes, more than the {parameters:,} parameters of its network.")
    return content


def _declared(content: bytes) -> int:
    """The bytes that all arrays of an HDF5 file would take in memory; links are not followed."""
    found: list[int] = []

    def count(_name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(item.size * item.dtype.itemsize)

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(count)
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise UserError(f"{WEIGHTS}: is no file of weights ({error}).") from None
    return sum(found)
