"""The noise floor: how far scores of one and the same setting lie apart."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.findings.statistics.intervals import ERROR_RATE, Interval, t_quantile
from pipeline.findings.statistics.scores import Scores, check_scores, is_constant, present


@dataclass(frozen=True)
class SeedDeviation:
    """Standard deviation between seeds of one setting, pooled over settings, in points, with its 95 % interval."""

    deviation: float
    degrees_of_freedom: int
    interval: Interval


@dataclass(frozen=True)
class SameSettingCheck:
    """A/A check: each setting against itself, on disjoint halves of its seeds, over many random halvings.

    `differences` were looked at. `called` is the share (0..1) of them that the rule of the verdicts calls better or
    worse, all of them wrongly; `expected` the share that it allows itself. `root_mean_square` is the size of the
    differences, in points: what chance alone puts between two means of `seeds` seeds (of the setting with most).
    """

    differences: int
    seeds: int
    called: float
    expected: float
    root_mean_square: float


def seed_deviation(scores: Scores) -> SeedDeviation | None:
    """Square root of the mean variance of the settings, weighted by degrees of freedom.

    None where no setting has two scores, or none has two that differ: then there is no noise to speak of.

    The interval is that of chi-square (Snedecor & Cochran, "Statistical Methods", 8th ed. 1989, section 5.11). It takes
    scores as normal, of one deviation, and independent between settings. Otherwise it is too narrow: with 9 settings
    and 10 seeds it held the truth in 76 % of simulated studies where half of the variance belonged to the seed, shared
    by all settings, and in 80 % where noise was skewed and uneven (benchmarks/comparison.json).

    Raises as `check_scores`.
    """
    check_scores(scores)
    rows = [row for row in map(present, scores) if len(row) > 1]
    degrees_of_freedom = sum(len(row) - 1 for row in rows)
    if all(map(is_constant, rows)):
        return None
    squares = float(sum(((row - row.mean()) ** 2).sum() for row in rows))
    low, high = (stats.chi2.isf(tail, degrees_of_freedom) for tail in (ERROR_RATE / 2, 1 - ERROR_RATE / 2))
    return SeedDeviation(
        deviation=math.sqrt(squares / degrees_of_freedom),
        degrees_of_freedom=degrees_of_freedom,
        interval=Interval(math.sqrt(squares / low), math.sqrt(squares / high)),
    )


def same_setting_check(scores: Scores, halvings: int = 1000, random_seed: int = 0) -> SameSettingCheck | None:
    """Splits the seeds of each setting in two, pairs the halves at random, and asks for a difference.

    The rule is that of the verdicts: the paired t interval, at the study's own number of comparisons, leaves out zero.
    Halves may have fewer seeds than a verdict needs; the floor is not applied here. A setting with fewer than four
    seeds is left out; None where that leaves none.

    Raises as `check_scores`, and ValueError for no halvings.
    """
    check_scores(scores)
    if halvings < 1:
        raise ValueError(f"halvings must be at least 1, not {halvings}")
    rows = [row for row in map(present, scores) if len(row) >= 4]
    if not rows:
        return None
    comparisons = max(len(scores) - 1, 1)
    # The same halvings for each setting: the order of the settings must not matter.
    halves = [_half_differences(row, halvings, np.random.default_rng(random_seed)) for row in rows]
    means = np.concatenate([half.mean(axis=1) for half in halves])
    return SameSettingCheck(
        differences=len(means),
        seeds=max(half.shape[1] for half in halves),
        called=float(np.concatenate([_called(half, comparisons) for half in halves]).mean()),
        expected=ERROR_RATE / comparisons,
        root_mean_square=math.sqrt(float(np.mean(means**2))),
    )


def _half_differences(values: NDArray[np.float64], halvings: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Differences of two random halves of `values` [n], paired by place, float64 [halvings, n // 2]."""
    half = len(values) // 2
    shuffled: NDArray[np.float64] = random.permuted(np.tile(values, (halvings, 1)), axis=1)
    return shuffled[:, :half] - shuffled[:, half : 2 * half]


def _called(differences: NDArray[np.float64], comparisons: int) -> NDArray[np.bool_]:
    """For each row [seeds], whether its t interval leaves out zero."""
    seeds = differences.shape[1]
    error = differences.std(axis=1, ddof=1) / math.sqrt(seeds)
    called: NDArray[np.bool_] = np.abs(differences.mean(axis=1)) > t_quantile(seeds - 1, comparisons) * error
    return called
