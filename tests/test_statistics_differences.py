"""Paired differences and their verdicts, against sums by hand and scipy."""

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.differences import (
    Difference,
    Verdict,
    differences,
    seeds_to_decide,
    superiority,
    verdict,
)
from pipeline.statistics.intervals import Interval, Noise, pooled_intervals

NAN = float("nan")
REPORT = Path(__file__).parents[1] / "reports" / "kernels_by_filters"
BASELINE = np.array([90.0, 90.2, 89.9, 90.1, 90.3, 89.8, 90.0, 90.1, 89.9, 90.2])


def _against(*shifts: float | NDArray[np.float64], margin: float = 0.5) -> tuple[Difference, ...]:
    """The differences of settings that are the baseline plus something."""
    return differences(np.stack([BASELINE, *(BASELINE + shift for shift in shifts)]), baseline=0, margin=margin)


def _wave(size: float) -> NDArray[np.float64]:
    """Ten differences of ± size, with mean 0."""
    return np.tile([size, -size], 5)


def _half(difference: Difference) -> float:
    assert difference.interval is not None
    return (difference.interval.high - difference.interval.low) / 2


def test_a_paired_difference_by_hand() -> None:
    # Paired differences 1, 2, 3: mean 2, deviation 1; t of 2 degrees of freedom at 1 - 0.05 / 4 is 6.2053.
    scores = np.array([[90.0, 90.0, 91.0, NAN], [91.0, 92.0, 94.0, 99.0], [NAN, 80.0, NAN, 80.0]])
    first, second = differences(scores, baseline=0)
    assert (first.setting, first.seeds, first.mean, first.deviation) == (1, 3, 2, 1)
    assert first.interval is not None
    assert first.interval.low == pytest.approx(2 - 6.2053 / math.sqrt(3), abs=1e-4)
    assert first.interval.high == pytest.approx(2 + 6.2053 / math.sqrt(3), abs=1e-4)
    assert (second.setting, second.seeds, second.mean, second.deviation, second.interval) == (2, 1, -10, None, None)


def test_a_setting_is_at_least_as_noisy_as_the_study_on_average() -> None:
    # Deviations 0.5, 1 and 2 of three seeds: pooled √1.75. Three that share a baseline are worth 4 × 3 / 6 = 2, so that
    # they have 4 degrees of freedom: t at 1 - 0.05 / 6 is 3.9608.
    wave = np.array([-1.0, 0.0, 1.0])
    found = differences(np.stack([np.full(3, 50.0), 50 + wave / 2, 50 + wave, 50 + 2 * wave]), baseline=0)
    expected = [3.9608 * deviation / math.sqrt(3) for deviation in (math.sqrt(1.75), math.sqrt(1.75), 2)]
    assert [_half(each) for each in found] == pytest.approx(expected, rel=1e-4)


def test_what_is_far_noisier_keeps_its_own_deviation() -> None:
    # 3.01 is over three times the median of 0.9, 1 and 3.01; two that remain are worth 8 / 5, with 3.2 degrees.
    wave = np.array([-1.0, 0.0, 1.0])
    scores = np.stack([np.full(3, 50.0), 50 + wave, 50 + 0.9 * wave, 50 + 3.01 * wave])
    first, second, third = (_half(each) * math.sqrt(3) for each in differences(scores, baseline=0))
    assert (first, second) == pytest.approx([stats.t.isf(0.05 / 6, 3.2) * size for size in (1, math.sqrt(0.905))])
    assert third == pytest.approx(stats.t.isf(0.05 / 6, 2) * 3.01)
    scores[3] = 50 + 2.99 * wave
    pooled = math.sqrt((1 + 0.9**2 + 2.99**2) / 3)
    assert _half(differences(scores, baseline=0)[0]) * math.sqrt(3) == pytest.approx(stats.t.isf(0.05 / 6, 4) * pooled)


def test_unequal_seeds_are_pooled_by_degrees_of_freedom() -> None:
    # Deviations 1 of 3 seeds and √2 of 2: (2 × 1 + 1 × 2) / 3, with 3 × 4 / 5 degrees of freedom.
    scores = np.array([[50.0, 50, 50], [49, 50, 51], [49, 51, NAN]])
    first, second = differences(scores, baseline=0)
    quantile = stats.t.isf(0.05 / 4, 2.4)
    assert _half(first) == pytest.approx(quantile * math.sqrt(4 / 3) / math.sqrt(3))
    assert _half(second) == pytest.approx(quantile * math.sqrt(2) / math.sqrt(2))


def test_what_the_seed_does_not_change_is_not_pooled() -> None:
    # Setting 1 has one score as the baseline has, 2 the baseline's: neither is noise of 3 and 4.
    wave = np.array([-1.0, 0.0, 1.0])
    base = np.full(3, 50.0)
    alike, same, *noisy = differences(np.stack([base, base + 1, base, base + wave, base + wave]), baseline=0)
    assert (alike.verdict, alike.interval, same.interval) == (Verdict.NO_VERDICT, None, None)
    assert [_half(each) for each in noisy] == pytest.approx([stats.t.isf(0.05 / 8, 2 * 8 / 5) / math.sqrt(3)] * 2)


def test_a_setting_with_the_baselines_scores_is_equivalent() -> None:
    same, other = _against(0.0, 0.3 + _wave(0.4))
    assert (same.verdict, same.interval) == (Verdict.EQUIVALENT, Interval(0, 0))
    assert _half(other) == pytest.approx(stats.t.isf(0.05 / 4, 9) * 0.4 * math.sqrt(10 / 9) / math.sqrt(10))


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
    assert verdict(Interval(low, high), seeds=3, margin=0.5) == expected
    assert verdict(Interval(low, high), seeds=2, margin=0.5) == "no verdict"


def test_a_sure_difference_that_does_not_matter_is_marked() -> None:
    small, large, straddling = _against(0.2 + _wave(0.05), 0.7 + _wave(0.05), 0.48 + _wave(0.05))
    assert (small.verdict, small.negligible) == (Verdict.BETTER, True)
    assert (large.verdict, large.negligible) == (Verdict.BETTER, False)
    assert (straddling.verdict, straddling.negligible) == (Verdict.BETTER, False)
    assert not _against(_wave(0.1))[0].negligible


def test_who_cannot_tell_is_told_how_many_seeds_would() -> None:
    open_, equivalent = _against(0.3 + _wave(0.4), _wave(0.1))
    # Pooled with the other, whose deviation is a quarter: 9 × 8 / 5 degrees of freedom.
    noise = Noise(0.4 * math.sqrt(10 / 9), 14.4)
    assert open_.seeds_needed == seeds_to_decide(0.5, noise, seeds=10, comparisons=2)
    assert equivalent.seeds_needed is None


@pytest.mark.parametrize(("margin", "deviation", "comparisons"), [(0.5, 0.283, 1), (0.5, 0.283, 8), (0.3, 0.5, 3)])
def test_the_seeds_that_would_tell_decide_the_hardest_difference_in_four_of_five(
    margin: float, deviation: float, comparisons: int
) -> None:
    # Noise known well, one setting: an independent count over 20,000 samples for each true difference.
    needed = seeds_to_decide(margin, Noise(deviation, 1e6), seeds=3, comparisons=comparisons)
    assert _least_decided(margin, deviation, needed, comparisons) == pytest.approx(0.8, abs=0.1)
    assert _least_decided(margin, deviation, needed, comparisons) > 0.79
    assert _least_decided(margin, deviation, needed - 1, comparisons) < 0.8


def _least_decided(margin: float, deviation: float, seeds: int, comparisons: int) -> float:
    """The same by counting: intervals of a known deviation, over true differences."""
    random = np.random.default_rng(0)
    half = stats.norm.isf(0.025 / comparisons) * deviation / math.sqrt(seeds)
    shares = []
    for true in np.linspace(0, margin, 17):
        mean = abs(random.normal(true, deviation / math.sqrt(seeds), 20_000))
        shares.append(((mean > half) | (mean + half < margin)).mean())
    return float(min(shares))


def test_noise_known_from_few_seeds_asks_for_more() -> None:
    few, many = (seeds_to_decide(0.5, Noise(0.4, degrees), seeds=3) for degrees in (2, 200))
    assert few > many


def test_more_than_ten_thousand_seeds_are_not_counted() -> None:
    assert seeds_to_decide(0.001, Noise(10, 2), seeds=3) == 10_000


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_who_cannot_tell_always_needs_more_seeds(number: int) -> None:
    random = np.random.default_rng(number)
    scores = random.normal(90, random.uniform(0.1, 1), (4, 10)) + random.uniform(-0.5, 0.5, (4, 1))
    for difference in differences(scores, baseline=0):
        if difference.verdict is Verdict.CANT_TELL:
            assert difference.seeds_needed is not None
            assert difference.seeds_needed > 10


def test_no_verdict_below_three_seeds_however_many_settings() -> None:
    scores = np.array([[90.0, 90.0, NAN], [95.0, 95.001, 95.0], [95.0, 95.001, 95.0]])
    two, _ = differences(scores, baseline=0)
    assert (two.verdict, two.seeds_needed, two.negligible) == (Verdict.NO_VERDICT, 3, False)
    scores[0, 2] = 90.0
    three, _ = differences(scores, baseline=0)
    assert (three.verdict, three.seeds_needed) == (Verdict.BETTER, None)


def test_a_setting_without_a_run_is_a_comparison_without_verdict() -> None:
    first, failed = _against(0.7 + _wave(0.1), np.full(10, NAN))
    assert (failed.seeds, failed.mean, failed.superiority, failed.seeds_needed) == (0, None, None, 3)
    assert failed.verdict == Verdict.NO_VERDICT
    assert _half(first) == pytest.approx(stats.t.isf(0.05 / 4, 9) * 0.1 / 3)


def test_the_intervals_are_those_of_the_pooled_rule() -> None:
    scores = np.random.default_rng(7).normal(90, 0.3, (6, 4))
    rule = pooled_intervals(list(scores[1:] - scores[0]), comparisons=5)
    assert [each.interval for each in differences(scores, baseline=0)] == rule


def test_superiority_counts_pairs_and_half_of_ties() -> None:
    # 90 loses twice, 91 wins once and ties once.
    assert superiority(np.array([90.0, 91.0]), np.array([91.0, 90.5])) == (1 + 0.5) / 4
    assert superiority(np.array([2.0]), np.array([1.0])) == 1


@pytest.mark.parametrize("baseline", [-1, 2])
def test_the_baseline_is_a_setting(baseline: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        differences(np.full((2, 6), 90.0), baseline)


@pytest.mark.parametrize("margin", [0, -1, NAN, math.inf])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        differences(np.full((2, 6), 90.0), 0, margin)


def test_a_baseline_needs_another_setting() -> None:
    with pytest.raises(ValueError, match="at least 2 settings"):
        differences(np.full((1, 6), 90.0), 0)


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
        assert (other.verdict, other.superiority) == (same.verdict, same.superiority)
        assert other.seeds_needed == same.seeds_needed
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
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert forth.verdict == opposite.get(back.verdict, back.verdict)


def test_the_committed_study_keeps_its_verdicts_and_few_seeds_contradict_none() -> None:
    with (REPORT / "runs.csv").open(encoding="utf-8") as runs, (REPORT / "results.csv").open(encoding="utf-8") as rows:
        accuracies = [(run["setting"], float(run["accuracy"])) for run in csv.DictReader(runs)]
        results = list(csv.DictReader(rows))
    scores = np.array([[score for setting, score in accuracies if setting == row["setting"]] for row in results])
    baseline = next(place for place, row in enumerate(results) if row["baseline"] == "true")
    stated = [row["verdict"] for place, row in enumerate(results) if place != baseline]
    assert [each.verdict for each in differences(scores, baseline)] == stated
    # The README says so.
    assert [each.verdict for each in differences(scores[:, :5], baseline)] == stated
    threes = list(itertools.combinations(range(scores.shape[1]), 3))[::4]
    same = 0
    for three in threes:
        for each, verdict_of_ten in zip(differences(scores[:, three], baseline), stated, strict=True):
            assert each.verdict in (verdict_of_ten, Verdict.CANT_TELL)
            same += each.verdict == verdict_of_ten
    assert same / len(threes) / len(stated) == pytest.approx(0.58, abs=0.03)


def test_of_two_settings_a_very_noisy_one_hides_nothing_of_the_other() -> None:
    # Nine times is pooled still: √((1 + 8.9²) / 2), with 2 × 8 / 5 degrees of freedom.
    wave = np.array([-1.0, 0.0, 1.0])
    near = differences(np.stack([np.full(3, 50.0), 50 + 0.1 * wave, 50 + 0.89 * wave]), baseline=0)
    pooled = 0.1 * math.sqrt((1 + 8.9**2) / 2)
    assert _half(near[0]) == pytest.approx(stats.t.isf(0.05 / 4, 3.2) * pooled / math.sqrt(3))
    quiet, _ = differences(np.stack([np.full(3, 50.0), 52 + 0.1 * wave, 50 + 2 * wave]), baseline=0)
    assert _half(quiet) == pytest.approx(stats.t.isf(0.05 / 4, 2) * 0.1 / math.sqrt(3))
    assert quiet.verdict is Verdict.BETTER
