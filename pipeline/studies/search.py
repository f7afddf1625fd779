"""A search: an optimiser (Optuna) proposes settings by the scores of those before, a generation at a time.

What it has proposed stands in the study, in order. The next generation follows from that, from its scores and a fixed
seed, and is asked for when all runs of the one before have ended, however many go on at once: a search that is killed
goes on to the same settings.
"""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.config.messages import refused
from pipeline.studies.plan import Plan, plan_grid
from pipeline.studies.study import ENDED, Point, Sampler, Search, Study, Trial
from pipeline.studies.study_config import LONGEST_NAME, StudyConfig
from pipeline.terminal.errors import UserError

INSTALL = ".tools/bin/uv pip install --python .venv --require-hashes -r requirements/search.txt"

GENERATION = 5
"""Trials that are asked for at once: a constant, since what is proposed must not depend on the machine."""

DIGITS = 3
"""Of a number between the ends of an interval."""

SAMPLERS: Mapping[Sampler, str] = {"tpe": "TPESampler", "random": "RandomSampler"}
"""Optuna's. TPE: Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (2011)."""

FINALISTS, FRESH_SEEDS = 3, 10
NO_PART = "study.", "tracking", "hydra", "seed="
"""Words of a line that say nothing of what is trained."""


class Dimension(NamedTuple):
    """What one key may be: one of `choices`, as typed, which have an order where they are numbers; or between two ends,
    a whole number where these are.
    """

    choices: tuple[str, ...] = ()
    is_ordered: bool = False
    low: float = 0
    high: float = 0
    is_log: bool = False

    def __str__(self) -> str:
        interval = f"interval({self.low},{self.high})"
        return ",".join(self.choices) or (f"tag(log,{interval})" if self.is_log else interval)

    def distribution(self, distributions: Any) -> Any:
        """As one of Optuna's `distributions`: a choice by its place."""
        if self.choices and not self.is_ordered:
            return distributions.CategoricalDistribution(range(len(self.choices)))
        if self.choices:
            return distributions.IntDistribution(0, len(self.choices) - 1)
        kind = distributions.IntDistribution if isinstance(self.low, int) else distributions.FloatDistribution
        return kind(self.low, self.high, log=self.is_log)

    def text(self, value: float) -> str:
        """What Optuna proposes, as it would be typed."""
        if self.choices:
            return self.choices[int(value)]
        if isinstance(self.low, int):
            return str(value)
        return str(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def value(self, text: str) -> float:
        """The same the other way."""
        return self.choices.index(text) if self.choices else type(self.low)(text)


class Space(NamedTuple):
    """What a search may propose by key, the seeds of each trial, the words that all trials have in common."""

    dimensions: Mapping[str, Dimension]
    seeds: tuple[int, ...]
    words: tuple[str, ...]


class Optimiser:
    """Plans the trials of one study. `compose` makes points of the words of runs, in their order.

    Raises UserError where Optuna is not installed, or there is nothing to search.
    """

    def __init__(self, space: Space, compose: Callable[[list[list[str]]], list[Point]], config: StudyConfig) -> None:
        self._space, self._compose, self._config = space, compose, config
        self._optuna = _import_optuna()
        self._search = _declare(space, config)
        self._plans: dict[tuple[tuple[str, str], ...], Plan] = {}

    def start(self, present: Study | None) -> Plan:
        """The plan of what the search has proposed already, else of its first generation."""
        search = None if present is None else present.search
        if present is not None and search is not None and search.space == self._search.space:
            plan = self._plan([trial.values for trial in search.trials])
            # Of other code the scores, and so what followed from them, are others.
            if plan.basis == present.basis:
                return plan
        plan = self._plan(self._propose([], []))
        if not plan.jobs:
            reason = next(iter(plan.refused.values()))
            raise UserError(f"none of the first {GENERATION} settings of this search can exist: {reason}")
        return plan

    def extend(self, study: Study) -> Plan:
        """The plan of all trials of a study and of the next generation."""
        trials = () if study.search is None else study.search.trials
        known = [trial.values for trial in trials]
        return self._plan([*known, *self._propose(known, trial_scores(study))])

    def _propose(self, known: list[dict[str, str]], scores: Sequence[float | None]) -> list[dict[str, str]]:
        """What is left of the generation in which `known` ends, or the next."""
        optuna, dimensions = self._optuna, self._space.dimensions
        # What a shorter search left out of its last generation is asked for again.
        whole = len(known) // GENERATION * GENERATION
        sampler = getattr(optuna.samplers, SAMPLERS[self._search.sampler])(seed=whole)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = {key: one.distribution(optuna.distributions) for key, one in dimensions.items()}
        for values, score in list(zip(known, scores, strict=True))[:whole]:
            params = {key: one.value(values[key]) for key, one in dimensions.items()}
            state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(state=state, value=score, params=params, distributions=distributions)
            )
        asked = [study.ask(distributions).params for _ in range(GENERATION)]
        new = asked[len(known) - whole : self._search.planned - whole]
        return [{key: one.text(params[key]) for key, one in dimensions.items()} for params in new]

    def _plan(self, trials: Sequence[dict[str, str]]) -> Plan:
        """The plan of trials: what each sets, by key as it would be typed."""
        seeds = self._space.seeds
        new = [values for values in trials if tuple(values.items()) not in self._plans]
        settings = [[*self._space.words, *(f"{key}={text}" for key, text in values.items())] for values in new]
        points = self._compose([[*words, f"seed={seed}"] for words in settings for seed in seeds]) if new else []
        for place, values in enumerate(new):
            own = points[place * len(seeds) : (place + 1) * len(seeds)]
            self._plans[tuple(values.items())] = plan_grid(own, self._config)
        each = [self._plans[tuple(values.items())] for values in trials]
        named = (Trial(values, next(iter(one.settings), None)) for values, one in zip(trials, each, strict=True))
        return Plan(
            jobs=tuple({job.identity.name: job for one in each for job in one.jobs}.values()),
            settings={name: setting for one in each for name, setting in one.settings.items()},
            refused={words: reason for one in each for words, reason in one.refused.items()},
            basis=next((one.basis for one in each if one.basis), ""),
            search=replace(self._search, trials=tuple(named)),
        )


def _import_optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError(f"study.search: needs Optuna, which is not installed: `{INSTALL}`") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _declare(space: Space, config: StudyConfig) -> Search:
    """The search before its first trial. Raises ConfigurationError where there is nothing to search."""
    if config.search is None or config.trials is None:
        raise AssertionError("checked before")
    if not space.dimensions:
        way = "Write 'training.learning_rate=interval(0.0005,0.01)', or model.conv.filters=8,16,32"
        raise refused("study.search", f"must have keys to search, not {config.search} alone. {way}.")
    finite = all(one.choices for one in space.dimensions.values())
    combinations = math.prod(len(one.choices) for one in space.dimensions.values())
    if finite and combinations <= config.trials:
        must = f"be fewer than the {combinations} combinations there are, not {config.trials}"
        raise refused("study.trials", f"must {must}. Leave out study.search and study.trials: a grid does them all.")
    words = tuple(word for word in space.words if not word.startswith(NO_PART))
    return Search(
        sampler=config.search,
        planned=config.trials,
        space={key: str(one) for key, one in space.dimensions.items()},
        seeds=space.seeds,
        words=words,
    )


def trial_scores(study: Study) -> list[float | None]:
    """Of each trial the mean accuracy over its seeds in points; None where a run failed, or has not ended.

    Runs that collapsed or diverged count with what they scored: the search is to keep away from there.
    """
    search = study.search
    if search is None:
        return []
    accuracies: dict[str | None, list[float | None]] = {}
    for run in study.cells:
        own = run.accuracy if run.state in ENDED else None
        accuracies.setdefault(run.setting, []).append(own)
    scores = []
    for trial in search.trials:
        known = [own for own in accuracies.get(trial.setting, []) if own is not None]
        is_whole = len(known) == len(search.seeds)
        scores.append(round(100 * math.fsum(known) / len(known), 9) if is_whole else None)
    return scores


def finalists(study: Study) -> list[Trial]:
    """The trials with the highest scores, each setting once, the best first."""
    trials = () if study.search is None else study.search.trials
    scored = [(score, trial) for score, trial in zip(trial_scores(study), trials, strict=True) if score is not None]
    best = dict[str | None, Trial]()
    for _, trial in sorted(scored, key=lambda one: -one[0]):
        best.setdefault(trial.setting, trial)
    return list(best.values())[:FINALISTS]


def verdict_line(study: Study) -> str:
    """The line that gives a verdict on the finalists: fresh seeds, the best as the baseline; empty without two."""
    search, best = study.search, finalists(study)
    if search is None or len(best) < 2:
        return ""
    numbers = [search.trials.index(trial) + 1 for trial in best]
    settings = [
        f"trial{number}:{{{','.join(f'{key}:{text}' for key, text in trial.values.items())}}}"
        for number, trial in zip(numbers, best, strict=True)
    ]
    first = max(search.seeds) + 1
    # What the study's file declares.
    unset = ["study.search=null", "study.trials=null"] if any("study=" in word for word in search.words) else []
    return shlex.join([
        *("python", "-m", "pipeline.sweep", "-m", *search.words, *unset),
        f"study.name={study.name[: LONGEST_NAME - 10]}_finalists",
        f"+study.settings={{{','.join(settings)}}}",
        f"study.baseline={{setting:trial{numbers[0]}}}",
        f"seed=range({first},{first + FRESH_SEEDS})",
    ])  # fmt: skip


def words_of(trial: Trial) -> str:
    """`model.conv.filters=16 training.learning_rate=0.003`."""
    return " ".join(f"{key}={text}" for key, text in trial.values.items())
