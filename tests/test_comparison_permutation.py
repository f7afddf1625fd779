"""The sign-flip test and Holm's adjustment, against counts by hand, scipy and statsmodels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pipeline.findings.statistics.permutation import RANDOM_FLIPS, holm, seeds_for_verdict, sign_flip_p

NAN = float("nan")


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (8, 9), (15, 10), (51, 11), (52, 12)])
def test_seeds_for_a_verdict_are_those_of_the_facts(comparisons: int, seeds: int) -> None:
    assert seeds_for_verdict(comparisons) == seeds
    assert holm([2 / 2**seeds] + [1.0] * (comparisons - 1))[0] <= 0.05
    assert holm([2 / 2 ** (seeds - 1)] + [1.0] * (comparisons - 1))[0] > 0.05


def test_sign_flips_by_hand() -> None:
    # Of ± 1 ± 2 ± 3, two of eight are as far out as 6, all as far as 0, and four as far as 4: ± 6 and ± 4.
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_p(np.array([1.0, 2.0, -3.0])) == 1
    assert sign_flip_p(np.array([-1.0, 2.0, 3.0])) == 4 / 8
    assert sign_flip_p(np.array([])) == 1


def test_sums_that_differ_by_rounding_are_ties() -> None:
    # As numbers of images, 3, 1, -2 and 2: sums as far out as 4 are ± 4 (two ways each), ± 6, ± 8 (one).
    images = np.array([3, 1, -2, 2])
    scores = (9000 + images) / 100 - 90.0
    flips = [abs(int(np.dot(images, signs))) for signs in itertools.product((-1, 1), repeat=4)]
    assert sign_flip_p(scores) == sum(flip >= 4 for flip in flips) / 16


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_sign_flips_agree_with_scipy_where_nothing_ties(number: int, seeds: int) -> None:
    values = np.random.default_rng(number).normal(0.3, 1, seeds)
    theirs = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(values) == pytest.approx(theirs.pvalue)


def test_random_sign_flips_come_near_the_exact_p() -> None:
    # 17 equal differences, 4 of them negative: as far out are all flips with at most 4, or at least 13, of one sign.
    values = np.array([1.0] * 13 + [-1.0] * 4)
    exact = 2 * float(stats.binom.cdf(4, 17, 0.5))
    assert sign_flip_p(values) == pytest.approx(exact, abs=4 * math.sqrt(exact / RANDOM_FLIPS))
    assert sign_flip_p(values) == sign_flip_p(values)


def test_sixteen_seeds_are_still_flipped_one_by_one() -> None:
    assert sign_flip_p(np.ones(16)) == 2 / 2**16


def test_random_sign_flips_never_give_zero() -> None:
    assert sign_flip_p(np.ones(40)) == pytest.approx(1 / (RANDOM_FLIPS + 1))


@pytest.mark.parametrize("nonsense", [np.array([NAN, 1.0]), np.array([math.inf]), np.ones((2, 2))])
def test_sign_flips_want_finite_differences(nonsense: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        sign_flip_p(nonsense)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


@pytest.mark.parametrize("p", [-0.1, 1.1, NAN])
def test_holm_wants_probabilities(p: float) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        holm([0.5, p])
