"""Intervals of means, and how wide they must be when several are read together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

ERROR_RATE = 0.05
"""Share of studies in which at least one of a family of intervals may miss the truth: intervals are 95 % ones."""

FAR = 3
"""A deviation of more than so many times the median of all is not pooled with them."""


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both ends included, in the unit of what it is an interval for."""

    low: float
    high: float

    def inside(self, margin: float) -> bool:
        """Whether all of it lies nearer to zero than the margin."""
        return -margin < self.low and self.high < margin

    def holds_zero(self) -> bool:
        """Whether zero is one of its values."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Noise:
    """The standard deviation that an interval takes as that of its values, and how well it is known."""

    deviation: float
    degrees_of_freedom: float


def t_interval(values: NDArray[np.float64], comparisons: float = 1, noise: Noise | None = None) -> Interval | None:
    """Interval for the mean of what `values` float64 [n] are a sample of; None for fewer than two values.

    mean ± t × deviation / √n (Student, "The Probable Error of a Mean", Biometrika 6, 1908), by their own deviation
    where no `noise` is given. One of `comparisons` intervals that hold together with 95 %; see `t_quantile`.
    """
    if len(values) < 2:
        return None
    noise = noise or Noise(float(values.std(ddof=1)), len(values) - 1)
    mean = float(values.mean())
    half = t_quantile(noise.degrees_of_freedom, comparisons) * noise.deviation / math.sqrt(len(values))
    return Interval(mean - half, mean + half)


def pooled_intervals(
    samples: Sequence[NDArray[np.float64]], comparisons: float, independent: float = math.inf
) -> list[Interval | None]:
    """The intervals of several samples [n], one of `comparisons` each, with the noise of `pool_noise`."""
    noises = pool_noise(samples, independent)
    return [t_interval(sample, comparisons, noise) for sample, noise in zip(samples, noises, strict=True)]


def pool_noise(samples: Sequence[NDArray[np.float64]], independent: float = math.inf) -> list[Noise | None]:
    """The noise of each sample [n], taken as at least that of all on average; None for fewer than two values.

    A few seeds often show too small a deviation, and that is what makes false verdicts. So the deviations up to `FAR`
    times their median (of those above zero; of two up to `FAR`² times the other) are pooled, weighted by degrees of
    freedom, and each of these samples has the larger of its own and the pooled one. c deviations of differences from
    one baseline are correlated by ½, their squares by ¼: they are worth 4c / (c + 3) independent ones, or `independent`
    where these are fewer. The others keep their own deviation, and so does a sample that is alone.
    """
    degrees = np.array([max(len(sample) - 1, 0) for sample in samples], dtype=np.float64)
    deviations = np.array([sample.std(ddof=1) if len(sample) > 1 else 0.0 for sample in samples])
    varied = deviations[deviations > 0]
    # The noisier of two would pull up their median and never be far; three times the other is often chance.
    middle = FAR * varied.min() if len(varied) == 2 else np.median(varied) if varied.size else 0.0
    near = (degrees > 0) & (deviations <= FAR * middle)
    pooled = float(degrees[near] @ deviations[near] ** 2 / max(degrees[near].sum(), 1)) ** 0.5
    count = int(near.sum())
    shared = float(degrees[near].mean() if count else 0) * min(4 * count / (count + 3), independent)
    return [
        None if not freedom else Noise(max(deviation, pooled), shared) if is_near else Noise(deviation, freedom)
        for deviation, freedom, is_near in zip(deviations.tolist(), degrees.tolist(), near.tolist(), strict=True)
    ]


@lru_cache(maxsize=1024)
def t_quantile(degrees_of_freedom: float, comparisons: float = 1) -> float:
    """Half the width, in standard errors, of one of `comparisons` t intervals that hold together with 95 %.

    Each gets its share of the error rate, which holds however they depend on each other (Bonferroni; Dunn, "Multiple
    Comparisons Among Means", JASA 56, 1961).
    """
    # As scipy.stats.t.isf does it, which takes four times as long to import.
    return -float(scipy.special.stdtrit(degrees_of_freedom, ERROR_RATE / (2 * comparisons)))
