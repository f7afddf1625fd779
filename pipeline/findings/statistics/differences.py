"""Differences from a baseline, paired by seed, and what they support."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.statistics.intervals import ERROR_RATE, Interval, t_interval
from pipeline.findings.statistics.permutation import holm, seeds_for_verdict, sign_flip_p
from pipeline.findings.statistics.power import seeds_to_decide
from pipeline.findings.statistics.scores import Scores, check_scores, is_constant

MARGIN = 0.5
"""The difference that matters, in points, where a study declares none."""


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

    `interval` is simultaneous: all those of a study hold their truth with 95 %; see `t_quantile`. `superiority` is that
    of `superiority()`. `mean`, `deviation` (of the paired differences), `interval` and `superiority` are None where
    there are too few seeds for them, the interval also where the seed changes neither score. `negligible` marks a
    better or worse whose whole interval is nearer to zero than the margin. `seeds_needed`: with CANT_TELL as
    `seeds_to_decide` at this deviation, with NO_VERDICT the fewest that give one where these are fewer, else None. `p`
    is that of the sign-flip test, `holm_p` the same adjusted for all comparisons; `disputed` where it says otherwise
    than the verdict about there being any difference.
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
    p: float
    holm_p: float
    disputed: bool


def differences(scores: Scores, baseline: int, margin: float = MARGIN) -> tuple[Difference, ...]:
    """Each setting but the baseline against it, in their order.

    The interval alone decides the verdict; the sign-flip test is a check that assumes less. Settings without a single
    run count as comparisons, too: what was declared decides, not what succeeded.

    Raises as `check_scores`, and ValueError for a baseline that is no setting or a margin that is not above zero.
    """
    check_scores(scores, settings=2)
    if not 0 <= baseline < len(scores):
        raise ValueError(f"baseline must be a setting from 0 to {len(scores) - 1}, not {baseline}")
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be above 0 points, not {margin}")
    others = [setting for setting in range(len(scores)) if setting != baseline]
    pairs = [_paired(scores[setting], scores[baseline]) for setting in others]
    ps = [sign_flip_p(ours - theirs) for ours, theirs in pairs]
    return tuple(
        _difference(setting, pair, p, holm_p, comparisons=len(others), margin=margin)
        for setting, pair, p, holm_p in zip(others, pairs, ps, holm(ps), strict=True)
    )


def verdict(interval: Interval | None, seeds: int, comparisons: int, margin: float) -> Verdict:
    """Better or worse where the interval leaves out zero, equivalent where it holds zero and lies inside ± margin.

    Equivalence by an interval inside a margin: Schuirmann, "A Comparison of the Two One-Sided Tests Procedure" (1987);
    the 95 % interval used here is stricter than his of 90 %. No verdict below `seeds_for_verdict`.
    """
    if interval is None or seeds < seeds_for_verdict(comparisons):
        return Verdict.NO_VERDICT
    if not interval.holds_zero():
        return Verdict.BETTER if interval.low > 0 else Verdict.WORSE
    return Verdict.EQUIVALENT if interval.inside(margin) else Verdict.CANT_TELL


def superiority(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Probability (0..1) that a random one of our scores [n] beats a random one of theirs [m]; a tie is half.

    The measure A of Vargha & Delaney, "A Critique and Improvement of the CL Common Language Effect Size Statistics"
    (2000), equation 1. Raises ValueError where one side has no score or one that is not finite.
    """
    for side in (ours, theirs):
        if side.ndim != 1 or not side.size or not np.isfinite(side).all():
            raise ValueError(f"scores must be finite numbers [n] with n at least 1, not {side}")
    signs: NDArray[np.float64] = np.sign(ours[:, None] - theirs[None, :])
    return float(signs.mean() + 1) / 2


def _paired(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores of the seeds that both have."""
    both = ~(np.isnan(ours) | np.isnan(theirs))
    return ours[both], theirs[both]


def _difference(
    setting: int,
    pair: tuple[NDArray[np.float64], NDArray[np.float64]],
    p: float,
    holm_p: float,
    *,
    comparisons: int,
    margin: float,
) -> Difference:
    paired = pair[0] - pair[1]
    seeds = len(paired)
    deviation = float(paired.std(ddof=1)) if seeds > 1 else None
    # Scores that no seed changes are one score each: no number of them makes an interval.
    interval = None if is_constant(pair[0]) and is_constant(pair[1]) else t_interval(paired, comparisons)
    said = verdict(interval, seeds, comparisons, margin)
    differs = said in (Verdict.BETTER, Verdict.WORSE)
    return Difference(
        setting=setting,
        seeds=seeds,
        mean=float(paired.mean()) if seeds else None,
        deviation=deviation,
        interval=interval,
        superiority=superiority(*pair) if seeds else None,
        verdict=said,
        negligible=differs and interval is not None and interval.inside(margin),
        seeds_needed=_seeds_needed(said, seeds, deviation, comparisons, margin),
        p=p,
        holm_p=holm_p,
        disputed=said is not Verdict.NO_VERDICT and differs != (holm_p <= ERROR_RATE),
    )


def _seeds_needed(said: Verdict, seeds: int, deviation: float | None, comparisons: int, margin: float) -> int | None:
    if said is Verdict.NO_VERDICT:
        fewest = seeds_for_verdict(comparisons)
        return fewest if seeds < fewest else None
    if said is Verdict.CANT_TELL and deviation is not None:
        # Of one run, as `power` wants it: what these paired differences show, seeds shared or not.
        return seeds_to_decide(margin, deviation / math.sqrt(2), comparisons)
    return None
