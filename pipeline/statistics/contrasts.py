"""Questions asked in advance: weighted differences of settings, what their claims expect, what the scores say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.differences import FEWEST_SEEDS, seeds_to_decide
from pipeline.statistics.intervals import ERROR_RATE, Interval, Noise, pool_noise, t_interval
from pipeline.statistics.scores import is_constant

Expects = Literal["gain", "no_harm", "no_gain"]
"""What a claim says of Σ weight · score: that it is above zero, not below -margin, not above the margin."""


class ContrastVerdict(StrEnum):
    """What an interval says about a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    NO_DIFFERENCE = "no difference that matters"
    CANT_TELL = "can't tell"
    NO_VERDICT = "no verdict"


@dataclass(frozen=True, eq=False)
class Contrast:
    """A claim about Σ weight · score over settings, with weights float64 [settings] that sum to zero.

    `margin` is the difference that matters, in the unit of the score (points, seconds).

    Raises ValueError for weights that are all zero, not finite or of another sum, and a margin that is not above zero.
    """

    weights: NDArray[np.float64]
    expects: Expects
    margin: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.weights).all() or not self.weights.any() or abs(self.weights.sum()) > 1e-6:
            raise ValueError(f"weights of a contrast must sum to 0 and not all be 0, not {self.weights.tolist()}")
        if not 0 < self.margin < math.inf:
            raise ValueError(f"margin must be above 0, not {self.margin}")


@dataclass(frozen=True)
class ContrastResult:
    """What the `seeds` seeds that all weighed settings have say about a contrast, in the unit of its score.

    `interval` is simultaneous: all those of a family hold their truth with 95 % (1 - error rate). `mean`, `deviation`
    and `interval` are None where there are too few seeds for them, the interval also where the seed changes no score.
    `negligible`: the difference is not zero and the whole interval is nearer to zero than the margin. `seeds_needed` is
    that of `Difference`.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    verdict: ContrastVerdict
    negligible: bool
    seeds_needed: int | None


def contrast_results(
    scores: NDArray[np.float64], contrasts: Sequence[Contrast], error_rate: float = ERROR_RATE
) -> tuple[ContrastResult, ...]:
    """The results of contrasts over scores float64 [settings, seeds] (NaN: no run), which share the error rate.

    Scores may be points or seconds. A family over several scores, or several studies, gives each call its share of the
    error rate. Noise is pooled as that of differences (`pool_noise`), each contrast in units of √Σ weight²: c of them,
    whose weights correlate by r, are worth c² / Σ r² independent ones.
    """
    values = [contrast_values(scores, contrast.weights) for contrast in contrasts]
    comparisons = len(contrasts) * ERROR_RATE / error_rate
    results = []
    for contrast, own, noise in zip(contrasts, values, contrast_noises(scores, contrasts, values), strict=True):
        interval = None if is_fixed(scores, contrast.weights) else t_interval(own, comparisons, noise)
        seeds = len(own)
        verdict = contrast_verdict(contrast, interval, seeds)
        needed = FEWEST_SEEDS if seeds < FEWEST_SEEDS else None
        if verdict is ContrastVerdict.CANT_TELL and noise is not None:
            # A claim of no harm has no other edge than its margin: the hardest truth that counts, zero, is twice as
            # far from it as half a margin is from both edges of a gain.
            span = contrast.margin if contrast.expects == "gain" else 2 * contrast.margin
            needed = seeds_to_decide(span, noise, seeds, comparisons)
        results.append(
            ContrastResult(
                seeds=seeds,
                mean=float(own.mean()) if seeds else None,
                deviation=float(own.std(ddof=1)) if seeds > 1 else None,
                interval=interval,
                verdict=verdict,
                negligible=interval is not None and not interval.holds_zero() and interval.inside(contrast.margin),
                seeds_needed=needed,
            )
        )
    return tuple(results)


def contrast_verdict(contrast: Contrast, interval: Interval | None, seeds: int) -> ContrastVerdict:
    """Supported where the claim is true of the whole interval, refuted where of none of it.

    A gain that could be either is no difference that matters where the interval lies inside the margin. No verdict
    below `FEWEST_SEEDS`.
    """
    if interval is None or seeds < FEWEST_SEEDS:
        return ContrastVerdict.NO_VERDICT
    edge = {"gain": 0.0, "no_harm": -contrast.margin, "no_gain": contrast.margin}[contrast.expects]
    above, below = interval.low > edge, interval.high < edge
    if above or below:
        return ContrastVerdict.SUPPORTED if above == (contrast.expects != "no_gain") else ContrastVerdict.REFUTED
    inside = contrast.expects == "gain" and interval.inside(contrast.margin)
    return ContrastVerdict.NO_DIFFERENCE if inside else ContrastVerdict.CANT_TELL


def contrast_values(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ weight · score, float64 [n], of the seeds that all weighed settings have."""
    rows = scores[weights != 0]
    values: NDArray[np.float64] = weights[weights != 0] @ rows[:, ~np.isnan(rows).any(axis=0)]
    return values


def contrast_noises(
    scores: NDArray[np.float64], contrasts: Sequence[Contrast], values: Sequence[NDArray[np.float64]]
) -> list[Noise | None]:
    """The noise of each contrast's values; None where there are fewer than two, or the seed changes none of its scores.

    What is the same for all seeds is not pooled with the noise of the others.
    """
    if not contrasts:
        return []
    sizes = [float(np.linalg.norm(contrast.weights)) for contrast in contrasts]
    directions = np.stack([contrast.weights / size for contrast, size in zip(contrasts, sizes, strict=True)])
    samples = [
        own[:0] if not own.any() or is_fixed(scores, contrast.weights) else own / size
        for own, contrast, size in zip(values, contrasts, sizes, strict=True)
    ]
    noises = pool_noise(samples, independent=len(contrasts) ** 2 / float(((directions @ directions.T) ** 2).sum()))
    return [
        None if noise is None else Noise(noise.deviation * size, noise.degrees_of_freedom)
        for noise, size in zip(noises, sizes, strict=True)
    ]


def is_fixed(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> bool:
    """Whether each weighed setting has one score with all seeds that all of them have."""
    rows = scores[weights != 0]
    return all(is_constant(row) for row in rows[:, ~np.isnan(rows).any(axis=0)])
