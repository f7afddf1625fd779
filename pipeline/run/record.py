"""The two parts of a record, and how they are read back.

training/     run.json, history.csv, model.weights.h5 (repeat byte for byte); timing.json, environment.json (do not)
evaluation/   evaluation.json, metrics.json, tables, probabilities, pictures (repeat); timing.json (does not)

Records and studies may come from others: files are read in little memory, names stay inside, types are checked.

What happened in each epoch, and how long it took.

A record as a whole: what was trained, and once it has been scored how.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import ConfigDict, JsonValue, StringConstraints, TypeAdapter, ValidationError, with_config

from pipeline.run.identity import name_of
from pipeline.storage import atomic, digest, dvc_files, project
from pipeline.storage.digest import sealed, unsealed
from pipeline.terminal.errors import UserError

MOST_BYTES = 40_000_000
"""A study of ten thousand settings has 30 MB, a history of a hundred thousand epochs 10."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,109}$")]
"""What a folder is called by: no way leads out of it."""

ScoredOn = Annotated[str, StringConstraints(pattern=r"^(test|validation)$")]
"""Which images a run was scored on."""

Kind = TypeVar("Kind")


def text_of(path: Path) -> str:
    """The text of a file. Raises FileNotFoundError, and ValueError for what no file of a record is."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_BYTES:,} bytes")
    return content.decode()


def checked(kind: type[Kind], values: object) -> Kind:
    """`values` as a dataclass, each field of its own type. Raises ValueError that names the first that is not."""
    try:
        found: Kind = _adapter(cast(Any, kind)).validate_python(values)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}") from None
    return found


def leads_out(name: str) -> bool:
    """Whether the name of a file within a folder is the way to another."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name


def refuse_links(folder: Path) -> None:
    """Raises UserError where `folder`, or a file in it, is a link to what lies outside of the project.

    With `cache.type symlink` DVC's outs are links into its cache, wherever that lies: a file there is taken for what
    its name, which is its digest, says.
    """
    inside = project.store_root().resolve()
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() or (target := path.resolve()).is_relative_to(inside):
            continue
        if not _is_cached(target):
            raise UserError(f"{path}: is a link that leads out of the project. Put the file itself there.")
        if not dvc_files.is_as_named(target):
            raise UserError(f"{target}: has another content than its name says. Remove it; `dvc repro` makes it anew.")


def _is_cached(target: Path) -> bool:
    try:
        return dvc_files.is_cached(target)
    except ValueError as error:
        raise UserError(f"{error}. Mend it there.") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True)
class Epoch:
    """The scores of one epoch (numbered from 1); NaN or infinite where the loss was. Validation only where held out."""

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss)


@dataclass(frozen=True)
class EpochTime:
    """What the clock said: seconds the epoch took, and when it ended (milliseconds since 1970)."""

    epoch: int
    seconds: float
    ended: int


def history_csv(history: Sequence[Epoch]) -> str:
    """One line an epoch; validation columns only where there are values."""
    names = [field.name for field in fields(Epoch)]
    if not any(epoch.validation_loss is not None for epoch in history):
        names = names[:4]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue()


def read_history(text: str) -> tuple[Epoch, ...]:
    """The epochs of a history.csv. Raises ValueError, KeyError or TypeError for what is none."""
    try:
        return tuple(
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(io.StringIO(text))
        )
    except csv.Error as error:
        raise ValueError(f"history.csv: {error}") from None


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


@dataclass(frozen=True)
class Record:
    """A record as a whole; `evaluation` is None until the run has been scored."""

    root: Path
    training: TrainingPart
    evaluation: EvaluationPart | None


def read_record(root: Path, part: str = EVALUATION) -> Record:
    """The record in `root`, scored as its evaluation `part` says.

    Raises UserError where there is none or it is damaged.
    """
    training = read_training(root / TRAINING)
    scored = (root / part / "evaluation.json").exists()
    evaluation = read_evaluation(root / part) if scored else None
    # Between the stages the folder still holds the evaluation of the run before.
    own = evaluation is not None and evaluation.identity == training.run.identity
    return Record(root, training, evaluation if own else None)
