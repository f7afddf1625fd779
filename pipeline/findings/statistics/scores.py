"""Scores of settings and seeds, and each setting by itself.

Scores are accuracies in percentage points (0..100), float64 [settings, seeds]: a column is a seed, NaN a run that is
missing or failed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.statistics.intervals import Interval, t_interval

Scores = NDArray[np.float64]
"""Accuracies float64 [settings, seeds] in points, 0..100 or NaN."""


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


def summaries(scores: Scores) -> tuple[Summary, ...]:
    """Each setting by itself, in their order; the intervals are not simultaneous. Raises as `check_scores`."""
    check_scores(scores)
    return tuple(_summary(present(row)) for row in scores)


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
    there = ~np.isnan(scores)
    runs = there.sum(axis=1)
    sums = np.where(there, scores, 0).sum(axis=1)
    averages: NDArray[np.float64] = np.divide(sums, runs, out=np.full(len(scores), np.nan), where=runs > 0)
    return averages


def check_scores(scores: Scores, settings: int = 1) -> None:
    """Raises ValueError unless these are points [settings, seeds], 0..100 or NaN, of at least `settings` settings."""
    if scores.ndim != 2 or len(scores) < settings or scores.shape[1] == 0:
        raise ValueError(
            f"scores must be [settings, seeds] with at least {settings} settings and 1 seed, not {scores.shape}"
        )
    wrong = scores[~np.isnan(scores) & ~((scores >= 0) & (scores <= 100))]
    if wrong.size:
        raise ValueError(f"scores must be percentage points from 0 to 100, or NaN for a missing run, not {wrong[0]}")


def _summary(values: NDArray[np.float64]) -> Summary:
    if not values.size:
        return Summary(0, None, None, None, None)
    return Summary(
        seeds=len(values),
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)) if len(values) > 1 else None,
        interval=None if is_constant(values) else t_interval(values),
        range=Interval(float(values.min()), float(values.max())),
    )
