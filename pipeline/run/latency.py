"""How long a prediction takes, in batches of different sizes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WARM_UPS = 3
FEWEST_REPEATS = 5

SHARED = "shared_"
"""Begins the name of a latency that was measured while other runs used the cores: it says little of the network."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds an image: the median of `repeats` timed calls, and the lower and upper quartile."""

    median: float
    lower_quartile: float
    upper_quartile: float
    repeats: int


def latency(
    predict: Callable[[NDArray[Any]], object],
    images: NDArray[Any],
    *,
    batch_sizes: Sequence[int] = (1, 256),
    repeats: int = 50,
    seconds: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, Latency]:
    """Batch size → latency of `predict`, which takes images [batch, …] and returns when the answer is there.

    Each batch size is called WARM_UPS times untimed (the first call compiles), then `repeats` times, or until
    `seconds` have passed and FEWEST_REPEATS calls are timed. Fewer images than a batch are used more than once.
    Raises ValueError where there is no image, or a batch or the repeats are less than 1.
    """
    if len(images) == 0 or repeats < 1 or min(batch_sizes) < 1:
        raise ValueError(
            f"latency needs images, repeats and batch sizes of at least 1, "
            f"not {len(images)} images, {repeats} repeats, batch sizes {tuple(batch_sizes)}"
        )
    return {size: _batch_latency(predict, _batch(images, size), repeats, seconds, clock) for size in batch_sizes}


def _batch(images: NDArray[Any], size: int) -> NDArray[Any]:
    """The first `size` images, from the start again where there are fewer."""
    return images[np.arange(size) % len(images)]


def _batch_latency(
    predict: Callable[[NDArray[Any]], object],
    batch: NDArray[Any],
    repeats: int,
    seconds: float,
    clock: Callable[[], float],
) -> Latency:
    for _ in range(WARM_UPS):
        predict(batch)
    durations: list[float] = []
    while len(durations) < repeats and (sum(durations) < seconds or len(durations) < FEWEST_REPEATS):
        start = clock()
        predict(batch)
        durations.append(clock() - start)
    lower, median, upper = (1000 * float(value) / len(batch) for value in np.percentile(durations, (25, 50, 75)))
    return Latency(median=median, lower_quartile=lower, upper_quartile=upper, repeats=len(durations))
