"""benchmarks/results.json, and docs/performance.md with its picture, which are written from it.

Which arithmetic a processor has differs, and with it every ratio: what was measured on either kind stands beside the
other, and a row that is measured again replaces what its own kind had.
"""

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.rows import Finding, Row
from benchmarks.workshop import machine
from pipeline.figures.style import BLUE, GREY, png, sheet, styled
from pipeline.storage import atomic
from tests.harness.project import ROOT

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.png"
OURS = "this project", "training=fast", "sweep"
INTRODUCTION = """\
# How fast it is

`make bench` measures this page: contenders side by side on one machine, in turn, several times; the figures are medians
and ratios, in brackets the least and the most of the rounds. The commit that was measured stands at the end: a variant
of conf/ may have changed since. `python -m benchmarks ROW` measures a row again, `make bench QUICK=1` shows in minutes
that everything runs. All figures: [results.json](../benchmarks/results.json).

A processor has bfloat16 arithmetic or none (`grep bf16 /proc/cpuinfo`): both kinds were measured.

"""
KINDS = "with bfloat16", "without bfloat16"


def keep(row: Row, found: Finding) -> None:
    """Put what came of a row among what is kept, in place of an earlier one on a processor of this kind."""
    commit = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"), cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    ).stdout.strip()
    entry = {
        "said": found.said,
        "met": found.met,
        "figures": found.figures,
        "bars": found.bars,
        "machine": (here := machine()),
        "commit": commit,
        "day": datetime.now(UTC).date().isoformat(),
    }
    results = kept()
    results.setdefault(row.name, {})[KINDS[0 if here["bfloat16"] else 1]] = entry
    atomic.write_file(RESULTS, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def kept() -> dict[str, dict[str, Any]]:
    """Row → kind of processor → what came of it."""
    try:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    assert isinstance(found, dict)
    return found


def write(rows: Sequence[Row]) -> None:
    results = kept()
    atomic.write_file(PAGE, page(rows, results))
    if _with_bars(rows, results):
        atomic.write_file(PICTURE, png(picture(rows, results)))


def page(rows: Sequence[Row], results: dict[str, dict[str, Any]]) -> str:
    """The page for what is kept."""
    lines = [f"| row | what | goal | {' | '.join(KINDS)} |", "|---|---|---|---|---|"]
    machines: dict[str, list[str]] = {}
    for row in rows:
        entries = [results.get(row.name, {}).get(kind) for kind in KINDS]
        lines.append(f"| {row.name} | {row.what} | {row.goal} | {' | '.join(map(_cell, entries))} |")
        for entry in filter(None, entries):
            machines.setdefault(_machine(entry["machine"]), []).append(f"{row.name} ({entry['commit']})")
    picture = ["", "![Seconds of contenders side by side](performance.png)"] if PICTURE.exists() else []
    told = [f"{machine}: {', '.join(names)}." for machine, names in machines.items()]
    return INTRODUCTION + "\n".join([*lines, *picture, "", *told]) + "\n"


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "not measured yet"
    return f"{'met' if entry['met'] else '**missed**'}: {entry['said']}"


def _machine(found: dict[str, Any]) -> str:
    return (
        f"Measured on {found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB, "
        f"{'without' if found.get('bfloat16') is False else 'with'} bfloat16 arithmetic, {found['system']}"
    )


def _with_bars(rows: Sequence[Row], results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """What has contenders, with their seconds."""
    entries = {
        f"{row.name}, {kind}": results.get(row.name, {}).get(kind, {}).get("bars") for row in rows for kind in KINDS
    }
    return [(title, bars) for title, bars in entries.items() if bars]


@styled
def picture(rows: Sequence[Row], results: dict[str, dict[str, Any]]) -> Any:
    """For each row with contenders their seconds as bars."""
    shown = _with_bars(rows, results)
    heights = [len(bars) for _, bars in shown]
    figure = sheet(9, 0.9 + 0.5 * sum(heights) + 0.6 * len(shown), "Seconds, side by side")
    for axes, (name, bars) in zip(
        figure.subplots(len(shown), squeeze=False, height_ratios=heights)[:, 0], shown, strict=True
    ):
        names = list(reversed(bars))
        colours = [BLUE if one in OURS else GREY for one in names]
        drawn = axes.barh(names, [bars[one] for one in names], color=colours, height=0.6)
        axes.bar_label(drawn, fmt="%.1f s", padding=4)
        axes.set_title(name)
        axes.margins(x=0.15)
        axes.xaxis.set_visible(False)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)
    return figure
