"""Races: seeds are added round by round, and a setting whose verdict stands gets no more.

A race is replayed from its scores: it has no state of its own, so that a kill, a resume or two terminals change
nothing. Its looks, after 3, 4, … seeds, are planned and paid for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.differences import (
    FEWEST_SEEDS,
    OF_GAIN,
    POWER,
    Contrast,
    ContrastVerdict,
    Verdict,
    contrast_noises,
    contrast_verdict,
    paired_values,
)
from pipeline.statistics.intervals import ERROR_RATE, Interval, t_interval, t_quantile
from pipeline.statistics.scores import means

Stop = Literal["decided", "best"]
"""When a race ends: when all verdicts stand, or when all settings but one are known not to be better than it."""

PAID = 0.8
"""The part of the error rate that the looks spend. The rest is for what their bounds don't know: settings of unequal
noise (benchmarks/races.py)."""

OPEN = Verdict.CANT_TELL, Verdict.NO_VERDICT, ContrastVerdict.CANT_TELL, ContrastVerdict.NO_VERDICT
ALIKE = Verdict.EQUIVALENT, ContrastVerdict.NO_DIFFERENCE


@dataclass(frozen=True)
class Decided:
    """A verdict that stands since the look after `seeds` seeds, with the interval that gave it."""

    verdict: Verdict | ContrastVerdict
    seeds: int
    interval: Interval


@dataclass(frozen=True)
class Standing:
    """Where a race stands after `seeds` whole rounds.

    `open` settings get the next seed; those that lack it may be in work. `decided` is by setting, or, where there are
    contrasts, by contrast; `undecided` has the intervals of the others at the last look, if there was one and they have
    two seeds. In a race for the best a verdict compares with the setting that led then. `finished`: nothing is to be
    decided, or there are no more seeds; what is open then, the race can't tell.
    """

    seeds: int
    open: frozenset[int]
    decided: Mapping[int, Decided]
    undecided: Mapping[int, Interval]
    finished: bool


@dataclass(frozen=True)
class _Rules:
    """What a race compares, and what a look decides."""

    settings: int
    seeds: int
    baseline: int
    margin: float
    stop: Stop
    contrasts: Sequence[Contrast]
    error_rate: float

    def family(self, scores: NDArray[np.float64], decided: Mapping[int, Decided]) -> dict[int, Contrast]:
        """What a look compares: contrasts, or each setting with the baseline, in a race for the best with the leader,
        which has the highest mean of those that are left."""
        if self.contrasts:
            return dict(enumerate(self.contrasts))
        reference = self.baseline
        if self.stop == "best":
            averages = means(scores)
            averages[list(decided)] = np.nan
            if np.isnan(averages).all():
                return {}
            reference = int(np.nanargmax(averages))
        unit = np.eye(self.settings)
        others = (setting for setting in range(self.settings) if setting != reference)
        return {setting: Contrast(unit[setting] - unit[reference], "gain", self.margin) for setting in others}

    def comparisons(self, decided: Mapping[int, Decided]) -> int:
        """Those that share the error rate.

        A comparison that is decided hands its share on to those that are open, as each could only be false before
        (Holm, Scandinavian Journal of Statistics 6, 1979), unless it found no difference: that risk was run. A race for
        the best compares all pairs.
        """
        different = sum(known.verdict not in ALIKE for known in decided.values())
        if self.contrasts:
            return len(self.contrasts) - different
        left = self.settings - different
        return left * (left - 1) // 2 if self.stop == "best" else left - 1

    def running(self, decided: Mapping[int, Decided]) -> frozenset[int]:
        """The settings that an open comparison needs."""
        if self.contrasts:
            left = [contrast.weights for place, contrast in enumerate(self.contrasts) if place not in decided]
            return frozenset(np.flatnonzero(np.any(left, axis=0)).tolist() if left else ())
        open_ = frozenset(range(self.settings)) - decided.keys()
        return frozenset() if len(open_) == 1 else open_ | {self.baseline}

    def judge(
        self, scores: NDArray[np.float64], decided: Mapping[int, Decided]
    ) -> tuple[dict[int, Decided], dict[int, Interval]]:
        """What a look at scores [settings, seeds so far] decides, and the intervals of what stays open."""
        family = self.family(scores, decided)
        noises = contrast_noises(scores, list(family.values()))
        share = PAID * self.error_rate / self.comparisons(decided)
        comparisons = ERROR_RATE / look_level(self.seeds, share)
        new, undecided = dict(decided), {}
        for (place, contrast), noise in zip(family.items(), noises, strict=True):
            values, is_fixed = paired_values(scores, contrast.weights)
            interval = t_interval(values, comparisons, noise)
            if place in decided or interval is None or is_fixed:
                continue
            says = contrast_verdict(contrast, interval, len(values))
            named = says if self.contrasts else OF_GAIN[says]
            # Runs that failed can make a leader of what is worse, seed by seed: that is no verdict on the other.
            if named in OPEN or (self.stop == "best" and named is Verdict.BETTER):
                undecided[place] = interval
            else:
                new[place] = Decided(named, scores.shape[1], interval)
        return new, undecided


def race(
    scores: NDArray[np.float64],
    ended: NDArray[np.bool_],
    baseline: int,
    margin: float,
    stop: Stop,
    contrasts: Sequence[Contrast] = (),
    error_rate: float = ERROR_RATE,
) -> Standing:
    """Where the race of these settings stands.

    `scores` float64 [settings, seeds] in the order in which seeds are run, NaN where there is none; `ended` bool
    [settings, seeds]: whose run came to its end, even if it failed. A look needs all open settings to have ended its
    seed; what was run of a setting after its verdict counts for nothing. With contrasts the race is over them. Over all
    looks at most `error_rate` of studies get any false verdict (docs/statistics.md). Contrasts over several scores are
    several races, each with its share.

    Raises ValueError for scores and ended of different shapes, a baseline that is no setting, and no margin above zero.
    """
    if scores.shape != ended.shape or scores.ndim != 2:
        raise ValueError(f"scores and ended must have one shape [settings, seeds], not {scores.shape}, {ended.shape}")
    if not 0 <= baseline < len(scores):
        raise ValueError(f"baseline must be a setting from 0 to {len(scores) - 1}, not {baseline}")
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be above 0, not {margin}")
    rules = _Rules(len(scores), scores.shape[1], baseline, margin, stop, contrasts, error_rate)
    counted, decided, undecided = np.full_like(scores, np.nan), dict[int, Decided](), dict[int, Interval]()
    running = rules.running(decided)
    for seed in range(rules.seeds):
        if not running or not all(ended[setting, seed] for setting in running):
            return Standing(seed, running, decided, undecided, finished=not running)
        rows = sorted(running)
        counted[rows, seed] = scores[rows, seed]
        if seed + 1 >= FEWEST_SEEDS:
            decided, undecided = rules.judge(counted[:, : seed + 1], decided)
            running = rules.running(decided)
    return Standing(rules.seeds, running, decided, undecided, finished=True)


@lru_cache(maxsize=256)
def look_level(seeds: int, share: float) -> float:
    """The error rate of each look after 3, 4, …, `seeds` seeds with which all together spend `share`.

    The same for each (Pocock, Biometrika 64, 1977), found for noise that is known and kept as the level of a t interval
    (Jennison & Turnbull, "Group Sequential Methods", 2000, section 4.4).
    """
    if seeds <= FEWEST_SEEDS:
        return share
    most = float(scipy.special.ndtri(1 - share / 2 / (seeds - FEWEST_SEEDS + 1)))
    least = float(scipy.special.ndtri(1 - share / 2))
    bound = scipy.optimize.brentq(lambda each: _crossing(each, seeds) - share, least, most, xtol=1e-4)
    return 2 * float(scipy.special.ndtr(-bound))


def detectable(settings: int, seeds: int, noise: float, *, is_race: bool = False) -> float:
    """Points by which a setting must differ from the baseline to be found by so many seeds with 80 %.

    `noise` is the deviation between seeds of one setting, in points, the same for all `settings`, of which there are
    two at least, as of seeds. A race has to find it with its last look: its looks cost a little.
    """
    comparisons = settings - 1
    freedom = (seeds - 1) * 4 * comparisons / (comparisons + 3)
    # The larger of the own and the pooled deviation counts; of each 20 equal steps.
    steps = (np.arange(20) + 0.5) / 20
    own, pooled = (np.sqrt(scipy.special.chdtri(degrees, steps) / degrees) for degrees in (seeds - 1, freedom))
    shares = ERROR_RATE / look_level(seeds, PAID * ERROR_RATE / comparisons) if is_race else comparisons
    widths = t_quantile(freedom, shares) * np.maximum.outer(own, pooled)
    errors = scipy.optimize.brentq(lambda each: scipy.special.ndtr(each - widths).mean() - POWER, 0, 2 * widths.max())
    return float(errors) * noise * math.sqrt(2 / seeds)


def _crossing(bound: float, seeds: int) -> float:
    """Probability that a mean of 3, 4, … or `seeds` normal values lies `bound` standard errors from the true one.

    The density of the sum that has not crossed is carried from look to look (Armitage, McPherson & Rowe, JRSS A 132,
    1969), at the nodes of Gauss and Legendre.
    """
    nodes, weights = np.polynomial.legendre.leggauss(32 + math.ceil(2 * bound * math.sqrt(seeds)))
    edge = bound * math.sqrt(FEWEST_SEEDS)
    sums, density = edge * nodes, np.exp(-((bound * nodes) ** 2) / 2) / math.sqrt(2 * math.pi * FEWEST_SEEDS)
    for seed in range(FEWEST_SEEDS + 1, seeds + 1):
        before, mass, edge = sums, edge * weights * density, bound * math.sqrt(seed)
        sums = edge * nodes
        density = np.exp(-((sums[:, None] - before) ** 2) / 2) @ mass / math.sqrt(2 * math.pi)
    return 1 - float(edge * weights @ density)
