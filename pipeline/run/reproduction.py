"""Do a recorded run again in a temporary place: nothing of the project changes.

What a record says it holds, by digest: enough to tell whether a run repeats, without its weights.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.config.load import configure
from pipeline.config.schema import Configuration, Data, Tracking
from pipeline.data.prepared import Images
from pipeline.run.identity import Identity
from pipeline.run.record import (
    TRAINING,
    WEIGHTS,
    Epoch,
    Run,
    check_files,
    checked,
    read_history,
    read_manifest,
    text_of,
)
from pipeline.run.train_run import NOT_OF_A_RUN
from pipeline.storage.digest import unsealed
from pipeline.terminal.errors import UserError

HISTORY = "history.csv"
REPAIR = "No run can be done again from there."


@dataclass(frozen=True)
class Claim:
    """The run, the digest of each file that repeats, its history, and where it was made."""

    run: Run
    files: dict[str, str]
    history: tuple[Epoch, ...]
    environment: dict[str, Any]


def read_claim(folder: Path) -> Claim:
    """The claim of the training part in `folder`; its weights need not be there. Raises UserError."""
    values, files = read_manifest(folder, "run.json", REPAIR)
    check_files(folder, "run.json", {HISTORY: files.get(HISTORY, "")}, REPAIR)
    try:
        run, environment = checked(Run, values), unsealed(text_of(folder / "environment.json"))
        history = read_history(text_of(folder / HISTORY))
        _facts(run.ingredients, environment)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is no complete record ({error}). {REPAIR}") from None
    if not history:
        raise UserError(f"{folder}: has no epoch to compare a repetition with. {REPAIR}")
    return Claim(run, files, history, environment)


def is_bit_identical(one: Claim, other: Claim) -> bool:
    """Whether weights and history are the same, byte for byte."""
    return all(one.files.get(name) == other.files.get(name) is not None for name in (WEIGHTS, HISTORY))


def parting_epoch(one: Claim, other: Claim) -> int | None:
    """The first epoch in which the histories differ, or that only one has; None where they are the same."""
    for ours, theirs in zip(one.history, other.history, strict=False):
        if repr(ours) != repr(theirs):
            return ours.epoch
    if len(one.history) != len(other.history):
        return min(len(one.history), len(other.history)) + 1
    return None


def circumstances(claim: Claim, present: Identity, here: dict[str, JsonValue]) -> list[tuple[str, str, str]]:
    """Where code, data, versions or hardware are not what they were: what, as recorded, as it is here."""
    then, now = _facts(claim.run.ingredients, claim.environment), _facts(present.ingredients, here)
    before = {what: then.get(what, "not recorded") for what in now}
    return [(what, before[what], found) for what, found in now.items() if before[what] != found]


def _facts(ingredients: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, str]:
    """What a repetition depends on. Raises KeyError or AttributeError where it is not said."""
    found = {"commit": environment["git_commit"]}
    found |= {f"{name} (digest)": str(ingredients[name])[:12] for name in ("code", "data")}
    for group in ("versions", "hardware"):
        found |= {f"{group}: {name}": value for name, value in environment[group].items()}
    return {what: str(value) for what, value in found.items()}


def configuration_of(run: Run, data: Data, tracking: Tracking) -> Configuration:
    """The configuration of a recorded run; what a record does not hold is that of `data` and `tracking`.

    Raises ConfigurationError for a record whose configuration is none of this version.
    """
    values: dict[str, Any] = {**run.configuration, "tracking": tracking.model_dump(mode="json")}
    files = data.model_dump(mode="json", include=set(NOT_OF_A_RUN))
    if not isinstance(values.get("data"), dict):
        raise UserError("the record's configuration has no section data: no run can be done again from there.")
    return configure(values | {"data": {**values["data"], **files}})


def repeated(configuration: Configuration, identity: Identity, images: Images) -> Claim:
    """Train the run again and return what the new record says. Raises UserError."""
    from pipeline.run.train_run import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        root = Path(folder)
        train_run(configuration, identity, images, root, _nobody, work=root / "work")
        return read_claim(root / TRAINING)


def _nobody(_root: Path) -> None:
    """Nobody mirrors a repetition."""
