"""Differences of settings, paired by seed, what they support, and how many seeds would support more.

Each setting against a baseline, or, as questions asked in advance, weighted differences (contrasts) and what their
claims expect.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.intervals import ERROR_RATE, Interval, Noise, pool_noise, t_interval, t_quantile
from pipeline.statistics.scores import Scores, check_scores, is_constant

MARGIN = 0.5
"""The difference that matters, in points, where a study declares none."""

FEWEST_SEEDS = 3
"""In common with the baseline; below there is no verdict."""

MOST_SEEDS = 10_000

POWER = 0.8
"""The usual target (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988, section 2.4)."""

Expects = Literal["gain", "no_harm", "no_gain"]
"""What a claim says of Σ weight · score: that it is above zero, not below -margin, not above the margin."""


class ContrastVerdict(StrEnum):
    """What an interval says about a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    NO_DIFFERENCE = "no difference that matters"
    CANT_TELL = "can't tell"
    NO_VERDICT = "no verdict"


class Verdict(StrEnum):
    """What an interval says about a difference from the baseline: that of the claim that it is a gain."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    CANT_TELL = "can't tell"
    NO_VERDICT = "no verdict"


OF_GAIN = dict(zip(ContrastVerdict, Verdict, strict=True))

GAIN = np.array([1.0, -1.0])
"""The weights of a setting and its baseline."""


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

    `interval` is simultaneous: all those of a family hold their truth with 95 % (1 - error rate). It takes the larger
    of `deviation`, that of these paired values, and the family's (see `pool_noise`). `mean`, `deviation` and `interval`
    are None where there are too few seeds for them, the interval also where the seed changes no score. `negligible`:
    there is a verdict, and the whole interval leaves out zero and is nearer to it than the margin. `seeds_needed`: with
    CANT_TELL those of `seeds_to_decide`, always more than there are; below `FEWEST_SEEDS` so many; else None.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    verdict: Verdict | ContrastVerdict
    negligible: bool
    seeds_needed: int | None


@dataclass(frozen=True)
class Difference(ContrastResult):
    """`setting` (its row) less the baseline, in points; `superiority` is None without seeds in common."""

    verdict: Verdict
    setting: int
    superiority: float | None


def differences(
    scores: Scores, baseline: int, margin: float = MARGIN, error_rate: float = ERROR_RATE
) -> tuple[Difference, ...]:
    """Each setting but the baseline against it, in their order.

    Settings without a single run count as comparisons, too: what was declared decides, not what succeeded. Scores that
    no seed changes are one score each, which no number of them makes an interval of, and a setting that has the
    baseline's score with every seed differs by nothing: neither is pooled with the noise of the others.

    Raises as `check_scores`, and ValueError for a baseline that is no setting or a margin that is not above zero.
    """
    check_scores(scores, settings=2)
    if not 0 <= baseline < len(scores):
        raise ValueError(f"baseline must be a setting from 0 to {len(scores) - 1}, not {baseline}")
    gain, comparisons = Contrast(GAIN, "gain", margin), (len(scores) - 1) * ERROR_RATE / error_rate
    pairs = {setting: scores[[setting, baseline]] for setting in range(len(scores)) if setting != baseline}
    noises = pool_noise([_noisy(pair, GAIN) for pair in pairs.values()])
    results = []
    for (setting, pair), noise in zip(pairs.items(), noises, strict=True):
        result = vars(_result(pair, gain, noise, comparisons))
        said = {"setting": setting, "verdict": OF_GAIN[result["verdict"]]}
        both = pair[:, ~np.isnan(pair).any(axis=0)]
        results.append(Difference(**(result | said), superiority=superiority(*both) if both.size else None))
    return tuple(results)


def contrast_results(
    scores: NDArray[np.float64], contrasts: Sequence[Contrast], error_rate: float = ERROR_RATE
) -> tuple[ContrastResult, ...]:
    """The results of contrasts over scores float64 [settings, seeds] (NaN: no run), which share the error rate.

    Scores may be points or seconds. A family over several scores, or several studies, gives each call its share of the
    error rate. Noise is pooled as that of differences (`contrast_noises`).
    """
    comparisons = len(contrasts) * ERROR_RATE / error_rate
    return tuple(
        _result(scores, contrast, noise, comparisons)
        for contrast, noise in zip(contrasts, contrast_noises(scores, contrasts), strict=True)
    )


def contrast_noises(scores: NDArray[np.float64], contrasts: Sequence[Contrast]) -> list[Noise | None]:
    """The noise of each contrast's values; None where there are fewer than two, or the seed changes none of its scores.

    What is the same for all seeds is not pooled with the noise of the others. Each contrast is pooled in units of
    √Σ weight²: c of them, whose weights correlate by r, are worth c² / Σ r² independent ones.
    """
    if not contrasts:
        return []
    sizes = [float(np.linalg.norm(contrast.weights)) for contrast in contrasts]
    directions = np.stack([contrast.weights / size for contrast, size in zip(contrasts, sizes, strict=True)])
    samples = [_noisy(scores, contrast.weights) / size for contrast, size in zip(contrasts, sizes, strict=True)]
    noises = pool_noise(samples, independent=len(contrasts) ** 2 / float(((directions @ directions.T) ** 2).sum()))
    return [
        None if noise is None else Noise(noise.deviation * size, noise.degrees_of_freedom)
        for noise, size in zip(noises, sizes, strict=True)
    ]


def paired_values(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Σ weight · score, float64 [n], of the seeds that all weighed settings have; whether each has one score with all.

    Of those that have no interval can be made: its width would be zero.
    """
    rows = scores[weights != 0]
    rows = rows[:, ~np.isnan(rows).any(axis=0)]
    return weights[weights != 0] @ rows, all(map(is_constant, rows))


def contrast_verdict(contrast: Contrast, interval: Interval | None, seeds: int) -> ContrastVerdict:
    """Supported where the claim is true of the whole interval, refuted where of none of it.

    A gain that could be either is no difference that matters where the interval lies inside the margin. No verdict
    below `FEWEST_SEEDS`. Equivalence by an interval inside a margin: Schuirmann, "A Comparison of the Two One-Sided
    Tests Procedure" (1987); the 95 % interval used here is stricter than his of 90 %.
    """
    if interval is None or seeds < FEWEST_SEEDS:
        return ContrastVerdict.NO_VERDICT
    edge = {"gain": 0.0, "no_harm": -contrast.margin, "no_gain": contrast.margin}[contrast.expects]
    above, below = interval.low > edge, interval.high < edge
    if above or below:
        return ContrastVerdict.SUPPORTED if above == (contrast.expects != "no_gain") else ContrastVerdict.REFUTED
    inside = contrast.expects == "gain" and interval.inside(contrast.margin)
    return ContrastVerdict.NO_DIFFERENCE if inside else ContrastVerdict.CANT_TELL


def verdict(interval: Interval | None, seeds: int, margin: float) -> Verdict:
    """That of a difference from a baseline: equivalent where the interval holds zero and lies inside ± margin."""
    return OF_GAIN[contrast_verdict(Contrast(GAIN, "gain", margin), interval, seeds)]


def superiority(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Probability (0..1) that a random one of our scores [n] beats a random one of theirs [m]; a tie is half.

    The measure A of Vargha & Delaney, "A Critique and Improvement of the CL Common Language Effect Size Statistics"
    (2000), equation 1.
    """
    return float(np.sign(np.subtract.outer(ours, theirs)).mean() + 1) / 2


def seeds_to_decide(margin: float, noise: Noise, seeds: int, comparisons: float = 1) -> int:
    """Seeds of each setting that decide a comparison in 80 % of studies, whatever its true difference; more than now.

    The hardest one is near half a margin: it takes more than finding a margin or confirming none does. `noise` is that
    of the paired differences as `seeds` of them show it; that it is itself not well known is counted. `MOST_SEEDS`
    where these would not do.
    """

    def power(more: int) -> float:
        return _decision_power(margin, noise, seeds, more, comparisons)

    return bisect.bisect_left(range(MOST_SEEDS), POWER, lo=seeds + 1, key=power)


def _decision_power(margin: float, noise: Noise, seeds: int, more: int, comparisons: float) -> float:
    """Least probability of a verdict with `more` seeds over all true differences from zero to the margin.

    In true standard errors, an interval of half width h leaves it open where the mean is at most h from zero (else it
    is better or worse) and h reaches from there to the margin (else equivalent). The true deviation against the one
    that was `seen`, and the one to be seen (`width`) against the true, follow chi-square: 20 equal steps each.
    """
    degrees = noise.degrees_of_freedom * (more - 1) / (seeds - 1)
    steps = (np.arange(20) + 0.5) / 20
    freedoms = noise.degrees_of_freedom, degrees
    seen, width = (np.sqrt(scipy.special.chdtri(freedom, steps) / freedom) for freedom in freedoms)
    far = margin / noise.deviation * math.sqrt(more) * seen[:, None, None]
    high = t_quantile(degrees, comparisons) * width[:, None]
    low = np.clip(far - high, 0, high)
    true = far * np.linspace(0, 1, 9)
    below = scipy.special.ndtr
    undecided = below(high - true) - below(low - true) + below(-low - true) - below(-high - true)
    return 1 - float(undecided.mean(axis=(0, 1)).max())


def _noisy(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The paired values [n]; none where the seed changes no score, or all are zero."""
    values, is_fixed = paired_values(scores, weights)
    return values[:0] if is_fixed or not values.any() else values


def _result(scores: NDArray[np.float64], contrast: Contrast, noise: Noise | None, comparisons: float) -> ContrastResult:
    values, is_fixed = paired_values(scores, contrast.weights)
    seeds, interval = len(values), None if is_fixed else t_interval(values, comparisons, noise)
    said = contrast_verdict(contrast, interval, seeds)
    needed = FEWEST_SEEDS if seeds < FEWEST_SEEDS else None
    if said is ContrastVerdict.CANT_TELL and noise is not None:
        # A claim of no harm has no other edge than its margin: the hardest truth that counts, zero, is twice as far
        # from it as half a margin is from both edges of a gain.
        span = contrast.margin if contrast.expects == "gain" else 2 * contrast.margin
        needed = seeds_to_decide(span, noise, seeds, comparisons)
    is_sure = seeds >= FEWEST_SEEDS and interval is not None and not interval.holds_zero()
    return ContrastResult(
        seeds=seeds,
        mean=float(values.mean()) if seeds else None,
        deviation=float(values.std(ddof=1)) if seeds > 1 else None,
        interval=interval,
        verdict=said,
        negligible=is_sure and interval is not None and interval.inside(contrast.margin),
        seeds_needed=needed,
    )
