"""Differences from a baseline, paired by seed, what they support, and how many seeds would support more."""

import bisect
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.statistics.intervals import Interval, Noise, pool_noise, t_interval, t_quantile
from pipeline.statistics.scores import Scores, check_scores, is_constant

MARGIN = 0.5
"""The difference that matters, in points, where a study declares none."""

FEWEST_SEEDS = 3
"""In common with the baseline; below there is no verdict."""

MOST_SEEDS = 10_000

POWER = 0.8
"""The usual target (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988, section 2.4)."""


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Scores [n] of two settings with the seeds that both have."""


class Verdict(StrEnum):
    """What an interval says about a difference from the baseline."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    CANT_TELL = "can't tell"
    NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class Difference:
    """`setting` (its row) less the baseline, in points, over the `seeds` seeds that both have.

    `interval` is simultaneous: all those of a study hold their truth with 95 %. It takes the larger of `deviation`,
    that of these paired differences, and the study's (see `pool_noise`). `superiority` is that of `superiority()`.
    `mean`, `deviation`, `interval` and `superiority` are None where there are too few seeds for them, the interval also
    where the seed changes neither score. `negligible` marks a better or worse whose whole interval is nearer to zero
    than the margin. `seeds_needed`: with CANT_TELL those of `seeds_to_decide`, always more than there are; with
    NO_VERDICT `FEWEST_SEEDS` where there are fewer; else None.
    """

    setting: int
    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    superiority: float | None
    verdict: Verdict
    negligible: bool
    seeds_needed: int | None


def differences(scores: Scores, baseline: int, margin: float = MARGIN) -> tuple[Difference, ...]:
    """Each setting but the baseline against it, in their order.

    Settings without a single run count as comparisons, too: what was declared decides, not what succeeded. Scores that
    no seed changes are one score each, which no number of them makes an interval of, and a setting that has the
    baseline's score with every seed differs by nothing: neither is pooled with the noise of the others.

    Raises as `check_scores`, and ValueError for a baseline that is no setting or a margin that is not above zero.
    """
    check_scores(scores, settings=2)
    if not 0 <= baseline < len(scores):
        raise ValueError(f"baseline must be a setting from 0 to {len(scores) - 1}, not {baseline}")
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be above 0 points, not {margin}")
    others = [setting for setting in range(len(scores)) if setting != baseline]
    pairs = [_pair(scores[setting], scores[baseline]) for setting in others]
    noisy = [not _is_same_for_all_seeds(pair) and (pair[0] != pair[1]).any() for pair in pairs]
    noises = pool_noise(
        [pair[0] - pair[1] if is_noisy else pair[0][:0] for pair, is_noisy in zip(pairs, noisy, strict=True)]
    )
    return tuple(
        _difference(setting, pair, noise, len(others), margin)
        for setting, pair, noise in zip(others, pairs, noises, strict=True)
    )


def verdict(interval: Interval | None, seeds: int, margin: float) -> Verdict:
    """Better or worse where the interval leaves out zero, equivalent where it holds zero and lies inside ± margin.

    Equivalence by an interval inside a margin: Schuirmann, "A Comparison of the Two One-Sided Tests Procedure" (1987);
    the 95 % interval used here is stricter than his of 90 %. No verdict below `FEWEST_SEEDS`.
    """
    if interval is None or seeds < FEWEST_SEEDS:
        return Verdict.NO_VERDICT
    if not interval.holds_zero():
        return Verdict.BETTER if interval.low > 0 else Verdict.WORSE
    return Verdict.EQUIVALENT if interval.inside(margin) else Verdict.CANT_TELL


def superiority(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Probability (0..1) that a random one of our scores [n] beats a random one of theirs [m]; a tie is half.

    The measure A of Vargha & Delaney, "A Critique and Improvement of the CL Common Language Effect Size Statistics"
    (2000), equation 1.
    """
    signs: NDArray[np.float64] = np.sign(ours[:, None] - theirs[None, :])
    return float(signs.mean() + 1) / 2


def seeds_to_decide(margin: float, noise: Noise, seeds: int, comparisons: float = 1) -> int:
    """Seeds of each setting that decide a comparison in 80 % of studies, whatever its true difference; more than now.

    The hardest is one near half a margin: it takes more than finding a margin or confirming none does. `noise` is that
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
    seen, width = (np.sqrt(special.chdtri(freedom, steps) / freedom) for freedom in (noise.degrees_of_freedom, degrees))
    far = margin / noise.deviation * math.sqrt(more) * seen[:, None, None]
    high = t_quantile(degrees, comparisons) * width[:, None]
    low = np.clip(far - high, 0, high)
    true = far * np.linspace(0, 1, 9)
    undecided = special.ndtr(high - true) - special.ndtr(low - true) + special.ndtr(-low - true)
    undecided -= special.ndtr(-high - true)
    return 1 - float(undecided.mean(axis=(0, 1)).max())


def _pair(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Pair:
    both = ~(np.isnan(ours) | np.isnan(theirs))
    return ours[both], theirs[both]


def _is_same_for_all_seeds(pair: Pair) -> bool:
    return is_constant(pair[0]) and is_constant(pair[1])


def _difference(setting: int, pair: Pair, noise: Noise | None, comparisons: int, margin: float) -> Difference:
    paired = pair[0] - pair[1]
    seeds = len(paired)
    interval = None if _is_same_for_all_seeds(pair) else t_interval(paired, comparisons, noise)
    said = verdict(interval, seeds, margin)
    needed = FEWEST_SEEDS if seeds < FEWEST_SEEDS else None
    if said is Verdict.CANT_TELL and noise is not None:
        needed = seeds_to_decide(margin, noise, seeds, comparisons)
    return Difference(
        setting=setting,
        seeds=seeds,
        mean=float(paired.mean()) if seeds else None,
        deviation=float(paired.std(ddof=1)) if seeds > 1 else None,
        interval=interval,
        superiority=superiority(*pair) if seeds else None,
        verdict=said,
        negligible=said in (Verdict.BETTER, Verdict.WORSE) and interval is not None and interval.inside(margin),
        seeds_needed=needed,
    )
