"""Latency against a clock that says what we want."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.run.metrics import FEWEST_REPEATS, WARM_UPS, latency

IMAGES = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2)


class Predictor:
    """A network that takes the given seconds, call by call (the last ones again and again), on its own clock."""

    def __init__(self, *durations: float) -> None:
        self.durations = durations
        self.now = 0.0
        self.batches: list[NDArray[np.uint8]] = []
        self._remaining: Iterator[float] = iter(durations)

    def __call__(self, batch: NDArray[np.uint8]) -> None:
        self.batches.append(batch)
        self.now += next(self._remaining, self.durations[-1])

    def clock(self) -> float:
        return self.now


def test_it_is_the_median_in_milliseconds_an_image() -> None:
    predict = Predictor(*[0.0] * WARM_UPS, 0.04, 0.01, 0.02, 0.05, 0.03)
    result = latency(predict, IMAGES, batch_sizes=(2,), repeats=5, seconds=1, clock=predict.clock)[2]
    assert result == pytest.approx(15)


def test_warm_up_calls_are_not_timed() -> None:
    predict = Predictor(*[100.0] * WARM_UPS, 0.001)
    assert latency(predict, IMAGES, batch_sizes=(1,), repeats=4, seconds=1, clock=predict.clock)[1] == pytest.approx(1)
    assert len(predict.batches) == WARM_UPS + 4


def test_each_batch_size_has_its_own_latency() -> None:
    predict = Predictor(0.008)
    result = latency(predict, IMAGES, batch_sizes=(1, 4), repeats=2, seconds=1, clock=predict.clock)
    assert result == pytest.approx({1: 8, 4: 2})


def test_images_are_used_again_where_there_are_fewer_than_a_batch() -> None:
    predict = Predictor(0.001)
    latency(predict, IMAGES, batch_sizes=(7,), repeats=1, seconds=1, clock=predict.clock)
    assert all(np.array_equal(batch, IMAGES[[0, 1, 2, 0, 1, 2, 0]]) for batch in predict.batches)


def test_a_slow_network_is_timed_less_often_but_often_enough() -> None:
    predict = Predictor(10.0)
    latency(predict, IMAGES, batch_sizes=(1,), repeats=50, seconds=1, clock=predict.clock)
    assert len(predict.batches) == WARM_UPS + FEWEST_REPEATS


def test_timing_ends_when_the_seconds_have_passed() -> None:
    predict = Predictor(0.25)
    latency(predict, IMAGES, batch_sizes=(1,), repeats=50, seconds=2, clock=predict.clock)
    assert len(predict.batches) == WARM_UPS + 8
