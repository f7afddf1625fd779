"""The pictures of a report, drawn from its results on paper as those of a run are."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.figures.prediction_figures import visible
from pipeline.figures.style import (
    BLUE,
    ORANGE,
    frame,
    legible,
    percent,
    png,
    remark,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
)
from pipeline.findings import wording
from pipeline.findings.factors import shown_level
from pipeline.findings.load import ScoredImages
from pipeline.findings.results import COSTS, Results
from pipeline.findings.runs import ASTRAY, Comparison
from pipeline.statistics.factors import GridEffects, Term

WIDE, NARROW = 9.0, 4.2
"""Inches: a page, and a phone, where a setting's name stands above its line instead of beside it."""

MOST_LINES, MOST_FIRST = 60, 24
"""Settings that are drawn, and those that are drawn before the answer goes on."""

LONGEST_LABEL = 42
LONGEST_ABOVE = 54
FAR = 8.0
"""A score that lies so many times the spread of the middle half of all scores below it is drawn at the edge."""

PALETTE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
MOST_LEVELS, MOST_PANELS, MOST_NAMED = 7, 4, 12
LOOKS = {
    "better": (BLUE, "^"),
    "worse": (ORANGE, "v"),
    "equivalent": ("#009E73", "s"),
    "can't tell": ("#666666", "o"),
    "no verdict": ("#666666", "x"),
}
"""Colour and marker: told apart without colour, too."""

COLUMNS = 4
CAPTION_SPACE = 0.33


def draw_figures(results: Results, images: ScoredImages) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The pictures by name as PNG, those that the template asks for; and those of them that a phone has its own of."""
    wide = {"settings": png(draw_settings(results))}
    narrow = {"settings": png(draw_settings(results, NARROW))}
    if results.differences:
        wide["differences"] = png(draw_differences(results))
        narrow["differences"] = png(draw_differences(results, NARROW))
    if isinstance(results.effects, GridEffects):
        wide["effects"] = png(draw_effects(results.comparison, results.effects))
    if results.fronts and results.winner is not None and len(results.settings) > 1:
        wide["costs"] = png(draw_costs(results))
    if results.disputed and images.images is not None:
        wide["disputed"] = png(draw_disputed(results, images))
    return wide, narrow


@styled
def draw_settings(results: Results, width: float = WIDE) -> Figure:
    """Every setting's mean and interval, every seed a dot."""
    rows = _drawn(results, MOST_LINES)
    figure, axes = _lined(results, rows, width, "Accuracy of each setting")
    scores = results.comparison.scores
    if np.isnan(scores).all():
        remark(axes, "No run has a score.")
        return figure
    lowest = _lowest(scores)
    for line, row in enumerate(rows):
        summary, values = results.settings[row].summary, scores[row][~np.isnan(scores[row])]
        colour = ORANGE if row == results.comparison.baseline else BLUE
        near = values[values >= lowest]
        # The height of a dot means nothing: it keeps equal scores apart.
        jitter = 0.16 * np.sin(2.4 * np.arange(len(near)))
        axes.plot(near, line + jitter, "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        if summary.interval is not None:
            ends = max(summary.interval.low, lowest), summary.interval.high
            axes.plot(ends, [line, line], color=colour, linewidth=2)
        if summary.mean is not None and summary.mean >= lowest:
            axes.plot([summary.mean], [line], "|", color=colour, markersize=15, markeredgewidth=3)
        runs = results.comparison.of(row)
        lost = [run.accuracy for run in runs if run.outcome in ASTRAY and run.accuracy is not None]
        if far := [*values[values < lowest], *lost]:
            at = "at" if len(far) == 1 else "from"
            text = f"◂ {wording.counted(len(far), 'seed')} {at} {min(far):.1f} %"
            axes.text(lowest, line - 0.3, text, fontsize=9, va="bottom")
    axes.set_xlabel(f"accuracy on the {results.comparison.images} images, %")
    return figure


@styled
def draw_differences(results: Results, width: float = WIDE) -> Figure:
    """Every setting's difference from the baseline with its simultaneous interval, the margin as a band."""
    comparison = results.comparison
    rows = [row for row in _drawn(results, MOST_FIRST) if row != comparison.baseline]
    figure, axes = _lined(results, rows, width, "Against the baseline")
    axes.axvspan(-comparison.margin, comparison.margin, color="#EEEEEE", linewidth=0, zorder=0)
    axes.axvline(0, color="#444444", linewidth=1)
    seen: set[str] = set()
    for line, row in enumerate(rows):
        difference = results.settings[row].difference
        if difference is None or difference.mean is None:
            axes.text(0, line, " no seed in common", va="center", fontsize=9, color="#444444")
            continue
        name = difference.verdict.value
        colour, marker = LOOKS[name]
        if difference.interval is not None:
            axes.plot([difference.interval.low, difference.interval.high], [line, line], color=colour, linewidth=2)
        label = None if name in seen else name
        seen.add(name)
        axes.plot([difference.mean], [line], marker, color=colour, markersize=8, linestyle="none", label=label)
    axes.set_xlabel(f"points against {shortened(comparison.label(comparison.baseline), 50 if width == WIDE else 28)}")
    if seen:
        figure.legend(loc="outside lower left", ncols=5 if width == WIDE else 2)
    return figure


@styled
def draw_effects(comparison: Comparison, effects: GridEffects) -> Figure:
    """Main effects with their intervals; of two factors the means of all combinations beside them."""
    terms = effects.main_effects[:MOST_PANELS]
    pair = len(comparison.factors) == 2 and len(comparison.factors[1].levels) <= MOST_LEVELS
    count = len(terms) + pair
    figure = sheet(10 if count > 1 else 6, 4.4, "What each argument does")
    panels = figure.subplots(1, count, squeeze=False, width_ratios=[1] * len(terms) + [1.5] * pair)[0]
    ends = [end for term in terms for effect in term.effects for end in (effect.interval.low, effect.interval.high)]
    room = 0.08 * (max(ends) - min(ends)) or 0.1
    for axes, term in zip(panels, terms, strict=False):
        _draw_main_effect(axes, term)
        axes.set_ylim(min(ends) - room, max(ends) + room)
    panels[0].set_ylabel("points against the mean of all")
    if pair:
        _draw_combinations(panels[-1], comparison)
        figure.legend(loc="outside lower right", ncols=MOST_LEVELS, fontsize=10)
    return figure


@styled
def draw_costs(results: Results) -> Figure:
    """Mean accuracy against each cost; a line joins the settings that are the best for it, named where they are few."""
    comparison = results.comparison
    figure = sheet(10, 4.6, "Accuracy and what it costs")
    panels = figure.subplots(1, len(results.fronts), sharey=True, squeeze=False)[0]
    averages = np.array([results.mean(row) for row in range(len(results.settings))])
    known = np.flatnonzero(~np.isnan(averages)).tolist()
    # A setting that does far worse would press all others together.
    low, high = np.percentile(averages[known], [25, 75])
    near = [row for row in known if averages[row] >= low - FAR * max(high - low, 0.5)]
    for axes, (name, front) in zip(panels, results.fronts.items(), strict=True):
        costs = comparison.cost(name)
        line = [row for row in front if row in near]
        axes.plot(costs[line], averages[line], color="#888888", linewidth=1.5, zorder=1)
        for row in near:
            colour, marker = _look(comparison, row)
            axes.plot([costs[row]], [averages[row]], marker, color=colour, markersize=8, zorder=2)
        for row in line if len(near) <= MOST_NAMED else ():
            # Towards the middle, where there is room for a name.
            is_left = costs[row] <= np.nanmedian(costs[near])
            text, at = shortened(comparison.label(row), 26), (costs[row], averages[row])
            offset, align = ((8, -4), "left") if is_left else ((-8, 4), "right")
            axes.annotate(text, at, xytext=offset, textcoords="offset points", ha=align, fontsize=8)
        _scale(axes, costs[near])
        axes.set_xlabel(COSTS[name])
        axes.grid(visible=True)
    panels[0].set_ylabel(f"mean accuracy, % ({comparison.images})")
    _draw_legend(figure, panels[0], comparison)
    return figure


@styled
def draw_disputed(results: Results, images: ScoredImages) -> Figure:
    """The images on which settings disagree most, with their class and the settings at both ends."""
    comparison, count = results.comparison, len(results.disputed)
    if images.images is None or images.labels is None:
        raise AssertionError("drawn only where there are images")
    rows = math.ceil(count / COLUMNS)
    figure = sheet(9, 0.7 + tiled_height(8.7, COLUMNS, rows, CAPTION_SPACE), "Where the settings disagree most")
    axes = figure.subplots()
    pictures = [visible(images.images[one.image]) for one in results.disputed]
    corners = tiles(axes, pictures, COLUMNS, caption_space=CAPTION_SPACE)
    for one, (left, top) in zip(results.disputed, corners, strict=True):
        label = int(images.labels[one.image])
        name = shortened(legible(comparison.class_names[label], label))
        axes.text(left + 0.5, top + 1.02, name, ha="center", va="top", fontsize=11, fontweight="bold")
        ends = (one.best_share, one.best), (one.worst_share, one.worst)
        caption = "\n".join(f"{percent(share)}  {shortened(comparison.label(row), 25)}" for share, row in ends)
        axes.text(left + 0.5, top + 1.13, caption, ha="center", va="top", fontsize=9.5)
    frame(axes, columns=COLUMNS, rows=rows, caption_space=CAPTION_SPACE)
    return figure


def _drawn(results: Results, most: int) -> list[int]:
    """The settings that are drawn, the best first: all, or the best and the baseline where they are too many."""
    best = set(results.by_mean[:most])
    return [row for row in results.by_mean if row in best or row == results.comparison.baseline]


def _lowest(scores: NDArray[np.float64]) -> float:
    """The lowest score that is drawn in its place: one far below would press all others together."""
    known = scores[~np.isnan(scores)]
    low, high = np.percentile(known, [25, 75])
    return float(known[known >= low - FAR * max(high - low, 0.5)].min())


def _lined(results: Results, rows: Sequence[int], width: float, title: str) -> tuple[Figure, Axes]:
    """A sheet with a line for each setting, named."""
    is_wide, baseline = width == WIDE, results.comparison.baseline
    figure = sheet(width, 1.7 + (0.34 if is_wide else 0.48) * len(rows), title)
    axes = figure.subplots()
    names = [
        shortened(results.settings[row].label, LONGEST_LABEL if is_wide else LONGEST_ABOVE)
        + (" (baseline)" if row == baseline and len(results.settings) > 1 else "")
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), names if is_wide else [""] * len(rows))
    if not is_wide:
        for line, name in enumerate(names):
            axes.text(0.0, line - 0.28, name, transform=axes.get_yaxis_transform(), fontsize=10, va="center")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    return figure, axes


def _draw_main_effect(axes: Axes, term: Term) -> None:
    axes.axhline(0, color="#888888", linewidth=1)
    for place, effect in enumerate(term.effects):
        axes.plot([place, place], [effect.interval.low, effect.interval.high], color=BLUE, linewidth=2)
    axes.plot([effect.mean for effect in term.effects], "o-", color=BLUE, markersize=7, linewidth=1)
    _name_levels(axes, [shown_level(effect.levels[0]) for effect in term.effects], term.factors[0])


def _draw_combinations(axes: Axes, comparison: Comparison) -> None:
    """A line for each level of the second factor, over the levels of the first."""
    first, second = comparison.factors
    averages = {
        setting.levels: float(np.nanmean(comparison.scores[row])) for row, setting in enumerate(comparison.settings)
    }
    for number, level in enumerate(second.levels):
        values = [averages[one, level] for one in first.levels]
        label = shortened(f"{second.name} {shown_level(level)}", 24)
        axes.plot(values, f"{MARKERS[number]}-", color=PALETTE[number], label=label, markersize=7)
    _name_levels(axes, [shown_level(level) for level in first.levels], first.name)
    axes.set_ylabel("mean accuracy, %")


def _name_levels(axes: Axes, levels: list[str], factor: str) -> None:
    names = [shortened(level, 14) for level in levels]
    axes.set_xticks(range(len(levels)), names, rotation=0 if len(levels) < 7 else 45)
    axes.set_xlim(-0.4, len(levels) - 0.6)
    axes.set_xlabel(shortened(factor, 30))
    axes.grid(visible=True, axis="y")


def _scale(axes: Axes, costs: NDArray[np.float64]) -> None:
    """A logarithmic axis with few round numbers, where costs differ by more than half."""
    known = costs[np.isfinite(costs)]
    if len(known) and known.min() > 0 and known.max() / known.min() > 1.5:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if known.max() / known.min() < 50 else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(known.min() / 1.25, known.max() * 1.25)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter())


def _look(comparison: Comparison, row: int) -> tuple[str, str]:
    """Colour by the first factor's level, marker by the second's, where these are few."""
    looks = []
    for place, choices in enumerate((PALETTE, MARKERS)):
        few = place < len(comparison.factors) and len(comparison.factors[place].levels) <= MOST_LEVELS
        looks.append(
            choices[comparison.factors[place].levels.index(comparison.settings[row].levels[place]) if few else 0]
        )
    return looks[0], looks[1]


def _draw_legend(figure: Figure, axes: Axes, comparison: Comparison) -> None:
    handles = []
    for place, factor in enumerate(comparison.factors[:2]):
        for number, level in enumerate(factor.levels if len(factor.levels) <= MOST_LEVELS else ()):
            name = shortened(f"{factor.name} {shown_level(level)}", 30)
            colour, marker = (PALETTE[number], "o") if place == 0 else ("#666666", MARKERS[number])
            handles += axes.plot([], [], marker, color=colour, linestyle="none", markersize=8, label=name)
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 6), fontsize=10)
