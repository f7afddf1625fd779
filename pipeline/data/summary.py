"""What the prepared images are, in numbers: the content of summary.json."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.config.schema import Data
from pipeline.data.checks import MOST_IMBALANCE, Duplicates, class_counts, duplicates, imbalance


class SetSummary(BaseModel):
    """Of the training or the test images: how many, how many of each class, largest class over smallest."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    images: int
    classes: dict[str, int]
    imbalance: float


class Summary(BaseModel):
    """Pixel mean and standard deviation are those of all training pixels, 0 to 1.

    `files` holds the SHA-256 of the raw files that the images were decoded from, `digests` that of each prepared file.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    training: SetSummary
    test: SetSummary
    pixel_mean: float
    pixel_deviation: float
    duplicates: Duplicates
    files: dict[str, str]
    digests: dict[str, str]


def summarized(
    data: Data,
    training: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    files: Mapping[str, str],
    digests: Mapping[str, str],
) -> Summary:
    """The summary of training and test (images uint8 [n, h, w, c], labels uint8 [n])."""
    height, width, channels = training[0].shape[1:]
    mean, deviation = pixel_statistics(training[0])
    return Summary(
        name=data.name,
        image_shape=(height, width, channels),
        class_names=tuple(data.class_names),
        training=_set_summary(training[1], data.class_names),
        test=_set_summary(test[1], data.class_names),
        pixel_mean=mean,
        pixel_deviation=deviation,
        duplicates=duplicates(training[0], test[0]),
        files=dict(files),
        digests=dict(digests),
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
    found = []
    for name, part in (("training", summary.training), ("test", summary.test)):
        if part.imbalance >= MOST_IMBALANCE:
            found.append(f"the largest class of the {name} images is {part.imbalance:.1f} times the smallest")
    copies = summary.duplicates
    if copies.training or copies.test or copies.across:
        found.append(
            f"exact duplicates: {copies.training:,} within training, {copies.test:,} within test, "
            f"{copies.across:,} test images also in training"
        )
    return found


def _set_summary(labels: NDArray[np.uint8], class_names: Sequence[str]) -> SetSummary:
    counts = class_counts(labels, len(class_names))
    classes = dict(zip(class_names, counts, strict=True))
    return SetSummary(images=len(labels), classes=classes, imbalance=imbalance(counts))
