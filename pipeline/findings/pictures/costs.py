"""Accuracy against what it costs."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.figures.style import png, sheet, shortened, styled
from pipeline.findings.evidence import Evidence
from pipeline.findings.factors import shown_level
from pipeline.findings.page import Picture
from pipeline.findings.statistics.scores import means

COSTS = {"parameters": "parameters", "multiply_adds": "multiply-adds", "seconds": "training seconds"}
PALETTE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
MOST_LEVELS = 7


def cost_picture(evidence: Evidence, fronts: Mapping[str, tuple[int, ...]]) -> Picture:
    """Mean accuracy against parameters, multiply-adds and seconds, with the Pareto fronts (settings by number)."""
    on_front = {
        COSTS[name]: ", then ".join(evidence.label(setting) for setting in front) for name, front in fronts.items()
    }
    said = "; ".join(f"against {cost} the front is {settings}" for cost, settings in on_front.items())
    return Picture(
        "costs",
        png(draw_costs(evidence, fronts)),
        alt=f"Mean accuracy of each setting against its costs: {said}.",
        caption="Mean accuracy against cost. The line joins the Pareto front: nothing is both cheaper and better.",
    )


@styled
def draw_costs(evidence: Evidence, fronts: Mapping[str, tuple[int, ...]]) -> Figure:
    figure = sheet(10, 4.6, "Accuracy and what it costs")
    panels = figure.subplots(1, len(fronts), sharey=True, squeeze=False)[0]
    averages = means(evidence.scores)
    drawn = [row for row in range(len(averages)) if not np.isnan(averages[row])]
    # A setting that diverged would press all others together.
    low, high = np.percentile(averages[drawn], [25, 75])
    near = [row for row in drawn if averages[row] >= low - 8 * max(high - low, 0.5)]
    for axes, (name, front) in zip(panels, fronts.items(), strict=True):
        costs = evidence.cost(name)
        line = [row for row in front if row in near]
        axes.plot(costs[line], averages[line], color="#888888", linewidth=1.5, zorder=1)
        for row in near:
            colour, marker = _look(evidence, row)
            axes.plot([costs[row]], [averages[row]], marker, color=colour, markersize=8, zorder=2)
        _logarithmic(axes, costs[near])
        axes.set_xlabel(COSTS[name])
        axes.grid(visible=True)
    panels[0].set_ylabel(f"mean accuracy, % ({evidence.images})")
    _legend(figure, panels[0], evidence)
    return figure


def _logarithmic(axes: Axes, costs: NDArray[np.float64]) -> None:
    """A logarithmic axis with numbers that people read, where costs differ by more than half."""
    known = costs[np.isfinite(costs)]
    if len(known) and known.min() > 0 and known.max() / known.min() > 1.5:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_ticks(known.min() / 1.2, known.max() * 1.2)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(known.min() / 1.25, known.max() * 1.25)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: _short(value)))


def _ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between two that are above zero, evenly spread on a logarithmic axis."""
    found: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= 5:
            break
    return found


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _look(evidence: Evidence, row: int) -> tuple[str, str]:
    """Colour by the first factor's level, marker by the second's, where these are few."""
    looks = []
    for place, choices in enumerate((PALETTE, MARKERS)):
        few = place < len(evidence.factors) and len(evidence.factors[place].levels) <= MOST_LEVELS
        number = evidence.factors[place].levels.index(evidence.settings[row].levels[place]) if few else 0
        looks.append(choices[number])
    return looks[0], looks[1]


def _legend(figure: Figure, axes: Axes, evidence: Evidence) -> None:
    handles = []
    for place, factor in enumerate(evidence.factors[:2]):
        if len(factor.levels) > MOST_LEVELS:
            continue
        for number, level in enumerate(factor.levels):
            name = shortened(f"{factor.name} {shown_level(level)}", 30)
            colour, marker = (PALETTE[number], "o") if place == 0 else ("#666666", MARKERS[number])
            handles += axes.plot([], [], marker, color=colour, linestyle="none", markersize=8, label=name)
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 6), fontsize=10)
