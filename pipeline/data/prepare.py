"""Whether images and labels are what the configuration says; writing them with what they are in numbers."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.messages import shown
from pipeline.config.schema import Data
from pipeline.data.prepared import TEST, TRAINING
from pipeline.data.summary import SUMMARY, Duplicates, SetSummary, Summary, raw_digests
from pipeline.storage import digest
from pipeline.storage.arrays import as_npy
from pipeline.storage.digest import sealed
from pipeline.terminal.errors import UserError

MOST_IMBALANCE = 1.5
"""From here on the largest class is called much larger than the smallest: accuracy then says less."""

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images uint8 [n, h, w, c] and labels uint8 [n]."""


def check_images(images: NDArray[np.uint8], image_shape: Sequence[int], name: str) -> NDArray[np.uint8]:
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
    present = set(labels.tolist())
    missing = [name for number, name in enumerate(class_names) if number not in present]
    if missing:
        raise UserError(
            f"{name}: every class must have an image, found none of {', '.join(map(shown, missing[:10]))}. "
            "Where the other file of labels has some, name one in data.files that has them too; else leave them out of "
            "data.class_names, and number the labels 0, 1, 2 … without a gap."
        )


def write_prepared(folder: Path, data: Data, training: Labelled, test: Labelled) -> Summary:
    """Write the arrays and their summary into an empty folder: the same arrays give the same bytes."""
    digests = {}
    for name, array in zip((*TRAINING, *TEST), (*training, *test), strict=True):
        (folder / name).write_bytes(as_npy(array))
        digests[name] = digest.of_file(folder / name)
    mean, deviation = pixel_statistics(training[0])
    height, width, channels = training[0].shape[1:]
    summary = Summary(
        name=data.name,
        image_shape=(height, width, channels),
        class_names=tuple(data.class_names),
        training=_set_summary(training[1], data.class_names),
        test=_set_summary(test[1], data.class_names),
        pixel_mean=mean,
        pixel_deviation=deviation,
        duplicates=duplicates(training[0], test[0]),
        files=raw_digests(data),
        digests=digests,
    )
    (folder / SUMMARY).write_text(sealed(summary.model_dump(mode="json")), encoding="utf-8")
    return summary


def duplicates(training: NDArray[np.uint8], test: NDArray[np.uint8]) -> Duplicates:
    """Exact copies among images uint8 [n, …] and [m, …], found by a hash of 16 bytes for each."""
    known, tested = (
        [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images] for images in (training, test)
    )
    once = set(known)
    return Duplicates(
        training=len(known) - len(once),
        test=len(tested) - len(set(tested)),
        across=sum(copy in once for copy in tested),
    )


def pixel_statistics(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation (of the population) of all pixels / 255, from how often each of 256 values occurs."""
    # In parts: bincount works on a copy eight times as large.
    parts = np.array_split(images.reshape(-1), math.ceil(images.size / 2**22))
    counts = np.sum([np.bincount(part, minlength=256) for part in parts], axis=0).tolist()
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value**2 * count for value, count in enumerate(counts))
    # Whole numbers to the last step, so that the result is the same on every machine.
    mean = first / (255 * images.size)
    deviation = math.sqrt(images.size * second - first**2) / (255 * images.size)
    return mean, deviation


def warnings(summary: Summary) -> list[str]:
    """One line for each thing that is odd, though allowed."""
    odd = [
        f"the largest class of the {name} images is {part.imbalance:.1f} times the smallest"
        for name, part in (("training", summary.training), ("test", summary.test))
        if part.imbalance >= MOST_IMBALANCE
    ]
    copies = summary.duplicates
    if copies.training or copies.test or copies.across:
        odd.append(
            f"exact duplicates: {copies.training:,} within training, {copies.test:,} within test, "
            f"{copies.across:,} test images also in training"
        )
    return odd


def _set_summary(labels: NDArray[np.uint8], class_names: Sequence[str]) -> SetSummary:
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return SetSummary(
        images=len(labels), classes=dict(zip(class_names, counts, strict=True)), imbalance=max(counts) / min(counts)
    )


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "single numbers"
