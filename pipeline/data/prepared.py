"""The prepared images as they are read, and which of them are held out: this file decides what a run sees.

The digests are checked at every reading: a damaged disk, or a DVC cache that trusts what is read-only, would otherwise
change results silently.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Data
from pipeline.data.summary import REPAIR, SUMMARY, Summary, load_summary
from pipeline.storage import digest
from pipeline.storage.arrays import as_npy
from pipeline.terminal.errors import UserError

TRAINING = ("train_images.npy", "train_labels.npy")
TEST = ("test_images.npy", "test_labels.npy")


@dataclass(frozen=True, eq=False)
class Images:
    """Images uint8 [n, h, w, c] and labels uint8 [n] (0 … classes - 1).

    `prepared` is the digest that the summary of the prepared images gives; None for those that come from elsewhere.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    prepared: str | None = None

    @cached_property
    def digest(self) -> str:
        """One SHA-256 for both, of the bytes that are here."""
        return digest.of_value([hashlib.sha256(as_npy(array)).hexdigest() for array in (self.images, self.labels)])


def load_training(folder: Path, data: Data | None = None) -> Images:
    """The training images; the test files are not opened.

    Raises UserError when a byte is not as it was written, or where these are not the images of `data`.
    """
    return _load(folder, TRAINING, load_summary(folder, data))


def load_test(folder: Path, data: Data | None = None) -> Images:
    """The test images; the training files are not opened. Raises UserError like `load_training`."""
    return _load(folder, TEST, load_summary(folder, data))


def training_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_training` gives, without opening them. Raises UserError like it."""
    return _digest(load_summary(folder, data), TRAINING)


def test_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_test` gives, without opening them. Raises UserError like it."""
    return _digest(load_summary(folder, data), TEST)


def _load(folder: Path, names: tuple[str, str], summary: Summary) -> Images:
    images, labels = (_array(folder / name, summary.digests) for name in names)
    return Images(images, labels, _digest(summary, names))


def _digest(summary: Summary, names: tuple[str, str]) -> str:
    return digest.of_value([summary.digests[name] for name in names])


def _array(path: Path, digests: dict[str, str]) -> NDArray[np.uint8]:
    """The array of a file, out of the same bytes whose SHA-256 is checked."""
    expected = digests.get(path.name)
    if expected is None:
        raise UserError(f"{path.parent / SUMMARY}: has no digest of {path.name}. {REPAIR}")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. {REPAIR}") from None
    if (present := hashlib.sha256(content).hexdigest()) != expected:
        raise UserError(
            f"{path}: was changed after preprocess wrote it: its SHA-256 is {present}, not {expected}. {REPAIR}"
        )
    array: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


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
