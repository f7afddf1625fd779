"""The two parts of a record, and how they are read back.

training/     run.json, history.csv, model.weights.h5 (repeat byte for byte); timing.json, environment.json (do not)
evaluation/   evaluation.json, metrics.json, tables, probabilities, pictures (repeat); timing.json (does not)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, JsonValue, with_config

from pipeline.run.history import Epoch, EpochTime, history_csv, read_history
from pipeline.run.identity import name_of
from pipeline.run.reading import Name, ScoredOn, checked, leads_out, refuse_links, text_of
from pipeline.storage import atomic, digest, project
from pipeline.storage.sealed import sealed, unsealed
from pipeline.terminal.errors import UserError

LAYOUT = 3
"""The version of these folders' layout, written into every record."""

TRAINING = "training"
EVALUATION = "evaluation"
TEST_EVALUATION = "evaluation_test"
"""In a sweep's record: the scores on the test images, where they were asked for beside those of validation."""

WEIGHTS = "model.weights.h5"
VOLATILE = "timing.json", "environment.json"
"""What a clock measured and where: apart from what must repeat byte for byte."""

Outcome = Literal["running", "finished", "diverged", "failed", "interrupted"]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Run:
    """Which run a training part belongs to and how it ended; `files` holds the digest of each file that repeats."""

    identity: Name
    ingredients: dict[str, JsonValue]
    configuration: dict[str, Any]
    outcome: Outcome
    reason: str | None
    epochs: int
    parameters: int
    multiply_adds: int
    layers: list[dict[str, JsonValue]]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class EvaluationPart:
    """How a run scored: on which `images` ("test" or "validation"), their digest, what they and their classes were
    called then, and the digest of the scoring.

    `latency` (milliseconds an image, by the size of the batch) and `scored` (milliseconds since 1970) are the clock's.
    """

    identity: Name
    images: ScoredOn
    images_digest: str
    dataset: str
    class_names: list[str]
    scoring: str
    scores: dict[str, float | None]
    latency: dict[str, float]
    scored: int
    folder: Path


@dataclass(frozen=True)
class TrainingPart:
    """`files` holds the digest of each file that repeats, by its name."""

    run: Run
    history: tuple[Epoch, ...]
    times: tuple[EpochTime, ...]
    environment: dict[str, JsonValue]
    folder: Path
    files: dict[str, str]

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def write_training(
    folder: Path, run: Run, history: Sequence[Epoch], times: Sequence[EpochTime], environment: dict[str, JsonValue]
) -> None:
    """Write all but the weights into `folder`, which nobody reads yet: `atomic.write_folder` will put it in place.

    run.json comes last and holds the digests of what must not change.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.csv").write_text(history_csv(history), "utf-8")
    (folder / "timing.json").write_text(sealed({"epochs": [asdict(time) for time in times]}), "utf-8")
    (folder / "environment.json").write_text(sealed(environment), "utf-8")
    write_manifest(folder, "run.json", asdict(run))


def write_growing(
    folder: Path, run: Run, history: Sequence[Epoch], times: Sequence[EpochTime], environment: dict[str, JsonValue]
) -> None:
    """Put what there is of a training part at `folder`, in one step: its files belong to one another."""
    with atomic.write_folder(folder) as partial:
        write_training(partial, run, history, times, environment)


def read_training(folder: Path) -> TrainingPart:
    """The training part in `folder`, each file checked against the digest that run.json holds.

    Raises UserError: no record there, another layout, a file that is damaged.
    """
    repair = _repair(folder, "train")
    values, files = read_manifest(folder, "run.json", repair)
    check_files(folder, "run.json", files, repair)
    try:
        run = checked(Run, values)
        if name_of(run.ingredients) != run.identity:
            raise ValueError("its identity is not the hash of its ingredients")
        return TrainingPart(
            run,
            read_history(text_of(folder / "history.csv")),
            checked(tuple[EpochTime, ...], _unsealed(folder / "timing.json", repair)["epochs"]),
            _unsealed(folder / "environment.json", repair),
            folder,
            files,
        )
    except (TypeError, ValueError, KeyError, RecursionError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is no complete record ({error}). {repair}") from None


def read_evaluation(folder: Path) -> EvaluationPart:
    """The evaluation part in `folder`, each file that repeats checked against its digest.

    Raises UserError like `read_training`.
    """
    repair = _repair(folder, "evaluate")
    values, files = read_manifest(folder, "evaluation.json", repair)
    check_files(folder, "evaluation.json", files, repair)
    try:
        scores = json.loads(text_of(folder / "metrics.json"))
        clock = _unsealed(folder / "timing.json", repair)
        found = checked(EvaluationPart, {**values, "scores": scores, **clock, "folder": folder})
        # What every reader asks for.
        found.scores["accuracy"]
        return found
    except (TypeError, ValueError, KeyError, RecursionError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is no complete record ({error}). {repair}") from None


def _unsealed(path: Path, repair: str) -> dict[str, Any]:
    """What a sealed file holds. Raises UserError where it is damaged, FileNotFoundError where it is missing."""
    try:
        return unsealed(text_of(path))
    except ValueError:
        raise UserError(f"{path}: is damaged. {repair}") from None


def write_manifest(folder: Path, name: str, values: dict[str, Any]) -> None:
    """Write `name`, which describes the part in `folder` and holds the digest of each file that must repeat."""
    files = {path: found for path, found in digest.of_folder(folder).items() if path not in (name, *VOLATILE)}
    (folder / name).write_text(sealed({"layout": LAYOUT} | values | {"files": files}), "utf-8")


def read_manifest(folder: Path, name: str, repair: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What `name` says of the part in `folder`, and the digests of its files, which are not looked at.

    `repair` tells what makes the part anew. Raises UserError.
    """
    path = folder / name
    refuse_links(folder)
    try:
        text = text_of(path)
        if (layout := json.loads(text)["layout"]) != LAYOUT:
            other = f"layout {layout}, but this version reads layout {LAYOUT}"
            raise UserError(f"{path}: {other}. {repair}")
        values = unsealed(text)
        files = checked(dict[str, str], values.pop("files"))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing: there is no record. {repair}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: is damaged. {repair}") from None
    del values["layout"]
    return values, files


def check_files(folder: Path, name: str, files: dict[str, str], repair: str) -> None:
    """Raises UserError where a file in `folder` is not what its manifest `name` says."""
    for file, expected in files.items():
        path = folder / file
        if leads_out(file) or not path.is_file() or digest.of_file(path) != expected:
            raise UserError(f"{path}: is not what {name} says was written. {repair}")


def _repair(folder: Path, stage: str) -> str:
    """What makes the part in `folder` anew: the sweep that it came from, or a stage."""
    if folder.is_relative_to(project.RUNS):
        return "The sweep that made it, typed again, makes it anew."
    if folder.is_relative_to(project.CHECKPOINTS):
        return "The sweep or `dvc repro` that was interrupted, typed again, goes on and writes it anew."
    return f"`dvc repro --force {stage}` makes it anew."
