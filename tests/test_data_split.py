"""The split into training and validation images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.data.prepared import split
from pipeline.terminal.errors import UserError

BALANCED = np.tile(np.arange(10, dtype=np.uint8), 100)


@st.composite
def labels_and_count(draw: st.DrawFn) -> tuple[NDArray[np.uint8], int]:
    labels = np.array(draw(st.lists(st.integers(0, 6), min_size=1, max_size=60)), dtype=np.uint8)
    return labels, draw(st.integers(0, len(labels) - 1))


@given(labels_and_count(), st.integers(0, 2**31 - 1))
def test_split_is_exact_complete_disjoint_sorted_and_stratified(case: tuple[NDArray[np.uint8], int], seed: int) -> None:
    labels, count = case
    training, validation = split(labels, validation_images=count, seed=seed)
    assert len(validation) == count
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(len(labels)))
    assert training.tolist() == sorted(training.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    for number in set(labels.tolist()):
        share = count * np.count_nonzero(labels == number) / len(labels)
        assert abs(np.count_nonzero(labels[validation] == number) - share) < 1


def test_shares_are_those_of_the_largest_remainders() -> None:
    # 5 of 12, in classes of 7, 3 and 2: 2.92, 1.25 and 0.83 → 2, 1, 0 and one more for the first and the last.
    labels = np.repeat(np.arange(3, dtype=np.uint8), [7, 3, 2])
    _, validation = split(labels, validation_images=5, seed=0)
    assert np.bincount(labels[validation], minlength=3).tolist() == [3, 1, 1]


def test_of_equal_remainders_the_lower_class_gives_one_more() -> None:
    _, validation = split(BALANCED, validation_images=13, seed=4)
    assert np.bincount(BALANCED[validation]).tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]


def test_nothing_is_held_out_of_0() -> None:
    training, validation = split(BALANCED, validation_images=0, seed=0)
    assert training.tolist() == list(range(1000))
    assert validation.shape == (0,)
    assert validation.dtype.kind == training.dtype.kind == "i"


def test_same_seed_gives_the_same_split_whatever_was_drawn_before() -> None:
    first = split(BALANCED, validation_images=200, seed=0)[1]
    np.random.default_rng(0).random(10)
    np.random.seed(7)
    assert split(BALANCED, validation_images=200, seed=0)[1].tolist() == first.tolist()


def test_split_is_the_same_as_ever() -> None:
    # Of the first class the images are 0, 10, 20 …: drawn by hand with NumPy's generator for (seed, class).
    expected = sorted(np.random.default_rng([3, 0]).permutation(np.arange(0, 1000, 10))[:5].tolist())
    _, validation = split(BALANCED, validation_images=50, seed=3)
    assert [index for index in validation.tolist() if index % 10 == 0] == expected


def test_other_seed_gives_another_split() -> None:
    splits = {tuple(split(BALANCED, validation_images=100, seed=seed)[1].tolist()) for seed in range(20)}
    assert len(splits) == 20


def test_classes_are_drawn_independently() -> None:
    _, validation = split(BALANCED, validation_images=100, seed=0)
    places = {tuple(index // 10 for index in validation.tolist() if index % 10 == number) for number in range(10)}
    assert len(places) == 10


def test_larger_validation_set_keeps_the_smaller_one() -> None:
    small = set(split(BALANCED, validation_images=100, seed=0)[1].tolist())
    assert small < set(split(BALANCED, validation_images=300, seed=0)[1].tolist())


def test_other_classes_do_not_change_the_images_of_one() -> None:
    merged = np.where(BALANCED == 9, 8, BALANCED).astype(np.uint8)
    before = split(BALANCED, validation_images=100, seed=0)[1]
    after = split(merged, validation_images=100, seed=0)[1]
    assert before[BALANCED[before] < 8].tolist() == after[BALANCED[after] < 8].tolist()


@pytest.mark.parametrize("count", [-1, 1000, 5000])
def test_count_that_leaves_nothing_to_train_on_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=r"data\.validation_images: .*1,000 images.* Use at most 999"):
        split(BALANCED, validation_images=count, seed=0)
