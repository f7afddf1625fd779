"""The results as tables, all from the same numbers: CSV, LaTeX, JSON for machines, DataFrames for Python."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import JsonValue
from pydantic_core import to_json

from pipeline.findings import wording
from pipeline.findings.comparison import LOST
from pipeline.findings.load import from_study
from pipeline.findings.results import Results, compute_results
from pipeline.statistics.intervals import Interval
from pipeline.studies.study import find_study
from pipeline.studies.study_summary import one_line, shown

if TYPE_CHECKING:
    import pandas as pd

RESULTS = (
    "setting", "seeds", *LOST, "mean", "deviation", "interval_low", "interval_high", "lowest", "highest", "parameters",
    "multiply_adds", "seconds", "latency_ms", "baseline", "difference", "difference_low", "difference_high",
    "other_images_low", "other_images_high", "superiority", "verdict", "seeds_needed",
)  # fmt: skip
RUNS = "setting", "seed", "outcome", "accuracy", "seconds", "latency_ms", "identity", "commit", "reason"

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}


class Table(NamedTuple):
    """A table by rows; None and NaN are what is not known. The first `swept` columns are values of a configuration."""

    header: tuple[str, ...]
    rows: list[list[Any]]
    swept: int


class StudyFrames(NamedTuple):
    """A study's runs, one a row, and what is said of its settings, one a row: as runs.csv and results.csv."""

    runs: "pd.DataFrame"
    verdicts: "pd.DataFrame"


def read_study(name: str) -> StudyFrames:
    """The runs and the verdicts of the study called `name`, from its records.

    Raises UserError for a study that is not there, or has a record that is missing or damaged.
    """
    import pandas as pd  # noqa: PLC0415 - a report needs none

    results = compute_results(from_study(find_study(name)))
    return StudyFrames(*(pd.DataFrame(own.rows, columns=own.header) for own in (runs(results), settings(results))))


def settings(results: Results) -> Table:
    """One row a setting: its swept values, scores in points, costs, difference from the baseline."""
    comparison = results.comparison
    keys = [key for factor in comparison.factors for key in factor.keys]
    rows: list[list[Any]] = []
    for row, (setting, result) in enumerate(zip(comparison.settings, results.settings, strict=True)):
        summary, own, other = result.summary, result.difference, result.other_images
        rows.append([
            *_swept(setting.values, keys),
            setting.label, summary.seeds, *(result.counts.get(word, 0) for word in LOST),
            summary.mean, summary.deviation, *_ends(summary.interval), *_ends(summary.range),
            setting.parameters, setting.multiply_adds, setting.seconds, setting.latency, row == comparison.baseline,
            *([None] * 3 if own is None else [own.mean, *_ends(own.interval)]),
            *_ends(None if other is None else other.interval),
            *([None] * 3 if own is None else [own.superiority, own.verdict.value, own.seeds_needed]),
        ])  # fmt: skip
    return Table((*keys, *RESULTS), rows, len(keys))


def runs(results: Results) -> Table:
    """One row a run: its swept values, seed, outcome, accuracy in points, costs, identity, commit."""
    comparison = results.comparison
    keys = [key for factor in comparison.factors for key in factor.keys]
    rows: list[list[Any]] = [
        [
            *_swept(comparison.settings[run.setting].values, keys),
            comparison.label(run.setting), run.seed, run.outcome, run.accuracy, run.seconds, run.latency, run.identity,
            run.commit, run.reason,
        ]
        for run in comparison.runs
    ]  # fmt: skip
    return Table((*keys, *RUNS), rows, len(keys))


def as_csv(table: Table) -> str:
    """Numbers have up to seven decimals; what is not known is empty; no text is one that a spreadsheet computes."""
    text = io.StringIO()
    rows = [[*map(shown, row[: table.swept]), *row[table.swept :]] for row in table.rows]
    csv.writer(text, lineterminator="\n").writerows([map(_cell, row) for row in (table.header, *rows)])
    return text.getvalue()


def as_tex(results: Results) -> str:
    """The settings as a table for a paper, the highest mean first: LaTeX with the package booktabs."""
    comparison = results.comparison
    lines = []
    for row in results.by_mean:
        one, cost = results.settings[row], comparison.settings[row]
        difference = "baseline" if row == comparison.baseline else ""
        if one.difference is not None and one.difference.mean is not None:
            difference = f"${wording.points(one.difference.mean)}$ {_bracketed(one.difference.interval)}"
        mean = "--" if one.summary.mean is None else f"{one.summary.mean:.2f}"
        spread = "" if one.summary.deviation is None else rf" \pm {one.summary.deviation:.2f}"
        cells = _tex(one.label), f"${mean}{spread}$", str(one.summary.seeds), difference.replace("−", "-")
        lines.append(" & ".join((*cells, f"{cost.parameters:.0f}", f"{cost.multiply_adds:.0f}")) + r" \\")
    head = r"Setting & Accuracy (\%) & Seeds & Difference (points) & Parameters & Multiply-adds \\"
    about = (
        f"% {comparison.study}: mean and standard deviation over seeds; differences from the baseline, paired by seed, "
        "with simultaneous 95 % intervals."
    )
    return "\n".join(
        [
            about,
            r"\begin{tabular}{lrrrrr}",
            r"\toprule",
            head,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def results_json(results: Results) -> str:
    """All results as JSON, for machines: the fields of `Results`; what is not known is null."""
    own = tuple(replace(run, answers=None) for run in results.comparison.runs)
    plain = asdict(replace(results, comparison=replace(results.comparison, runs=own)))
    values = {"headline": wording.headline(results), "supported": results.supported, **plain}
    return to_json(values, indent=1, inf_nan_mode="null", fallback=np.ndarray.tolist).decode()


def _bracketed(interval: Interval | None) -> str:
    return "" if interval is None else f"$[{wording.points(interval.low)}, {wording.points(interval.high)}]$"


def _tex(text: str) -> str:
    return re.sub(r"[\\~^×&%$#_{}]", lambda sign: TEX[sign[0]], one_line(text))


def _swept(values: Mapping[str, JsonValue], keys: Sequence[str]) -> list[Any]:
    """The values of keys, "" where a key is not set; what pandas can't group by as text."""
    own = [values.get(key, "") for key in keys]
    return [shown(value) if isinstance(value, list | dict) else value for value in own]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{round(value, 7) + 0.0:.7f}".rstrip("0").rstrip(".")
    if isinstance(value, bool):
        return str(value).lower()
    text = one_line(str(value))
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "@", "-") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
