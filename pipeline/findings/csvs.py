"""The figures of a report as CSV text, for who computes on."""

import csv
import io
import math
from collections.abc import Iterable, Sequence

from pipeline.findings.decision import Decision
from pipeline.findings.evidence import ASTRAY, Evidence
from pipeline.findings.statistics.intervals import Interval
from pipeline.findings.statistics.scores import summaries
from pipeline.studies.study_summary import one_line, shown_at

RESULTS = (
    "setting", "seeds", "failed", "collapsed", "diverged", "missing", "mean", "deviation", "interval_low",
    "interval_high", "lowest", "highest", "parameters", "multiply_adds", "seconds", "latency_ms", "baseline",
    "difference", "difference_low", "difference_high", "superiority", "verdict", "seeds_needed", "sign_flip_p",
    "holm_p",
)  # fmt: skip
RUNS = "setting", "seed", "outcome", "accuracy", "seconds", "latency_ms", "identity", "commit", "reason"


def results_csv(evidence: Evidence, decision: Decision) -> str:
    """One line a setting: its swept values, scores in points, costs, difference from the baseline; empty: unknown."""
    keys = [key for factor in evidence.factors for key in factor.keys]
    rows = []
    for row, (setting, found) in enumerate(zip(evidence.settings, summaries(evidence.scores), strict=True)):
        own = [run for run in evidence.runs if run.setting == row]
        difference = decision.against_baseline(row)
        rows.append([
            *(shown_at(setting.values, key, missing="") for key in keys),
            setting.label, found.seeds,
            sum(run.accuracy is None and run.state == "failed" for run in own),
            *(sum(run.outcome == word for run in own) for word in ASTRAY),
            sum(run.accuracy is None and run.state != "failed" for run in own),
            found.mean, found.deviation, *_ends(found.interval), *_ends(found.range),
            setting.parameters, setting.multiply_adds, setting.seconds, setting.latency,
            "true" if row == decision.baseline else "false",
            *([""] * 8 if difference is None else [
                difference.mean, *_ends(difference.interval), difference.superiority, difference.verdict.value,
                difference.seeds_needed, difference.p, difference.holm_p,
            ]),
        ])  # fmt: skip
    return _csv((*keys, *RESULTS), rows)


def runs_csv(evidence: Evidence) -> str:
    """One line a run: its swept values, seed, outcome, accuracy in points, costs, identity, commit."""
    keys = [key for factor in evidence.factors for key in factor.keys]
    rows = [
        [
            *(shown_at(evidence.settings[run.setting].values, key, missing="") for key in keys),
            evidence.label(run.setting), run.seed, run.outcome, run.accuracy, run.seconds, run.latency, run.identity,
            run.commit, run.reason,
        ]
        for run in evidence.runs
    ]  # fmt: skip
    return _csv((*keys, *RUNS), rows)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_plain, header))
    writer.writerows([map(_plain, row) for row in rows])
    return text.getvalue()


def _plain(value: object) -> str:
    """A value as text: numbers to ten digits; no text that a spreadsheet would take for a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    text = one_line(str(value))
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "@", "-") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
