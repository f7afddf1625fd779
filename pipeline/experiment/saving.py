"""A network's weights as a file."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.record.record import WEIGHTS
from pipeline.storage import atomic

if TYPE_CHECKING:
    import keras

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of the system's own for this
"""Where Linux keeps files in memory."""


def weights_file(network: "keras.Model") -> bytes:
    """The bytes of the file in which Keras keeps weights. Raises OSError.

    Keras lets HDF5 write it, which ends the process (SIGSEGV) some time after a disk was full: it writes to memory
    where the system has files there, and Python writes these bytes to the disk.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = Path(folder) / WEIGHTS
        with atomic.naming(path):
            network.save_weights(path)
            return path.read_bytes()
