"""Whether the network is right as often as it believes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.figures.paper import BLUE, GREY, ORANGE, counted, percent, remark, sheet, styled
from pipeline.run.metrics import Reliability


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
