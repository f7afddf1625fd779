"""The pictures of a run: how its training went, what it takes for what and how surely, what it has learned to see."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.config.messages import counted
from pipeline.config.schema import Training
from pipeline.data.scoring import ScoringSet
from pipeline.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    TILE_GAP,
    frame,
    label,
    legible,
    percent,
    png,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
    visible,
)
from pipeline.run.metrics import (
    Labels,
    Probabilities,
    Reliability,
    confusion_matrix,
    predictions,
    reliability,
    surest_mistakes,
)
from pipeline.run.record import Epoch, TrainingPart

if TYPE_CHECKING:
    import keras

MOST_MARKERS = 30
"""Epochs that are drawn as points too."""

MOST_COUNTS, MOST_NAMES = 20, 40
"""Classes of a confusion matrix in whose cells counts are written, and that are named."""

DARK = 0.35
SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)

COLUMNS, MOST_MISTAKES = 5, 25
CAPTION_SPACE = 0.26
LONGEST_CLASS = 13

MOST_FILTERS = 64
MOST_CHANNELS, MOST_BLOCKS = 12, 12
LABEL_WIDTH = 1.6


def draw_run(
    training: TrainingPart, network: "keras.Model", probabilities: Probabilities, scored: ScoringSet
) -> dict[str, bytes]:
    """Name → PNG of each picture of a run that `scored` gave these probabilities."""
    from pipeline.network.predict import feature_maps as outputs_of  # noqa: PLC0415 - imports TensorFlow

    class_names, images, labels = scored.class_names, scored.images.images, scored.images.labels
    names = [str(layer["name"]) for layer in training.run.layers]
    # For each block the layer that it ends with.
    ends = {name.partition("_")[0]: name for name in names if name[:5] == "block" and not name.endswith("_dropout")}
    maps = outputs_of(network, images[0], list(ends.values()))
    figures = {
        "training_curves": training_curves(training.history, training.run.specification.training),
        "confusion_matrix": confusion(
            confusion_matrix(predictions(probabilities), labels, len(class_names)), class_names
        ),
        "calibration": calibration(reliability(probabilities, labels)),
        "mistakes": mistakes(images, labels, probabilities, class_names),
        "kernels": kernels(network.get_layer("block1_conv").kernel.numpy(), "block1_conv"),
        "feature_maps": feature_maps(images[0], list(zip(ends, maps, strict=True))),
    }
    return {name: png(figure) for name, figure in figures.items()}


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
    losses = [row.loss for row in history], [row.validation_loss for row in history]
    accuracies = [row.accuracy for row in history], [row.validation_accuracy for row in history]
    _panel(left, epochs, losses, last="{:.4g}", legend="upper right")
    _panel(right, epochs, accuracies, 100, last="{:.2f} %", legend="lower right")
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
    diverged = next((f" · diverged in epoch {row.epoch}" for row in history if not row.is_finite), "")
    return f"{title}{diverged}"


def _panel(
    axes: Axes,
    epochs: Sequence[int],
    curves: tuple[Sequence[float | None], Sequence[float | None]],
    scale: float = 1,
    *,
    last: str,
    legend: Literal["upper right", "lower right"],
) -> None:
    """The curves of training and of validation, in units of 1 / `scale`; None is drawn as NaN is: not at all."""
    for name, values, colour, marker in zip(("training", "validation"), curves, (BLUE, ORANGE), "os", strict=True):
        numbers = scale * np.array(values, dtype=np.float64)
        numbers[~np.isfinite(numbers)] = np.nan
        finite = numbers[np.isfinite(numbers)]
        if len(finite) > 0:
            axes.plot(
                epochs,
                numbers,
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
def calibration(bins: Reliability) -> Figure:
    """A reliability diagram: accuracy against confidence, bin by bin, and below it how many images each bin holds.

    After Guo et al. (2017, arXiv:1706.04599), figure 1; the bar is the accuracy, the dot stands at the confidence.
    """
    error, total = bins.expected_calibration_error, int(bins.images.sum())
    if error is None:
        return sheet(9, 3, "Calibration", "No probability is finite: nothing to show.")
    figure = sheet(9, 8, f"Calibration · expected calibration error {percent(error, 2)} · {counted(total, 'image')}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    count = len(bins.images)
    centres = (np.arange(count) + 0.5) / count
    filled = bins.images > 0
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    upper.bar(centres[filled], accuracy, width=0.92 / count, color=BLUE, alpha=0.35, label="accuracy of a bin")
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    upper.plot(confidence, accuracy, color=ORANGE, marker="o", linewidth=1.5, label="accuracy at the mean confidence")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    label(upper, "", "accuracy", upper.yaxis)
    upper.legend(loc="upper left")
    lower.bar(centres, bins.images / total, width=0.92 / count, color=BLUE)
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
        size = 12 if len(matrix) <= 10 else 8
        # Zeros are left out, they say nothing.
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if share[row, column] > DARK else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=size)
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


@styled
def mistakes(images: NDArray[Any], labels: Labels, probabilities: Probabilities, class_names: Sequence[str]) -> Figure:
    """The surest wrong predictions, with what was said and what it is.

    Images uint8 or float [n, h, w] or [n, h, w, channels], labels [n], probabilities [n, classes].
    """
    predicted, surest = predictions(probabilities), surest_mistakes(probabilities, labels, MOST_MISTAKES)
    shown, wrong = len(surest), int(np.sum(predicted != labels))
    title = f"{counted(wrong, 'mistake')} in {counted(len(labels), 'image')}"
    if shown == 0:
        nothing = "No mistake to show." if wrong == 0 else "No probability is finite: nothing to show."
        return sheet(10, 3, title, nothing)
    rows = math.ceil(shown / COLUMNS)
    height = 0.7 + tiled_height(9.7, COLUMNS, rows, CAPTION_SPACE)
    figure = sheet(10, height, title if shown == wrong else f"The {shown} surest of {title}")
    axes = figure.subplots()
    corners = tiles(axes, [visible(images[index]) for index in surest], COLUMNS, caption_space=CAPTION_SPACE)
    names = [shortened(legible(name, number), LONGEST_CLASS) for number, name in enumerate(class_names)]
    for (left, top), index in zip(corners, surest, strict=True):
        said, sure = names[predicted[index]], percent(float(probabilities[index].max()), 1)
        caption = f"said {said} {sure}\nis {names[labels[index]]}"
        axes.text(left + 0.5, top + 1.02, caption, ha="center", va="top", fontsize=10)
    frame(axes, COLUMNS, rows, CAPTION_SPACE)
    return figure


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
    tiles(axes, np.moveaxis(shown, 2, 0), columns, colours="RdBu_r", limits=(-largest, largest))
    frame(axes, columns, rows)
    bar = figure.colorbar(axes.images[0], ax=axes, shrink=0.8, aspect=30, label="weight")
    bar.outline.set_visible(False)
    if len(finite) < shown.size:
        axes.set_title("grey: not finite")
    return figure


def _columns(number: int) -> int:
    """How many tiles to a row, so that the rows are full where that is possible and the whole is not much too wide."""
    squarest = math.ceil(math.sqrt(number))
    return min(range(squarest, 2 * squarest), key=lambda columns: -number % columns)


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
        tiles(axes, np.moveaxis(shown, 2, 0), MOST_CHANNELS, row=row, colours="viridis", limits=limits)
        _describe(axes, row, name, f"{height} × {width}\n{counted(channels, 'channel', MOST_CHANNELS)}")
    frame(axes, MOST_CHANNELS, rows)
    axes.set_xlim(left=-LABEL_WIDTH * (1 + TILE_GAP))
    return figure


def _describe(axes: Axes, row: int, name: str, size: str) -> None:
    middle = row * (1 + TILE_GAP) + 0.5
    axes.text(-0.15, middle, f"{shortened(name, 18)}\n{size}", ha="right", va="center", fontsize=9.5)
