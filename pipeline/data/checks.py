"""Whether images and labels are what the configuration says, and what is odd about them."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.config.validation import shown
from pipeline.terminal.errors import UserError

MOST_IMBALANCE = 1.5
"""From here on the largest class is called much larger than the smallest: accuracy then says less."""


class Duplicates(BaseModel):
    """How many images are exact copies: of an earlier one of the same set; test images of a training image."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    training: int
    test: int
    across: int


def checked_images(images: NDArray[np.uint8], image_shape: Sequence[int], name: str) -> NDArray[np.uint8]:
    """uint8 [n, h, w] of grey images or [n, h, w, c] → uint8 [n, h, w, c].

    Raises UserError that begins with `name` when the images do not have `image_shape` (h, w, c).
    """
    shape = (*images.shape[1:], 1) if images.ndim == 3 else images.shape[1:]
    if images.ndim not in (3, 4) or shape != tuple(image_shape):
        raise UserError(
            f"{name}: images must be {_times(image_shape)} as data.image_shape says, found {_times(images.shape[1:])}. "
            "Set data.image_shape to theirs, or name other files in data.files."
        )
    return images.reshape(len(images), *image_shape)


def check_labels(labels: NDArray[np.uint8], images: int, class_names: Sequence[str], name: str) -> None:
    """Refuse labels that are not one number a class for each of so many images, every class among them.

    Raises UserError that begins with `name`.
    """
    if labels.shape != (images,):
        raise UserError(
            f"{name}: there must be one label for each of {images:,} images, found {_times(labels.shape)}. "
            "Name the files that belong together in data.files."
        )
    classes = len(class_names)
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest > 0 and largest - smallest < classes <= largest:
        raise UserError(
            f"{name}: labels must be 0 to {classes - 1}, found {smallest} to {largest}. Write each less {smallest} "
            "(every byte after the first 8) into a file of another name, and its name and SHA-256 into data.files."
        )
    if largest >= classes:
        raise UserError(
            f"{name}: labels must be 0 to {classes - 1}, one for each of data.class_names, found {largest}. "
            "Name every class there, or name another file in data.files."
        )
    missing = [class_names[number] for number, count in enumerate(class_counts(labels, classes)) if count == 0]
    if missing:
        raise UserError(
            f"{name}: every class must have an image, found none of {', '.join(map(shown, missing[:10]))}. "
            "Where the other file of labels has some, name one in data.files that has them too; else leave them out of "
            "data.class_names, and number the labels 0, 1, 2 … without a gap."
        )


def class_counts(labels: NDArray[np.uint8], classes: int) -> list[int]:
    """How often each of 0 … classes - 1 occurs."""
    return [int(count) for count in np.bincount(labels, minlength=classes)]


def imbalance(counts: Sequence[int]) -> float:
    """Size of the largest class over that of the smallest: 1.0 when balanced."""
    return max(counts) / min(counts)


def duplicates(training: NDArray[np.uint8], test: NDArray[np.uint8]) -> Duplicates:
    """Exact copies among images uint8 [n, …] and [m, …], found by a hash of 16 bytes for each."""
    training_hashes, test_hashes = _hashes(training), _hashes(test)
    known = set(training_hashes)
    return Duplicates(
        training=len(training_hashes) - len(known),
        test=len(test_hashes) - len(set(test_hashes)),
        across=sum(found in known for found in test_hashes),
    )


def _hashes(images: NDArray[np.uint8]) -> list[bytes]:
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "single numbers"
