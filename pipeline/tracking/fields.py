"""What of a study goes to its MLflow run. Needs no mlflow.

What of a record goes to MLflow, under which names. Needs no mlflow.
"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from pipeline.config.load import leaves
from pipeline.config.schema import height_width
from pipeline.run.metrics import SHARED
from pipeline.run.record import Epoch, Record
from pipeline.studies.study import Study
from pipeline.studies.study_summary import (
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

MOST_TEXT = 5_000
"""Characters of a tag: servers cut longer ones."""

UNCHOSEN = ("data.image_shape",)
"""What the images are, not what was chosen."""


def params(record: Record) -> dict[str, str]:
    """The configuration, flattened: numbers as numbers, nothing that differs from run to run by accident."""
    found = leaves(record.training.run.configuration)
    return {key: _text(value) for key, value in found if key not in UNCHOSEN and value != {}}


LAST_OF_EPOCH = "training/learning_rate"


def epoch_metrics(epoch: Epoch, seconds: float | None) -> dict[str, float]:
    """The curves: drawn over epochs, in sections by what stands before the slash."""
    # In this order they are logged: Compare draws the first, and the last says that the epoch is whole.
    values = {
        "validation/accuracy": epoch.validation_accuracy,
        "validation/loss": epoch.validation_loss,
        "training/accuracy": epoch.accuracy,
        "training/loss": epoch.loss,
        "clock/epoch_seconds": seconds,
        LAST_OF_EPOCH: epoch.learning_rate,
    }
    return {name: value for name, value in values.items() if value is not None}


def final_metrics(record: Record) -> dict[str, float]:
    """One number a run: cost, and once it has been scored the scores."""
    run = record.training.run
    found: dict[str, float] = {}
    if record.training.history:
        # Not before the first score: see `epoch_metrics`.
        found |= {"network/parameters": run.parameters, "network/multiply_adds": run.multiply_adds}
    if record.evaluation is not None:
        if record.training.seconds is not None:
            found["clock/training_seconds"] = round(record.training.seconds, 3)
        images = record.evaluation.images
        scores = record.evaluation.scores
        # The last values of the validation curves are the final ones: a point at step 0 would spoil the curves.
        drawn = ("accuracy", "loss") if images == "validation" else ()
        found |= {
            f"{images}/{name}": value for name, value in scores.items() if value is not None and name not in drawn
        }
        found |= {f"clock/{name}": value for name, value in record.evaluation.latency.items()}
    return found


def tags(record: Record, study: str) -> dict[str, str]:
    """What the run is found by, and where and from what it was made."""
    run, environment = record.training.run, record.training.environment
    found: dict[str, Any] = {
        "study": study,
        "role": "run",
        "identity": run.identity,
        "dataset": None if record.evaluation is None else record.evaluation.dataset,
        "scored_on": None if record.evaluation is None else record.evaluation.images,
        "scoring": None if record.evaluation is None else record.evaluation.scoring,
        "clock": _clock(record),
        "outcome": run.outcome,
        "reason": run.reason,
        "git.commit": environment.git_commit,
        "git.uncommitted_changes": environment.uncommitted_changes,
        "mlflow.source.git.commit": environment.git_commit,
        "mlflow.source.name": "conv2d pipeline",
        "mlflow.note.content": description(record),
    }
    found |= {f"versions.{name}": value for name, value in environment.versions.items()}
    found |= {f"hardware.{name}": value for name, value in environment.hardware.items()}
    return {name: _text(value)[:MOST_TEXT] for name, value in found.items() if value is not None}


def _clock(record: Record) -> str | None:
    """Whether other runs used the cores when it was scored: then its seconds of training are not its own either."""
    if record.evaluation is None or not record.evaluation.latency:
        return None
    return "shared" if any(name.startswith(SHARED) for name in record.evaluation.latency) else "alone"


def run_name(record: Record) -> str:
    """The run in a few words, what differs most often first: lists show some 26 characters."""
    specification = record.training.run.specification
    convs = [block.conv for block in specification.model.blocks]
    filters = "-".join(str(conv.filters) for conv in convs)
    sizes = [height_width(conv.kernel_size) for conv in convs]
    kernels = "-".join(f"{height}×{width}" for height, width in (sizes[:1] if len(set(sizes)) == 1 else sizes))
    epochs = specification.training.epochs
    return f"{kernels} {filters} seed {specification.seed}, {epochs} epoch{'' if epochs == 1 else 's'}"


def description(record: Record) -> str:
    """The run in Markdown, for the top of its page."""
    run = record.training.run
    lines = [
        f"**{run_name(record)}**: {run.parameters:,} parameters, {run.multiply_adds:,} multiply-adds an image.",
        "",
        "| layer | output | parameters | multiply-adds |",
        "|---|---|---:|---:|",
        *(
            f"| {layer['name']} | {layer['output']} | {layer['parameters']:,} | {layer['multiply_adds']:,} |"
            for layer in run.layers
        ),
    ]
    if record.evaluation is not None and record.evaluation.scores["accuracy"] is not None:
        accuracy = record.evaluation.scores["accuracy"]
        lines[0] += f" **{accuracy:.2%}** of the {record.evaluation.images} images."
    if run.outcome == "diverged":
        lines[0] += f" It diverged in epoch {len(record.training.history)}."
    lines += ["", f"Identity `{run.identity}`. Pictures and tables lie under Artifacts, in `evaluation/`."]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


GRID = "grid."
BASELINE_VALUES = "baseline.values"
MOST_ROWS = 40
MOST_TABLE = MOST_TEXT - 600
"""Rows and characters of the table in the description: a person reads no more, and servers cut it."""


def study_tags(study: Study) -> dict[str, str]:
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
        "mlflow.note.content": study_description(study),
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


def study_description(study: Study) -> str:
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
