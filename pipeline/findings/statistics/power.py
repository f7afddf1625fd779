"""How many seeds a comparison needs, for studies that are planned or that could not tell.

Differences are paired by seed. `seed_deviation` is the standard deviation of one setting's scores between seeds; the
differences of two settings have √2 of it, unless a seed is good or bad for both.
"""

import math
from collections.abc import Callable

from scipy import stats

from pipeline.findings.statistics.intervals import t_quantile
from pipeline.findings.statistics.permutation import seeds_for_verdict

POWER = 0.8
"""The usual target (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988, section 2.4)."""


def detection_power(difference: float, seed_deviation: float, seeds: int, comparisons: int = 1) -> float:
    """Probability (0..1) that the interval of a true difference (points) leaves out zero, on the right side.

    By the noncentral t distribution (Cohen 1988, section 12.3). Raises ValueError for a difference or deviation that is
    not above zero, fewer than two seeds or no comparison.
    """
    _check(seeds=seeds, difference=difference, seed_deviation=seed_deviation)
    # scipy's noncentral t has no value for a billion standard errors.
    standard_errors = min(difference / (seed_deviation * math.sqrt(2 / seeds)), 1e6)
    return float(stats.nct.sf(t_quantile(seeds - 1, comparisons), seeds - 1, standard_errors))


def seeds_needed(difference: float, seed_deviation: float, comparisons: int = 1, power: float = POWER) -> int:
    """Seeds of each setting with which a true difference (points) is called better or worse with that power.

    Never fewer than `seeds_for_verdict`. At a deviation of 0.2, 0.5 points need 6 seeds for one comparison and 10 for
    fifteen, which is that floor; t alone would do with 5 and 9. The normal approximation says 3 and 5: it takes the
    deviation as known, while t has to estimate it from the same few seeds. For 0.3 points it is 10 and 17 instead of 7
    and 13, for 0.2 points 18 and 33 instead of 16 and 29.

    Raises as `detection_power`, and ValueError for a power that is not between 0 and 1.
    """
    _check(seeds=2, difference=difference, seed_deviation=seed_deviation, power=power)
    return _fewest(
        lambda seeds: detection_power(difference, seed_deviation, seeds, comparisons) >= power,
        at_least=seeds_for_verdict(comparisons),
    )


def decision_power(margin: float, seed_deviation: float, seeds: int, comparisons: int = 1) -> float:
    """Probability (0..1) that the interval is narrower than the margin (points): then it decides in any case.

    Such an interval leaves out zero, or it holds zero and lies inside ± margin: better, worse or equivalent, whatever
    the true difference. A wider one may decide, too, so this is a lower bound: for half a margin, the hardest to tell,
    13 seeds decided in 80 % of simulated studies where it says 48 % (benchmarks/comparison.json).

    The deviation of n paired differences follows chi-square with n - 1 degrees of freedom (Kupper & Hafner, "How
    Appropriate Are Popular Sample Size Formulas?", The American Statistician 43, 1989).

    Raises ValueError as `detection_power`.
    """
    _check(seeds=seeds, margin=margin, seed_deviation=seed_deviation)
    standard_errors = margin / 2 / t_quantile(seeds - 1, comparisons)
    return float(stats.chi2.cdf((seeds - 1) * seeds * (standard_errors / seed_deviation) ** 2 / 2, seeds - 1))


def seeds_to_decide(margin: float, seed_deviation: float, comparisons: int = 1, power: float = POWER) -> int:
    """Seeds of each setting with which a comparison is decided with that power, whatever its true difference.

    Never fewer than `seeds_for_verdict`. This asks for more than finding a difference of a margin or confirming none
    does: a true difference of half a margin is the hardest to tell. A comparison that could not tell gets, from its own
    deviation and with a power of at least 0.7, always a number above its seeds.

    Raises as `decision_power`, and ValueError for a power that is not between 0 and 1.
    """
    _check(seeds=2, margin=margin, seed_deviation=seed_deviation, power=power)
    return _fewest(
        lambda seeds: decision_power(margin, seed_deviation, seeds, comparisons) >= power,
        at_least=seeds_for_verdict(comparisons),
    )


def _fewest(enough: Callable[[int], bool], at_least: int) -> int:
    """The smallest number that is enough, where all above it are, too."""
    high = at_least
    while not enough(high):
        high *= 2
    low = max(high // 2, at_least - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(seeds: int, power: float = POWER, **sizes: float) -> None:
    for name, size in sizes.items():
        if not 0 < size < math.inf:
            raise ValueError(f"{name} must be above 0 points, not {size}")
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, not {seeds}")
    if not 0 < power < 1:
        raise ValueError(f"power must be between 0 and 1, not {power}")
