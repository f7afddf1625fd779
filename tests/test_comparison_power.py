"""Power against statsmodels, the facts' figures, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from benchmarks.comparison import power
from pipeline.findings.statistics.differences import Verdict, differences
from pipeline.findings.statistics.permutation import seeds_for_verdict
from pipeline.findings.statistics.power import decision_power, detection_power, seeds_needed, seeds_to_decide


def _normal_approximation(difference: float, comparisons: int) -> int:
    quantiles = float(stats.norm.isf(0.05 / (2 * comparisons)) + stats.norm.isf(0.2))
    return math.ceil(2 * (0.2 * quantiles / difference) ** 2)


@pytest.mark.parametrize(("difference", "seeds", "comparisons"), [(0.3, 10, 1), (0.2, 12, 8), (0.1, 40, 3)])
def test_power_agrees_with_statsmodels(difference: float, seeds: int, comparisons: int) -> None:
    theirs = TTestPower().power(difference / (0.2 * math.sqrt(2)), nobs=seeds, alpha=0.05 / comparisons)
    assert detection_power(difference, 0.2, seeds, comparisons) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(
    ("difference", "comparisons", "seeds", "approximation"),
    [(0.5, 1, 6, 3), (0.5, 15, 10, 5), (0.3, 1, 10, 7), (0.3, 15, 17, 13), (0.2, 1, 18, 16), (0.2, 15, 33, 29)],
)
def test_seeds_needed_are_more_than_the_normal_approximation_of_the_facts(
    difference: float, comparisons: int, seeds: int, approximation: int
) -> None:
    assert _normal_approximation(difference, comparisons) == approximation
    assert seeds_needed(difference, 0.2, comparisons) == seeds


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 5), (15, 9)])
def test_half_a_point_is_known_by_t_one_seed_before_the_sign_flips(comparisons: int, seeds: int) -> None:
    assert detection_power(0.5, 0.2, seeds, comparisons) >= 0.8
    assert detection_power(0.5, 0.2, seeds - 1, comparisons) < 0.8
    assert seeds_for_verdict(comparisons) == seeds + 1


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 2), st.integers(1, 30), st.floats(0.5, 0.95))
def test_the_seeds_given_are_the_fewest_that_do(difference: float, comparisons: int, target: float) -> None:
    least = seeds_for_verdict(comparisons)
    needed = seeds_needed(difference, 0.2, comparisons, power=target)
    assert detection_power(difference, 0.2, needed, comparisons) >= target
    assert needed == least or detection_power(difference, 0.2, needed - 1, comparisons) < target
    decided = seeds_to_decide(difference, 0.2, comparisons, power=target)
    assert decision_power(difference, 0.2, decided, comparisons) >= target
    assert decided == least or decision_power(difference, 0.2, decided - 1, comparisons) < target


def test_only_the_ratio_of_difference_and_deviation_counts() -> None:
    assert detection_power(0.3, 0.2, 8) == pytest.approx(detection_power(3, 2, 8))
    assert decision_power(0.3, 0.2, 8) == pytest.approx(decision_power(3, 2, 8))


def test_the_interval_is_narrower_than_the_margin_as_often_as_promised() -> None:
    random = np.random.default_rng(0)
    paired = random.normal(0.25, 0.2 * math.sqrt(2), (20_000, 12))
    quantile = stats.t.isf(0.05 / 6, 11)
    narrow = 2 * quantile * paired.std(axis=1, ddof=1) / math.sqrt(12) < 0.5
    promised = decision_power(0.5, 0.2, 12, comparisons=3)
    assert narrow.mean() == pytest.approx(promised, abs=4 * math.sqrt(promised * (1 - promised) / 20_000))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_who_cannot_tell_always_needs_more_seeds(number: int) -> None:
    random = np.random.default_rng(number)
    scores = random.normal(90, random.uniform(0.1, 1), (4, 10)) + random.uniform(-0.5, 0.5, (4, 1))
    for difference in differences(scores, baseline=0):
        if difference.verdict is Verdict.CANT_TELL:
            assert difference.seeds_needed is not None
            assert difference.seeds_needed > 10


def test_a_huge_difference_is_sure_and_a_tiny_one_needs_many_seeds() -> None:
    assert detection_power(99, 1e-9, 20) == 1
    # (1.96 + 0.84)² × 2 × (0.2 / 0.001)² by the normal approximation, exact enough for so many.
    assert seeds_needed(0.001, 0.2) == pytest.approx(7.849 * 2 * 200**2, rel=1e-3)


@pytest.mark.parametrize("size", [0, -0.1, math.inf, math.nan])
def test_sizes_are_above_zero(size: float) -> None:
    for function in (seeds_needed, seeds_to_decide):
        with pytest.raises(ValueError, match="above 0 points"):
            function(size, 0.2)
        with pytest.raises(ValueError, match="above 0 points"):
            function(0.5, size)
    for of_seeds in (detection_power, decision_power):
        with pytest.raises(ValueError, match="above 0 points"):
            of_seeds(size, 0.2, 10)


def test_power_wants_two_seeds_a_comparison_and_a_probability() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        detection_power(0.5, 0.2, seeds=1)
    with pytest.raises(ValueError, match="at least 2"):
        decision_power(0.5, 0.2, seeds=1)
    with pytest.raises(ValueError, match="comparison"):
        detection_power(0.5, 0.2, seeds=5, comparisons=0)
    for target in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            seeds_needed(0.5, 0.2, power=target)
        with pytest.raises(ValueError, match="between 0 and 1"):
            seeds_to_decide(0.5, 0.2, power=target)


def test_simulated_studies_find_what_power_promises() -> None:
    for figure in power(studies=120):
        assert figure.kept, figure
