"""What of a record goes to MLflow under which names. Needs no mlflow.

The page sorts sections of charts by what stands before the slash: accuracy and cost come first, the clock last.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.config.load import leaves
from pipeline.config.messages import counted
from pipeline.config.schema import Training, height_width
from pipeline.run.metrics import SHARED
from pipeline.run.record import Record, Run
from pipeline.studies.study_summary import as_typed

MOST_TEXT = 5_000
"""Characters of a tag: servers cut longer ones, and they would then differ for ever."""

PARAMETERS, MULTIPLY_ADDS, SECONDS = "cost/parameters", "cost/multiply_adds", "cost/seconds"
KNOWN_EARLY = PARAMETERS, MULTIPLY_ADDS
"""The final metrics that are known once there is a first epoch."""

TIMING = "timing/"
"""Begins the names of what a clock measured."""

LAST_OF_EPOCH = "schedule/learning_rate"
"""The metric that is written last of an epoch: it says that the epoch is whole."""

LOSSES = "loss/training", "loss/validation"

FORMER = {
    "network/parameters": PARAMETERS,
    "network/multiply_adds": MULTIPLY_ADDS,
    "clock/training_seconds": SECONDS,
    "training/learning_rate": LAST_OF_EPOCH,
}
"""What some metrics were called in stores of earlier versions."""

DESCRIPTION = "mlflow.note.content"
SOURCE = "conv2d pipeline"
ACCOUNT = "mlflow.user"
"""The tag that says who made a run, on a server with accounts; MLflow's page shows it."""

DETAILS = "details"
"""The tag that holds what only this project reads, as JSON: text by name."""

FILES = "files"
SETTING = "setting"
"""The tag of a study's run that says in words which setting it is of: what means over seeds are grouped by."""


def account() -> str:
    """This member of the team, empty where there are no accounts."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME", "")


class Point(NamedTuple):
    """One point of a curve; `time` in milliseconds since 1970, None where no clock is known."""

    name: str
    value: float
    time: int | None
    epoch: int


def params(record: Record) -> dict[str, str]:
    """The configuration, flattened: numbers as numbers, nothing that differs from run to run by accident."""
    values = leaves(record.training.run.configuration)
    # The shape is what the images are, not what was chosen.
    return {key: as_typed(value) for key, value in values if key != "data.image_shape" and value != {}}


def curves(record: Record) -> list[Point]:
    """The curves: drawn over epochs."""
    training = record.training.run.specification.training
    times = {time.epoch: time for time in record.training.times}
    points = []
    for epoch in record.training.history:
        time = times.get(epoch.epoch)
        # In this order they are logged: the last says that the epoch is whole.
        values = {
            score_name("validation"): epoch.validation_accuracy,
            "loss/validation": epoch.validation_loss,
            score_name("training"): epoch.accuracy,
            "loss/training": epoch.loss,
            f"{TIMING}epoch_seconds": None if time is None else time.seconds,
            LAST_OF_EPOCH: mean_rate(training, epoch.epoch),
        }
        ended = None if time is None else time.ended
        points += [Point(name, value, ended, epoch.epoch) for name, value in values.items() if value is not None]
    return points


def score_name(images: str) -> str:
    """The metric of the accuracy on the images that are called so: "training", "validation" or "test"."""
    return f"accuracy/{images}"


def is_timed(name: str) -> bool:
    """Whether a clock measured the metric: measured again it differs."""
    return name == SECONDS or name.startswith(TIMING)


def present_name(name: str) -> str:
    """A metric as it is called now: stores of earlier versions put the images before the score."""
    section, _, rest = name.partition("/")
    if section in ("training", "validation", "test"):
        return FORMER.get(name, f"{rest}/{section}")
    return FORMER.get(name, f"{TIMING}{rest}" if section == "clock" else name)


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
        values |= {PARAMETERS: run.parameters, MULTIPLY_ADDS: run.multiply_adds}
    if scored is not None:
        seconds = record.training.seconds
        values[SECONDS] = None if seconds is None else round(seconds, 3)
        # The last values of the validation curves are the final ones: a point at step 0 would spoil the curves.
        drawn = ("accuracy", "loss") if scored.images == "validation" else ()
        values |= {f"{name}/{scored.images}": value for name, value in scored.scores.items() if name not in drawn}
        values |= {f"{TIMING}{name}": value for name, value in scored.latency.items()}
    return {name: value for name, value in values.items() if value is not None}


def tags(record: Record, study: str, files: str | None = None) -> dict[str, str]:
    """What the run is found by, and where and from what it was made; `files` is the digest of those in the store."""
    run, environment, scored = record.training.run, record.training.environment, record.evaluation
    details: dict[str, Any] = {
        FILES: files,
        "git.commit": environment.git_commit,
        "git.uncommitted_changes": environment.uncommitted_changes,
        **{f"versions.{name}": value for name, value in environment.versions.items()},
        **{f"hardware.{name}": value for name, value in environment.hardware.items()},
    }
    if scored is not None:
        # Whether others used the cores when it was scored: then its seconds of training are not its own either.
        shared = "shared" if any(name.startswith(SHARED) for name in scored.latency) else "alone"
        details |= {
            "scoring": scored.scoring,
            "clock": shared if scored.latency else None,
            "collapsed": scored.collapsed,
        }
    return texts({
        "study": study,
        "role": "run",
        "identity": run.identity,
        "outcome": run.outcome,
        "reason": run.reason,
        "dataset": None if scored is None else scored.dataset,
        "scored_on": None if scored is None else scored.images,
        "mlflow.source.git.commit": environment.git_commit,
        "mlflow.source.name": SOURCE,
        DESCRIPTION: description(record),
        DETAILS: as_details(texts(details)),
    })  # fmt: skip


def all_tags(stored: Mapping[str, str]) -> dict[str, str]:
    """The tags of an MLflow run with those that DETAILS holds, which in earlier versions stood beside the others.

    A store is untrusted: what is no text by a name is left out.
    """
    try:
        details = json.loads(stored.get(DETAILS, "{}")).items()
    except (ValueError, AttributeError, RecursionError):
        details = {}.items()
    texts = {name: text for name, text in details if isinstance(text, str)}
    return {name: text for name, text in stored.items() if name != DETAILS} | texts


def as_details(values: dict[str, str]) -> str:
    """The text of the tag DETAILS; where servers would cut it, without the longest."""
    while len(text := json.dumps(values)) > MOST_TEXT:
        values.pop(max(values, key=lambda name: len(values[name])))
    return text


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The tags with a value, as text that no server cuts."""
    return {name: as_typed(value)[:MOST_TEXT] for name, value in values.items() if value is not None}


def run_name(run: Run) -> str:
    """The run in a few words, what differs most often first: lists show some 26 characters."""
    specification = run.specification
    convs = [block.conv for block in specification.model.blocks]
    filters = "-".join(str(conv.filters) for conv in convs)
    kernels = ["×".join(map(str, height_width(conv.kernel_size))) for conv in convs]
    kernels = kernels[:1] if len(set(kernels)) == 1 else kernels
    return f"{'-'.join(kernels)} {filters} seed {specification.seed}, {counted(specification.training.epochs, 'epoch')}"


def description(record: Record) -> str:
    """The run in Markdown, for the top of its page."""
    run, scored = record.training.run, record.evaluation
    head = f"**{run_name(run)}**: {run.parameters:,} parameters, {run.multiply_adds:,} multiply-adds an image."
    if scored is not None and (accuracy := scored.scores["accuracy"]) is not None:
        head += f" **{accuracy:.2%}** of the {scored.images} images."
    if scored is not None and scored.collapsed:
        head += " It collapsed: it names one class for nearly all of them."
    if run.outcome == "diverged":
        head += f" It diverged in epoch {len(record.training.history)}."
    row = "| {name} | {output} | {parameters:,} | {multiply_adds:,} |"
    lines = [head, "", "| layer | output | parameters | multiply-adds |", "|---|---|---:|---:|"]
    lines += [row.format_map(layer) for layer in run.layers]
    lines += ["", f"Identity `{run.identity}`. Pictures and tables lie under Artifacts, in `evaluation/`."]
    return "\n".join(lines)
