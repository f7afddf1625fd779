"""The images that the network got wrong, and how sure it was."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.fonts import legible
from pipeline.figures.paper import counted, frame, percent, remark, sheet, shortened, styled, tiled_height, tiles
from pipeline.run.metrics import Labels, Probabilities, predictions, surest_mistakes

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
