"""What a study is and what came of it: studies/<name>/study.json, whole or not there."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, JsonValue, with_config

from pipeline.run.record import Name, ScoredOn
from pipeline.storage import atomic, lock, project
from pipeline.storage.digest import sealed, unsealed
from pipeline.storage.documents import read_text as text_of
from pipeline.storage.documents import refuse_links
from pipeline.storage.documents import validate as checked
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

LAYOUT = 2
STUDY = "study.json"
SCORED_ON_TEST = "_on_test"
"""Ends the name of a study that opens the test images."""

RunState = Literal["waiting", "finished", "diverged", "failed"]
ENDED = ("finished", "diverged")
"""The states that are not tried again."""

StudyState = Literal["running", "finished", "failed", "interrupted"]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a setting with a seed, and how it scored once it has; `scoring` as in its record.

    `collapsed`: it names one class whatever it sees (study_summary.has_collapsed).
    """

    identity: Name
    setting: str
    seed: int
    state: RunState = "waiting"
    reason: str | None = None
    accuracy: float | None = None
    loss: float | None = None
    seconds: float | None = None
    scoring: str | None = None
    collapsed: bool = False


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Setting:
    """A configuration without its seed, as dotted keys and values, and what it costs.

    How it was asked for: the variant of each group of conf/ (`{"model": "deep"}`), the keys that were typed beside.
    """

    values: dict[str, JsonValue]
    parameters: int
    multiply_adds: int
    variants: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    def is_at(self, wanted: Mapping[str, JsonValue]) -> bool:
        """Whether it has the values and the variants that are `wanted`; a key that it lacks has no value, not null."""
        own = {**self.variants, **self.values}
        return all(key in own and own[key] == value for key, value in wanted.items())


class Point(NamedTuple):
    """One point of a grid: what sets it apart as it was typed, the seed left out, and the values it composes to.

    `variants` and `changed` as in Setting.
    """

    overrides: str
    values: dict[str, Any]
    variants: Mapping[str, str] = {}
    changed: Sequence[str] = ()


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Study:
    """A study. `images` says which images score it, `baseline` and `margin` (in points) how it is to be compared.

    `basis` is the digest of what all its runs share beside the configuration: data, code, versions. `settings` are by
    name, in the order in which they were declared; `refused` are those that can't exist, with the reason. `tracking` is
    where its last sweep told MLflow of it.
    """

    name: Name
    images: ScoredOn
    basis: str
    baseline: dict[str, JsonValue] | None
    margin: float
    state: StudyState = "running"
    settings: dict[str, Setting] = field(default_factory=dict)
    cells: tuple[StudyRun, ...] = ()
    refused: tuple[dict[str, str], ...] = ()
    tracking: dict[str, JsonValue] | None = None


def find_study(name: str) -> Study:
    """The study called `name`. Raises UserError that tells which there are."""
    if name not in _names():
        raise UserError(f"{name}: is no study here. {_known()}")
    return read_study(project.study(name))


def read_study(folder: Path) -> Study:
    """The study in `folder`. Raises UserError where there is none, or another version's."""
    path = folder / STUDY
    refuse_links(folder)
    try:
        text = text_of(path)
        if (layout := json.loads(text)["layout"]) != LAYOUT:
            raise UserError(f"{path}: layout {layout}, but this version reads {LAYOUT}. Run its sweep again.")
        values = unsealed(text)
        del values["layout"]
        study = checked(Study, values)
        if study.name != folder.name:
            # Reports and MLflow are written under the name that it gives itself.
            raise ValueError(f"it says that it is study {study.name}")
        if unknown := {run.setting for run in study.cells} - study.settings.keys():
            raise ValueError(f"settings {', '.join(sorted(unknown))} are missing")
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. {_known()}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({error}). Run its sweep again: no run is lost.") from None
    return study


def update_study(folder: Path, change: Callable[[Study | None], Study]) -> Study:
    """Replace the study in `folder` by what `change` makes of it (None: there is none); one process at a time."""
    refuse_links(folder)
    with lock.only_one(folder / ".lock"):
        study = change(present_study(folder))
        atomic.write_file(folder / STUDY, sealed({"layout": LAYOUT} | asdict(study)))
        return study


def with_runs(study: Study, runs: Sequence[StudyRun]) -> Study:
    """The study with `runs` in place of those with the same identity, new ones at the end."""
    by_identity = {run.identity: run for run in study.cells} | {run.identity: run for run in runs}
    return replace(study, cells=tuple(by_identity.values()))


def final_state(study: Study) -> StudyState:
    """The state of a study on which no sweep works any more: runs that wait were left by one that was stopped."""
    states = {run.state for run in study.cells}
    return "failed" if "failed" in states else "finished" if states <= set(ENDED) else "interrupted"


def present_study(folder: Path) -> Study | None:
    """The study in `folder`; None where there is none, and with a word where it can't be read."""
    if not (folder / STUDY).exists():
        return None
    try:
        return read_study(folder)
    except UserError as error:
        console.print(f"{error} It is made anew from what is declared now.")
        return None


def _known() -> str:
    names = ", ".join(_names())
    return f"There are: {names}." if names else "`python -m pipeline.sweep --help` tells how to make one."


def _names() -> list[str]:
    return sorted(path.parent.name for path in project.STUDIES.glob(f"*/{STUDY}"))
