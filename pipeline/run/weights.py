"""The weights of a run: out of the same bytes whose digest its record holds, and no more than its network takes.

A network's weights as a file.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py

from pipeline.run.record import WEIGHTS, TrainingPart, refuse_links
from pipeline.terminal.errors import UserError

if TYPE_CHECKING:
    import keras

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


def weights_file(network: "keras.Model") -> bytes:
    """The bytes of the file in which Keras keeps weights.

    Keras lets HDF5 write it, which ends the process (SIGSEGV) some time after there was no room, be it on a disk or in
    /dev/shm, of which a container has 64 MB: HDF5 keeps this one in the process, and Python writes it to the disk.
    """
    with _in_memory() as files:
        network.save_weights(WEIGHTS)
    (file,) = files
    h5py.h5f.flush(file)
    content: bytes = file.get_file_image()
    file.close()
    return content


@contextmanager
def _in_memory() -> Iterator[list[Any]]:
    """Let HDF5 files that are made in this block lie in memory alone; yields them, open however they are closed."""
    files: list[Any] = []
    plain = h5py.File

    def made(name: str, mode: str) -> h5py.File:
        file = plain(name, mode, driver="core", backing_store=False)
        files.append(file.id.reopen())
        return file

    # Keras names no driver, and HDF5 lays out another for what Python keeps (io.BytesIO) differently.
    h5py.File = made
    try:
        yield files
    finally:
        h5py.File = plain
