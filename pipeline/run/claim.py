"""What a record says it holds, by digest: enough to tell whether a run repeats, without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.run.history import Epoch, read_history
from pipeline.run.identity import Identity
from pipeline.run.reading import checked, text_of
from pipeline.run.record import WEIGHTS, Run, check_files, read_manifest
from pipeline.storage.sealed import unsealed
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
