"""Which training images are held out for validation."""

import numpy as np
from numpy.typing import NDArray

from pipeline.terminal.errors import UserError


def split(labels: NDArray[np.uint8], validation_images: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels [n] → indices (training, validation), each sorted, together 0 … n - 1.

    Stratified: each class gives its share, and the largest remainders make the total exact (Hamilton's method; of equal
    remainders the lower class first). A class draws from (seed, class), so that the split depends on nothing else, and
    a larger validation set keeps the images of a smaller one, give or take one a class. Raises UserError.
    """
    # The split comes before any shuffling: it must not depend on the batch size or on the order of an epoch.
    if not 0 <= validation_images < len(labels):
        raise UserError(
            f"data.validation_images: must be at least 0 and leave some of {len(labels):,} images to train on, "
            f"not {validation_images:,}. Use at most {len(labels) - 1:,}."
        )
    held_out = np.zeros(len(labels), dtype=bool)
    classes, counts = np.unique(labels, return_counts=True)
    for number, share in zip(classes.tolist(), _shares(counts.tolist(), validation_images), strict=True):
        order = np.random.default_rng([seed, number]).permutation(np.flatnonzero(labels == number))
        held_out[order[:share]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _shares(counts: list[int], total: int) -> list[int]:
    """`total` in proportion to `counts`, in whole numbers that add up to it."""
    everything = sum(counts)
    shares = [count * total // everything for count in counts]
    remainders = [count * total % everything for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda position: -remainders[position])
    for position in by_remainder[: total - sum(shares)]:
        shares[position] += 1
    return shares
