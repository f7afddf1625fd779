"""The sign-flip test: a check of paired differences that assumes no normal noise; and Holm's adjustment."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.statistics.intervals import ERROR_RATE

EXACT_SEEDS = 16
"""Up to so many seeds all flips are tried, 32,768 at most; beyond, random ones."""

RANDOM_FLIPS = 99_999
RANDOM_SEED = 0

# Accuracies of up to ten million images differ by at least 1e-5 points; sums of them carry errors near 1e-13.
_ROUNDING = 1e-9


def sign_flip_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of paired differences float64 [seeds]: how often random signs give a mean as far from zero.

    Fisher, "The Design of Experiments" (1935), section 21; exact where differences are symmetric around zero if
    settings are equal. Above EXACT_SEEDS seeds random flips are tried, with the one that was observed counted among
    them, so that p is never too small (Phipson & Smyth, "Permutation P-values Should Never Be Zero", 2010). Without
    seeds p is 1. `scipy.stats.permutation_test` is not used since it counts sums that differ by rounding as different:
    accuracies come in steps, and ties are common.

    Raises ValueError for anything but finite numbers [seeds].
    """
    if differences.ndim != 1 or not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite numbers [seeds], not {differences}")
    flips = _all_signs(len(differences)) if len(differences) <= EXACT_SEEDS else _random_signs(len(differences))
    as_far = np.abs(flips @ differences) >= abs(differences.sum()) - _ROUNDING
    if len(differences) <= EXACT_SEEDS:
        return float(as_far.mean())
    return float((as_far.sum() + 1) / (len(flips) + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted so that all which are at most 0.05 may be believed together, in the order they came.

    The smallest of n is multiplied by n, the next by n - 1, and none is below the one before (Holm, "A Simple
    Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979). statsmodels'
    `multipletests` gives the same, but collects garbage at each call, which the simulations would spend hours on.

    Raises ValueError for a p that is not within 0..1.
    """
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for before, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        if not 0 <= ps[place] <= 1:
            raise ValueError(f"p must be within 0..1, not {ps[place]}")
        highest = max(highest, min(ps[place] * (len(ps) - before), 1.0))
        adjusted[place] = highest
    return adjusted


def seeds_for_verdict(comparisons: int) -> int:
    """The fewest paired seeds with which the sign-flip test could find the first of `comparisons` differences.

    Its smallest p is 2 / 2ⁿ, which Holm multiplies by the number of comparisons: 6 seeds for one comparison, 10 for 15.
    Raises ValueError for fewer than one comparison.
    """
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, not {comparisons}")
    seeds = 1
    while 2 / 2**seeds * comparisons > ERROR_RATE:
        seeds += 1
    return seeds


@lru_cache(maxsize=EXACT_SEEDS + 1)
def _all_signs(seeds: int) -> NDArray[np.float64]:
    """Every choice of signs, float64 [2ⁿ⁻¹, seeds]; the last stays +, as flipping all of them changes no distance."""
    numbers = np.arange(2 ** max(seeds - 1, 0))
    return (1 - 2 * (numbers[:, None] >> np.arange(seeds) & 1)).astype(np.float64)


@lru_cache(maxsize=1)
def _random_signs(seeds: int) -> NDArray[np.float64]:
    random = np.random.default_rng(RANDOM_SEED)
    return (1 - 2 * random.integers(0, 2, size=(RANDOM_FLIPS, seeds))).astype(np.float64)
