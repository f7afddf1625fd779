"""A record: what was trained, how it scored, and what a clock and a machine said of it.

training/     run.json, history.csv, weights.npz
evaluation/   evaluation.json, metrics.json, tables, probabilities, pictures
clock/        <identity>.training.json, <identity>.evaluation.json

The first two repeat byte for byte, and DVC keeps them. The third is another each time and lies beside, by the identity
of the run that it is of: a record that comes out of DVC's cache finds its own there, or none, and its times are then
unknown. Records may come from others: see pipeline.storage.documents.
"""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, JsonValue, StringConstraints, with_config

from pipeline.config.specification import Specification, specification_of
from pipeline.run.environment import Environment
from pipeline.run.identity import name_of
from pipeline.storage import atomic, digest, project
from pipeline.storage.digest import sealed
from pipeline.storage.documents import leads_out, read_document, read_text, reading, refuse_links, validate
from pipeline.terminal.errors import UserError

LAYOUT = 5
"""The version of these folders' layout, written into every document."""

TRAINING = "training"
EVALUATION = "evaluation"
TEST_EVALUATION = "evaluation_test"
"""In a sweep's record: the scores on the test images, where they were asked for beside those of validation."""

WEIGHTS = "weights.npz"
BULKY = WEIGHTS, "probabilities.npy", "predictions.csv", "pictures/"
"""How the files begin that a bundle leaves out: a record without them compares and is mirrored as well."""

HISTORY = "history.csv"
CLOCK = "clock"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,109}$")]
"""What a folder is called by: no way leads out of it."""

ScoredOn = Annotated[str, StringConstraints(pattern=r"^(test|validation)$")]
"""Which images a run was scored on."""

Outcome = Literal["running", "finished", "diverged", "failed", "interrupted"]


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


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class TrainingClock:
    """When and where the run `identity` was trained."""

    identity: Name
    epochs: tuple[EpochTime, ...]
    environment: Environment


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class EvaluationClock:
    """Of the evaluation `scoring`: milliseconds an image by batch size, and when it was scored (ms since 1970)."""

    identity: Name
    scoring: str
    latency: dict[str, float]
    scored: int


ClockKind = TypeVar("ClockKind", TrainingClock, EvaluationClock)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Run:
    """Which run a training part belongs to and how it ended: run.json.

    `weights` is the digest over the arrays of its weights (None while it trains), `files` has that of each file.
    """

    identity: Name
    ingredients: dict[str, JsonValue]
    configuration: dict[str, JsonValue]
    outcome: Outcome
    reason: str | None
    epochs: int
    parameters: int
    multiply_adds: int
    layers: list[dict[str, JsonValue]]
    weights: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def specification(self) -> Specification:
        """What the run was built from. Raises ConfigurationError for one of another version."""
        return specification_of(self.ingredients)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class EvaluationPart:
    """How a run scored: on which `images` ("test" or "validation"), their digest, what they and their classes were
    called then, and the digest of the scoring. `collapsed` as in metrics.has_collapsed.

    `latency` and `scored` are the clock's: empty and None where they are unknown.
    """

    identity: Name
    images: ScoredOn
    images_digest: str
    dataset: str
    class_names: list[str]
    scoring: str
    files: dict[str, str]
    collapsed: bool = False
    scores: dict[str, float | None] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    scored: int | None = None
    folder: Path = Path()


@dataclass(frozen=True)
class TrainingPart:
    """What was trained; `times` are empty where they are unknown."""

    run: Run
    history: tuple[Epoch, ...]
    times: tuple[EpochTime, ...]
    environment: Environment
    folder: Path

    @property
    def seconds(self) -> float | None:
        """How long all its epochs took together; None where that is unknown."""
        return sum(time.seconds for time in self.times) if len(self.times) >= len(self.history) else None


@dataclass(frozen=True)
class Record:
    """A record as a whole; `evaluation` is None until the run has been scored."""

    root: Path
    training: TrainingPart
    evaluation: EvaluationPart | None


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
        raise ValueError(str(error)) from None


def write_training(folder: Path, run: Run, history: Sequence[Epoch]) -> None:
    """Write all but the weights into `folder`, which nobody reads yet: `atomic.write_folder` will put it in place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HISTORY).write_text(history_csv(history), "utf-8")
    write_manifest(folder, "run.json", {**asdict(run), "files": {}})


def write_manifest(folder: Path, name: str, values: dict[str, JsonValue]) -> None:
    """Write `name`, which describes the part in `folder` and holds the digest of each file there: it comes last."""
    files = {path: sha256 for path, sha256 in digest.of_folder(folder).items() if path != name}
    (folder / name).write_text(sealed({"layout": LAYOUT} | values | {"files": files}), "utf-8")


def write_clock(root: Path, part: str, clock: TrainingClock | EvaluationClock) -> None:
    """Put what a clock said of a part of the record in `root` beside it."""
    refuse_links(_clocks(root))
    atomic.write_file(_clocks(root) / _clock_name(clock.identity, part), sealed({"layout": LAYOUT} | asdict(clock)))


def read_training(folder: Path, *, whole: bool = True, repair: str | None = None) -> TrainingPart:
    """The training part in `folder`, each file checked against the digest that run.json holds.

    What is BULKY need not be there where it is not to be `whole`. `repair` says what makes the part anew, where that is
    no stage and no sweep. Raises UserError: no record there, another layout, a file that is damaged.
    """
    repair = _repair(folder, "train") if repair is None else repair
    refuse_links(folder)
    run = read_document(folder / "run.json", Run, LAYOUT, repair)
    if name_of(run.ingredients) != run.identity:
        raise UserError(
            f"{folder / 'run.json'}: is damaged (its identity is not the hash of its ingredients). {repair}"
        )
    _check_files(folder, "run.json", {HISTORY: ""} | run.files, repair, whole=whole)
    with reading(folder / HISTORY, repair):
        history = read_history(read_text(folder / HISTORY))
    clock = read_clock(folder, run.identity, TrainingClock)
    times, environment = ((), Environment()) if clock is None else (clock.epochs, clock.environment)
    return TrainingPart(run, history, times, environment, folder)


def read_evaluation(folder: Path, *, whole: bool = True, repair: str | None = None) -> EvaluationPart:
    """The evaluation part in `folder`, each file checked against its digest. Raises UserError like `read_training`."""
    repair = _repair(folder, "evaluate") if repair is None else repair
    refuse_links(folder)
    part = read_document(folder / "evaluation.json", EvaluationPart, LAYOUT, repair)
    _check_files(folder, "evaluation.json", part.files, repair, whole=whole)
    with reading(folder / "metrics.json", repair):
        scores = validate(dict[str, float | None], json.loads(read_text(folder / "metrics.json")))
        # What every reader asks for.
        scores["accuracy"]
    clock = read_clock(folder, part.identity, EvaluationClock)
    # Its classes may have been called otherwise then.
    own = clock is not None and clock.scoring == part.scoring
    latency, scored = (clock.latency, clock.scored) if clock is not None and own else ({}, None)
    return replace(part, scores=scores, latency=latency, scored=scored, folder=folder)


def read_record(root: Path, part: str = EVALUATION, *, whole: bool = False, repair: str | None = None) -> Record:
    """The record in `root`, scored as its evaluation `part` says; what is BULKY need be there only where it is `whole`.

    Raises UserError where there is none or it is damaged; `repair` is a sentence on what makes it anew.
    """
    training = read_training(root / TRAINING, whole=whole, repair=repair)
    scored = (root / part / "evaluation.json").exists()
    evaluation = read_evaluation(root / part, whole=whole, repair=repair) if scored else None
    # Between the stages the folder still holds the evaluation of the run before.
    own = evaluation is not None and evaluation.identity == training.run.identity
    return Record(root, training, evaluation if own else None)


def read_clock(folder: Path, identity: str, kind: type[ClockKind]) -> ClockKind | None:
    """What a clock said of the part in `folder` of run `identity`, or None. Raises UserError where it is damaged."""
    path = clock_path(folder, identity)
    if path is None:
        return None
    refuse_links(path.parent)
    clock = read_document(path, kind, LAYOUT, "Remove it: the times are then unknown.")
    return clock if clock.identity == identity else None


def clock_path(folder: Path, identity: str) -> Path | None:
    """The file that `read_clock` reads.

    The store has it in the part itself. What `dvc repro` measured serves what comes out of DVC's cache anywhere.
    """
    name = _clock_name(identity, folder.name)
    places = (folder / f"{CLOCK}.json", _clocks(folder.parent) / name, _clocks(project.RECORD) / name)
    return next((path for path in places if path.is_file()), None)


def _clocks(root: Path) -> Path:
    """The folder of the clocks for a record in `root`: an experiment of DVC's elsewhere keeps its in the project."""
    if root == project.RECORD and "DVC_ROOT" in os.environ:
        root = project.store_root() / project.RECORD.name
    return root / CLOCK


def _clock_name(identity: str, part: str) -> str:
    return f"{validate(Name, identity)}.{part}.json"


def _check_files(folder: Path, name: str, files: dict[str, str], repair: str, *, whole: bool) -> None:
    """Raises UserError where a file in `folder` is not what its manifest `name` says."""
    for file, expected in files.items():
        path = folder / file
        out = leads_out(file)
        if not whole and file.startswith(BULKY) and not out and not path.exists():
            continue
        if out or not path.is_file() or digest.of_file(path) != expected:
            raise UserError(f"{path}: is not what {name} says was written. {repair}")


def _repair(folder: Path, stage: str) -> str:
    """What makes the part in `folder` anew: the sweep that it came from, or a stage."""
    if folder.is_relative_to(project.RUNS):
        return "The sweep that made it, typed again, makes it anew."
    if folder.is_relative_to(project.CHECKPOINTS):
        return "The sweep or `dvc repro` that was interrupted, typed again, goes on and writes it anew."
    return f"`dvc repro --force {stage}` makes it anew."


def find_record(named: str | None = None, *, whole: bool = False) -> Record:
    """The record of `dvc repro`, or of the run with this identity, or in this folder. Raises UserError for none."""
    return read_record(find_root(named), whole=whole)


def find_root(named: str | None = None) -> Path:
    """The folder of the record that `find_record` reads. Raises UserError where there is none."""
    roots = [project.RECORD] if named is None else [project.run_root(named), Path(named), project.ROOT / named]
    for root in roots:
        if (root / TRAINING / "run.json").is_file():
            return root
    training = project.RECORD / TRAINING
    if (training / "run.json").is_file() and read_training(training).run.identity == named:
        return project.RECORD
    if project.RECORD in (root.absolute() for root in roots):
        raise UserError(f"{project.RECORD}: there is no record. Run: dvc repro")
    raise UserError(
        f"{named}: is no run's identity and no record's folder here: there is no record. `make ui` shows the runs."
    )
