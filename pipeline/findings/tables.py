"""The results as tables, all from the same numbers: CSV, JSON for machines, DataFrames for Python."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from pipeline.findings import wording
from pipeline.findings.comparison import LOST, Comparison
from pipeline.findings.load import from_study
from pipeline.findings.results import Results, compute_results
from pipeline.statistics.intervals import Interval
from pipeline.studies.study import find_study
from pipeline.studies.study_summary import as_typed, one_line

if TYPE_CHECKING:
    import pandas as pd


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
    rows, baseline = [], None if results.comparison.search is not None else results.comparison.baseline
    for row, (setting, result) in enumerate(zip(results.comparison.settings, results.settings, strict=True)):
        summary, own, other = result.summary, result.difference, result.other_images
        rows.append({
            "setting": setting.label, "seeds": summary.seeds, **{word: result.counts.get(word, 0) for word in LOST},
            "mean": summary.mean, "deviation": summary.deviation,
            **_ends(summary.interval, "interval_low", "interval_high"), **_ends(summary.range, "lowest", "highest"),
            "parameters": setting.parameters, "multiply_adds": setting.multiply_adds, "seconds": setting.seconds,
            "latency_ms": setting.latency, "baseline": row == baseline, "difference": own and own.mean,
            **_ends(None if own is None else own.interval, "difference_low", "difference_high"),
            **_ends(None if other is None else other.interval, "other_images_low", "other_images_high"),
            "superiority": own and own.superiority, "verdict": own and own.verdict.value,
            "seeds_needed": own and own.seeds_needed,
        })  # fmt: skip
    return _table(results.comparison, range(len(rows)), rows)


def runs(results: Results) -> Table:
    """One row a run: its swept values, seed, outcome, accuracy in points, costs, identity, commit."""
    comparison = results.comparison
    rows = [
        {
            "setting": comparison.label(run.setting), "seed": run.seed, "outcome": run.outcome,
            "accuracy": run.accuracy, "seconds": run.seconds, "latency_ms": run.latency, "identity": run.identity,
            "commit": run.commit, "reason": run.reason,
        }
        for run in comparison.runs
    ]  # fmt: skip
    return _table(comparison, [run.setting for run in comparison.runs], rows)


def _table(comparison: Comparison, settings: Iterable[int], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows, each with the swept values of its setting before it: "" where a key is not set."""
    keys = [key for factor in comparison.factors for key in factor.keys]
    swept = [[comparison.settings[setting].values.get(key, "") for key in keys] for setting in settings]
    # What pandas can't group by is text.
    plain = [[as_typed(value) if isinstance(value, list | dict) else value for value in values] for values in swept]
    cells = [[*values, *row.values()] for values, row in zip(plain, rows, strict=True)]
    # The names that a study gives its settings stand under the key that gives them: `setting` is what people read.
    header = ["study.settings" if key == "setting" else key for key in keys]
    return Table((*header, *rows[0]), cells, len(keys))


def as_csv(table: Table) -> str:
    """Numbers have up to seven decimals; what is not known is empty; no text is one that a spreadsheet computes."""
    text = io.StringIO()
    rows = [[*map(as_typed, row[: table.swept]), *row[table.swept :]] for row in table.rows]
    csv.writer(text, lineterminator="\n").writerows([map(_cell, row) for row in (table.header, *rows)])
    return text.getvalue()


def results_json(results: Results) -> str:
    """All results as JSON, for machines: the fields of `Results`; what is not known is null."""
    own = tuple(replace(run, answers=None) for run in results.comparison.runs)
    plain = asdict(replace(results, comparison=replace(results.comparison, runs=own)))
    values = {"headline": wording.headline(results), "supported": results.supported, **plain}
    return to_json(values, indent=1, inf_nan_mode="null", fallback=np.ndarray.tolist).decode()


def _ends(interval: Interval | None, low: str, high: str) -> dict[str, float | None]:
    return dict.fromkeys((low, high)) if interval is None else {low: interval.low, high: interval.high}


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
