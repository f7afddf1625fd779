"""Intervals over seeds and images, against an analysis of variance by hand, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from benchmarks.comparison import images
from pipeline.findings.statistics.images import Answers, accuracy, accuracy_difference, most_disputed


def _answers(correct: list[list[int]], runs: list[tuple[int, int]]) -> Answers:
    """Answers of runs (setting, seed), 1 where right."""
    settings_, seeds = zip(*runs, strict=True)
    return Answers(np.array(correct, dtype=np.bool_), np.array(settings_), np.array(seeds))


def _random(number: int, seeds: int = 4, images: int = 30) -> Answers:
    """Two settings whose seeds and images are of different worth."""
    random = np.random.default_rng(number)
    worth = random.normal(0, 1, (1, images)) + random.normal(0, 0.5, (2 * seeds, 1))
    correct = worth + random.normal(0.5, 0.5, (2 * seeds, images)) > 0
    return Answers(correct, np.repeat([0, 1], seeds), np.tile(np.arange(seeds), 2))


def _errors(values: NDArray[np.float64]) -> tuple[float, float]:
    """Standard errors of the mean of [seeds, images], from sums of squares as textbooks of variance analysis have them.

    One that comes from the seeds, one from the images.
    """
    seeds, images = values.shape
    correction = values.sum() ** 2 / values.size
    of_seeds = ((values.sum(axis=1) ** 2).sum() / images - correction) / (seeds - 1)
    of_images = ((values.sum(axis=0) ** 2).sum() / seeds - correction) / (images - 1)
    return math.sqrt(of_seeds / values.size), math.sqrt(of_images / values.size)


def test_the_error_of_a_mean_is_that_of_the_crossed_design() -> None:
    answers = _random(1)
    result = accuracy(answers, 0)
    assert result is not None
    of_seeds, of_images = _errors(answers.correct[:4].astype(np.float64))
    half = 100 * math.sqrt((stats.t.ppf(0.975, 3) * of_seeds) ** 2 + (stats.t.ppf(0.975, 29) * of_images) ** 2)
    mean = 100 * answers.correct[:4].mean()
    assert (result.interval.low, result.mean, result.interval.high) == pytest.approx((mean - half, mean, mean + half))
    assert (result.seed_error, result.image_error) == pytest.approx((100 * of_seeds, 100 * of_images))
    assert (result.seeds, result.images) == (4, 30)


def test_equal_seeds_leave_the_t_interval_of_the_images() -> None:
    result = accuracy(_answers([[1, 1, 1, 0]] * 3, [(0, 0), (0, 1), (0, 2)]), 0)
    assert result is not None
    theirs = stats.ttest_1samp([100.0, 100.0, 100.0, 0.0], 0).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert result.seed_error == 0


def test_equal_images_leave_the_t_interval_of_the_seeds() -> None:
    # Each seed is right on all images or on none: 100, 0 and 0 points.
    result = accuracy(_answers([[1, 1, 1], [0, 0, 0], [0, 0, 0]], [(0, 0), (0, 1), (0, 2)]), 0)
    assert result is not None
    theirs = stats.ttest_1samp([100.0, 0.0, 0.0], 0).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert result.image_error == 0


def test_a_difference_is_paired_by_seed_and_image() -> None:
    # Seeds 1 and 2 are common, in another order; of setting 3 less setting 7, seed 1: 1, 0, 1; seed 2: 1, 0, -1.
    answers = _answers(
        [[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1], [1, 1, 1]], [(3, 2), (3, 0), (7, 1), (7, 2), (3, 1)]
    )
    result = accuracy_difference(answers, 3, 7)
    assert result is not None
    of_seeds, of_images = _errors(np.array([[1.0, 0, 1], [1, 0, -1]]))
    half = 100 * math.sqrt((stats.t.ppf(0.975, 1) * of_seeds) ** 2 + (stats.t.ppf(0.975, 2) * of_images) ** 2)
    assert result.mean == pytest.approx(100 / 3)
    assert result.seeds == 2
    assert result.interval.high == pytest.approx(100 / 3 + half)


def test_one_of_several_differences_has_a_wider_interval() -> None:
    answers = _random(2)
    one, four = accuracy_difference(answers, 0, 1), accuracy_difference(answers, 0, 1, comparisons=4)
    assert one is not None
    assert four is not None
    half = math.hypot(
        stats.t.isf(0.05 / 8, 3) * one.seed_error,
        stats.t.isf(0.05 / 8, 29) * one.image_error,
    )
    assert four.mean == one.mean
    assert four.interval.high == pytest.approx(one.mean + half)


def test_one_common_seed_gives_no_interval() -> None:
    answers = _answers([[1, 0], [1, 1], [0, 1]], [(0, 0), (0, 1), (1, 0)])
    assert accuracy_difference(answers, 0, 1) is None
    assert accuracy(answers, 1) is None
    assert accuracy_difference(_answers([[1, 0], [1, 1]], [(0, 0), (1, 1)]), 0, 1) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_runs_and_images_does_not_matter(number: int) -> None:
    answers = _random(number)
    random = np.random.default_rng(number)
    rows, columns = random.permutation(8), random.permutation(30)
    other = Answers(answers.correct[rows][:, columns], answers.settings[rows], answers.seeds[rows])
    ours, theirs = accuracy_difference(answers, 1, 0), accuracy_difference(other, 1, 0)
    back = accuracy_difference(other, 0, 1)
    assert ours is not None
    assert theirs is not None
    assert back is not None
    assert (ours.interval.low, ours.mean) == pytest.approx((theirs.interval.low, theirs.mean))
    assert back.interval.high == pytest.approx(-theirs.interval.low)


def test_the_most_disputed_images_come_first_and_ties_by_number() -> None:
    # Shares of right seeds by setting: image 0 (1, 1), 1 (½, 1), 2 (0, 1), 3 (1, ½), 4 (1, 0).
    answers = _answers(
        [[1, 1, 0, 1, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], [(0, 0), (0, 1), (1, 0), (1, 1)]
    )
    assert most_disputed(answers, count=9).tolist() == [2, 4, 1, 3]
    assert most_disputed(answers, count=3).tolist() == [2, 4, 1]
    assert most_disputed(answers, count=0).tolist() == []


def test_ties_do_not_depend_on_the_order_of_settings() -> None:
    # Shares of three seeds, thirds that no binary number holds, come in another order for each image.
    random = np.random.default_rng(0)
    shares = np.repeat(random.integers(0, 4, (7, 1)), 200, axis=1)
    shares = random.permuted(shares, axis=0)
    correct = np.arange(3)[None, :, None] < shares[:, None, :]
    answers = Answers(correct.reshape(21, 200), np.repeat(np.arange(7), 3), np.tile([0, 1, 2], 7))
    assert most_disputed(answers, count=200).tolist() == list(range(200))


@pytest.mark.parametrize(
    ("correct", "settings_", "seeds", "message"),
    [
        (np.ones((2, 3)), [0, 1], [0, 0], "must be bool"),
        (np.ones((0, 3), dtype=bool), [], [], "must be bool"),
        (np.ones((2, 1), dtype=bool), [0, 1], [0, 0], "two images"),
        (np.ones(3, dtype=bool), [0, 1, 2], [0, 0, 0], "must be bool"),
        (np.ones((2, 3), dtype=bool), [0], [0, 0], "one number for each of 2"),
        (np.ones((2, 3), dtype=bool), [0, 1], [0], "one number for each of 2"),
        (np.ones((2, 3), dtype=bool), [0, 0], [1, 1], "same setting and seed"),
    ],
)
def test_answers_that_fit_no_runs_are_refused(
    correct: NDArray[np.bool_], settings_: list[int], seeds: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Answers(correct, np.array(settings_), np.array(seeds))


def test_questions_without_an_answer_are_refused() -> None:
    answers = _random(0)
    with pytest.raises(ValueError, match="setting 5 has no run"):
        accuracy(answers, 5)
    with pytest.raises(ValueError, match="no run"):
        accuracy_difference(answers, 0, 5)
    with pytest.raises(ValueError, match="both 0"):
        accuracy_difference(answers, 0, 0)
    with pytest.raises(ValueError, match="comparison"):
        accuracy_difference(answers, 0, 1, comparisons=0)
    with pytest.raises(ValueError, match="count"):
        most_disputed(answers, count=-1)


def test_simulated_intervals_over_seeds_and_images_hold_the_truth() -> None:
    for figure in images(studies=150):
        assert figure.kept, figure
