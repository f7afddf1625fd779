"""Settings by themselves and the noise floor, against sums by hand, scipy and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics.intervals import Interval, t_interval, t_quantile
from pipeline.statistics.scores import check_scores, means, seed_deviation, summaries

NAN = float("nan")


def test_a_setting_by_hand() -> None:
    (summary,) = summaries(np.array([[90.0, NAN, 91.0, 92.0]]))
    assert (summary.seeds, summary.mean, summary.deviation) == (3, 91, 1)
    assert summary.range == Interval(90, 92)
    assert summary.interval is not None
    # t of 2 degrees of freedom at 97.5 % is 4.3027 (any table).
    assert summary.interval.low == pytest.approx(91 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert summary.interval.high == pytest.approx(91 + 4.3027 / math.sqrt(3), abs=1e-4)


def test_too_few_seeds_leave_out_what_they_cannot_say() -> None:
    none, one = summaries(np.array([[NAN, NAN], [90.0, NAN]]))
    assert (none.seeds, none.mean, none.deviation, none.interval, none.range) == (0, None, None, None, None)
    assert (one.seeds, one.mean, one.deviation, one.interval, one.range) == (1, 90, None, None, Interval(90, 90))


def test_two_seeds_have_an_interval() -> None:
    # t of 1 degree of freedom at 97.5 % is tan(0.475 π), 12.706.
    interval = t_interval(np.array([90.0, 91.0]))
    assert interval is not None
    assert interval.high == pytest.approx(90.5 + math.tan(0.475 * math.pi) / 2)


def test_means_skip_missing_runs() -> None:
    assert np.array_equal(means(np.array([[90.0, NAN], [NAN, NAN], [90.0, 91.0]])), [90, NAN, 90.5], equal_nan=True)


def test_a_single_t_interval_is_that_of_scipy() -> None:
    values = np.array([90.1, 90.4, 89.8, 90.9])
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ours = t_interval(values)
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_ten_seeds_and_eight_comparisons_are_known_to_a_third_of_a_point() -> None:
    # facts.md: about ± 0.32 points at a deviation of 0.2 points.
    assert t_quantile(9, comparisons=8) * 0.2 * math.sqrt(2 / 10) == pytest.approx(0.317, abs=0.001)


def test_an_interval_inside_a_margin_does_not_touch_it() -> None:
    assert Interval(-0.4, 0.4).inside(0.5)
    assert not Interval(-0.5, 0.4).inside(0.5)
    assert not Interval(-0.4, 0.5).inside(0.5)


def test_an_interval_holds_its_ends() -> None:
    assert Interval(0, 1).holds_zero()
    assert Interval(-1, 0).holds_zero()
    assert not Interval(0.1, 1).holds_zero()
    assert not Interval(-1, -0.1).holds_zero()


@pytest.mark.parametrize("value", [-0.01, 100.01, math.inf])
def test_scores_are_points(value: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        check_scores(np.array([[90.0, value]]))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (1, 3)])
def test_scores_have_settings_and_seeds(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 settings"):
        check_scores(np.full(shape, 90.0), settings=2)


def test_the_pooled_deviation_by_hand() -> None:
    # Squares around the means: 2 with 2 degrees of freedom, 0.5 with 1, none of the single run.
    pooled = seed_deviation(np.array([[90.0, 91.0, 92.0], [80.0, 81.0, NAN], [NAN, 70.0, NAN]]))
    assert pooled is not None
    assert pooled.deviation == pytest.approx(math.sqrt(2.5 / 3))
    # Without a seed in turn: 0.5 with 1, 2 with 1, and 0.5 + 0.5 with 2 degrees of freedom.
    logarithms = np.log(np.array([0.5, 2, 0.5])) / 2
    error = math.sqrt(2 / 3 * ((logarithms - logarithms.mean()) ** 2).sum())
    factor = math.exp(4.3027 * error)
    assert pooled.interval is not None
    assert pooled.interval.low == pytest.approx(math.sqrt(2.5 / 3) / factor, rel=1e-4)
    assert pooled.interval.high == pytest.approx(math.sqrt(2.5 / 3) * factor, rel=1e-4)


def test_the_jackknife_is_that_of_pseudo_values() -> None:
    scores = np.random.default_rng(4).normal(90, 0.3, (5, 6))
    pooled = seed_deviation(scores)
    assert pooled is not None
    assert pooled.interval is not None
    whole = math.log(scores.var(axis=1, ddof=1).mean())
    without = [math.log(np.delete(scores, seed, axis=1).var(axis=1, ddof=1).mean()) for seed in range(6)]
    pseudo = np.array([6 * whole - 5 * each for each in without])
    half = stats.t.isf(0.025, 5) * stats.sem(pseudo)
    assert (pooled.interval.low, pooled.interval.high) == pytest.approx(
        (math.exp((whole - half) / 2), math.exp((whole + half) / 2))
    )


def test_two_seeds_or_one_that_varies_leave_no_interval_of_the_deviation() -> None:
    two = seed_deviation(np.array([[90.0, 91.0], [80.0, 82.0]]))
    lonely = seed_deviation(np.array([[90.0, 90.0, 91.0], [80.0, 80.0, 80.0]]))
    assert two is not None
    assert lonely is not None
    assert two.deviation == pytest.approx(math.sqrt(1.25))
    assert (two.interval, lonely.interval) == (None, None)


def test_no_deviation_from_single_runs() -> None:
    assert seed_deviation(np.array([[90.0, NAN], [NAN, 80.0]])) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_noise_floor_knows_no_order_and_no_level_of_settings(number: int) -> None:
    random = np.random.default_rng(number)
    scores = random.uniform(40, 50, (4, 6))
    scores[0, 1] = NAN
    other = scores[random.permutation(4)] + random.uniform(-5, 5, (4, 1))
    ours, theirs = seed_deviation(scores), seed_deviation(other)
    assert ours is not None
    assert theirs is not None
    assert ours.deviation == pytest.approx(theirs.deviation)
    assert ours.interval is not None
    assert theirs.interval is not None
    assert ours.interval.high == pytest.approx(theirs.interval.high)
