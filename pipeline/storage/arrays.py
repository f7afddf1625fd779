"""Arrays as bytes, for a file that is written by Python."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_npy(array: NDArray[Any]) -> bytes:
    """The array as a .npy file.

    `numpy.save` itself writes past Python: when the disk is full it says so without a reason, or not at all.
    """
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array), allow_pickle=False)
    return content.getvalue()
