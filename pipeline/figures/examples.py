"""A picture of some images of each class."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.style import DOTS_PER_INCH, legible, png, styled

EACH = 10
MOST_CLASSES = 50
GAP = 2
"""Pixels of the images between one and the next."""


@styled
def draw_examples(images: NDArray[np.uint8], labels: NDArray[np.uint8], class_names: Sequence[str]) -> bytes:
    """A PNG with the first images of each class in a row, its name before it.

    Images uint8 [n, h, w, c], labels uint8 [n]. Of more than 50 classes the first 50 are drawn.
    """
    class_names = [legible(name, number) for number, name in enumerate(class_names[:MOST_CLASSES])]
    picture = _mosaic(images, labels, len(class_names))
    cell = images.shape[1] + GAP
    # Whole dots for each pixel, so that all pixels look alike; a picture about 900 dots wide.
    scale = max(1, round(900 / picture.shape[1]))
    left, border = 20 + 9 * max(map(_width, class_names)), 14
    height, width = picture.shape[0] * scale, picture.shape[1] * scale
    whole_height, whole_width = height + 2 * border, width + left + border

    figure = Figure(figsize=(whole_width / DOTS_PER_INCH, whole_height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    axes = figure.add_axes(
        (left / whole_width, border / whole_height, width / whole_width, height / whole_height), frameon=False
    )
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    middles = [row * cell + (cell - GAP - 1) / 2 for row in range(len(class_names))]
    axes.set_yticks(middles, class_names, fontsize=11)
    axes.tick_params(length=0, pad=8)
    return png(figure)


def _width(name: str) -> int:
    """In letters: a Chinese or Japanese character is twice as wide."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in name)


def _mosaic(images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """The images side by side, a class a row: uint8 [rows, columns] for grey ones, else [rows, columns, 3]."""
    height, width, channels = images.shape[1:]
    colours = 3 if channels == 3 else 1
    background = 255 if colours == 3 else 0
    mosaic = np.full((classes * (height + GAP) - GAP, EACH * (width + GAP) - GAP, colours), background, dtype=np.uint8)
    for number in range(classes):
        top = number * (height + GAP)
        for place, index in enumerate(np.flatnonzero(labels == number)[:EACH]):
            left = place * (width + GAP)
            mosaic[top : top + height, left : left + width] = images[index, :, :, :colours]
    return mosaic if colours == 3 else mosaic[:, :, 0]
