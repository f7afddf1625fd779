"""What all pictures share: fonts, colours, size, tiles, and the way to PNG bytes.

Names of classes may be in any script: matplotlib's own font has no Chinese, Japanese or Korean characters.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray

# That a font has no bold is nothing that a person must mend: its regular takes the place.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

FIRST = "DejaVu Sans"
"""Comes with matplotlib: what it can draw looks alike everywhere."""

WIDE = (
    *("Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans", "IPAexGothic", "IPAGothic", "TakaoGothic", "VL Gothic"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "NanumGothic", "Hiragino Sans"),
    *("Arial Unicode MS", "Unifont"),
)
"""What systems have for the others, under these names."""

DOTS_PER_INCH = 100
LONGEST_NAME = 20
TILE_GAP = 0.08

# Okabe and Ito's colours, told apart by colour-blind people (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"

_STYLE: dict[RcKeyType, Any] = {
    "axes.edgecolor": "#666666",
    "axes.grid": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "figure.titlesize": 14,
    "font.size": 11,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    # A dollar in a class name is a dollar, not the start of a formula.
    "text.parse_math": False,
}


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        mpl.rcParams["font.family"] = list(families())
        yield


styled = _style()
"""Decorates a function that draws: this project's fonts and colours, whatever a person's matplotlibrc says."""


def sheet(width: float, height: float, title: str, text: str = "") -> Figure:
    """A figure of width × height inches on an Agg canvas; its title stands at the left.

    Empty, or with a sentence in place of what can't be shown.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.015, horizontalalignment="left", fontweight="bold")
    if text:
        remark(figure.subplots(), text)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes, the same for the same figure: no date, no version of the software."""
    file = io.BytesIO()
    with _style():
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    # Drawing has settled the layout; settled once more it would move by a hair.
    figure.set_layout_engine("none")
    return file.getvalue()


@cache
def families() -> tuple[str, ...]:
    """The fonts for a picture's text: each character is drawn in the first that has it."""
    # matplotlib keeps the list of its first start: what was installed since is not in it.
    for path in set(font_manager.findSystemFonts()) - {font.fname for font in font_manager.fontManager.ttflist}:
        # It has its own exceptions for what is no font that it can read.
        with contextlib.suppress(Exception):
            font_manager.fontManager.addfont(path)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return (FIRST, *(name for name in WIDE if name in installed))


@cache
def _characters() -> frozenset[int]:
    """All that the fonts can draw."""
    paths = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in families()]
    return frozenset(number for path in paths for number in font_manager.get_font(path).get_charmap())


def legible(name: str, number: int) -> str:
    """The name of class `number` (from 0), or `class 3` where no font here has all of its characters."""
    return name if _characters().issuperset(map(ord, name)) else f"class {number}"


def note(names: Sequence[str]) -> str | None:
    """One line where `legible` puts numbers in place of names."""
    if _characters().issuperset(map(ord, "".join(names))):
        return None
    return (
        "no font here has all characters of data.class_names: pictures show the number of a class in place of its "
        "name. A font that does is fonts-noto-cjk or unifont of a Linux distribution"
    )


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits a label."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def percent(share: float, decimals: int = 0) -> str:
    """`0.9962` as `99.6 %`; what is not the whole never reads `100 %`."""
    largest = 100.0 if share >= 1 else 100 - 10.0**-decimals
    return f"{min(100 * share, largest):.{decimals}f} %"


def remark(axes: Axes, text: str) -> None:
    """Empty axes with a sentence in place of what can't be shown."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=13, color="#444444")


def label(axes: Axes, x: str, y: str, *in_percent: Axis) -> None:
    """Name both axes of a diagram with a grid behind it; shares (0..1) on the axes `in_percent` are percentages."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in in_percent:
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(True)
    axes.set_axisbelow(True)


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


def tiles(
    axes: Axes,
    pictures: Iterable[NDArray[Any]],
    columns: int,
    *,
    row: int = 0,
    caption_space: float = 0.0,
    colours: str = "gray",
    limits: tuple[float, float] = (0.0, 1.0),
) -> list[tuple[float, float]]:
    """Draw pictures [h, w] or [h, w, 3] side by side, `columns` in a row, each as large as a square of side 1 allows.

    `row` is the row of the first one; below each row `caption_space` is left free; `limits` are the values at the ends
    of the colour map `colours`; what is not finite is grey. Returns where each square's upper left corner is. Call
    `frame` after the last one.
    """
    corners = []
    colour_map = colormaps[colours].with_extremes(bad="#BBBBBB")
    for number, picture in enumerate(pictures):
        height, width = np.array(picture.shape[:2]) / max(picture.shape[:2])
        left = (number % columns) * (1 + TILE_GAP)
        top = (row + number // columns) * (1 + TILE_GAP + caption_space)
        x, y = left + (1 - width) / 2, top + (1 - height) / 2
        extent = (x, x + width, y + height, y)
        axes.imshow(picture, colour_map, interpolation="nearest", vmin=limits[0], vmax=limits[1], extent=extent)
        corners.append((left, top))
    return corners


def tiled_height(width: float, columns: float, rows: int, caption_space: float = 0.0) -> float:
    """Inches that `rows` rows of tiles need where `columns` columns are `width` inches wide."""
    return width * (rows * (1 + TILE_GAP + caption_space) + TILE_GAP) / (columns * (1 + TILE_GAP) + TILE_GAP)


def frame(axes: Axes, columns: int, rows: int, caption_space: float = 0.0) -> None:
    """Show exactly the squares that `tiles` drew, without axes."""
    axes.set_xlim(-TILE_GAP, columns * (1 + TILE_GAP))
    axes.set_ylim(rows * (1 + TILE_GAP + caption_space), -TILE_GAP)
    axes.set_aspect("equal")
    axes.set_axis_off()
