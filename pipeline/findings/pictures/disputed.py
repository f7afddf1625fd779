"""The images on which settings disagree most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.prediction_figures import visible
from pipeline.figures.style import frame, percent, png, sheet, shortened, styled, tiled_height, tiles
from pipeline.findings.page import Picture

COLUMNS = 4
CAPTION_SPACE = 0.33
LONGEST_LABEL = 25


@dataclass(frozen=True, eq=False)
class Disputed:
    """An image uint8 [h, w, c], its class, the settings whose seeds are right most and least often (shares 0..1)."""

    number: int
    image: NDArray[np.uint8]
    label: str
    best: str
    best_share: float
    worst: str
    worst_share: float


def disputed_picture(found: Sequence[Disputed], images: str) -> Picture:
    classes = ", ".join(f"{one.label} (image {one.number})" for one in found)
    return Picture(
        "disputed",
        png(draw_disputed(found)),
        alt=f"The {images} images on which the settings disagree most: {classes}.",
        caption="Below each image its class, and the settings whose seeds are right most and least often.",
    )


@styled
def draw_disputed(found: Sequence[Disputed]) -> Figure:
    rows = math.ceil(len(found) / COLUMNS)
    figure = sheet(9, 0.7 + tiled_height(8.7, COLUMNS, rows, CAPTION_SPACE), "Where the settings disagree most")
    axes = figure.subplots()
    corners = tiles(axes, [visible(one.image) for one in found], COLUMNS, caption_space=CAPTION_SPACE)
    for one, (left, top) in zip(found, corners, strict=True):
        axes.text(left + 0.5, top + 1.02, shortened(one.label), ha="center", va="top", fontsize=11, fontweight="bold")
        caption = (
            f"{percent(one.best_share)}  {shortened(one.best, LONGEST_LABEL)}\n"
            f"{percent(one.worst_share)}  {shortened(one.worst, LONGEST_LABEL)}"
        )
        axes.text(left + 0.5, top + 1.13, caption, ha="center", va="top", fontsize=9.5)
    frame(axes, columns=COLUMNS, rows=rows, caption_space=CAPTION_SPACE)
    return figure
