"""What a report rests on, read once, as plain values: settings laid out as a grid, and their runs. Reads no file."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.statistics.differences import FEWEST_SEEDS, Contrast
from pipeline.statistics.factors import Level
from pipeline.statistics.images import Answers
from pipeline.statistics.intervals import ERROR_RATE
from pipeline.statistics.race import PAID, Standing, look_level
from pipeline.statistics.scores import Scores, means
from pipeline.studies.race import seeds_that_count
from pipeline.studies.study import DeclaredContrast, Search
from pipeline.studies.study_summary import NOT_SET, as_typed, differing, one_line, short_names, title

ASTRAY = "collapsed", "diverged"
"""Outcomes that are counted and told, and enter no mean: one such score makes noise of 20 points out of 0.2."""

LOST = "failed", *ASTRAY, "missing"
"""What becomes of runs that give no score that counts."""

Values = Mapping[str, JsonValue]
"""A setting: dotted keys and their values."""


@dataclass(frozen=True)
class Factor:
    """A swept argument: its dotted `keys` (several where they always change together) and its `levels` in order."""

    name: str
    keys: tuple[str, ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Setting:
    """A setting: its `values` by dotted key without the seed, its `levels` in the order of the factors, its costs.

    `seconds` of training and `latency` (milliseconds an image by itself) are medians over its runs; any cost is NaN
    where it is not known.
    """

    values: Values
    parameters: float
    multiply_adds: float
    seconds: float = math.nan
    latency: float = math.nan
    label: str = ""
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run: the number of its setting, its outcome, its accuracy in points where it has a score.

    `outcome` is the state of its cell, or `collapsed`; `gap` is its accuracy on the training images less that on the
    scored ones, in points; `scored` in milliseconds since 1970, `on_test` the same of the scores on test images that
    its record holds beside those that are compared; `curve` the accuracy on validation images after each epoch, in
    points; `answers` bool [images], which it answered rightly.
    """

    setting: int
    seed: int
    identity: str
    outcome: str
    reason: str | None = None
    accuracy: float | None = None
    gap: float | None = None
    seconds: float | None = None
    latency: float | None = None
    commit: str | None = None
    uncommitted: bool = False
    hardware: str = ""
    versions: str = ""
    images_digest: str = ""
    scored: int | None = None
    on_test: int | None = None
    curve: tuple[float, ...] = ()
    answers: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    @property
    def learned(self) -> bool:
        """Whether it has a score that says what its setting can do: it neither diverged nor collapsed."""
        return self.accuracy is not None and self.outcome not in ASTRAY

    @property
    def is_failure(self) -> bool:
        """Whether there is something to tell of how it ended."""
        return self.outcome in ("failed", *ASTRAY) or self.reason is not None


@dataclass(frozen=True)
class TrialResult:
    """A trial of a search, by its `number` from 1: its setting (None: it can't exist), its mean score over the seeds,
    the `best` up to it (both in points), and a remark where there is something to tell.
    """

    number: int
    words: str
    setting: int | None
    score: float | None
    best: float | None
    remark: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs to compare. `settings` are in the order of the factors' levels, `seeds` sorted; `margin` in points.

    `images` ("validation" or "test") says which images scored them; `split` how many validation images were held out
    and by which seed. `data` is the digest of the training images, `refused` counts settings that can't exist. `store`
    is the address of the MLflow store, where they were read from one; `commands` make the report and its runs again.

    `questions` are the contrasts that were declared, each with its weights over `settings`; they, or else the
    differences from the baseline, share the `error_rate`. `standing` is that of a race (None: it is none), which `stop`
    ends. Of a search, whose settings get no verdict, its `trials`, and how many `finalists` which line compares.
    """

    study: str
    images: str
    margin: float
    baseline: int
    baseline_declared: bool
    factors: tuple[Factor, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    commands: tuple[str, ...]
    data: str | None = None
    split: tuple[int, int] | None = None
    class_names: tuple[str, ...] = ()
    refused: int = 0
    store: str | None = None
    questions: tuple[tuple[DeclaredContrast, Contrast], ...] = ()
    error_rate: float = ERROR_RATE
    stop: str | None = None
    standing: Standing | None = None
    search: Search | None = None
    trials: tuple[TrialResult, ...] = ()
    finalists: tuple[int, str] | None = None

    @cached_property
    def scores(self) -> Scores:
        """Accuracies float64 [settings, seeds] in points; NaN for a run that is missing, failed or did not learn."""
        return self.table(lambda run: run.accuracy)

    def table(self, value: Callable[[Run], float | None]) -> NDArray[np.float64]:
        """A value of the runs that learned, float64 [settings, seeds], NaN without one.

        Of a race the seeds that count: what was run of a setting after its verdict says nothing more.
        """
        table = np.full((len(self.settings), len(self.seeds)), np.nan)
        for run in self.runs:
            column, own = self.seeds.index(run.seed), value(run)
            if run.learned and own is not None and column < self.planned(run.setting):
                table[run.setting, column] = own
        return table

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean accuracy of each setting, float64 [settings], NaN without a score; rounding evens out orders of sums."""
        return np.round(means(self.scores), 9)

    @property
    def looks(self) -> int:
        """How many looks at the scores share the error rate."""
        return 1 if self.standing is None else len(self.seeds) - FEWEST_SEEDS + 1

    def level(self, comparisons: int) -> float:
        """The error rate of one of so many comparisons beside a race's own, at one look."""
        share = self.error_rate / comparisons
        return share if self.standing is None else look_level(len(self.seeds), PAID * share)

    def planned(self, setting: int) -> int:
        """How many seeds it is to have: all, or in a race those of the looks up to its verdict."""
        now = self.standing
        if now is None:
            return len(self.seeds)
        return seeds_that_count(now, [contrast for _, contrast in self.questions], self.baseline, setting)

    def stopped(self, setting: int) -> int | None:
        """After how many seeds the race was over for it, before the last; None where it was not."""
        seeds = self.planned(setting)
        is_over = self.standing is not None and setting not in self.standing.open
        return seeds if is_over and 0 < seeds < len(self.seeds) else None

    def counts(self, setting: int | None = None) -> Counter[str]:
        """How many runs of a setting, or of all, `learned` or are LOST in which way (missing: a seed without a run)."""
        runs = self.runs if setting is None else self.of(setting)
        counts = Counter("learned" if run.learned else run.outcome for run in runs)
        counts = Counter({word: counts[word] for word in ("learned", *LOST)})
        planned = sum(map(self.planned, range(len(self.settings)) if setting is None else [setting]))
        return counts + Counter(missing=planned - counts.total())

    def answers(self) -> Answers | None:
        """Which run that learned answered which image rightly; None without answers or where the images differ."""
        scored = [run for run in self.runs if run.answers is not None and run.learned]
        if not scored or len({run.images_digest for run in scored}) > 1:
            return None
        correct = np.stack([run.answers for run in scored if run.answers is not None])
        settings, seeds = ([getattr(run, name) for run in scored] for name in ("setting", "seed"))
        return Answers(correct, np.array(settings), np.array(seeds))

    def cost(self, name: str) -> NDArray[np.float64]:
        """`parameters`, `multiply_adds`, `seconds` or `latency` of the settings, float64 [settings]."""
        return np.array([getattr(setting, name) for setting in self.settings], dtype=np.float64)

    def ratio(self, cost: str, setting: int, against: int | None = None) -> float:
        """The cost of a setting over that of the baseline, or of another; NaN where one is unknown."""
        costs = self.cost(cost)
        other = costs[self.baseline if against is None else against]
        return float(costs[setting] / other) if other else math.nan

    def label(self, setting: int) -> str:
        return self.settings[setting].label

    def of(self, setting: int) -> list[Run]:
        """The runs of a setting."""
        return [run for run in self.runs if run.setting == setting]


@dataclass(frozen=True)
class Grid:
    """`factors`, the one that changes slowest first; by setting its `levels` (one a factor), `labels` for people.

    `order` are the numbers of the settings, sorted by the levels: the rows of tables and pictures.
    """

    factors: tuple[Factor, ...]
    levels: tuple[tuple[Level, ...], ...]
    labels: tuple[str, ...]
    order: tuple[int, ...]


def grid(settings: Sequence[Values]) -> Grid:
    """The grid of `settings`, which are in the order in which they were declared."""
    keys = differing(settings)
    columns = {key: _column([values.get(key, NOT_SET) for values in settings]) for key in keys}
    changes = {key: sum(before != after for before, after in itertools.pairwise(columns[key])) for key in keys}
    groups = sorted(_together(columns), key=lambda group: changes[group[0]])
    names = short_names(keys)
    factors, levels = [], []
    for group in groups:
        column = columns[group[0]]
        if len(group) > 1:
            cells = zip(*(columns[key] for key in group), strict=True)
            column = [" & ".join(shown_level(level) for level in cell if level != NOT_SET) for cell in cells]
        factors.append(Factor(" & ".join(one_line(names[key]) for key in group), tuple(group), _in_order(column)))
        levels.append(column)
    laid = tuple(zip(*levels, strict=True)) if levels else ((),) * len(settings)
    places = [tuple(factor.levels.index(level) for factor, level in zip(factors, cell, strict=True)) for cell in laid]
    ordered = {key: names[key] for group in groups for key in group}
    return Grid(
        factors=tuple(factors),
        levels=laid,
        labels=tuple(title(values, ordered) for values in settings),
        order=tuple(sorted(range(len(settings)), key=lambda number: places[number])),
    )


def shown_level(level: Level) -> str:
    """A level as a person would type it, on one line."""
    return one_line(as_typed(list(level) if isinstance(level, tuple) else level))


def cell_label(factors: Sequence[Factor], cell: Sequence[Level]) -> str:
    """What a setting at these levels, one a factor, is called: `5 × 5 kernels, 64 filters`."""
    values: dict[str, Any] = {
        factor.keys[0]: list(level) if isinstance(level, tuple) else level
        for factor, level in zip(factors, cell, strict=True)
    }
    return title(values, {factor.keys[0]: factor.name for factor in factors})


def _column(values: Sequence[JsonValue]) -> list[Level]:
    """The levels of one key; as text where two that differ would count as equal (1 and true)."""

    def level(value: Any) -> Level:
        if isinstance(value, list) and all(type(one) is int for one in value):
            return tuple(value)
        return json.dumps(value) if isinstance(value, list | dict) else value

    levels, texts = [level(value) for value in values], [json.dumps(value) for value in values]
    return levels if len(set(levels)) == len(set(texts)) else list(texts)


def _together(columns: Mapping[str, Sequence[Level]]) -> list[list[str]]:
    """Keys in groups: those of a group always change together, and so are one factor."""
    groups: list[list[str]] = []
    for key, column in columns.items():
        for group in groups:
            pairs = set(zip(columns[group[0]], column, strict=True))
            if len(pairs) == len(set(column)) == len(set(columns[group[0]])):
                group.append(key)
                break
        else:
            groups.append([key])
    return groups


def _in_order(column: Sequence[Level]) -> tuple[Level, ...]:
    """Each level once: numbers by size, others as they were declared."""
    levels = tuple(dict.fromkeys(column))
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    return tuple(sorted(numbers)) if len(numbers) == len(levels) else levels
