"""Scores of settings and seeds, each setting by itself, and how far the scores of one setting lie apart."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.intervals import Interval, t_interval, t_quantile

Scores = NDArray[np.float64]
"""Accuracies float64 [settings, seeds] in percentage points, 0..100; NaN for a run that is missing or failed."""


@dataclass(frozen=True)
class Summary:
    """The scores of one setting, in points, over `seeds` seeds.

    `deviation` is the standard deviation (n - 1), `interval` holds the mean of all possible seeds with 95 %; both are
    None for fewer than two seeds, and the interval where all score the same. `mean` and `range` (lowest and highest
    score) are None without any.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    range: Interval | None


@dataclass(frozen=True)
class SeedDeviation:
    """Standard deviation between seeds of one setting, pooled over settings, in points, with its 95 % interval.

    The interval is None for fewer than three seeds, or where without one of them nothing varies.
    """

    deviation: float
    interval: Interval | None


def summaries(scores: Scores) -> tuple[Summary, ...]:
    """Each setting by itself, in their order; the intervals are not simultaneous. Raises as `check_scores`."""
    check_scores(scores)
    return tuple(
        Summary(
            seeds=len(row),
            mean=float(row.mean()) if row.size else None,
            deviation=float(row.std(ddof=1)) if len(row) > 1 else None,
            interval=None if is_constant(row) else t_interval(row),
            range=Interval(float(row.min()), float(row.max())) if row.size else None,
        )
        for row in map(present, scores)
    )


def present(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores of one setting that exist."""
    values: NDArray[np.float64] = row[~np.isnan(row)]
    return values


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether there are several scores [n] and all are the same: the seed changed nothing, and they say what one says.

    Their interval would have no width, as if all noise were known to be zero.
    """
    return len(values) > 1 and bool(np.ptp(values) == 0)


def means(scores: Scores) -> NDArray[np.float64]:
    """Mean of each setting over the seeds it has, float64 [settings]; NaN where it has none."""
    return np.array([row.mean() if row.size else np.nan for row in map(present, scores)])


def seed_deviation(scores: Scores) -> SeedDeviation | None:
    """Square root of the mean variance of the settings, weighted by degrees of freedom; None where no score varies.

    The interval is the jackknife's over seeds, of the variance's logarithm (Miller, "Jackknifing Variances", Annals of
    Mathematical Statistics 39, 1968): settings may have noise of different size and share what is good or bad for all,
    where the interval of chi-square is far too narrow. Raises as `check_scores`.
    """
    check_scores(scores)
    deviation = _pooled_deviation(scores)
    if not deviation:
        return None
    there = [seed for seed in range(scores.shape[1]) if not np.isnan(scores[:, seed]).all()]
    without = [_pooled_deviation(np.delete(scores, seed, axis=1)) for seed in there]
    if len(there) < 3 or not all(without):
        return SeedDeviation(deviation, None)
    error = (len(there) - 1) / math.sqrt(len(there)) * float(np.log(without).std(ddof=1))
    factor = math.exp(t_quantile(len(there) - 1) * error)
    return SeedDeviation(deviation, Interval(deviation / factor, deviation * factor))


def check_scores(scores: Scores, settings: int = 1) -> None:
    """Raises ValueError unless these are points [settings, seeds], 0..100 or NaN, of at least `settings` settings."""
    if scores.ndim != 2 or len(scores) < settings or scores.shape[1] == 0:
        raise ValueError(
            f"scores must be [settings, seeds] with at least {settings} settings and 1 seed, not {scores.shape}"
        )
    wrong = scores[~np.isnan(scores) & ~((scores >= 0) & (scores <= 100))]
    if wrong.size:
        raise ValueError(f"scores must be percentage points from 0 to 100, or NaN for a missing run, not {wrong[0]}")


def _pooled_deviation(scores: Scores) -> float:
    """0 where no setting has two scores that differ."""
    rows = [row for row in map(present, scores) if len(row) > 1]
    if all(map(is_constant, rows)):
        return 0.0
    return math.sqrt(sum(row.var() * len(row) for row in rows) / sum(len(row) - 1 for row in rows))
