"""Loss and accuracy, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.figures.paper import BLUE, ORANGE, counted, sheet, styled

MOST_MARKERS = 30


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


@dataclass(frozen=True)
class Rate:
    """The learning rate that was set, and its course: `schedule` "constant" or "cosine", `warmup` a share (0..1).

    A history holds the rate of the step after each epoch, which is 0 at the end of a cosine whatever was set.
    """

    learning_rate: float
    schedule: str
    warmup: float

    def in_words(self) -> str:
        """`0.001`, constant; `0.003, warm-up over 10 %, cosine to 0`."""
        if self.schedule == "constant":
            return f"{self.learning_rate:.6g}"
        warmed = f", warm-up over {100 * self.warmup:.3g} %" if self.warmup > 0 else ""
        return f"{self.learning_rate:.6g}{warmed}, {self.schedule} to 0"


@styled
def training_curves(history: Sequence[Epoch], rate: Rate) -> Figure:
    """Loss and accuracy (percent) against the epoch, of training and, where there is one, of validation.

    Values that are not finite are left out, and the title says where the first one is.
    Raises ValueError for a history without an epoch.
    """
    if not history:
        raise ValueError("a history must have at least one epoch to draw, not 0")
    figure = sheet(12, 5, _title(history, rate))
    left, right = figure.subplots(1, 2)
    epochs = np.array([row.epoch for row in history])
    _panel(
        left,
        epochs,
        training=_numbers([row.loss for row in history]),
        validation=_numbers([row.validation_loss for row in history]),
        last="{:.4g}",
        legend="upper right",
    )
    _panel(
        right,
        epochs,
        training=100 * _numbers([row.accuracy for row in history]),
        validation=100 * _numbers([row.validation_accuracy for row in history]),
        last="{:.2f} %",
        legend="lower right",
    )
    left.set_title("Loss (cross-entropy, nats)")
    right.set_title("Accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(decimals=None, symbol=" %"))
    return figure


def _title(history: Sequence[Epoch], rate: Rate) -> str:
    finite = np.isfinite([row.loss for row in history])
    title = f"Training · {counted(len(history), 'epoch')} · learning rate {rate.in_words()}"
    if finite.all():
        return title
    return f"{title} · diverged in epoch {history[int(np.argmin(finite))].epoch}"


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """The values as float64 [epochs], NaN for what is no finite number."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _panel(
    axes: Axes,
    epochs: NDArray[np.int64],
    training: NDArray[np.float64],
    validation: NDArray[np.float64],
    last: str,
    legend: Literal["upper right", "lower right"],
) -> None:
    for name, values, colour, marker in (("training", training, BLUE, "o"), ("validation", validation, ORANGE, "s")):
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
    axes.set_xlabel("epoch")
    axes.grid(True)
