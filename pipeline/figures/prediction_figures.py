"""Which class is taken for which, how sure the network was, and the images that it got wrong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    counted,
    frame,
    label,
    legible,
    percent,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
)

MOST_COUNTS = 20
MOST_NAMES = 40
DARK = 0.35
SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)

COLUMNS = 5
MOST_MISTAKES = 25
CAPTION_SPACE = 0.26
LONGEST_CLASS = 13


@styled
def calibration(
    images: NDArray[np.int64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64], error: float | None
) -> Figure:
    """A reliability diagram: accuracy against confidence, bin by bin, and below it how many images each bin holds.

    Of bins of equal width from 0 to 1 their images, mean confidence and accuracy [bins]; the expected calibration
    error, None without an image. After Guo et al. (2017, arXiv:1706.04599), figure 1; the bar is the accuracy, the dot
    stands at the confidence.
    """
    if error is None:
        return sheet(9, 3, "Calibration", "No probability is finite: nothing to show.")
    total = int(images.sum())
    figure = sheet(9, 8, f"Calibration · expected calibration error {percent(error, 2)} · {counted(total, 'image')}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = len(images)
    centres = (np.arange(bins) + 0.5) / bins
    filled = images > 0
    upper.bar(centres[filled], accuracy[filled], width=0.92 / bins, color=BLUE, alpha=0.35, label="accuracy of a bin")
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    mean = "accuracy at the mean confidence"
    upper.plot(confidence[filled], accuracy[filled], color=ORANGE, marker="o", linewidth=1.5, label=mean)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    label(upper, "", "accuracy", upper.yaxis)
    upper.legend(loc="upper left")
    lower.bar(centres, images / total, width=0.92 / bins, color=BLUE)
    lower.set_ylim(0, 1)
    label(lower, "confidence: probability of the predicted class", "images", lower.xaxis, lower.yaxis)
    return figure


@styled
def confusion(matrix: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Counts int64 [classes, classes] (rows actual, columns predicted), coloured by their share of the actual class.

    Counts are written for up to MOST_COUNTS classes, names for up to MOST_NAMES. The title's accuracy is that of
    the images in the matrix: those given no class are none of them.
    """
    images = int(matrix.sum())
    if images == 0:
        return sheet(11, 3, "Confusion", "No image was given a class.")
    figure = sheet(11, 9, f"Confusion · {percent(matrix.trace() / images, 2)} of {counted(images, 'image')} right")
    axes = figure.subplots()
    actual = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, actual, out=np.zeros(matrix.shape), where=actual > 0)
    # The square root makes rare mistakes visible beside the diagonal.
    picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the actual class")
    bar.set_ticks(SHARES, labels=[percent(tick) for tick in SHARES])
    bar.outline.set_visible(False)
    _name_classes(axes, class_names)
    if len(class_names) <= MOST_COUNTS:
        _write_counts(axes, matrix, share)
    return figure


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(class_names) > MOST_NAMES:
        axes.set_xlabel(f"predicted (number of the class; {len(class_names)} names do not fit)")
        return
    numbers = range(len(class_names))
    names = [shortened(legible(name, number)) for number, name in enumerate(class_names)]
    size = 11 if len(class_names) <= MOST_COUNTS else 8
    axes.set_xticks(numbers, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(numbers, names, fontsize=size)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    """The counts in their cells; zeros are left out, they say nothing."""
    size = 12 if len(matrix) <= 10 else 8
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if share[row, column] > DARK else "black"
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=size)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The surest of `wrong` wrong predictions among `total` images, the surest first.

    Images uint8 or float [n, h, w] or [n, h, w, channels]; [n] classes that were `predicted` and `actual` ones, and
    the `probability` (0..1) of the predicted one.
    """

    images: NDArray[Any]
    predicted: NDArray[Any]
    actual: NDArray[Any]
    probability: NDArray[Any]
    wrong: int
    total: int


@styled
def mistakes(surest: Mistakes, class_names: Sequence[str]) -> Figure:
    """The surest wrong predictions, with what was said and what it is."""
    shown = len(surest.images)
    title = f"{counted(surest.wrong, 'mistake')} in {counted(surest.total, 'image')}"
    if shown == 0:
        nothing = "No mistake to show." if surest.wrong == 0 else "No probability is finite: nothing to show."
        return sheet(10, 3, title, nothing)
    rows = math.ceil(shown / COLUMNS)
    height = 0.7 + tiled_height(9.7, COLUMNS, rows, CAPTION_SPACE)
    figure = sheet(10, height, title if shown == surest.wrong else f"The {shown} surest of {title}")
    axes = figure.subplots()
    corners = tiles(axes, [visible(image) for image in surest.images], COLUMNS, caption_space=CAPTION_SPACE)
    names = [shortened(legible(name, number), LONGEST_CLASS) for number, name in enumerate(class_names)]
    captions = zip(corners, surest.predicted, surest.actual, surest.probability, strict=True)
    for (left, top), predicted, actual, probability in captions:
        caption = f"said {names[predicted]} {percent(float(probability), 1)}\nis {names[actual]}"
        axes.text(left + 0.5, top + 1.02, caption, ha="center", va="top", fontsize=10)
    frame(axes, COLUMNS, rows, CAPTION_SPACE)
    return figure


def visible(image: NDArray[Any]) -> NDArray[np.float64]:
    """An image [h, w] or [h, w, channels], as grey float64 [h, w] or RGB [h, w, 3] in 0..1.

    uint8 counts from 0 to 255; floats outside of 0..1 are stretched from their smallest to their largest. Of 2, or of
    more than 3 channels, the first is shown.
    """
    if image.ndim == 3 and image.shape[2] != 3:
        image = image[:, :, 0]
    if image.dtype == np.uint8:
        return image.astype(np.float64) / 255
    values: NDArray[np.float64] = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0)
    smallest, largest = values.min(), values.max()
    if smallest < 0 or largest > 1:
        values = (values - smallest) / max(largest - smallest, np.finfo(np.float64).tiny)
    return values
