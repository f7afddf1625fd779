"""A network's weights as a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py

from pipeline.run.record import WEIGHTS

if TYPE_CHECKING:
    import keras


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
