"""In place of Optuna: an optimiser that draws by its seed and by all that it was told, and keeps what that was.

Standard library only: a project without Optuna can import it under that name.
"""

import math
import random
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

told: list[list[float | None]] = []
"""By study, in the order in which they were made: the scores of its trials, None failed."""


class TrialState(Enum):
    COMPLETE = 1
    FAIL = 3


@dataclass
class IntDistribution:
    low: int
    high: int
    log: bool = False

    def draw(self, draws: random.Random) -> float:
        return draws.randint(self.low, self.high)

    def holds(self, value: float) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass
class FloatDistribution:
    low: float
    high: float
    log: bool = False

    def draw(self, draws: random.Random) -> float:
        if self.log:
            return math.exp(draws.uniform(math.log(self.low), math.log(self.high)))
        return draws.uniform(self.low, self.high)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass
class CategoricalDistribution:
    choices: range

    def draw(self, draws: random.Random) -> float:
        return draws.choice(self.choices)

    def holds(self, value: float) -> bool:
        return value in self.choices


@dataclass
class Sampler:
    seed: int


@dataclass
class Study:
    sampler: Sampler
    trials: list[Any] = field(default_factory=list)
    asked: int = 0

    def add_trial(self, trial: Any) -> None:
        self.trials.append(trial)
        told[-1].append(trial.value)

    def ask(self, distributions: dict[str, Any]) -> Any:
        self.asked += 1
        draws = random.Random(f"{self.sampler.seed} {self.asked} {[trial.value for trial in self.trials]}")
        return SimpleNamespace(params={key: one.draw(draws) for key, one in distributions.items()})


def create_study(direction: str, sampler: Sampler) -> Study:
    assert direction == "maximize"
    told.append([])
    return Study(sampler)


def create_trial(state: TrialState, value: float | None, params: dict[str, Any], distributions: dict[str, Any]) -> Any:
    assert (state is TrialState.FAIL) == (value is None)
    assert all(one.holds(params[key]) for key, one in distributions.items()), params
    return SimpleNamespace(value=value)


distributions = SimpleNamespace(
    IntDistribution=IntDistribution,
    FloatDistribution=FloatDistribution,
    CategoricalDistribution=CategoricalDistribution,
)
samplers = SimpleNamespace(TPESampler=Sampler, RandomSampler=Sampler)
trial = SimpleNamespace(TrialState=TrialState, create_trial=create_trial)
logging = SimpleNamespace(WARNING=30, set_verbosity=lambda level: level)
