"""Intervals over seeds and images, against an analysis of variance by hand, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.differences import differences
from pipeline.statistics.images import Answers, CrossedMean, accuracy_differences, most_disputed

RUNS = [(setting, seed) for setting in (0, 1) for seed in (0, 1, 2)]


def _answers(correct: list[list[int]], runs: list[tuple[int, int]]) -> Answers:
    """Answers of runs (setting, seed), 1 where right."""
    settings_, seeds = zip(*runs, strict=True)
    return Answers(np.array(correct, dtype=np.bool_), np.array(settings_), np.array(seeds))


def _random(number: int, seeds: int = 4, images: int = 30) -> Answers:
    """Two settings whose seeds are of different worth, and which find other images hard."""
    random = np.random.default_rng(number)
    worth = np.repeat(random.normal(0, 1, (2, images)), seeds, axis=0) + random.normal(0, 0.5, (2 * seeds, 1))
    correct = worth + random.normal(0.5, 0.5, (2 * seeds, images)) > 0
    return Answers(correct, np.repeat([0, 1], seeds), np.tile(np.arange(seeds), 2))


def _coins(number: int) -> Answers:
    """Two settings of four seeds that guess, for 1,000 images."""
    correct = np.random.default_rng(number).random((8, 1000)) < 0.5
    return Answers(correct, np.repeat([0, 1], 4), np.tile(np.arange(4), 2))


def _difference(answers: Answers, setting: int, baseline: int, comparisons: int = 1) -> CrossedMean:
    return accuracy_differences(answers, baseline, comparisons)[setting]


def _mean_squares(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of the seeds, the images and the rest of values [seeds, images], from sums as textbooks have them."""
    seeds, images = values.shape
    correction = values.sum() ** 2 / values.size
    of_seeds = (values.sum(axis=1) ** 2).sum() / images - correction
    of_images = (values.sum(axis=0) ** 2).sum() / seeds - correction
    rest = (values**2).sum() - correction - of_seeds - of_images
    return of_seeds / (seeds - 1), of_images / (images - 1), rest / (seeds - 1) / (images - 1)


def test_the_error_of_a_difference_is_that_of_the_crossed_design() -> None:
    answers = _random(1)
    result = _difference(answers, 0, 1)
    values = 100 * (answers.correct[:4].astype(np.float64) - answers.correct[4:])
    of_seeds, of_images, rest = _mean_squares(values)
    seed_error, image_error = math.sqrt(of_seeds / values.size), math.sqrt((of_images - rest) / values.size)
    half = math.hypot(stats.t.ppf(0.975, 3) * seed_error, stats.t.ppf(0.975, 29) * image_error)
    assert (result.seed_error, result.image_error) == pytest.approx((seed_error, image_error))
    assert (result.mean, result.interval.high) == pytest.approx((values.mean(), values.mean() + half))
    assert (result.seeds, result.images) == (4, 30)


def test_equal_seeds_leave_the_t_interval_of_the_images() -> None:
    result = _difference(_answers([[1, 1, 1, 0]] * 3 + [[0, 0, 0, 0]] * 3, RUNS), 0, 1)
    theirs = stats.ttest_1samp([100.0, 100.0, 100.0, 0.0], 0).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert result.seed_error == 0


def test_equal_images_leave_the_t_interval_of_the_seeds() -> None:
    # Each seed is right on all images or on none: 100, 0 and 0 points.
    result = _difference(_answers([[1, 1, 1], [0, 0, 0], [0, 0, 0]] + [[0, 0, 0]] * 3, RUNS), 0, 1)
    theirs = stats.ttest_1samp([100.0, 0.0, 0.0], 0).confidence_interval(0.95)
    assert (result.interval.low, result.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert result.image_error == 0


def test_chance_in_single_answers_is_counted_once() -> None:
    # No image and no seed is better than another: all error is that of single answers, and the seeds' holds it.
    results = [_difference(_coins(number), 0, 1) for number in range(40)]
    assert np.mean([each.seed_error**2 for each in results]) == pytest.approx(0.5 * 100**2 / 4000, rel=0.1)
    assert np.mean([each.image_error**2 for each in results]) < 0.15 * np.mean([each.seed_error**2 for each in results])


def test_a_difference_is_paired_by_seed_and_image() -> None:
    # Seeds 1 and 2 are common, in another order; of setting 3 less setting 7, seed 1: 1, 0, 1; seed 2: 1, 0, -1.
    answers = _answers(
        [[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1], [1, 1, 1]], [(3, 2), (3, 0), (7, 1), (7, 2), (3, 1)]
    )
    result = _difference(answers, 3, 7)
    of_seeds, of_images, rest = _mean_squares(np.array([[100.0, 0, 100], [100, 0, -100]]))
    assert result.seeds == 2
    assert result.mean == pytest.approx(100 / 3)
    assert result.seed_error == pytest.approx(math.sqrt(of_seeds / 6))
    assert result.image_error == pytest.approx(math.sqrt(max(of_images - rest, 0) / 6))


def test_the_seeds_part_is_that_of_the_verdicts() -> None:
    random = np.random.default_rng(5)
    answers = Answers(random.random((12, 50)) < 0.7, np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4))
    scores = 100 * answers.correct.mean(axis=1).reshape(4, 3)
    verdicts = {each.setting: each.interval for each in differences(scores, baseline=0)}
    for setting, crossed in accuracy_differences(answers, baseline=0, comparisons=3).items():
        own = verdicts[setting]
        assert own is not None
        image_half = stats.t.isf(0.05 / 6, 49) * crossed.image_error
        assert crossed.interval.high - crossed.mean == pytest.approx(math.hypot((own.high - own.low) / 2, image_half))


def test_one_of_several_differences_has_a_wider_interval() -> None:
    answers = _random(2)
    one, four = _difference(answers, 0, 1), _difference(answers, 0, 1, comparisons=4)
    half = math.hypot(stats.t.isf(0.05 / 8, 3) * one.seed_error, stats.t.isf(0.05 / 8, 29) * one.image_error)
    assert four.mean == one.mean
    assert four.interval.high == pytest.approx(one.mean + half)


def test_without_two_common_seeds_there_is_no_interval() -> None:
    answers = _answers([[1, 0], [1, 1], [0, 1]], [(0, 0), (0, 1), (1, 0)])
    assert accuracy_differences(answers, baseline=1, comparisons=1) == {}
    assert accuracy_differences(answers, baseline=5, comparisons=1) == {}
    assert accuracy_differences(_answers([[1, 0], [1, 1]], [(0, 0), (1, 1)]), baseline=1, comparisons=1) == {}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_runs_and_images_does_not_matter(number: int) -> None:
    answers = _random(number)
    random = np.random.default_rng(number)
    rows, columns = random.permutation(8), random.permutation(30)
    other = Answers(answers.correct[rows][:, columns], answers.settings[rows], answers.seeds[rows])
    ours, theirs, back = _difference(answers, 1, 0), _difference(other, 1, 0), _difference(other, 0, 1)
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


def test_no_negative_count_of_images() -> None:
    with pytest.raises(ValueError, match="count"):
        most_disputed(_random(0), count=-1)
