"""All that a report rests on, read once: settings, runs, scores, costs. Holds values; reads only the answers' files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.findings.factors import Factor
from pipeline.findings.statistics.factors import Level
from pipeline.findings.statistics.images import Answers
from pipeline.findings.statistics.scores import Scores

ENDED = "finished", "diverged"
ASTRAY = "collapsed", "diverged"
"""Outcomes that are counted and told, and enter no mean: one such score makes noise of 20 points out of 0.2."""


@dataclass(frozen=True)
class Setting:
    """A setting: its `values` by dotted key without the seed, its `levels` in the order of the factors, its costs.

    `seconds` of training and `latency` (milliseconds an image by itself) are medians over its runs; any cost is NaN
    where it is not known.
    """

    label: str
    values: Mapping[str, JsonValue]
    levels: tuple[Level, ...]
    parameters: float
    multiply_adds: float
    seconds: float
    latency: float


@dataclass(frozen=True)
class Run:
    """One run: the number of its setting, how it ended, its accuracy in points where it has a score.

    `scored` in milliseconds since 1970; `answers` is its correct.npy, where there is one; `on_test` since when its
    record holds scores on test images beside those that this study compares; `collapsed` as `names_one_class` says.
    """

    setting: int
    seed: int
    identity: str
    state: str
    reason: str | None = None
    accuracy: float | None = None
    seconds: float | None = None
    latency: float | None = None
    commit: str | None = None
    uncommitted: bool = False
    hardware: str = ""
    images_digest: str = ""
    scored: int | None = None
    on_test: int | None = None
    answers: Path | None = None
    collapsed: bool = False

    @property
    def outcome(self) -> str:
        """Its state; of a run that ended as it should, but names one class whatever it sees: `collapsed`."""
        return "collapsed" if self.collapsed and self.state == "finished" else self.state

    @property
    def learned(self) -> bool:
        """Whether it has a score that says what its setting can do: it neither diverged nor collapsed."""
        return self.accuracy is not None and self.outcome not in ASTRAY


@dataclass(frozen=True, eq=False)
class Evidence:
    """A comparison. `settings` are in the order of the factors' levels, `seeds` sorted; `margin` in points.

    `images` ("validation" or "test") says which images scored it; `split` how many validation images were held out and
    by which seed. `data` is the digest of the training images, `refused` counts settings that can't exist. `store` is
    the address of the MLflow store, where the runs were read from one; `commands` make the report and its runs again.
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

    @cached_property
    def scores(self) -> Scores:
        """Accuracies float64 [settings, seeds] in points; NaN for a run that is missing, failed or did not learn."""
        found = np.full((len(self.settings), len(self.seeds)), np.nan)
        places = {seed: place for place, seed in enumerate(self.seeds)}
        for run in self.runs:
            if run.accuracy is not None and run.learned:
                found[run.setting, places[run.seed]] = run.accuracy
        return found

    @cached_property
    def answers(self) -> Answers | None:
        """Which run that learned answered which image rightly; None without such files or where the images differ.

        Raises OSError and ValueError for a file that can't be read, which `read_record` excludes.
        """
        scored = [run for run in self.runs if run.answers is not None and run.learned]
        if not scored or len({run.images_digest for run in scored}) > 1:
            return None
        correct = np.stack([np.load(run.answers, allow_pickle=False) for run in scored if run.answers is not None])
        settings, seeds = ([getattr(run, name) for run in scored] for name in ("setting", "seed"))
        return Answers(correct, np.array(settings), np.array(seeds))

    def cost(self, name: str) -> NDArray[np.float64]:
        """`parameters`, `multiply_adds`, `seconds` or `latency` of the settings, float64 [settings]."""
        return np.array([getattr(setting, name) for setting in self.settings], dtype=np.float64)

    def label(self, setting: int) -> str:
        return self.settings[setting].label

    def astray(self, setting: int) -> tuple[Run, ...]:
        """The runs of a setting that ended without having learned."""
        return tuple(run for run in self.runs if run.setting == setting and run.outcome in ASTRAY)

    def without_score(self) -> tuple[Run, ...]:
        """The runs that failed, or have not been done."""
        return tuple(run for run in self.runs if run.accuracy is None)
