"""What a study is and what came of it: studies/<name>/study.json, whole or not there."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, JsonValue, with_config

from pipeline.config.load import leaves
from pipeline.run.record import Name, ScoredOn
from pipeline.statistics.differences import Expects
from pipeline.statistics.intervals import ERROR_RATE
from pipeline.statistics.race import Stop
from pipeline.storage import atomic, lock, project
from pipeline.storage.digest import sealed
from pipeline.storage.documents import read_document, refuse_links
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

LAYOUT = 2
STUDY = "study.json"
AGAIN = "Run its sweep again: no run is lost."
SCORED_ON_TEST = "_on_test"
"""Ends the name of a study that opens the test images."""

Positive = Annotated[float, Field(gt=0)]

RunState = Literal["waiting", "finished", "diverged", "failed"]
ENDED = ("finished", "diverged")
"""The states that are not tried again."""

StudyState = Literal["running", "finished", "failed", "interrupted"]

Sampler = Literal["tpe", "random"]

Score = Literal["accuracy", "gap", "seconds"]
"""What a contrast is about; the gap is the accuracy on the training images less that on the scored ones, in points."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a setting with a seed, and how it scored once it has; `scoring` as in its record.

    `collapsed`: it names one class whatever it sees (metrics.has_collapsed).
    """

    identity: Name
    setting: str
    seed: int
    state: RunState = "waiting"
    reason: str | None = None
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    loss: float | None = None
    seconds: float | None = None
    scoring: str | None = None
    collapsed: bool = False

    @property
    def outcome(self) -> str:
        """Its state; of a run that ended as it should, but names one class whatever it sees: `collapsed`."""
        return "collapsed" if self.collapsed and self.state == "finished" else self.state


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Setting:
    """A configuration without its seed, as dotted keys and values, and what it costs.

    How it was asked for: the variant of each group of conf/ (`{"model": "deep"}`), its own name where the study names
    its settings (`{"setting": "wide"}`), the keys that were typed beside.
    """

    values: dict[str, JsonValue]
    parameters: int
    multiply_adds: int
    variants: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    def is_at(self, wanted: Mapping[str, JsonValue]) -> bool:
        """Whether it has the values and the variants that are `wanted`, as `has_values`."""
        return has_values({**self.variants, **self.values}, wanted)


def has_values(values: Mapping[str, JsonValue], wanted: Mapping[str, JsonValue]) -> bool:
    """Whether `values` has those that are `wanted`; a key that it lacks has no value, not null."""
    return all(key in values and values[key] == value for key, value in wanted.items())


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class DeclaredContrast:
    """A claim about Σ weight · score over settings (by name), and when it was declared: an ISO time, and after how many
    ended runs of the settings that it weighs.
    """

    name: str
    claim: str
    expects: Expects
    weights: dict[str, float]
    score: Score
    margin: Positive
    declared: str
    runs_before: int


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Trial:
    """What a search proposed, by key as it would be typed, and the name of that setting; None where it can't exist."""

    values: dict[str, str]
    setting: str | None


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Search:
    """A search of `planned` trials by a `sampler` in a `space` (by key, as it would be typed), each with all `seeds`.

    `words` are those of its line that all trials have in common.
    """

    sampler: Sampler
    planned: Annotated[int, Field(ge=1)]
    space: dict[str, str]
    seeds: tuple[int, ...]
    words: tuple[str, ...]
    trials: tuple[Trial, ...] = ()

    @property
    def unproposed(self) -> int:
        """How many trials are still to be proposed."""
        return max(0, self.planned - len(self.trials))


class Point(NamedTuple):
    """One point of a grid: what sets it apart as it was typed, the seed left out, and the values it composes to.

    `variants` and `changed` as in Setting.
    """

    overrides: str
    values: dict[str, Any]
    variants: Mapping[str, str] = {}
    changed: Sequence[str] = ()

    def is_at(self, wanted: Mapping[str, JsonValue]) -> bool:
        """Whether it has the values and the variants that are `wanted`, as a Setting."""
        return has_values({**dict(leaves(self.values)), **self.variants}, wanted)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Study:
    """A study. `images` says which images score it, `baseline` and `margin` (in points) how it is to be compared.

    `basis` is the digest of what all its runs share beside the configuration: data, code, versions. `settings` are by
    name, in the order in which they were declared; `refused` are those that can't exist, with the reason. `stop` is
    what ends it as a race (None: it is none), `contrasts` are the questions asked of it, which share the `error_rate`.
    `search` is what proposed the settings (None: they were declared).
    `tracking` is where its last sweep told MLflow of it.
    """

    name: Name
    images: ScoredOn
    basis: str
    baseline: dict[str, JsonValue] | None
    margin: Positive
    state: StudyState = "running"
    settings: dict[str, Setting] = field(default_factory=dict)
    cells: tuple[StudyRun, ...] = ()
    refused: tuple[dict[str, str], ...] = ()
    stop: Stop | None = None
    error_rate: Annotated[float, Field(gt=0, lt=1)] = ERROR_RATE
    contrasts: tuple[DeclaredContrast, ...] = ()
    tracking: dict[str, JsonValue] | None = None
    search: Search | None = None

    @property
    def document(self) -> str:
        """The text of its file."""
        # A study without a search is written as it was before there were any: bundles of it keep their bytes.
        values = {key: value for key, value in asdict(self).items() if key != "search" or value is not None}
        return sealed({"layout": LAYOUT} | values)

    @property
    def ended(self) -> list[str]:
        """The identities of the runs that are not tried again."""
        return [run.identity for run in self.cells if run.state in ENDED]


def find_study(name: str) -> Study:
    """The study called `name`. Raises UserError that tells which there are."""
    names = sorted(path.parent.name for path in project.STUDIES.glob(f"*/{STUDY}"))
    if name not in names:
        there = (
            f"There are: {', '.join(names)}." if names else "`python -m pipeline.sweep --help` tells how to make one."
        )
        raise UserError(f"{name}: is no study here. {there}")
    return read_study(project.study(name))


def read_study(folder: Path) -> Study:
    """The study in `folder`. Raises UserError where there is none, or another version's."""
    path = folder / STUDY
    refuse_links(folder)
    study = read_document(path, Study, LAYOUT, AGAIN)
    named = {run.setting for run in study.cells} | {name for one in study.contrasts for name in one.weights}
    trials = () if study.search is None else study.search.trials
    named |= {trial.setting for trial in trials if trial.setting is not None}
    if study.name != folder.name:
        # Reports and MLflow are written under the name that it gives itself.
        wrong = f"it says that it is study {study.name}"
    elif unknown := named - study.settings.keys():
        wrong = f"settings {', '.join(sorted(unknown))} are missing"
    elif not all(is_contrast(list(one.weights.values())) for one in study.contrasts):
        wrong = "a contrast compares nothing"
    else:
        return study
    raise UserError(f"{path}: is damaged ({wrong}). {AGAIN}")


def find_baseline(study: Study) -> str:
    """The name of the declared baseline, or of the setting that was declared first. Raises UserError for none."""
    for name, setting in study.settings.items():
        if setting.is_at(study.baseline or {}):
            return name
    raise UserError(f"{study.name}: its baseline is none of its settings. Run the sweep again with study.baseline set.")


def is_contrast(weights: Sequence[float]) -> bool:
    """Whether weights compare something: they sum to 0, but for rounding, and are not all 0."""
    return any(weights) and abs(math.fsum(weights)) <= 1e-6


def update_study(folder: Path, change: Callable[[Study | None], Study]) -> Study:
    """Replace the study in `folder` by what `change` makes of it (None: there is none); one process at a time."""
    refuse_links(folder)
    with lock.only_one(folder / ".lock"):
        study = change(present_study(folder))
        atomic.write_file(folder / STUDY, study.document)
        return study


def with_runs(study: Study, runs: Sequence[StudyRun]) -> Study:
    """The study with `runs` in place of those with the same identity, new ones at the end."""
    by_identity = {run.identity: run for run in study.cells} | {run.identity: run for run in runs}
    return replace(study, cells=tuple(by_identity.values()))


def present_study(folder: Path) -> Study | None:
    """The study in `folder`; None where there is none, and with a word where it can't be read."""
    if not (folder / STUDY).exists():
        return None
    try:
        return read_study(folder)
    except UserError as error:
        console.print(f"{error} It is made anew from what is declared now.")
        return None
