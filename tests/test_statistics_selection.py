"""The winner, its correction, the cheapest that is not worse, and the front, by hand and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.selection import cheapest_not_worse, corrected_winner, pareto_front, winner

NAN = float("nan")
NOISE = np.array([0.1, -0.1, 0.05, -0.05, 0.1, -0.1, 0.0, 0.02, -0.02, 0.0])


def _settings(*means: float) -> NDArray[np.float64]:
    """Settings with these means, ten seeds each, of which none has the same noise as the next."""
    return np.stack([mean + np.roll(NOISE, place) for place, mean in enumerate(means)])


def test_the_winner_has_the_highest_mean_of_the_runs_it_has() -> None:
    assert winner(np.array([[90.0, 91.0], [NAN, 92.0], [NAN, NAN], [92.0, 92.0]])) == 1


def test_without_runs_nobody_wins() -> None:
    with pytest.raises(ValueError, match="no run"):
        winner(np.full((2, 3), NAN))


def test_the_winners_correction_by_hand() -> None:
    # Without seed 0 setting 0 wins with 91 (1: 89.5), 90 there; without 1, setting 0 (90.5 to 90), 92 there; without
    # 2, setting 0 (91 to 90.5), 91 - 1 there.
    scores = np.array([[90.0, 92.0, 90.0], [91.0, 90.0, 89.0]])
    result = corrected_winner(scores)
    assert result is not None
    assert (result.setting, result.seeds, result.picked) == (0, 3, 1)
    assert result.corrected == pytest.approx((90 + 92 + 90) / 3)
    assert result.mean == pytest.approx((90 + 92 + 90) / 3)


def test_a_winner_by_one_lucky_seed_is_corrected_by_hand() -> None:
    # Setting 0 wins by its seed 0 alone. Without that, setting 1 is picked (91 to 90) and scores 90 there; without
    # any other, setting 0 (93.3 to 90.7) and scores 90 there.
    scores = np.array([[100.0, 90.0, 90.0, 90.0], [90.0, 91.0, 91.0, 91.0]])
    result = corrected_winner(scores)
    assert result is not None
    assert (result.setting, result.mean, result.corrected, result.picked) == (0, 92.5, 90, 0.75)


def test_the_winners_interval_is_one_for_every_setting_that_could_have_won() -> None:
    scores = _settings(90, 91, 90)
    result = corrected_winner(scores)
    assert result is not None
    # The same noise in other places: pooled, three deviations are worth 4 × 3 / 6 times 9 degrees of freedom.
    half = stats.t.isf(0.05 / 6, 18) * NOISE.std(ddof=1) / math.sqrt(10)
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == pytest.approx((91 - half, 91 + half))


def test_a_winner_that_the_seed_does_not_change_has_no_interval() -> None:
    result = corrected_winner(np.stack([np.full(10, 92.0), 90 + NOISE]))
    assert result is not None
    assert (result.setting, result.interval) == (0, None)


def test_only_settings_with_the_seed_are_picked_for_it() -> None:
    # Setting 0 would be picked for seed 1, but has no score there.
    result = corrected_winner(np.array([[95.0, NAN, 95.0], [90.0, 91.0, 92.0]]))
    assert result is not None
    assert (result.seeds, result.corrected) == (3, (95 + 91 + 95) / 3)
    assert result.picked == pytest.approx(2 / 3)


def test_a_single_seed_corrects_nothing() -> None:
    assert corrected_winner(np.array([[90.0], [91.0]])) is None


def test_the_cheapest_that_is_not_worse_by_hand() -> None:
    scores = _settings(90.9, 91.0, 90.0, 91.0)
    # Setting 2 is a point worse; 0 is within half a point of the winner and cheaper.
    assert cheapest_not_worse(scores, np.array([2.0, 3.0, 1.0, 4.0])) == 0
    assert cheapest_not_worse(scores, np.array([2.0, 3.0, 1.0, 4.0]), margin=2) == 2
    assert cheapest_not_worse(scores, np.array([9.0, 3.0, 8.0, 4.0])) == 1


def test_of_equal_costs_the_better_is_taken() -> None:
    assert cheapest_not_worse(_settings(90.9, 91.0, 90.95), np.array([1.0, 2.0, 1.0])) == 2


def test_the_bound_must_lie_within_the_margin_not_the_mean() -> None:
    noisy = np.stack([90.9 + 10 * NOISE, 91 - 10 * NOISE])
    assert cheapest_not_worse(noisy, np.array([1.0, 2.0])) == 1


def test_too_few_seeds_leave_the_winner() -> None:
    scores = _settings(90.9, 91.0)
    assert cheapest_not_worse(scores[:, :2], np.array([1.0, 2.0]), margin=20) == 1
    assert cheapest_not_worse(scores[:, :3], np.array([1.0, 2.0]), margin=20) == 0


def test_a_single_setting_is_its_own_cheapest() -> None:
    assert cheapest_not_worse(_settings(90), np.array([1.0])) == 0


@pytest.mark.parametrize("costs", [np.array([1.0]), np.array([1.0, NAN]), np.array([1.0, math.inf])])
def test_each_setting_has_a_finite_cost(costs: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="costs must be 2"):
        cheapest_not_worse(_settings(90, 91), costs)
    with pytest.raises(ValueError, match="costs must be 2"):
        pareto_front(np.array([90.0, 91.0]), costs)


def test_a_front_by_hand() -> None:
    accuracies = np.array([90.0, 92.0, 91.0, 92.0, NAN, 89.0])
    costs = np.array([1.0, 3.0, 4.0, 5.0, 0.0, 2.0])
    assert pareto_front(accuracies, costs) == (0, 1)


def test_equal_settings_stand_in_the_front_together() -> None:
    assert pareto_front(np.array([90.0, 91.0, 90.0, 91.0]), np.array([1.0, 2.0, 1.0, 2.5])) == (0, 2, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_all_that_nothing_dominates(points: list[tuple[int, int]]) -> None:
    accuracies, costs = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    expected = {
        setting
        for setting, (accuracy, cost) in enumerate(points)
        if not any(a >= accuracy and c <= cost and (a, c) != (accuracy, cost) for a, c in points)
    }
    front = pareto_front(accuracies, costs)
    assert set(front) == expected
    assert list(front) == sorted(front, key=lambda setting: (costs[setting], setting))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_choice_knows_no_order_of_settings(number: int) -> None:
    random = np.random.default_rng(number)
    scores, costs, order = random.normal(50, 1, (5, 9)), random.uniform(0, 1, 5), random.permutation(5)
    assert order[winner(scores[order])] == winner(scores)
    assert order[cheapest_not_worse(scores[order], costs[order])] == cheapest_not_worse(scores, costs)
    ours, other = corrected_winner(scores), corrected_winner(scores[order] + 3)
    assert ours is not None
    assert other is not None
    assert (other.corrected, other.picked) == pytest.approx((ours.corrected + 3, ours.picked))
