"""The decision and the answer in words, on scores whose verdicts are plain to see."""

import math

import numpy as np
import pytest

from pipeline.comparison.differences import Verdict
from pipeline.comparison.permutation import seeds_for_verdict
from pipeline.report.decision import decide
from pipeline.report.sentences import answer, headline
from tests.reports import evidence, grid_values, random_scores

NOISE = [0.0, 0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.0]
OTHER = [0.1, -0.1, 0.0, -0.05, 0.05, -0.02, 0.02, -0.08, 0.08, 0.0]
BASE = [90 + noise for noise in NOISE]
NAN = math.nan


def row(mean: float, size: float = 1) -> list[float]:
    return [mean + size * noise for noise in OTHER]


def said(*scores: list[float], **changes: object) -> str:
    """All of the answer as one text."""
    found = evidence(scores, **changes)  # type: ignore[arg-type]
    return f"{headline(found, decide(found))} {answer(found, decide(found))}"


def test_better_supports_the_winner_and_names_the_interval_and_the_cost() -> None:
    found = evidence([BASE, row(91), row(88)])
    decision = decide(found)
    assert (decision.winner, decision.supported, decision.seeds_needed) == (1, True, None)
    assert [difference.verdict for difference in decision.differences] == [Verdict.BETTER, Verdict.WORSE]
    # By hand: differences of 1 with the deviation of OTHER - NOISE, t of 9 degrees of freedom at 0.05 / 4.
    deviation = np.std(np.array(OTHER) - np.array(NOISE), ddof=1)
    half = 2.6850 * deviation / math.sqrt(10)
    low, high = f"{1 - half:.1f}", f"{1 + half:.1f}"
    assert (low, high) == ("0.9", "1.1")
    assert headline(found, decision) == (
        "16 filters: better than the baseline (8 filters) by 0.9 to 1.1 points, at 2.0 times the multiply-adds."
    )


def test_equivalent_supports_the_winner_with_nothing_to_gain() -> None:
    found = evidence([BASE, row(90.05)])
    decision = decide(found)
    assert decision.supported
    assert "equivalent" in decision.reason
    assert headline(found, decision).startswith("Nothing to gain that matters: even the best, 16 filters")


def test_the_baseline_may_win() -> None:
    found = evidence([BASE, row(89)])
    decision = decide(found)
    assert (decision.winner, decision.cheapest, decision.supported) == (0, 0, True)
    assert headline(found, decision) == "Nothing was shown to be better than the baseline (8 filters)."


def test_where_it_cant_tell_it_says_how_many_seeds_would() -> None:
    found = evidence([BASE, row(90.3, size=10)])
    decision = decide(found)
    needed = decision.differences[0].seeds_needed
    assert needed is not None
    assert (decision.supported, decision.seeds_needed) == (False, needed)
    text = said(BASE, row(90.3, size=10))
    assert "Can't tell whether the setting with the highest mean, 16 filters, is better" in text
    assert f"about {needed} seeds would tell" in text


@pytest.mark.parametrize(("settings", "fewest"), [(2, 6), (9, 9), (16, 10)])
def test_too_few_seeds_give_no_verdict_and_the_number_needed(settings: int, fewest: int) -> None:
    assert seeds_for_verdict(settings - 1) == fewest
    scores = [[80.0 + number, 80.1 + number, 80.2 + number] for number in range(settings)]
    found = evidence(scores)
    decision = decide(found)
    assert (decision.supported, decision.seeds_needed) == (False, fewest)
    assert headline(found, decision) == (
        f"No verdict yet: 3 seeds a setting are too few; with {settings} settings it takes at least {fewest}."
    )
    assert "Better than" not in said(*scores)


def test_a_winner_that_shares_too_few_seeds_with_the_baseline_is_not_supported() -> None:
    decision = decide(evidence([BASE, row(89), [92.0, 92.1] + 8 * [NAN]]))
    assert (decision.winner, decision.supported, decision.seeds_needed) == (2, False, 7)
    assert "2 seeds" in decision.reason


def test_the_cheapest_not_worse_is_named_with_what_it_loses() -> None:
    found = evidence([row(89), BASE, row(91), row(91.1)], baseline=1)
    decision = decide(found)
    assert (decision.winner, decision.cheapest) == (3, 2)
    assert "24 filters is the cheapest setting that was shown to stay within 0.5 points" in said(
        row(89), BASE, row(91), row(91.1), baseline=1
    )
    assert "0.10 points below it on average, with 0.75 times its multiply-adds" in said(
        row(89), BASE, row(91), row(91.1), baseline=1
    )


def test_without_a_score_or_a_second_setting_nothing_is_claimed() -> None:
    nothing = decide(evidence([[NAN, NAN], [NAN, NAN]]))
    assert (nothing.winner, nothing.cheapest, nothing.supported) == (None, None, False)
    assert "Nothing can be said" in said([NAN, NAN], [NAN, NAN])
    assert "4 runs have no score (4 failed, 0 not done)" in said([NAN, NAN], [NAN, NAN])
    alone = decide(evidence([BASE]))
    assert (alone.winner, alone.supported, alone.differences) == (0, False, ())
    assert "One setting, 90.00 % right" in said(BASE)


def test_diverged_runs_count_with_their_score_and_are_named() -> None:
    text = said(BASE, [10.0, *row(91)[1:]], states={(1, 0): "diverged"})
    assert "1 run diverged and counts with the score it got" in text


def test_a_small_difference_says_that_it_is_smaller_than_what_matters() -> None:
    assert "by 0.1 to 0.3 points, which is less than the 0.5 that matter here" in said(BASE, row(90.2))


def test_test_images_are_stated_with_the_time_of_the_first_score() -> None:
    # 1,700,000,000 seconds after 1970.
    assert "opened at 2023-11-14 22:13 UTC" in said(BASE, row(91), images="test")
    assert "test images have been used for this comparison" in said(BASE, row(91), images="test")
    assert "these stay closed" in said(BASE, row(91))


def test_nine_settings_are_sorted_into_their_verdicts_once_each() -> None:
    found = evidence(random_scores(10), grid_values(), baseline=4)
    decision = decide(found)
    listed = [difference.setting for verdict in Verdict for difference in decision.with_verdict(verdict)]
    assert sorted(listed) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert decision.winner == 5
    assert decision.against_baseline(4) is None
