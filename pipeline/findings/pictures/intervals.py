"""Means and differences with their intervals, one line a setting."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.figures.style import BLUE, ORANGE, png, remark, sheet, shortened, styled
from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Picture
from pipeline.findings.statistics.scores import means, present, summaries

WIDTH = 9.0
LINE = 0.34
"""Inches: a picture's width, the height of a setting's line."""

MOST_LINES = 60
LONGEST_LABEL = 42
FAR = 8.0
"""A score that lies so many times the spread of the middle half of all scores below it is drawn at the edge."""

COLOURS = {"better": BLUE, "worse": ORANGE, "equivalent": "#009E73", "can't tell": "#666666", "no verdict": "#666666"}
MARKERS = {"better": "^", "worse": "v", "equivalent": "s", "can't tell": "o", "no verdict": "x"}
"""Told apart without colour, too."""


def settings_picture(evidence: Evidence) -> Picture:
    """Every setting's mean and interval, every seed a dot."""
    averages = means(evidence.scores)
    known = [row for row in range(len(averages)) if not math.isnan(averages[row])]
    lines = [f"{evidence.label(row)} {averages[row]:.2f} %" for row in known[:MOST_LINES]]
    return Picture(
        "settings",
        png(draw_settings(evidence)),
        alt=f"Mean accuracy with 95 % interval and every seed as a dot: {'; '.join(lines) or 'no run has a score'}.",
        caption="Mean (bar) and its 95 % interval (line); every dot is one seed. The baseline is marked.",
    )


def difference_picture(evidence: Evidence, decision: Decision) -> Picture:
    """Every setting's difference from the baseline with its simultaneous interval, the margin as a band."""
    known = [found for found in decision.differences if found.mean is not None]
    lines = [f"{evidence.label(found.setting)} {numbers.points(found.mean)} ({found.verdict})" for found in known]
    return Picture(
        "differences",
        png(draw_differences(evidence, decision)),
        alt=f"Differences from the baseline in points: {'; '.join(lines[:MOST_LINES]) or 'none is known'}.",
        caption=(
            "Difference from the baseline and its simultaneous 95 % interval. The band is the margin, "
            f"± {evidence.margin:g} points."
        ),
    )


@styled
def draw_settings(evidence: Evidence) -> Figure:
    rows = _kept(evidence)
    figure = sheet(WIDTH, 1.5 + LINE * len(rows), "Accuracy of each setting")
    axes = figure.subplots()
    scores = evidence.scores
    if np.isnan(scores).all():
        remark(axes, "No run has a score.")
        return figure
    lowest = _lowest(evidence)
    for line, row in enumerate(rows):
        found = summaries(scores[row : row + 1])[0]
        values = present(scores[row])
        colour = ORANGE if row == evidence.baseline else BLUE
        near = values[values >= lowest]
        # The height of a dot means nothing: it keeps equal scores apart.
        jitter = 0.16 * np.sin(2.4 * np.arange(len(near)))
        axes.plot(near, line + jitter, "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        if found.interval is not None:
            axes.plot([max(found.interval.low, lowest), found.interval.high], [line, line], color=colour, linewidth=2)
        if found.mean is not None and found.mean >= lowest:
            axes.plot([found.mean], [line], "|", color=colour, markersize=15, markeredgewidth=3)
        lost = [run.accuracy for run in evidence.astray(row) if run.accuracy is not None]
        if far := [*values[values < lowest], *lost]:
            text = (
                f"◂ {numbers.counted(len(far), 'seed')} at {min(far):.1f} %"
                if len(far) == 1
                else f"◂ {len(far)} seeds from {min(far):.1f} %"
            )
            axes.text(lowest, line - 0.3, text, fontsize=9, va="bottom")
    axes.set_xlabel(f"accuracy on the {evidence.images} images, %")
    axes.grid(visible=True, axis="x")
    _lines(axes, evidence, rows)
    return figure


@styled
def draw_differences(evidence: Evidence, decision: Decision) -> Figure:
    rows = [row for row in _kept(evidence) if row != decision.baseline]
    figure = sheet(
        WIDTH, 1.7 + LINE * len(rows), f"Against the baseline: {shortened(evidence.label(decision.baseline), 50)}"
    )
    axes = figure.subplots()
    axes.axvspan(-evidence.margin, evidence.margin, color="#EEEEEE", linewidth=0, zorder=0)
    axes.axvline(0, color="#444444", linewidth=1)
    seen: dict[str, bool] = {}
    for line, row in enumerate(rows):
        found = decision.against_baseline(row)
        if found is None or found.mean is None:
            axes.text(0, line, " no seed in common", va="center", fontsize=9, color="#444444")
            continue
        name = found.verdict.value
        colour = COLOURS[name]
        if found.interval is not None:
            axes.plot([found.interval.low, found.interval.high], [line, line], color=colour, linewidth=2)
        label = None if name in seen else name
        seen[name] = True
        axes.plot([found.mean], [line], MARKERS[name], color=colour, markersize=8, linestyle="none", label=label)
    axes.set_xlabel("points")
    axes.grid(visible=True, axis="x")
    if seen:
        figure.legend(loc="outside lower left", ncols=5)
    _lines(axes, evidence, rows)
    return figure


def _kept(evidence: Evidence) -> list[int]:
    """The settings that are drawn: all, or the best and the baseline where they are too many."""
    averages = np.nan_to_num(means(evidence.scores), nan=-1)
    best = np.argsort(-averages, kind="stable")[:MOST_LINES].tolist()
    return sorted({*best, evidence.baseline})


def _lowest(evidence: Evidence) -> float:
    """The lowest score that is drawn in its place: a diverged run would press all others together."""
    known = evidence.scores[~np.isnan(evidence.scores)]
    low, high = np.percentile(known, [25, 75])
    kept = known[known >= low - FAR * max(high - low, 0.5)]
    return float(kept.min())


def _lines(axes: Axes, evidence: Evidence, rows: list[int]) -> None:
    """Name the lines; a faint rule where the first factor changes."""
    names = [
        shortened(evidence.label(row), LONGEST_LABEL)
        + (" (baseline)" if row == evidence.baseline and len(rows) > 1 else "")
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if len(evidence.factors) > 1:
        levels = [evidence.settings[row].levels[0] for row in rows]
        for line in range(1, len(rows)):
            if levels[line] != levels[line - 1]:
                axes.axhline(line - 0.5, color="#DDDDDD", linewidth=1)
