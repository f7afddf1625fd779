"""What of a record, and of a study, goes to MLflow under which names. Needs no mlflow."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.config.load import leaves
from pipeline.config.schema import Training, height_width
from pipeline.run.metrics import SHARED
from pipeline.run.record import Record
from pipeline.studies.study import Study
from pipeline.studies.study_summary import (
    columns,
    count_outcomes,
    counted,
    differing,
    distinctions,
    in_words,
    lost_in_words,
    rows,
    shown,
    shown_at,
    swept,
    table,
)

MOST_TEXT = 5_000
"""Characters of a tag: servers cut longer ones, and they would then differ for ever."""

UNCHOSEN = ("data.image_shape",)
"""What the images are, not what was chosen."""

LAST_OF_EPOCH = "training/learning_rate"
"""The metric that is written last of an epoch: it says that the epoch is whole."""

LOSSES = "training/loss", "validation/loss"

ASTRAY = "collapsed", "diverged"
"""How runs end that stand in no mean of a study."""

GRID = "grid."
BASELINE_VALUES = "baseline.values"
MOST_ROWS = 40
MOST_TABLE = MOST_TEXT - 700
"""Rows and characters of the table in the description: a person reads no more, and servers cut it."""


class Point(NamedTuple):
    """One point of a curve; `time` in milliseconds since 1970, None where no clock is known."""

    name: str
    value: float
    time: int | None
    epoch: int


def params(record: Record) -> dict[str, str]:
    """The configuration, flattened: numbers as numbers, nothing that differs from run to run by accident."""
    values = leaves(record.training.run.configuration)
    return {key: shown(value) for key, value in values if key not in UNCHOSEN and value != {}}


def curves(record: Record) -> list[Point]:
    """The curves: drawn over epochs, in sections by what stands before the slash."""
    training = record.training.run.specification.training
    times = {time.epoch: time for time in record.training.times}
    points = []
    for epoch in record.training.history:
        time = times.get(epoch.epoch)
        # In this order they are logged: Compare draws the first, and the last says that the epoch is whole.
        values = {
            "validation/accuracy": epoch.validation_accuracy,
            "validation/loss": epoch.validation_loss,
            "training/accuracy": epoch.accuracy,
            "training/loss": epoch.loss,
            "clock/epoch_seconds": None if time is None else time.seconds,
            LAST_OF_EPOCH: mean_rate(training, epoch.epoch),
        }
        ended = None if time is None else time.ended
        points += [Point(name, value, ended, epoch.epoch) for name, value in values.items() if value is not None]
    return points


def mean_rate(training: Training, epoch: int) -> float:
    """The learning rate of an epoch (from 1), the mean over its steps: a history holds that of the step after it."""
    if training.schedule == "constant":
        return training.learning_rate
    warmup, cosine = training.warmup, 1 - training.warmup

    def integral(share: float) -> float:
        # Of the course, 1 at its highest, over this share of all steps: a line up, then half a cosine down to 0.
        if share <= warmup:
            return share**2 / (2 * warmup) if warmup > 0 else 0.0
        after = share - warmup
        return (warmup + after + cosine / math.pi * math.sin(math.pi * after / cosine)) / 2

    ends = epoch / training.epochs, (epoch - 1) / training.epochs
    return training.learning_rate * training.epochs * (integral(ends[0]) - integral(ends[1]))


def final_metrics(record: Record) -> dict[str, float]:
    """One number a run: cost, and once it has been scored the scores."""
    run, scored = record.training.run, record.evaluation
    values: dict[str, float | None] = {}
    if record.training.history:
        # Not before the first score, which Compare shall draw.
        values |= {"network/parameters": run.parameters, "network/multiply_adds": run.multiply_adds}
    if scored is not None:
        seconds = record.training.seconds
        values["clock/training_seconds"] = None if seconds is None else round(seconds, 3)
        # The last values of the validation curves are the final ones: a point at step 0 would spoil the curves.
        drawn = ("accuracy", "loss") if scored.images == "validation" else ()
        values |= {f"{scored.images}/{name}": value for name, value in scored.scores.items() if name not in drawn}
        values |= {f"clock/{name}": value for name, value in scored.latency.items()}
    return {name: value for name, value in values.items() if value is not None}


def tags(record: Record, study: str) -> dict[str, str]:
    """What the run is found by, and where and from what it was made."""
    run, environment, scored = record.training.run, record.training.environment, record.evaluation
    values: dict[str, Any] = {
        "study": study,
        "role": "run",
        "identity": run.identity,
        "outcome": run.outcome,
        "reason": run.reason,
        "git.commit": environment.git_commit,
        "git.uncommitted_changes": environment.uncommitted_changes,
        "mlflow.source.git.commit": environment.git_commit,
        "mlflow.source.name": "conv2d pipeline",
        "mlflow.note.content": description(record),
    }
    if scored is not None:
        # Whether others used the cores when it was scored: then its seconds of training are not its own either.
        shared = "shared" if any(name.startswith(SHARED) for name in scored.latency) else "alone"
        values |= {
            "dataset": scored.dataset,
            "scored_on": scored.images,
            "scoring": scored.scoring,
            "clock": shared if scored.latency else None,
            "collapsed": scored.collapsed,
        }
    values |= {f"versions.{name}": value for name, value in environment.versions.items()}
    values |= {f"hardware.{name}": value for name, value in environment.hardware.items()}
    return {name: shown(value)[:MOST_TEXT] for name, value in values.items() if value is not None}


def run_name(record: Record) -> str:
    """The run in a few words, what differs most often first: lists show some 26 characters."""
    specification = record.training.run.specification
    convs = [block.conv for block in specification.model.blocks]
    filters = "-".join(str(conv.filters) for conv in convs)
    kernels = ["×".join(map(str, height_width(conv.kernel_size))) for conv in convs]
    if len(set(kernels)) == 1:
        kernels = kernels[:1]
    return f"{'-'.join(kernels)} {filters} seed {specification.seed}, {counted(specification.training.epochs, 'epoch')}"


def description(record: Record) -> str:
    """The run in Markdown, for the top of its page."""
    run, scored = record.training.run, record.evaluation
    head = f"**{run_name(record)}**: {run.parameters:,} parameters, {run.multiply_adds:,} multiply-adds an image."
    if scored is not None and (accuracy := scored.scores["accuracy"]) is not None:
        head += f" **{accuracy:.2%}** of the {scored.images} images."
    if scored is not None and scored.collapsed:
        head += " It collapsed: it names one class for nearly all of them."
    if run.outcome == "diverged":
        head += f" It diverged in epoch {len(record.training.history)}."
    lines = [head, "", "| layer | output | parameters | multiply-adds |", "|---|---|---:|---:|"]
    lines += [
        f"| {layer['name']} | {layer['output']} | {layer['parameters']:,} | {layer['multiply_adds']:,} |"
        for layer in run.layers
    ]
    lines += ["", f"Identity `{run.identity}`. Pictures and tables lie under Artifacts, in `evaluation/`."]
    return "\n".join(lines)


def study_tags(study: Study) -> dict[str, str]:
    """The declared grid, how it is scored and compared, the table as the description of the run's page."""
    settings = distinctions(study).values()
    seeds = sorted({cell.seed for cell in study.cells})
    values = {
        "study": study.name,
        "role": "study",
        "outcome": study.state,
        "scored_on": study.images,
        "margin": json.dumps(study.margin),
        f"{GRID}seed": ", ".join(map(str, seeds)),
        "mlflow.source.name": "conv2d pipeline",
        "mlflow.note.content": study_description(study),
    }
    for key in swept(study):
        values[f"{GRID}{key}"] = ", ".join(dict.fromkeys(shown_at(setting, key) for setting in settings))
    if study.baseline is not None:
        values["baseline"] = in_words(study.baseline)
        values |= _baseline_values(study)
    return {name: text[:MOST_TEXT] for name, text in values.items()}


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
    counts = count_outcomes(study.cells)
    ended = f"{counts['finished']} of {len(study.cells)} runs finished"
    if lost := lost_in_words(counts):
        ended += f", {lost}"
    score = f"accuracy on the {study.images} images, mean ± standard deviation over seeds (number of runs)"
    lines = [f"**{study.name}**: {ended}; {score}.", ""]
    if astray := [kind for kind in ASTRAY if counts[kind]]:
        lines += [f"Runs that {' or '.join(astray)} stand in no mean.", ""]
    if study.images == "test":
        lines += ["**The test images were opened for this study.**", ""]
    lines += _table(study)
    if study.refused:
        lines += ["", f"{counted(len(study.refused), 'setting')} of the grid can't exist: left out."]
    return "\n".join(lines)


def table_csv(study: Study) -> str:
    """One line a setting: its values, runs, mean and standard deviation of the accuracy, cost."""
    keys = columns(study)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = "finished", "collapsed", "diverged", "failed"
    facts = *counts, "mean", "deviation", "seconds", "parameters", "multiply_adds", "verdict"
    writer.writerow([*keys, *facts])
    for row in rows(study):
        # None is written as nothing.
        writer.writerow([shown_at(row.label, key, missing="") for key in keys] + [getattr(row, fact) for fact in facts])
    return text.getvalue()


def _table(study: Study) -> list[str]:
    """The settings with the highest means, in their order, as many as a person reads."""
    settings, means = table(study), [row.mean or 0 for row in rows(study)]
    if not settings:
        return ["No run yet."]
    lines = [_line(list(settings[0])), f"|{'---|' * len(settings[0])}"]
    room = MOST_TABLE - sum(map(len, lines))
    best = sorted(range(len(settings)), key=lambda number: -means[number])[:MOST_ROWS]
    for number in sorted(best):
        line = _line(list(settings[number].values()))
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if len(lines) - 2 < len(settings):
        lines += ["", f"{len(lines) - 2} of {len(settings)} settings; all are in settings.csv under Artifacts."]
    return lines


def _line(cells: Sequence[str]) -> str:
    """A line of a table. MLflow gives its cells no room: an em space after each does."""
    plain = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "".join(f"| {cell}&emsp;" for cell in plain) + "|"
