"""Main effects of the swept arguments, and how two of them go together."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.figures.style import BLUE, png, sheet, shortened, styled
from pipeline.findings import numbers
from pipeline.findings.evidence import Evidence
from pipeline.findings.factors import shown_level
from pipeline.findings.page import Picture
from pipeline.findings.pictures.costs import MARKERS, MOST_LEVELS, PALETTE
from pipeline.findings.statistics.factors import GridEffects, Term
from pipeline.findings.statistics.scores import means

MOST_PANELS = 4


def effects_picture(evidence: Evidence, found: GridEffects) -> Picture:
    """Main effects with their intervals; of two factors the means of all combinations beside them."""
    said = [
        f"{term.factors[0]} {shown_level(effect.levels[0])} {numbers.points(effect.mean)}"
        for term in found.main_effects
        for effect in term.effects
    ]
    beside = " Beside them the mean of each combination." if _pair(evidence) else ""
    return Picture(
        "effects",
        png(draw_effects(evidence, found)),
        alt=f"Main effects in points: {'; '.join(said)}.{beside}",
        caption="Main effects with simultaneous 95 % intervals."
        + (" Lines that run side by side mean that the two arguments act each for itself." if beside else ""),
    )


@styled
def draw_effects(evidence: Evidence, found: GridEffects) -> Figure:
    terms = found.main_effects[:MOST_PANELS]
    pair = _pair(evidence)
    count = len(terms) + pair
    figure = sheet(10 if count > 1 else 6, 4.4, "What each argument does")
    panels = figure.subplots(1, count, squeeze=False, width_ratios=[1] * len(terms) + [1.5] * pair)[0]
    ends = [end for term in terms for effect in term.effects for end in (effect.interval.low, effect.interval.high)]
    room = 0.08 * (max(ends) - min(ends)) or 0.1
    for axes, term in zip(panels, terms, strict=False):
        _main(axes, term)
        axes.set_ylim(min(ends) - room, max(ends) + room)
    panels[0].set_ylabel("points against the mean of all")
    if pair:
        _combinations(panels[-1], evidence)
        figure.legend(loc="outside lower right", ncols=MOST_LEVELS, fontsize=10)
    return figure


def _pair(evidence: Evidence) -> bool:
    """Whether there are two factors, of which one has levels few enough for a line each."""
    return len(evidence.factors) == 2 and len(evidence.factors[1].levels) <= MOST_LEVELS


def _main(axes: Axes, term: Term) -> None:
    places = range(len(term.effects))
    values = [effect.mean for effect in term.effects]
    axes.axhline(0, color="#888888", linewidth=1)
    for place, effect in zip(places, term.effects, strict=True):
        axes.plot([place, place], [effect.interval.low, effect.interval.high], color=BLUE, linewidth=2)
    axes.plot(places, values, "o-", color=BLUE, markersize=7, linewidth=1)
    _name(axes, [shown_level(effect.levels[0]) for effect in term.effects], term.factors[0])


def _combinations(axes: Axes, evidence: Evidence) -> None:
    """A line for each level of the second factor, over the levels of the first."""
    first, second = evidence.factors
    averages = means(evidence.scores)
    row = {setting.levels: number for number, setting in enumerate(evidence.settings)}
    for number, level in enumerate(second.levels):
        values = np.array([averages[row[one, level]] for one in first.levels])
        look = f"{MARKERS[number]}-"
        label = shortened(f"{second.name} {shown_level(level)}", 24)
        axes.plot(range(len(values)), values, look, color=PALETTE[number], label=label, markersize=7)
    _name(axes, [shown_level(level) for level in first.levels], first.name)
    axes.set_ylabel("mean accuracy, %")


def _name(axes: Axes, levels: list[str], factor: str) -> None:
    axes.set_xticks(
        range(len(levels)), [shortened(level, 14) for level in levels], rotation=0 if len(levels) < 7 else 45
    )
    axes.set_xlim(-0.4, len(levels) - 0.6)
    axes.set_xlabel(shortened(factor, 30))
    axes.grid(visible=True, axis="y")
