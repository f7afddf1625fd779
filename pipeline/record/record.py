"""The two parts of a record, and how they are read back.

training/     run.json, history.csv, model.weights.h5 (repeat byte for byte); timing.json, environment.json (do not)
evaluation/   evaluation.json, metrics.json, tables, probabilities, pictures (repeat); timing.json (does not)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from pipeline.record.history import Epoch, EpochTime, history_csv, read_history
from pipeline.storage import atomic, digest, project
from pipeline.storage.sealed import sealed, unsealed
from pipeline.terminal.errors import UserError

LAYOUT = 2
"""The version of these folders' layout, written into every record."""

TRAINING = "training"
EVALUATION = "evaluation"
TEST_EVALUATION = "evaluation_test"
"""In a sweep's record: the scores on the test images, where they were asked for beside those of validation."""

WEIGHTS = "model.weights.h5"
VOLATILE = "timing.json", "environment.json"
"""What a clock measured and where: apart from what must repeat byte for byte."""

Outcome = Literal["running", "finished", "diverged", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """Which run a training part belongs to and how it ended; `files` holds the digest of each file that repeats."""

    identity: str
    ingredients: dict[str, JsonValue]
    configuration: dict[str, Any]
    outcome: Outcome
    reason: str | None
    epochs: int
    parameters: int
    multiply_adds: int
    layers: list[dict[str, JsonValue]]


@dataclass(frozen=True)
class EvaluationPart:
    """How a run scored: on which `images` ("test" or "validation"), their digest, and the digest of the scoring.

    `latency` (milliseconds an image, by the size of the batch) and `scored` (milliseconds since 1970) are the clock's.
    """

    identity: str
    images: str
    images_digest: str
    scoring: str
    scores: dict[str, float | None]
    latency: dict[str, float]
    scored: int
    folder: Path


@dataclass(frozen=True)
class TrainingPart:
    run: Run
    history: tuple[Epoch, ...]
    times: tuple[EpochTime, ...]
    environment: dict[str, JsonValue]
    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def write_training(
    folder: Path, run: Run, history: Sequence[Epoch], times: Sequence[EpochTime], environment: dict[str, JsonValue]
) -> None:
    """Write all but the weights into `folder`; run.json comes last and holds the digests of what must not change."""
    atomic.write_file(folder / "history.csv", history_csv(history))
    atomic.write_file(folder / "timing.json", sealed({"epochs": [asdict(time) for time in times]}))
    atomic.write_file(folder / "environment.json", sealed(environment))
    write_manifest(folder, "run.json", asdict(run))


def read_training(folder: Path) -> TrainingPart:
    """The training part in `folder`, each file checked against the digest that run.json holds.

    Raises UserError: no record there, another layout, a file that is damaged.
    """
    repair = _repair(folder, "train")
    values = _read_part(folder, "run.json", repair)
    try:
        run = Run(**values)
        times = unsealed((folder / "timing.json").read_text())["epochs"]
        return TrainingPart(
            run,
            read_history((folder / "history.csv").read_text()),
            tuple(EpochTime(**time) for time in times),
            unsealed((folder / "environment.json").read_text()),
            folder,
        )
    except (TypeError, ValueError, KeyError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is no complete record ({error}). {repair}") from None


def read_evaluation(folder: Path) -> EvaluationPart:
    """The evaluation part in `folder`, each file that repeats checked against its digest.

    Raises UserError like `read_training`.
    """
    repair = _repair(folder, "evaluate")
    values = _read_part(folder, "evaluation.json", repair)
    try:
        scores = json.loads((folder / "metrics.json").read_text())
        clock = unsealed((folder / "timing.json").read_text())
        return EvaluationPart(**values, scores=scores, **clock, folder=folder)
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is no complete record ({error}). {repair}") from None


def write_manifest(folder: Path, name: str, values: dict[str, Any]) -> None:
    """Write `name`, which describes the part in `folder` and holds the digest of each file that must repeat."""
    files = {path: found for path, found in digest.of_folder(folder).items() if path not in (name, *VOLATILE)}
    atomic.write_file(folder / name, sealed({"layout": LAYOUT} | values | {"files": files}))


def _read_part(folder: Path, name: str, repair: str) -> dict[str, Any]:
    """The JSON that describes a part of a record, without `layout` and `files`, once both have been checked."""
    path = folder / name
    try:
        text = path.read_text()
        if (layout := json.loads(text)["layout"]) != LAYOUT:
            other = f"layout {layout}, but this version reads layout {LAYOUT}"
            raise UserError(f"{path}: {other}. {repair}")
        values = unsealed(text)
        files = dict(values.pop("files"))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing: there is no record. {repair}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is damaged. {repair}") from None
    del values["layout"]
    for file, expected in files.items():
        if not (folder / file).is_file() or digest.of_file(folder / file) != expected:
            raise UserError(f"{folder / file}: is not what {name} says was written. {repair}")
    return dict(values)


def _repair(folder: Path, stage: str) -> str:
    """What makes the part in `folder` anew: the sweep that it came from, or a stage."""
    if folder.is_relative_to(project.RUNS):
        return "The sweep that made it, typed again, makes it anew."
    return f"`dvc repro --force {stage}` makes it anew."
