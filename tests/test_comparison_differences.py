"""Paired differences and their verdicts, against sums by hand and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.findings.statistics.differences import Difference, Verdict, differences, superiority, verdict
from pipeline.findings.statistics.intervals import Interval
from pipeline.findings.statistics.permutation import seeds_for_verdict
from pipeline.findings.statistics.power import seeds_to_decide

NAN = float("nan")
BASELINE = np.array([90.0, 90.2, 89.9, 90.1, 90.3, 89.8, 90.0, 90.1, 89.9, 90.2])


def _against(*shifts: float | NDArray[np.float64], margin: float = 0.5) -> tuple[Difference, ...]:
    """The differences of settings that are the baseline plus something."""
    return differences(np.stack([BASELINE, *(BASELINE + shift for shift in shifts)]), baseline=0, margin=margin)


def _wave(size: float) -> NDArray[np.float64]:
    """Ten differences of ± size, with mean 0."""
    return np.tile([size, -size], 5)


def test_a_paired_difference_by_hand() -> None:
    # Paired differences 1, 2, 3: mean 2, deviation 1; t of 2 degrees of freedom at 1 - 0.05 / 4 is 6.2053.
    scores = np.array([[90.0, 90.0, 91.0, NAN], [91.0, 92.0, 94.0, 99.0], [NAN, 80.0, NAN, 80.0]])
    first, second = differences(scores, baseline=0)
    assert (first.setting, first.seeds, first.mean, first.deviation) == (1, 3, 2, 1)
    assert first.interval is not None
    assert first.interval.low == pytest.approx(2 - 6.2053 / math.sqrt(3), abs=1e-4)
    assert first.interval.high == pytest.approx(2 + 6.2053 / math.sqrt(3), abs=1e-4)
    assert (second.setting, second.seeds, second.mean, second.deviation, second.interval) == (2, 1, -10, None, None)


def test_one_comparison_has_the_interval_of_scipys_paired_t_test() -> None:
    ours = BASELINE + np.linspace(-0.3, 0.6, 10)
    (difference,) = differences(np.stack([ours, BASELINE]), baseline=1)
    theirs = stats.ttest_rel(ours, BASELINE).confidence_interval(0.95)
    assert difference.interval is not None
    assert (difference.interval.low, difference.interval.high) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_decides_the_verdict() -> None:
    better, worse, equivalent, open_ = _against(0.7 + _wave(0.1), -0.7 + _wave(0.1), _wave(0.1), 0.3 + _wave(0.4))
    assert [each.verdict for each in (better, worse, equivalent, open_)] == [
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.EQUIVALENT,
        Verdict.CANT_TELL,
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.9, "better"),
        (-0.9, -0.01, "worse"),
        (0.0, 0.4, "equivalent"),
        (-0.49, 0.49, "equivalent"),
        (-0.5, 0.1, "can't tell"),
        (0.0, 0.5, "can't tell"),
    ],
)
def test_verdicts_at_the_edges(low: float, high: float, expected: str) -> None:
    assert verdict(Interval(low, high), seeds=6, comparisons=1, margin=0.5) == expected
    assert verdict(Interval(low, high), seeds=5, comparisons=1, margin=0.5) == "no verdict"


def test_a_sure_difference_that_does_not_matter_is_marked() -> None:
    small, large, straddling = _against(0.2 + _wave(0.05), 0.7 + _wave(0.05), 0.48 + _wave(0.05))
    assert (small.verdict, small.negligible) == (Verdict.BETTER, True)
    assert (large.verdict, large.negligible) == (Verdict.BETTER, False)
    assert (straddling.verdict, straddling.negligible) == (Verdict.BETTER, False)
    assert not _against(_wave(0.1))[0].negligible


def test_who_cannot_tell_is_told_how_many_seeds_would() -> None:
    open_, equivalent = _against(0.3 + _wave(0.4), _wave(0.1))
    deviation = 0.4 * math.sqrt(10 / 9)
    assert open_.seeds_needed == seeds_to_decide(0.5, deviation / math.sqrt(2), comparisons=2)
    assert equivalent.seeds_needed is None


def test_no_verdict_below_the_seeds_that_one_needs() -> None:
    scores = np.array([[90.0] * 5 + [NAN], [95.0, 95.1, 95.0, 95.1, 95.0, 95.2]])
    (five,) = differences(scores, baseline=0)
    assert (five.verdict, five.seeds_needed, five.disputed, five.negligible) == (Verdict.NO_VERDICT, 6, False, False)
    scores[0, 5] = 90.0
    assert differences(scores, baseline=0)[0].verdict == Verdict.BETTER
    # The same six seeds are too few among two comparisons.
    (first, _) = differences(np.vstack([scores, scores[:1]]), baseline=0)
    assert (first.verdict, first.seeds_needed) == (Verdict.NO_VERDICT, 7)


def test_a_setting_without_a_run_is_a_comparison_without_verdict() -> None:
    first, failed = _against(0.7 + _wave(0.1), np.full(10, NAN))
    assert (failed.seeds, failed.mean, failed.superiority, failed.p) == (0, None, None, 1)
    assert failed.verdict == Verdict.NO_VERDICT
    assert first.holm_p == pytest.approx(2 * first.p)


def test_verdict_and_sign_flips_dispute_each_other() -> None:
    # One far-out seed widens the t interval beyond zero; all signs are +, so p is 2 / 2 ** 10.
    outlier = np.array([0.1] * 9 + [5.0])
    (difference,) = _against(outlier)
    assert difference.verdict == Verdict.CANT_TELL
    assert difference.p == pytest.approx(2 / 2**10)
    assert difference.disputed
    assert not _against(0.7 + _wave(0.1))[0].disputed
    assert not _against(_wave(0.1))[0].disputed


def test_verdict_without_the_sign_flips_is_disputed_too() -> None:
    # Six seeds, one of them barely below zero: t is sure, but a sign flip of that one is as far out (4 / 64 > 0.05).
    six = np.array([1.0, 1.01, 0.99, 1.0, 1.0, 0.98])
    scores = np.stack([np.full(6, 90.0), 90 + six * [1, 1, 1, 1, 1, -0.01]])
    (difference,) = differences(scores, baseline=0)
    assert difference.verdict == Verdict.BETTER
    assert difference.p == pytest.approx(4 / 64)
    assert difference.disputed


def test_a_p_that_is_small_only_before_holm_disputes_nothing() -> None:
    # Of ten differences one is barely negative, one far out: p is 4 / 1024, times 16 comparisons above 0.05.
    far = np.array([-0.001, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 3.0])
    few, many = _against(far, _wave(0.1))[0], _against(far, *([_wave(0.1)] * 15))[0]
    assert few.holm_p == pytest.approx(2 * 4 / 1024)
    assert many.holm_p == pytest.approx(16 * 4 / 1024)
    assert (few.verdict, few.disputed) == (Verdict.CANT_TELL, True)
    assert (many.verdict, many.disputed) == (Verdict.CANT_TELL, False)


def test_without_a_verdict_there_is_nothing_to_dispute() -> None:
    # Seven comparisons are sure; the eighth has seven seeds of the nine it needs, and the last place with Holm.
    last = np.append(np.full(7, 0.7) + _wave(0.1)[:7], [NAN] * 3)
    sure = [0.7 + _wave(0.1)] * 7
    eighth = _against(*sure, last)[-1]
    assert (eighth.verdict, eighth.holm_p) == (Verdict.NO_VERDICT, 2 / 2**7)
    assert not eighth.disputed


def test_superiority_counts_pairs_and_half_of_ties() -> None:
    # 90 loses twice, 91 wins once and ties once.
    assert superiority(np.array([90.0, 91.0]), np.array([91.0, 90.5])) == (1 + 0.5) / 4
    assert superiority(np.array([2.0]), np.array([1.0])) == 1


@pytest.mark.parametrize("nonsense", [np.array([]), np.array([NAN]), np.ones((2, 2))])
def test_superiority_wants_scores(nonsense: NDArray[np.float64]) -> None:
    for pair in ((nonsense, BASELINE), (BASELINE, nonsense)):
        with pytest.raises(ValueError, match="finite numbers"):
            superiority(*pair)


@pytest.mark.parametrize("baseline", [-1, 2])
def test_the_baseline_is_a_setting(baseline: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        differences(np.full((2, 6), 90.0), baseline)


@pytest.mark.parametrize("margin", [0, -1, NAN, math.inf])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        differences(np.full((2, 6), 90.0), 0, margin)


def test_a_baseline_needs_another_setting_and_a_verdict_a_comparison() -> None:
    with pytest.raises(ValueError, match="at least 2 settings"):
        differences(np.full((1, 6), 90.0), 0)
    with pytest.raises(ValueError, match="comparisons"):
        seeds_for_verdict(0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_and_level_of_the_settings_do_not_matter(number: int) -> None:
    random = np.random.default_rng(number)
    scores = random.normal(50, 1, (5, 8)) + random.normal(0, 1, (5, 1))
    scores[random.random((5, 8)) < 0.1] = NAN
    order = random.permutation(5)
    shifted = scores[order][:, random.permutation(8)] + random.uniform(-5, 5)
    ours = {each.setting: each for each in differences(scores, baseline=0)}
    for other in differences(shifted, baseline=int(np.flatnonzero(order == 0)[0])):
        same = ours[int(order[other.setting])]
        assert (other.verdict, other.p, other.superiority) == (same.verdict, same.p, same.superiority)
        assert (other.holm_p, other.seeds_needed) == pytest.approx((same.holm_p, same.seeds_needed))
        assert other.mean == pytest.approx(same.mean)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 4))
def test_a_margin_in_another_unit_gives_the_same_verdicts(number: int, scale: float) -> None:
    scores = np.random.default_rng(number).normal(10, 0.2, (4, 9))
    ours, scaled = differences(scores, 0, margin=0.3), differences(scores * scale, 0, margin=0.3 * scale)
    assert [each.verdict for each in ours] == [each.verdict for each in scaled]
    assert [each.seeds_needed for each in ours] == [each.seeds_needed for each in scaled]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_baseline_and_a_setting_that_change_places_change_signs(number: int) -> None:
    scores = np.random.default_rng(number).normal(90, 0.5, (2, 8))
    (forth,), (back,) = differences(scores, 0), differences(scores, 1)
    assert forth.mean == pytest.approx(-(back.mean or 0))
    assert forth.superiority == pytest.approx(1 - (back.superiority or 0))
    assert forth.p == back.p
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert forth.verdict == opposite.get(back.verdict, back.verdict)
