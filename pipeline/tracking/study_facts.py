"""What of a study goes to its MLflow run. Needs no mlflow."""

import csv
import io
import json
from collections.abc import Sequence

from pipeline.studies.overview import (
    Row,
    columns,
    counted,
    differing,
    distinctions,
    in_words,
    rows,
    score_in_words,
    shown_at,
    swept,
)
from pipeline.studies.study import Study
from pipeline.tracking.facts import MOST_TEXT

GRID = "grid."
BASELINE_VALUES = "baseline.values"
MOST_ROWS = 40
MOST_TABLE = MOST_TEXT - 600
"""Rows and characters of the table in the description: a person reads no more, and servers cut it."""


def tags(study: Study) -> dict[str, str]:
    """The declared grid, how it is scored and compared, the table as the description of the run's page."""
    told = distinctions(study).values()
    grid = {f"{GRID}{key}": ", ".join(dict.fromkeys(shown_at(values, key) for values in told)) for key in swept(study)}
    seeds = sorted({cell.seed for cell in study.cells})
    found = {
        "study": study.name,
        "role": "study",
        "outcome": study.state,
        "scored_on": study.images,
        "margin": json.dumps(study.margin),
        f"{GRID}seed": ", ".join(map(str, seeds)),
        "mlflow.source.name": "conv2d pipeline",
        "mlflow.note.content": description(study),
    }
    if study.baseline is not None:
        found["baseline"] = in_words(study.baseline)
        found |= _baseline_values(study)
    # Servers cut longer ones; they would then differ for ever.
    return {name: text[:MOST_TEXT] for name, text in (found | grid).items()}


def _baseline_values(study: Study) -> dict[str, str]:
    """The values that tell the baseline from the other settings, as a report from the store alone can look for them."""
    settings = study.settings.values()
    keys = dict.fromkeys([*(study.baseline or {}), *differing([setting.values for setting in settings])])
    same = [setting.values for setting in settings if setting.is_at(study.baseline or {})]
    if len(same) != 1:
        return {}
    return {BASELINE_VALUES: json.dumps({key: same[0][key] for key in keys if key in same[0]})}


def description(study: Study) -> str:
    """The study in Markdown: how far it is, and the table of its settings."""
    counts = {state: sum(cell.state == state for cell in study.cells) for state in ("finished", "diverged", "failed")}
    lines = [
        f"**{study.name}**: {counts['finished']} of {len(study.cells)} runs finished"
        + "".join(f", {counts[state]} {state}" for state in ("diverged", "failed") if counts[state])
        + f"; accuracy on the {study.images} images, mean ± standard deviation over seeds (number of runs).",
        "",
    ]
    if study.images == "test":
        lines += ["**The test images were opened for this study.**", ""]
    lines += _table(rows(study), columns(study))
    if study.refused:
        lines += ["", f"{counted(len(study.refused), 'setting')} of the grid can't exist: left out."]
    return "\n".join(lines)


def table_csv(study: Study) -> str:
    """One line a setting: its values, runs, mean and standard deviation of the accuracy, cost."""
    found, keys = rows(study), columns(study)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    facts = ("finished", "diverged", "failed", "mean", "deviation", "seconds", "parameters", "multiply_adds")
    writer.writerow([*keys, *facts])
    for row in found:
        values = [shown_at(row.label, key, missing="") for key in keys]
        writer.writerow([*values, *(_plain(getattr(row, fact)) for fact in facts)])
    return text.getvalue()


def _table(found: Sequence[Row], keys: Sequence[str]) -> list[str]:
    if not found:
        return ["No run yet."]
    diverged = any(row.diverged for row in found)
    head = [*(keys or ["setting"]), "accuracy", *(["diverged"] if diverged else [])]
    head += ["parameters", "multiply-adds", "seconds"]
    lines = [_line(head), f"|{'---|' * len(head)}"]
    by_mean = sorted(found, key=lambda row: -(row.mean or 0))[:MOST_ROWS]
    length, kept = sum(map(len, lines)), []
    for row in sorted(by_mean, key=list(found).index):
        values = [shown_at(row.label, key) for key in keys] or ["the one"]
        diverging = [str(row.diverged)] if diverged else []
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        cost = f"{row.parameters:,}", f"{row.multiply_adds:,}", seconds
        line = _line([*values, score_in_words(row), *diverging, *cost])
        length += len(line) + 1
        if length > MOST_TABLE:
            break
        kept.append(line)
    lines += kept
    if len(kept) < len(found):
        lines += ["", f"{len(kept)} of {len(found)} settings; all are in settings.csv under Artifacts."]
    return lines


def _line(cells: Sequence[str]) -> str:
    """A line of a table. MLflow gives its cells no room: an em space after each does."""
    whole = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "".join(f"| {cell}&emsp;" for cell in whole) + "|"


def _plain(value: float | None) -> str:
    return "" if value is None else str(value)
