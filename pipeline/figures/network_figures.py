"""How a training went, what its first layer has learned, and what every block makes of an image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.config.schema import Training
from pipeline.figures.prediction_figures import visible
from pipeline.figures.style import (
    BLUE,
    ORANGE,
    TILE_GAP,
    counted,
    frame,
    label,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
)

MOST_MARKERS = 30
MOST_FILTERS = 64
MOST_CHANNELS = 12
MOST_BLOCKS = 12
LABEL_WIDTH = 1.6


class Epoch(Protocol):
    """One epoch of a history: accuracies in 0..1, losses in nats, None where nothing was held out for validation."""

    @property
    def epoch(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def validation_loss(self) -> float | None: ...
    @property
    def validation_accuracy(self) -> float | None: ...


@styled
def training_curves(history: Sequence[Epoch], settings: Training) -> Figure:
    """Loss and accuracy (percent) against the epoch, of training and, where there is one, of validation.

    Values that are not finite are left out, and the title says where the first one is.
    Raises ValueError for a history without an epoch.
    """
    if not history:
        raise ValueError("a history must have at least one epoch to draw, not 0")
    figure = sheet(12, 5, _title(history, settings))
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    losses = {
        "training": _numbers([row.loss for row in history]),
        "validation": _numbers([row.validation_loss for row in history]),
    }
    accuracies = {
        "training": 100 * _numbers([row.accuracy for row in history]),
        "validation": 100 * _numbers([row.validation_accuracy for row in history]),
    }
    _panel(left, epochs, losses, last="{:.4g}", legend="upper right")
    _panel(right, epochs, accuracies, last="{:.2f} %", legend="lower right")
    left.set_title("Loss (cross-entropy, nats)")
    right.set_title("Accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(decimals=None, symbol=" %"))
    return figure


def _title(history: Sequence[Epoch], settings: Training) -> str:
    # As it was set: a history holds the rate after each epoch, which is 0 at the end of a cosine.
    title = f"Training · {counted(len(history), 'epoch')} · learning rate {settings.learning_rate:.6g}"
    if settings.schedule != "constant":
        warm_up = f", warm-up over {100 * settings.warmup:.3g} %" if settings.warmup > 0 else ""
        title += f"{warm_up}, {settings.schedule} to 0"
    finite = np.isfinite([row.loss for row in history])
    return title if finite.all() else f"{title} · diverged in epoch {history[int(np.argmin(finite))].epoch}"


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """The values as float64 [epochs], NaN for what is no finite number."""
    numbers = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _panel(
    axes: Axes,
    epochs: Sequence[int],
    curves: Mapping[str, NDArray[np.float64]],
    last: str,
    legend: Literal["upper right", "lower right"],
) -> None:
    for (name, values), colour, marker in zip(curves.items(), (BLUE, ORANGE), "os", strict=True):
        finite = values[np.isfinite(values)]
        if len(finite) > 0:
            axes.plot(
                epochs,
                values,
                color=colour,
                linewidth=2,
                marker=marker if len(epochs) <= MOST_MARKERS else None,
                markersize=5,
                label=f"{name}, last {last.format(finite[-1])}",
            )
    if axes.lines:
        axes.legend(loc=legend)
    else:
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", va="center", color="#444444")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # Half an epoch of room: a single one stands in the middle.
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    label(axes, "epoch", "")


@styled
def kernels(weights: NDArray[Any], name: str) -> Figure:
    """The first MOST_FILTERS kernels of a layer, float [h, w, in_channels, filters], one colour scale around 0.

    Of several input channels the mean is shown. Weights that are not finite are grey.
    """
    height, width, in_channels, filters = weights.shape
    shown = weights[..., :MOST_FILTERS].astype(np.float64).mean(axis=2)
    finite = np.abs(shown[np.isfinite(shown)])
    largest = float(finite.max(initial=0)) or 1.0
    title = f"{shortened(name, 30)} · {counted(filters, 'filter', MOST_FILTERS)} of {height} × {width}"
    if in_channels > 1:
        title += f" · mean over {in_channels} input channels"
    columns = _columns(shown.shape[2])
    rows = math.ceil(shown.shape[2] / columns)
    figure = sheet(11, min(0.9 + tiled_height(9.3, columns, rows), 10), title)
    axes = figure.subplots()
    tiles(axes, _channels(shown), columns, colours="RdBu_r", limits=(-largest, largest))
    frame(axes, columns, rows)
    bar = figure.colorbar(axes.images[0], ax=axes, shrink=0.8, aspect=30, label="weight")
    bar.outline.set_visible(False)
    if len(finite) < shown.size:
        axes.set_title("grey: not finite")
    return figure


@styled
def feature_maps(image: NDArray[Any], maps: Sequence[tuple[str, NDArray[Any]]]) -> Figure:
    """One image [h, w] or [h, w, channels], and for each block its name and its output, float [h, w, channels].

    Each block is one row of its first MOST_CHANNELS channels, from the block's smallest value (dark) to its largest.
    Of more than MOST_BLOCKS blocks some are left out, evenly.
    """
    chosen = np.unique(np.linspace(0, len(maps) - 1, min(len(maps), MOST_BLOCKS)).round().astype(int))
    rows = 1 + len(chosen)
    figure = sheet(
        13,
        0.7 + tiled_height(12.7, MOST_CHANNELS + LABEL_WIDTH, rows),
        f"Feature maps of one image after {counted(len(maps), 'block', len(chosen))}",
    )
    axes = figure.subplots()
    tiles(axes, [visible(image)], columns=1)
    _describe(axes, 0, "image", f"{image.shape[0]} × {image.shape[1]}")
    for row, number in enumerate(chosen, start=1):
        name, block = maps[number]
        height, width, channels = block.shape
        shown = block[:, :, :MOST_CHANNELS].astype(np.float64)
        finite = shown[np.isfinite(shown)]
        limits = (float(finite.min()), float(finite.max())) if len(finite) > 0 else (0.0, 1.0)
        tiles(axes, _channels(shown), MOST_CHANNELS, row=row, colours="viridis", limits=limits)
        _describe(axes, row, name, f"{height} × {width}\n{counted(channels, 'channel', MOST_CHANNELS)}")
    frame(axes, MOST_CHANNELS, rows)
    axes.set_xlim(left=-LABEL_WIDTH * (1 + TILE_GAP))
    return figure


def _columns(number: int) -> int:
    """How many tiles to a row, so that the rows are full where that is possible and the whole is not much too wide."""
    squarest = math.ceil(math.sqrt(number))
    return min(range(squarest, 2 * squarest), key=lambda columns: -number % columns)


def _channels(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """[h, w, channels] → one picture [h, w] for each channel."""
    return list(np.moveaxis(values, 2, 0))


def _describe(axes: Axes, row: int, name: str, size: str) -> None:
    middle = row * (1 + TILE_GAP) + 0.5
    axes.text(-0.15, middle, f"{shortened(name, 18)}\n{size}", ha="right", va="center", fontsize=9.5)
