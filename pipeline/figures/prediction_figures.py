"""The images that the network got wrong, and how sure it was.

Whether the network is right as often as it believes.

Which class is taken for which.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from pipeline.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    counted,
    frame,
    legible,
    percent,
    remark,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
)
from pipeline.run.metrics import Labels, Probabilities, Reliability, predictions, surest_mistakes


@styled
def calibration(reliability: Reliability) -> Figure:
    """A reliability diagram: accuracy against confidence, bin by bin, and below it how many images each bin holds.

    After Guo et al. (2017, arXiv:1706.04599), figure 1; the bar is the accuracy, the dot stands at the confidence.
    """
    error = reliability.expected_calibration_error
    if error is None:
        figure = sheet(9, 3, "Calibration")
        remark(figure.subplots(), "No probability is finite: nothing to show.")
        return figure
    images = int(reliability.images.sum())
    figure = sheet(9, 8, f"Calibration · expected calibration error {percent(error, 2)} · {counted(images, 'image')}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_accuracy(upper, reliability)
    _draw_images(lower, reliability)
    return figure


def _draw_accuracy(axes: Axes, reliability: Reliability) -> None:
    bins = len(reliability.images)
    filled = reliability.images > 0
    centres = (np.arange(bins)[filled] + 0.5) / bins
    confidence, accuracy = reliability.confidence[filled], reliability.accuracy[filled]
    axes.bar(centres, accuracy, width=0.92 / bins, color=BLUE, alpha=0.35, label="accuracy of a bin")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    axes.plot(confidence, accuracy, color=ORANGE, marker="o", linewidth=1.5, label="accuracy at the mean confidence")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_ylabel("accuracy")
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left")


def _draw_images(axes: Axes, reliability: Reliability) -> None:
    bins = len(reliability.images)
    share = reliability.images / reliability.images.sum()
    axes.bar((np.arange(bins) + 0.5) / bins, share, width=0.92 / bins, color=BLUE)
    axes.set_ylim(0, 1)
    for formatted in (axes.xaxis, axes.yaxis):
        formatted.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_ylabel("images")
    axes.grid(True)
    axes.set_axisbelow(True)


MOST_COUNTS = 20
MOST_NAMES = 40
DARK = 0.35
SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)


@styled
def confusion(matrix: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Counts int64 [classes, classes] (rows actual, columns predicted), coloured by their share of the actual class.

    Counts are written for up to MOST_COUNTS classes, names for up to MOST_NAMES. The title's accuracy is that of
    the images in the matrix: those given no class are none of them.
    """
    images = int(matrix.sum())
    if images == 0:
        figure = sheet(11, 3, "Confusion")
        remark(figure.subplots(), "No image was given a class.")
        return figure
    figure = sheet(11, 9, f"Confusion · {percent(matrix.trace() / images, 2)} of {counted(images, 'image')} right")
    axes = figure.subplots()
    actual = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, actual, out=np.zeros(matrix.shape), where=actual > 0)
    # The square root makes rare mistakes visible beside the diagonal.
    picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the actual class")
    bar.set_ticks(SHARES, labels=[percent(tick) for tick in SHARES])
    bar.outline.set_visible(False)
    _label(axes, class_names)
    if len(class_names) <= MOST_COUNTS:
        _write_counts(axes, matrix, share)
    return figure


def _label(axes: Axes, class_names: Sequence[str]) -> None:
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


COLUMNS = 5
MOST_MISTAKES = 25
CAPTION_SPACE = 0.26
LONGEST_CLASS = 13


@styled
def mistakes(images: NDArray[Any], labels: Labels, probabilities: Probabilities, class_names: Sequence[str]) -> Figure:
    """The surest wrong predictions, at most MOST_MISTAKES, with what was said and what it is.

    Images uint8 or float [n, h, w] or [n, h, w, channels], labels [n], probabilities float32 [n, classes].
    """
    chosen = surest_mistakes(probabilities, labels, MOST_MISTAKES)
    predicted = predictions(probabilities)
    wrong = int(np.sum(predicted != labels))
    title = _title(len(chosen), wrong, len(labels))
    if len(chosen) == 0:
        figure = sheet(10, 3, title)
        remark(figure.subplots(), "No mistake to show." if wrong == 0 else "No probability is finite: nothing to show.")
        return figure
    rows = math.ceil(len(chosen) / COLUMNS)
    figure = sheet(10, 0.7 + tiled_height(9.7, COLUMNS, rows, CAPTION_SPACE), title)
    axes = figure.subplots()
    corners = tiles(axes, [visible(images[one]) for one in chosen], COLUMNS, caption_space=CAPTION_SPACE)
    for one, (left, top) in zip(chosen, corners, strict=True):
        said, actual = (
            shortened(legible(class_names[number], number), LONGEST_CLASS) for number in (predicted[one], labels[one])
        )
        caption = f"said {said} {percent(float(probabilities[one].max()), 1)}\nis {actual}"
        axes.text(left + 0.5, top + 1.02, caption, ha="center", va="top", fontsize=10)
    frame(axes, columns=COLUMNS, rows=rows, caption_space=CAPTION_SPACE)
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


def _title(shown: int, wrong: int, images: int) -> str:
    if shown in (0, wrong):
        return f"{counted(wrong, 'mistake')} in {counted(images, 'image')}"
    return f"The {shown} surest of {counted(wrong, 'mistake')} in {counted(images, 'image')}"
