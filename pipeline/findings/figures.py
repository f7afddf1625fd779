"""The pictures of a report, drawn from its results: SVG of the same bytes wherever they are drawn."""

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.messages import counted
from pipeline.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    frame,
    percent,
    remark,
    sheet,
    shortened,
    styled,
    tiled_height,
    tiles,
    visible,
)
from pipeline.findings.comparison import ASTRAY, Comparison, shown_level
from pipeline.findings.load import ScoredImages
from pipeline.findings.results import COSTS, Results
from pipeline.statistics.factors import GridEffects, Level

WIDE, NARROW = 9.0, 4.2
"""Inches: a page, and a phone, where a setting's name stands above its line instead of beside it."""

MOST_DRAWN = 24
"""Settings that have a line of their own: more are told in the tables alone."""

LONGEST_LABEL = 42
LONGEST_ABOVE = 54
FAR = 8.0
"""A score that lies so many times the spread of the middle half of all scores below it is drawn at the edge."""

PALETTE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
MOST_LEVELS, MOST_PANELS, MOST_NAMED = 7, 4, 12
FONTS = "'DejaVu Sans', Verdana, sans-serif"
"""Text stays text: whoever looks has fonts. It was measured in the first; the second is as wide."""

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
    """The pictures by name as SVG, those that the template asks for; and the same for a phone."""
    draws: dict[str, Callable[[Results, float], Figure]] = {"settings": draw_settings}
    if results.comparison.search is not None:
        wide, narrow = ({"trials": svg(draw_trials(results, width))} for width in (WIDE, NARROW))
        return wide, narrow
    if results.differences:
        draws["differences"] = draw_differences
    if isinstance(results.effects, GridEffects):
        draws["effects"] = draw_effects
    if results.fronts and results.winner is not None and len(results.settings) > 1:
        draws["costs"] = draw_costs
    if results.curves:
        draws["curves"] = draw_curves
    if results.disputed and images.images is not None:
        draws["disputed"] = partial(draw_disputed, images)
    wide, narrow = ({name: svg(draw(results, width)) for name, draw in draws.items()} for width in (WIDE, NARROW))
    return wide, narrow


@styled
def svg(figure: Figure) -> bytes:
    """The figure as an SVG file's bytes, the same for the same figure on any machine.

    Its numbers have three decimals, so that the last bits of a layout don't show, and its ids are counted; it holds no
    date, no version and no list of a machine's fonts. Images within it are BMP.
    """
    file = io.StringIO()
    values: dict[RcKeyType, Any] = {"svg.fonttype": "none", "svg.hashsalt": "", "image.composite_image": False}
    with mpl.rc_context(values), warnings.catch_warnings():
        # A character that the first font lacks is drawn by the fonts of whoever looks.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    names = dict.fromkeys(re.findall(r'<[^>]* id="([\w.]+)"', text))
    ids = {name: f"i{number}" for number, name in enumerate(names)}
    return re.sub("<[^>]*>", lambda tag: _settled(tag[0], ids), text).encode()


def _settled(tag: str, ids: Mapping[str, str]) -> str:
    """A tag of SVG without what depends on the machine."""
    if image := re.search(r'data:image/png;base64,([^"]+)', tag):
        # Nothing compresses a BMP: what does differs from place to place.
        file = io.BytesIO()
        Image.open(io.BytesIO(base64.b64decode(image[1]))).convert("RGB").save(file, "bmp")
        tag = tag.replace(image[0], f"data:image/bmp;base64,{base64.b64encode(file.getvalue()).decode()}")
    tag = re.sub(r'font-family: [^;"]+', f"font-family: {FONTS}", tag)
    tag = re.sub(r'(?<= id=")[\w.]+|(?<="#)[\w.]+|(?<=url\(#)[\w.]+', lambda name: ids[name[0]], tag)
    return re.sub(r"-?\d+\.\d{4,}", lambda number: f"{float(number[0]):.3f}", tag)


@styled
def draw_settings(results: Results, width: float = WIDE) -> Figure:
    """Every setting's mean and interval, every seed a dot."""
    rows = _drawn(results)
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
            text = f"◂ {counted(len(far), 'seed')} {at} {min(far):.1f} %"
            axes.text(lowest, line - 0.3, text, fontsize=9, va="bottom")
    axes.set_xlabel(f"accuracy on the {results.comparison.images} images, %")
    return figure


@styled
def draw_trials(results: Results, width: float = WIDE) -> Figure:
    """The score of each trial of a search in their order, and the best so far as a line."""
    figure = sheet(width, 3.6, "Trials")
    axes = figure.subplots()
    scored = [one for one in results.comparison.trials if one.score is not None]
    if not scored:
        remark(axes, "No trial has a score.")
        return figure
    numbers, scores = [one.number for one in scored], np.array([one.score for one in scored])
    shown = np.maximum(scores, lowest := _lowest(scores))
    axes.plot(
        numbers, np.maximum.accumulate(scores), color=BLUE, linewidth=2, drawstyle="steps-post", label="best so far"
    )
    for name, own, marker in (("trial", scores >= lowest, "o"), ("trial far below", scores < lowest, "v")):
        if own.any():
            axes.plot(np.array(numbers)[own], shown[own], marker, color=GREY, markersize=6, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial, as proposed")
    axes.set_ylabel(f"accuracy, % ({results.comparison.images})")
    axes.grid(visible=True)
    figure.legend(loc="outside lower left", ncols=3, fontsize=10)
    return figure


@styled
def draw_differences(results: Results, width: float = WIDE) -> Figure:
    """Every setting's difference from the baseline with its simultaneous interval, the margin as a band."""
    comparison = results.comparison
    rows = [row for row in _drawn(results) if row != comparison.baseline]
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
def draw_effects(results: Results, width: float = WIDE) -> Figure:
    """Main effects with their intervals; of two factors the means of all combinations beside them."""
    comparison, effects = results.comparison, results.effects
    terms = effects.main_effects[:MOST_PANELS] if isinstance(effects, GridEffects) else ()
    pair = len(comparison.factors) == 2 and len(comparison.factors[1].levels) <= MOST_LEVELS
    figure, panels = _panels(len(terms) + pair, width, "What each argument does", sharey=False)
    ends = [end for term in terms for effect in term.effects for end in (effect.interval.low, effect.interval.high)]
    room = 0.08 * (max(ends) - min(ends)) or 0.1
    for axes, term in zip(panels, terms, strict=False):
        axes.axhline(0, color="#888888", linewidth=1)
        for place, effect in enumerate(term.effects):
            axes.plot([place, place], [effect.interval.low, effect.interval.high], color=BLUE, linewidth=2)
        axes.plot([effect.mean for effect in term.effects], "o-", color=BLUE, markersize=7, linewidth=1)
        _name_levels(axes, [effect.levels[0] for effect in term.effects], term.factors[0])
        axes.set_ylim(min(ends) - room, max(ends) + room)
    panels[0].set_ylabel("points against the mean of all")
    if pair:
        _draw_combinations(panels[-1], comparison)
        figure.legend(loc="outside lower right", ncols=MOST_LEVELS if width == WIDE else 2, fontsize=10)
    return figure


@styled
def draw_costs(results: Results, width: float = WIDE) -> Figure:
    """Mean accuracy against each cost; a line joins the settings that are the best for it, names where they fit."""
    comparison, averages = results.comparison, results.comparison.means
    figure, panels = _panels(len(results.fronts), width, "Accuracy and what it costs", sharey=width == WIDE)
    known = np.flatnonzero(~np.isnan(averages)).tolist()
    near = [row for row in known if averages[row] >= _lowest(averages)]
    for axes, (name, front) in zip(panels, results.fronts.items(), strict=True):
        costs = comparison.cost(name)
        line = [row for row in front if row in near]
        axes.plot(costs[line], averages[line], color="#888888", linewidth=1.5, zorder=1)
        for row in near:
            colour, marker = _look(comparison, row)
            axes.plot([costs[row]], [averages[row]], marker, color=colour, markersize=8, zorder=2)
        _scale(axes, costs[near])
        axes.set_xlabel(COSTS[name])
        axes.set_ylabel(f"mean accuracy, % ({comparison.images})" if axes is panels[0] or width != WIDE else "")
        axes.margins(y=0.12)
        axes.grid(visible=True)
    _draw_legend(figure, panels[0], comparison, columns=6 if width == WIDE else 2)
    figure.draw_without_rendering()
    for axes, (name, front) in zip(panels, results.fronts.items(), strict=True):
        few = len(near) <= MOST_NAMED
        order = sorted(near if few else set(front) & set(near), key=lambda row: (row not in front, -averages[row]))
        points = {row: (comparison.cost(name)[row], averages[row]) for row in near}
        _name_points(axes, [(*points[row], comparison.label(row)) for row in order], list(points.values()))
    return figure


@styled
def draw_curves(results: Results, width: float = WIDE) -> Figure:
    """The mean accuracy after each epoch: what stands out with the band of its seeds, all others as thin lines."""
    figure = sheet(width, 4.6 if width == WIDE else 4.2, "Learning curves")
    axes = figure.subplots()
    second = results.runner_up.setting if results.runner_up else None
    named = dict.fromkeys(row for row in (results.winner, second, results.cheapest, results.comparison.baseline))
    looks = dict(zip((row for row in named if row in results.curves), PALETTE, strict=False))
    for row, curve in results.curves.items():
        if row not in looks:
            axes.plot(range(1, len(curve.mean) + 1), curve.mean, color=GREY, linewidth=0.7, alpha=0.6)
    for row, colour in looks.items():
        curve, epochs = results.curves[row], range(1, len(results.curves[row].mean) + 1)
        axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        name = shortened(results.settings[row].label, LONGEST_LABEL)
        axes.plot(epochs, curve.mean, color=colour, linewidth=2, marker=".", label=name)
    if len(results.curves) > len(looks):
        axes.plot([], [], color=GREY, linewidth=0.7, label="all others")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, % (validation)")
    axes.grid(visible=True)
    figure.legend(loc="outside lower left", ncols=2 if width == WIDE else 1, fontsize=10)
    return figure


@styled
def draw_disputed(images: ScoredImages, results: Results, width: float = WIDE) -> Figure:
    """The images on which settings disagree most, with their class and the settings at both ends."""
    comparison, count = results.comparison, len(results.disputed)
    if images.images is None or images.labels is None:
        raise AssertionError("drawn only where there are images")
    columns = COLUMNS if width == WIDE else 2
    rows = math.ceil(count / columns)
    space = CAPTION_SPACE * (1 if width == WIDE else 1.05)
    figure = sheet(width, 0.7 + tiled_height(width - 0.3, columns, rows, space), "Where the settings disagree most")
    figure.suppressComposite = True
    axes = figure.subplots()
    pictures = [visible(images.images[one.image]) for one in results.disputed]
    corners = tiles(axes, pictures, columns, caption_space=space)
    for image in axes.images:
        # As it is, not as many pixels as the page has.
        image.set_interpolation("none")
    for one, (left, top) in zip(results.disputed, corners, strict=True):
        name = shortened(comparison.class_names[int(images.labels[one.image])])
        axes.text(left + 0.5, top + 1.02, name, ha="center", va="top", fontsize=11, fontweight="bold")
        ends = (one.best_share, one.best), (one.worst_share, one.worst)
        caption = "\n".join(f"{percent(share)}  {shortened(comparison.label(row), 25)}" for share, row in ends)
        axes.text(left + 0.5, top + 1.13, caption, ha="center", va="top", fontsize=9.5)
    frame(axes, columns=columns, rows=rows, caption_space=space)
    return figure


def _drawn(results: Results) -> list[int]:
    """The settings that are drawn, the best first: all, or the best and the baseline where they are too many."""
    best = set(results.by_mean[:MOST_DRAWN])
    return [row for row in results.by_mean if row in best or row == results.comparison.baseline]


def _panels(count: int, width: float, title: str, *, sharey: bool) -> tuple[Figure, list[Axes]]:
    """A sheet with `count` diagrams: side by side, or on a phone one below the other."""
    if width == WIDE:
        figure = sheet(10 if count > 1 else 6, 4.6, title)
        return figure, list(figure.subplots(1, count, squeeze=False, sharey=sharey)[0])
    figure = sheet(width, 0.8 + 3.1 * count, title)
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def _name_points(axes: Axes, named: Sequence[tuple[float, float, str]], points: Sequence[tuple[float, float]]) -> None:
    """Names (x, y, text) beside their points, the first ones first; one that would cover another has no room."""
    frame_box = axes.get_window_extent()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axes.transData.transform(points)]
    for x, y, text in named:
        for right, up in (9, -3), (-9, -3), (0, 8), (0, -14):
            side = "left" if right > 0 else "right" if right < 0 else "center"
            note = axes.annotate(
                shortened(text, 26), (x, y), (right, up), textcoords="offset points", ha=side, fontsize=8
            )
            box = note.get_window_extent()
            if frame_box.x0 <= box.x0 and box.x1 <= frame_box.x1 and not box.count_overlaps(taken):
                taken.append(box)
                break
            note.remove()


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


def _draw_combinations(axes: Axes, comparison: Comparison) -> None:
    """A line for each level of the second factor, over the levels of the first."""
    first, second = comparison.factors
    averages = {setting.levels: comparison.means[row] for row, setting in enumerate(comparison.settings)}
    for number, level in enumerate(second.levels):
        values = [averages[one, level] for one in first.levels]
        label = shortened(f"{second.name} {shown_level(level)}", 24)
        axes.plot(values, f"{MARKERS[number]}-", color=PALETTE[number], label=label, markersize=7)
    _name_levels(axes, first.levels, first.name)
    axes.set_ylabel("mean accuracy, %")


def _name_levels(axes: Axes, levels: Sequence[Level], factor: str) -> None:
    names = [shortened(shown_level(level), 14) for level in levels]
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
    looks = [PALETTE[0], MARKERS[0]]
    for place, (choices, factor) in enumerate(zip((PALETTE, MARKERS), comparison.factors, strict=False)):
        if len(factor.levels) <= MOST_LEVELS:
            looks[place] = choices[factor.levels.index(comparison.settings[row].levels[place])]
    return looks[0], looks[1]


def _draw_legend(figure: Figure, axes: Axes, comparison: Comparison, columns: int) -> None:
    handles = []
    for place, factor in enumerate(comparison.factors[:2]):
        for number, level in enumerate(factor.levels if len(factor.levels) <= MOST_LEVELS else ()):
            name = shortened(f"{factor.name} {shown_level(level)}", 30)
            colour, marker = (PALETTE[number], "o") if place == 0 else ("#666666", MARKERS[number])
            handles += axes.plot([], [], marker, color=colour, linestyle="none", markersize=8, label=name)
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), columns), fontsize=10)
