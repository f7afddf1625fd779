"""Contrasts: their values and intervals by hand, and what they say about a claim."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.differences import (
    Contrast,
    ContrastResult,
    Expects,
    contrast_results,
    contrast_verdict,
    differences,
    seeds_to_decide,
)
from pipeline.statistics.intervals import Interval, Noise

NAN = float("nan")
WAVE = np.array([-1.0, 0.0, 1.0])


def _half(result: ContrastResult) -> float:
    assert result.interval is not None
    return (result.interval.high - result.interval.low) / 2


def test_a_contrast_by_hand() -> None:
    # Setting 0 less the mean of 1 and 2: 2, 3, 4 in the seeds that all three have.
    scores = np.array([[52.0, 50, 53, 54, 60], [50, 44, 51, 51, NAN], [50, 50, 49, 49, 50]])
    scores[2, 1] = NAN
    (result,) = contrast_results(scores, [Contrast(np.array([1, -0.5, -0.5]), "gain", 0.5)])
    assert (result.seeds, result.mean, result.deviation) == (3, 3, 1)
    assert _half(result) == pytest.approx(stats.t.isf(0.025, 2) / math.sqrt(3))
    assert (result.verdict, result.negligible, result.seeds_needed) == ("supported", False, None)


def test_contrasts_with_one_baseline_have_the_intervals_of_differences() -> None:
    scores = np.random.default_rng(7).normal(90, 0.3, (4, 5))
    against = np.hstack([-np.ones((3, 1)), np.eye(3)])
    results = contrast_results(scores, [Contrast(weights, "gain", 0.5) for weights in against])
    for result, difference in zip(results, differences(scores, baseline=0), strict=True):
        assert difference.interval is not None
        assert result.interval is not None
        assert (result.interval.low, result.interval.high) == pytest.approx(
            (difference.interval.low, difference.interval.high)
        )
        assert (result.seeds_needed is None) == (difference.seeds_needed is None)


def test_contrasts_that_ask_the_same_twice_know_their_noise_no_better() -> None:
    scores = np.stack([50 + WAVE, np.full(3, 50.0)])
    twice = [Contrast(np.array([1.0, -1.0]), "gain", 0.5), Contrast(np.array([2.0, -2.0]), "gain", 0.5)]
    first, second = contrast_results(scores, twice)
    assert _half(first) == pytest.approx(stats.t.isf(0.05 / 4, 2) / math.sqrt(3))
    assert _half(second) == pytest.approx(2 * _half(first))


def test_contrasts_of_other_settings_know_it_together() -> None:
    # Deviations 1 and 2, independent: pooled √2.5 with 2 × 8 / 5 degrees of freedom, the bound for a shared baseline.
    scores = np.stack([50 + WAVE, np.full(3, 50.0), 50 + 2 * WAVE, np.full(3, 50.0)])
    family = [Contrast(np.array([1.0, -1, 0, 0]), "gain", 0.5), Contrast(np.array([0, 0, 1.0, -1]), "gain", 0.5)]
    halves = [_half(result) * math.sqrt(3) for result in contrast_results(scores, family)]
    quantile = stats.t.isf(0.05 / 4, 3.2)
    assert halves == pytest.approx([quantile * math.sqrt(2.5), quantile * 2])


def test_a_family_gives_its_error_rate_in_parts() -> None:
    scores = np.stack([50 + WAVE, np.full(3, 50.0)])
    (result,) = contrast_results(scores, [Contrast(np.array([1.0, -1.0]), "gain", 0.5)], error_rate=0.01)
    assert _half(result) == pytest.approx(stats.t.isf(0.005, 2) / math.sqrt(3))


@pytest.mark.parametrize(
    ("expects", "low", "high", "expected"),
    [
        ("gain", 0.1, 0.4, "supported"),
        ("gain", -0.4, -0.1, "refuted"),
        ("gain", -0.4, 0.4, "no difference that matters"),
        ("gain", -0.6, 0.4, "can't tell"),
        ("no_harm", -0.4, 2.0, "supported"),
        ("no_harm", -2.0, -0.6, "refuted"),
        ("no_harm", -0.6, 0.4, "can't tell"),
        ("no_gain", -2.0, 0.4, "supported"),
        ("no_gain", 0.6, 2.0, "refuted"),
        ("no_gain", 0.1, 0.6, "can't tell"),
    ],
)
def test_a_claim_is_supported_where_all_of_the_interval_agrees(
    expects: Expects, low: float, high: float, expected: str
) -> None:
    contrast = Contrast(np.array([1.0, -1.0]), expects, 0.5)
    assert contrast_verdict(contrast, Interval(low, high), seeds=3) == expected
    assert contrast_verdict(contrast, Interval(low, high), seeds=2) == "no verdict"


def test_a_gain_by_less_than_matters_is_marked() -> None:
    scores = np.stack([50.3 + 0.01 * WAVE, np.full(3, 50.0)])
    weights = np.array([1.0, -1.0])
    small, harmless = contrast_results(scores, [Contrast(weights, "gain", 0.5), Contrast(weights, "no_harm", 0.5)])
    large, _ = contrast_results(scores, [Contrast(weights, "gain", 0.2), Contrast(weights, "no_harm", 0.2)])
    assert [(each.verdict, each.negligible) for each in (small, harmless, large)] == [
        ("supported", True),
        ("supported", True),
        ("supported", False),
    ]


def test_who_cannot_tell_is_told_how_many_seeds_would() -> None:
    scores = np.stack([50 + 0.6 * WAVE, np.full(3, 50.0)])
    weights = np.array([1.0, -1.0])
    gain, harm = (contrast_results(scores, [Contrast(weights, each, 0.5)])[0] for each in ("gain", "no_harm"))
    assert (gain.verdict, harm.verdict) == ("can't tell", "can't tell")
    assert gain.seeds_needed == seeds_to_decide(0.5, Noise(0.6, 2), seeds=3)
    assert harm.seeds_needed == seeds_to_decide(1.0, Noise(0.6, 2), seeds=3)


def test_what_no_seed_changes_has_no_interval_and_is_not_pooled() -> None:
    scores = np.stack([np.full(3, 51.0), np.full(3, 50.0), 50 + WAVE, 50 + WAVE])
    weights = np.array([[1.0, -1, 0, 0], [0, 0, 1, -1], [0, -1, 1, 0]])
    fixed, same, noisy = contrast_results(scores, [Contrast(each, "gain", 0.5) for each in weights])
    assert (fixed.verdict, fixed.interval, fixed.mean) == ("no verdict", None, 1)
    assert (same.verdict, same.interval) == ("no difference that matters", Interval(0, 0))
    assert _half(noisy) == pytest.approx(stats.t.isf(0.05 / 6, 2) / math.sqrt(3))


def test_without_seeds_there_is_no_verdict() -> None:
    (result,) = contrast_results(np.full((2, 3), NAN), [Contrast(np.array([1.0, -1.0]), "gain", 0.5)])
    assert (result.seeds, result.mean, result.deviation, result.interval) == (0, None, None, None)
    assert (result.verdict, result.seeds_needed) == ("no verdict", 3)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -0.9], [NAN, 1.0]])
def test_weights_sum_to_zero(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        Contrast(np.array(weights), "gain", 0.5)


@pytest.mark.parametrize("margin", [0, -1, NAN, math.inf])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        Contrast(np.array([1.0, -1.0]), "gain", margin)
