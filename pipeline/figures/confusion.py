"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.fonts import legible
from pipeline.figures.paper import counted, percent, remark, sheet, shortened, styled

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
