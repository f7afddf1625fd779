"""What a record says it holds, by digest: enough to tell whether a run repeats, without its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.record.history import Epoch, read_history
from pipeline.record.identity import Identity
from pipeline.record.record import LAYOUT, WEIGHTS, Run
from pipeline.terminal.errors import UserError

HISTORY = "history.csv"


@dataclass(frozen=True)
class Claim:
    """The run, the digest of each file that repeats, its history, and where it was made."""

    run: Run
    files: dict[str, str]
    history: tuple[Epoch, ...]
    environment: dict[str, Any]


def read_claim(folder: Path) -> Claim:
    """The claim of the training part in `folder`; its weights need not be there. Raises UserError."""
    try:
        values = json.loads((folder / "run.json").read_text())
        layout, files = values.pop("layout"), dict(values.pop("files"))
        if layout != LAYOUT:
            raise UserError(f"{folder}: layout {layout}, but this version reads layout {LAYOUT}.")
        history = read_history((folder / HISTORY).read_text())
        environment = json.loads((folder / "environment.json").read_text())
        return Claim(Run(**values), files, history, environment)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: is missing: no run can be done again from there.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: is no record that can be read ({error}).") from None


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
    then: dict[str, Any] = claim.run.ingredients
    now: dict[str, Any] = present.ingredients
    found = [("commit", claim.environment["git_commit"], here["git_commit"])]
    found += [(f"{name} (digest)", str(then[name])[:12], str(now[name])[:12]) for name in ("code", "data")]
    for group in ("versions", "hardware"):
        recorded, present_group = claim.environment[group], here[group]
        if isinstance(present_group, dict):
            found += [(f"{group}: {name}", recorded.get(name), value) for name, value in present_group.items()]
    return [(what, str(before), str(after)) for what, before, after in found if before != after]
