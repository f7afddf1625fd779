"""Races, replayed from scores."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics import race as rules
from pipeline.statistics.differences import Contrast, Verdict
from pipeline.statistics.intervals import Interval, pooled_intervals
from pipeline.statistics.race import PAID, Decided, Stop, detectable, look_level, race

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
    whole = race(scores, _first(scores, 10), 0, 0.3, "decided")
    assert whole.decided[1].seeds == 3
    ended = _first(scores, 10).copy()
    ended[1, 3:] = False
    scores[1, 3:] = 0
    assert race(scores, ended, 0, 0.3, "decided") == whole


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
    assert {each: known.verdict for each, known in standing.decided.items()} == {0: "worse", 2: "worse"}
    assert standing.open == {0, 1, 3}


def test_a_race_for_the_best_ends_with_one_setting_that_is_not_decided() -> None:
    scores = _scores(80, 95, 90, 94.5)
    standing = race(scores, _first(scores, 10), 0, 0.1, "best")
    assert set(standing.decided) == {0, 2, 3}
    assert (standing.open, standing.undecided, standing.finished) == (frozenset(), {}, True)
    assert standing.seeds == max(known.seeds for known in standing.decided.values()) < 10


def test_a_setting_that_leads_by_seeds_that_the_other_lacks_does_not_stop_it() -> None:
    # Seed by seed setting 1 is better by 2 points; its mean is lower, for it alone has the first, bad seeds.
    scores = _scores(90, 92)
    scores[:, :5] -= 20
    scores[0, :5] = NAN
    standing = race(scores, _first(scores, 10), 0, 0.5, "best")
    assert (standing.decided, standing.seeds) == ({}, 10)
    assert standing.undecided[1].low > 0


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


def test_the_interval_of_a_look_is_that_of_its_share() -> None:
    # Three comparisons, of which the first look decides one: those that are left share the error rate in two parts.
    scores = _scores(90, 95, 90.05, 90.1)
    first, second = (race(scores[:, :8], _first(scores[:, :8], seeds), 0, 0.02, "decided") for seeds in (3, 4))
    assert set(first.decided) == set(second.decided) == {1}
    for standing, comparisons in ((first, 3), (second, 2)):
        samples = [(scores[each] - scores[0])[: 3 if each == 1 else standing.seeds] for each in (1, 2, 3)]
        level = look_level(8, PAID * 0.05 / comparisons)
        expected = pooled_intervals(samples, 0.05 / level)
        for each, interval in zip((2, 3), expected[1:], strict=True):
            assert interval is not None
            ours = standing.undecided[each]
            assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_an_equivalent_setting_hands_nothing_on() -> None:
    known = {
        1: Decided(Verdict.EQUIVALENT, 3, Interval(0, 0)),
        2: Decided(Verdict.WORSE, 3, Interval(-1, 0)),
    }
    of = rules._Rules(5, 10, 0, 0.5, "decided", (), 0.05)
    assert of.comparisons({}) == 4
    assert of.comparisons(known) == 3
    best = rules._Rules(5, 10, 0, 0.5, "best", (), 0.05)
    assert (best.comparisons({}), best.comparisons(known)) == (10, 6)


@pytest.mark.parametrize(("looks", "level"), [(2, 0.0294), (5, 0.0158), (10, 0.0106)])
def test_the_level_of_a_look_is_that_of_pocock(looks: int, level: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pocock (1977), table 1: two-sided, 0.05 over so many looks after equal numbers.
    monkeypatch.setattr(rules, "FEWEST_SEEDS", 1)
    assert look_level.__wrapped__(looks, 0.05) == pytest.approx(level, abs=6e-5)


def test_looks_spend_their_share_by_counting() -> None:
    # Sums of 200,000 samples of known noise, looked at after 3 to 12 values.
    sums = np.random.default_rng(0).normal(size=(200_000, 12)).cumsum(axis=1)[:, 2:]
    bound = stats.norm.isf(look_level(12, 0.05) / 2)
    crossed = (abs(sums) > bound * np.sqrt(np.arange(3, 13))).any(axis=1)
    assert crossed.mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 200_000))
    assert look_level(3, 0.05) == 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["decided", "best"]))
def test_a_race_that_was_interrupted_goes_on_as_if_it_was_not(number: int, stop: Stop) -> None:
    random = np.random.default_rng(number)
    scores = random.normal(90, 0.3, (4, 8)) + random.uniform(-1, 1, (4, 1))
    whole, ended = race(scores, _first(scores, 8), 0, 0.5, stop), np.zeros(scores.shape, np.bool_)
    standing = race(scores, ended, 0, 0.5, stop)
    while not standing.finished:
        # Runs come one by one, in any order.
        waiting = [each for each in standing.open if not ended[each, standing.seeds]]
        ended[random.choice(waiting), standing.seeds] = True
        standing = race(np.where(ended, scores, NAN), ended, 0, 0.5, stop)
    assert standing == whole


def test_what_seeds_can_detect_is_found_in_four_of_five_studies() -> None:
    random = np.random.default_rng(0)
    for count in (3, 10):
        points, found = detectable(9, count, noise=0.2), 0
        for _ in range(300):
            scores = random.normal(90, 0.2, (9, count))
            intervals = pooled_intervals(list(scores[1:] - scores[0] + points), 8)
            found += sum(each is not None and each.low > 0 for each in intervals)
        assert found / 2400 == pytest.approx(0.8, abs=0.05), count


@pytest.mark.parametrize(
    ("baseline", "margin", "columns", "message"),
    [(2, 0.5, 5, "baseline"), (0, 0, 5, "margin"), (0, 0.5, 4, "one shape")],
)
def test_a_race_says_what_it_cannot_read(baseline: int, margin: float, columns: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        race(np.full((2, 5), 90.0), np.ones((2, columns), np.bool_), baseline, margin, "decided")


def test_a_race_without_another_setting_is_over() -> None:
    standing = race(_scores(90), _first(_scores(90), 0), 0, 0.5, "decided")
    assert (standing.seeds, standing.open, standing.finished) == (0, frozenset(), True)


def test_what_has_dropped_out_leads_no_more() -> None:
    # Setting 2 was equivalent to 1 when it stopped; that its three seeds have the highest mean makes it no leader.
    scores = _scores(80, 94, 95)
    scores[2, 3:] = NAN
    of = rules._Rules(3, 10, 0, 0.5, "best", (), 0.05)
    assert set(of.family(scores, {})) == {0, 1}
    assert set(of.family(scores, {2: Decided(Verdict.EQUIVALENT, 3, Interval(-0.1, 0.1))})) == {0, 2}
