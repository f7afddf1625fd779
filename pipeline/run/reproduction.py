"""Do a recorded run again in a temporary place, and say how it differs: nothing of the project changes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.config.load import configure
from pipeline.config.schema import Configuration, Data, Tracking
from pipeline.data.prepared import Images
from pipeline.run.environment import Environment
from pipeline.run.identity import Identity
from pipeline.run.record import HISTORY, TRAINING, Run, TrainingPart, read_training
from pipeline.run.train_run import NOT_OF_A_RUN
from pipeline.terminal.errors import UserError

REPAIR = "No run can be done again from there."


def read_reproducible(folder: Path) -> TrainingPart:
    """The training part in `folder`, to compare a repetition with; its weights need not be there. Raises UserError."""
    training = read_training(folder, whole=False, repair=REPAIR)
    if not training.history:
        raise UserError(f"{folder}: has no epoch to compare a repetition with. {REPAIR}")
    for name in ("code", "data"):
        if name not in training.run.ingredients:
            raise UserError(f"{folder}: does not say of which {name} it is. {REPAIR}")
    return training


def is_bit_identical(one: TrainingPart, other: TrainingPart) -> bool:
    """Whether weights and history are the same, byte for byte."""
    return (
        one.run.weights == other.run.weights is not None
        and one.run.files.get(HISTORY) == other.run.files.get(HISTORY) is not None
    )


def parting_epoch(one: TrainingPart, other: TrainingPart) -> int | None:
    """The first epoch in which the histories differ, or that only one has; None where they are the same."""
    for ours, theirs in zip(one.history, other.history, strict=False):
        if repr(ours) != repr(theirs):
            return ours.epoch
    if len(one.history) != len(other.history):
        return min(len(one.history), len(other.history)) + 1
    return None


def circumstances(recorded: TrainingPart, present: Identity, here: Environment) -> list[tuple[str, str, str]]:
    """Where code, data, versions or hardware are not what they were: what, as recorded, as it is here."""
    then = _circumstances(recorded.run.ingredients, recorded.environment)
    now = _circumstances(present.ingredients, here)
    before = {what: then.get(what, "not recorded") for what in now}
    return [(what, before[what], value) for what, value in now.items() if before[what] != value]


def _circumstances(ingredients: Mapping[str, JsonValue], environment: Environment) -> dict[str, str]:
    """What a repetition depends on, as far as it is known."""
    known: dict[str, object] = {} if environment.git_commit is None else {"commit": environment.git_commit}
    known |= {f"{name} (digest)": str(ingredients[name])[:12] for name in ("code", "data")}
    for group, values in (("versions", environment.versions), ("hardware", environment.hardware)):
        known |= {f"{group}: {name}": value for name, value in values.items()}
    return {what: str(value) for what, value in known.items()}


def configuration_of(run: Run, data: Data, tracking: Tracking) -> Configuration:
    """The configuration of a recorded run; what a record does not hold is that of `data` and `tracking`.

    Raises ConfigurationError for a record whose configuration is none of this version.
    """
    own = run.configuration.get("data")
    if not isinstance(own, dict):
        raise UserError(f"the record's configuration has no section data. {REPAIR}")
    files: dict[str, Any] = data.model_dump(mode="json", include=set(NOT_OF_A_RUN))
    return configure({**run.configuration, "data": own | files, "tracking": tracking.model_dump(mode="json")})


def repeat_run(configuration: Configuration, identity: Identity, images: Images) -> TrainingPart:
    """Train the run again and return what the new record says. Raises UserError."""
    from pipeline.run.train_run import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        root = Path(folder)
        train_run(configuration, identity, images, root, lambda _root: None, work=root / "work")
        return read_reproducible(root / TRAINING)
