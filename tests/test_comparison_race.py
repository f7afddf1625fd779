"""Races, replayed from scores."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.statistics.contrasts import Contrast
from pipeline.statistics.race import Stop, race

NAN = float("nan")
NOISE = np.random.default_rng(0).normal(0, 0.1, (4, 10))


def _scores(*means: float) -> NDArray[np.float64]:
    return np.array(means)[:, None] + NOISE[: len(means)]


def _first(scores: NDArray[np.float64], seeds: int) -> NDArray[np.bool_]:
    """That the first so many seeds have ended."""
    return np.broadcast_to(np.arange(scores.shape[1]) < seeds, scores.shape)


def test_nothing_is_decided_below_three_seeds() -> None:
    scores = _scores(90, 95, 80)
    for seeds in range(3):
        standing = race(scores, _first(scores, seeds), 0, 0.5, "decided")
        assert (standing.seeds, standing.open, standing.decided) == (seeds, frozenset({0, 1, 2}), {})
        assert not standing.finished


def test_a_setting_whose_verdict_stands_gets_no_more_seeds() -> None:
    scores = _scores(90, 95, 90.25)
    standing = race(scores, _first(scores, 3), 0, 0.5, "decided")
    assert {each: (known.verdict, known.seeds) for each, known in standing.decided.items()} == {1: ("better", 3)}
    assert (standing.open, standing.finished) == (frozenset({0, 2}), False)


def test_what_ran_after_a_verdict_does_not_count() -> None:
    scores = _scores(90, 95, 90.25)
    ended = _first(scores, 6).copy()
    ended[1, 3:] = False
    scores[1, 3:] = 0
    standing = race(scores, ended, 0, 0.5, "decided")
    assert standing.seeds == 6
    assert standing.decided[1].seeds == 3


def test_a_look_waits_for_all_that_are_open() -> None:
    scores = _scores(90, 90.1, 90.2)
    ended = _first(scores, 4).copy()
    ended[2, 3] = False
    assert race(scores, ended, 0, 0.5, "decided").seeds == 3


def test_a_race_ends_when_all_verdicts_stand_or_seeds_are_out() -> None:
    scores = _scores(90, 95, 80)
    standing = race(scores, _first(scores, 10), 0, 0.5, "decided")
    assert (standing.seeds, standing.open, standing.finished) == (3, frozenset(), True)
    scores = np.stack([90 + NOISE[0], 90.25 + 8 * NOISE[1]])
    standing = race(scores, _first(scores, 10), 0, 0.3, "decided")
    assert (standing.seeds, standing.open, standing.finished) == (10, frozenset({0, 1}), True)


def test_a_race_for_the_best_keeps_the_baseline() -> None:
    scores = _scores(80, 95, 90, 94.9)
    standing = race(scores, _first(scores, 3), 0, 0.1, "best")
    assert set(standing.decided) == {2}
    assert standing.open == {0, 1, 3}


@pytest.mark.parametrize("stop", ["decided", "best"])
def test_a_setting_that_always_fails_stays_open(stop: Stop) -> None:
    scores = _scores(90, 95, 80)
    scores[2] = NAN
    standing = race(scores, _first(scores, 10), 0, 0.5, stop)
    assert 2 not in standing.decided
    assert standing.finished


def test_a_race_over_contrasts_runs_what_open_ones_weigh() -> None:
    scores = _scores(90, 95, 80, 80.25)
    family = [Contrast(np.array([-1.0, 1, 0, 0]), "gain", 0.5), Contrast(np.array([0, 0, -1.0, 1]), "gain", 0.5)]
    standing = race(scores, _first(scores, 3), 0, 0.5, "decided", family)
    assert {each: known.verdict for each, known in standing.decided.items()} == {0: "supported"}
    assert standing.open == {2, 3}
