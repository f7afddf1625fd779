"""Keras's weight constraints, and the one that Keras 3 no longer has."""

import keras
import numpy as np

from pipeline.config.conv2d import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm


class RadialConstraint(keras.constraints.Constraint):
    """Weights at the same distance from a kernel's centre are equal: each becomes their mean.

    Distance is counted in square rings, as Keras 2 did (tf.keras.constraints.RadialConstraint, which took one weight
    of each ring in place of their mean). Kernels of any height and width; weights [height, width, in, out].
    """

    def __call__(self, w: keras.KerasTensor) -> keras.KerasTensor:
        height, width, inputs, outputs = w.shape
        averaging = keras.ops.cast(_ring_means(height, width), w.dtype)
        flat = keras.ops.reshape(w, (height * width, inputs * outputs))
        return keras.ops.reshape(keras.ops.matmul(averaging, flat), (height, width, inputs, outputs))


def constraint(settings: Constraint | None) -> keras.constraints.Constraint | None:
    """The Keras constraint that `settings` describe."""
    match settings:
        case None:
            return None
        case MaxNorm():
            return keras.constraints.MaxNorm(settings.max_value, axis=settings.axis)
        case MinMaxNorm():
            return keras.constraints.MinMaxNorm(settings.min_value, settings.max_value, settings.rate, settings.axis)
        case NonNeg():
            return keras.constraints.NonNeg()
        case UnitNorm():
            return keras.constraints.UnitNorm(axis=settings.axis)
        case _:
            return RadialConstraint()


def _ring_means(height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The matrix [height × width, height × width] that takes each weight to the mean of its ring."""
    rows = np.abs(np.arange(height) - (height - 1) / 2)
    columns = np.abs(np.arange(width) - (width - 1) / 2)
    ring = np.maximum.outer(rows, columns).ravel()
    same = (ring[:, None] == ring[None, :]).astype(np.float32)
    means: np.ndarray[tuple[int, int], np.dtype[np.float32]] = same / same.sum(axis=1, keepdims=True)
    return means
