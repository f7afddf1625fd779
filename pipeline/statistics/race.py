"""Races: seeds are added round by round, and a setting whose verdict stands gets no more.

A race is replayed from its scores: it has no state of its own, so that a kill, a resume or two terminals change
nothing. Its looks, after 3, 4, … seeds, are planned and paid for.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.statistics.contrasts import (
    Contrast,
    ContrastVerdict,
    contrast_noises,
    contrast_values,
    contrast_verdict,
    is_fixed,
)
from pipeline.statistics.differences import FEWEST_SEEDS, POWER, Verdict, verdict
from pipeline.statistics.intervals import ERROR_RATE, Interval, t_interval, t_quantile
from pipeline.statistics.scores import means

Stop = Literal["decided", "best"]
"""When a race ends: when all verdicts stand, or when all settings but one are known not to be the best."""


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
    contrasts, by contrast. `finished`: nothing is open, or there are no more seeds.
    """

    seeds: int
    open: frozenset[int]
    decided: Mapping[int, Decided]
    finished: bool


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
    looks at most `error_rate` of studies get any false verdict.

    Raises ValueError for scores and ended of different shapes, a baseline that is no setting, and no margin above zero.
    """
    if scores.shape != ended.shape or scores.ndim != 2:
        raise ValueError(f"scores and ended must have one shape [settings, seeds], not {scores.shape}, {ended.shape}")
    if not 0 <= baseline < len(scores):
        raise ValueError(f"baseline must be a setting from 0 to {len(scores) - 1}, not {baseline}")
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be above 0, not {margin}")
    settings, seeds = scores.shape
    scores, decided = scores.copy(), dict[int, Decided]()
    places = [*range(len(contrasts))] if contrasts else [each for each in range(settings) if each != baseline]
    running = _running(places, contrasts, decided, baseline)
    for look in range(1, seeds + 1):
        if not all(ended[setting, look - 1] for setting in running):
            return Standing(look - 1, running, decided, finished=False)
        stopped = sorted(set(range(settings)) - running)
        scores[stopped, look - 1] = np.nan
        if look >= FEWEST_SEEDS:
            level = error_rate / (seeds - FEWEST_SEEDS + 1)
            if stop == "best" and not contrasts:
                left = [each for each in range(settings) if each not in decided]
                decided |= _dropped(scores[:, :look], left, baseline, margin, level)
            else:
                decided |= _judge(scores[:, :look], places, decided, baseline, margin, contrasts, level)
            running = _running(places, contrasts, decided, baseline)
            if not running:
                break
    return Standing(look, running, decided, finished=True)


def detectable(settings: int, seeds: int, noise: float) -> float:
    """Points by which a setting must differ from the baseline to be found by so many seeds with 80 %.

    `noise` is the deviation between seeds of one setting, in points, the same for all `settings`.
    """
    comparisons = settings - 1
    freedom = (seeds - 1) * 4 * comparisons / (comparisons + 3)
    centre = special.nctdtrinc(freedom, 1 - POWER, t_quantile(freedom, comparisons))
    return float(centre) * noise * math.sqrt(2 / seeds)


def _running(
    places: Sequence[int], contrasts: Sequence[Contrast], decided: Mapping[int, Decided], baseline: int
) -> frozenset[int]:
    """The settings that an open comparison needs."""
    left = [place for place in places if place not in decided]
    if contrasts:
        return frozenset(int(each) for place in left for each in np.flatnonzero(contrasts[place].weights))
    return frozenset([*left, baseline]) if left else frozenset()


def _judge(
    scores: NDArray[np.float64],
    places: Sequence[int],
    decided: Mapping[int, Decided],
    baseline: int,
    margin: float,
    contrasts: Sequence[Contrast],
    level: float,
) -> dict[int, Decided]:
    """What a look decides; `level` is its share of the error rate."""
    family = contrasts or [_difference(len(scores), place, baseline, margin) for place in places]
    values = [contrast_values(scores, contrast.weights) for contrast in family]
    noises = contrast_noises(scores, family, values)
    new = {}
    for place, contrast, own, noise in zip(places, family, values, noises, strict=True):
        if place in decided or is_fixed(scores, contrast.weights):
            continue
        interval = t_interval(own, len(family) * ERROR_RATE / level, noise)
        said = contrast_verdict(contrast, interval, len(own)) if contrasts else verdict(interval, len(own), margin)
        if interval is not None and said not in ("can't tell", "no verdict"):
            new[place] = Decided(said, scores.shape[1], interval)
    return new


def _dropped(
    scores: NDArray[np.float64], left: list[int], baseline: int, margin: float, level: float
) -> dict[int, Decided]:
    """The settings that a look shows to be worse than the leader, or equivalent to it."""
    averages = means(scores[left])
    if np.isnan(averages).all():
        return {}
    leader = left[int(np.nanargmax(averages))]
    others = [each for each in left if each != leader]
    family = [_difference(len(scores), each, leader, margin) for each in others]
    values = [contrast_values(scores, contrast.weights) for contrast in family]
    pairs = len(list(itertools.combinations(range(len(scores)), 2)))
    new = {}
    for setting, own, noise in zip(others, values, contrast_noises(scores, family, values), strict=True):
        interval = t_interval(own, pairs * ERROR_RATE / level, noise)
        said = verdict(interval, len(own), margin)
        if interval is not None and setting != baseline and said in (Verdict.WORSE, Verdict.EQUIVALENT):
            new[setting] = Decided(said, scores.shape[1], interval)
    return new


def _difference(settings: int, setting: int, baseline: int, margin: float) -> Contrast:
    weights = np.zeros(settings)
    weights[[setting, baseline]] = 1, -1
    return Contrast(weights, "gain", margin)
