"""The decision and the answer in words, on scores whose verdicts are plain to see."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.findings.decision import decide
from pipeline.findings.evidence import Evidence
from pipeline.findings.sentences import answer, headline
from pipeline.findings.statistics.differences import Verdict
from pipeline.findings.statistics.permutation import seeds_for_verdict
from tests.harness.reports import evidence, grid_values, random_scores

NOISE = [0.0, 0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.0]
OTHER = [0.1, -0.1, 0.0, -0.05, 0.05, -0.02, 0.02, -0.08, 0.08, 0.0]
BASE = [90 + noise for noise in NOISE]
NAN = math.nan


def row(mean: float, size: float = 1) -> list[float]:
    return [mean + size * noise for noise in OTHER]


def said(*scores: list[float], **changes: object) -> str:
    """All of the answer as one text."""
    return text(evidence(scores, **changes))  # type: ignore[arg-type]


def text(found: Evidence) -> str:
    return f"{headline(found, decide(found))} {answer(found, decide(found))}"


def astray(found: Evidence, cells: Sequence[tuple[int, int]], how: str) -> Evidence:
    """The evidence with runs (setting, seed) that did not learn."""
    changes = {"collapsed": True} if how == "collapsed" else {"state": how}
    runs = [replace(run, **changes) if (run.setting, run.seed) in cells else run for run in found.runs]
    return replace(found, runs=tuple(runs))


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


def test_equivalence_of_the_highest_mean_is_no_word_about_a_setting_that_is_open() -> None:
    found = evidence([BASE, row(90.05), row(89.9, size=10)])
    assert headline(found, decide(found)) == (
        "Nothing was shown to be better than the baseline (8 filters): the highest mean, 16 filters, is equivalent to "
        "it; 1 setting can't be told from it."
    )


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


@pytest.mark.parametrize("how", ["collapsed", "diverged"])
def test_runs_that_did_not_learn_are_a_finding_and_no_noise(how: str) -> None:
    rows = [BASE, [10.0, 10.0, *row(91)[2:]], row(88)]
    found = astray(evidence(rows), [(1, 0), (1, 1)], how)
    decision, words = decide(found), text(found)
    assert f"16 filters: 2 of its 10 runs {how} (seeds 0, 1, at 10.00 %)" in words
    # By hand, of the eight that learned: √((9 · var + 7 · var + 9 · var) / 25) of the three settings.
    kept = [BASE, row(91)[2:], row(88)]
    pooled = math.sqrt(sum((len(one) - 1) * np.var(one, ddof=1) for one in kept) / sum(len(one) - 1 for one in kept))
    assert f"the standard deviation is {pooled:.2f} points" in words
    (own,) = (difference for difference in decision.differences if difference.setting == 1)
    assert (own.verdict, own.seeds) == (Verdict.BETTER, 8)
    assert "would tell" not in words
    assert headline(found, decision).endswith(f"But 2 of its 10 runs {how} and count in no mean.")
    assert not decision.supported
    assert decision.reason == "2 of its 10 runs collapsed or diverged, and count in no mean."


def test_a_setting_whose_runs_all_learn_is_spoken_for_before_one_that_collapses() -> None:
    found = astray(evidence([BASE, [10.0, *row(92)[1:]], row(91)]), [(1, 0)], "collapsed")
    decision = decide(found)
    assert (decision.highest, decision.winner, decision.supported) == (1, 2, True)
    assert decision.cheapest == 2, "though 16 filters are cheaper, and not worse where they learn"


def test_a_baseline_that_collapses_in_all_runs_is_told_and_no_sweep_is_advised() -> None:
    found = astray(evidence([[10.0] * 10, row(91)]), [(0, seed) for seed in range(10)], "collapsed")
    assert headline(found, decide(found)) == (
        "No verdict: the baseline (8 filters) collapsed or diverged in 10 of 10 runs. They would do so again: it takes "
        "other seeds, or another setting."
    )


def test_a_study_in_which_nothing_learned_says_so() -> None:
    found = astray(evidence([[10.0, 10.0]] * 2), [(0, 0), (0, 1), (1, 0), (1, 1)], "collapsed")
    assert headline(found, decide(found)) == (
        "Nothing can be said: all its runs that have a score collapsed or diverged."
    )
    assert "8 filters: 2 of its 2 runs collapsed" in text(found)


@pytest.mark.parametrize(("done", "counts"), [(3, "3 of 10 seeds"), (0, "0 of 10 seeds")])
def test_a_baseline_that_lacks_runs_is_named_with_the_line_that_gives_them(done: int, counts: str) -> None:
    base = BASE[:done] + (10 - done) * [NAN]
    states = {(0, 9): "waiting", (0, 8): "waiting"}
    found = evidence([base, row(91), row(88)], states=states)
    decision = decide(found)
    seeds = ",".join(map(str, range(done, 10)))
    assert headline(found, decision) == (
        f"No verdict: the baseline (8 filters) lacks runs: {counts} have a score that counts ({8 - done} failed, 2 not "
        f"done). The study's sweep, typed again with model.conv.filters=8 seed={seeds} among its values, does what is "
        "missing."
    )
    assert (decision.supported, decision.seeds_needed) == (False, None)
    declared = replace(found, commands=("python -m pipeline.sweep +study=kernels", *found.commands))
    assert "`python -m pipeline.sweep +study=kernels` does what is missing." in headline(declared, decide(declared))


def test_where_all_but_the_baseline_failed_it_is_not_the_seeds_that_are_too_few() -> None:
    found = evidence([BASE, 10 * [NAN], [91.0, *9 * [NAN]]])
    assert headline(found, decide(found)).startswith(
        "No verdict: 24 filters lacks runs: 1 of 10 seeds have a score that counts (9 failed), and no other has more "
        "that count. The study's sweep, typed again with model.conv.filters=24 seed=1,2,3,4,5,6,7,8,9 among"
    )
    found = astray(evidence([BASE, row(91)]), [(1, seed) for seed in range(6)], "collapsed")
    assert headline(found, decide(found)).startswith("No verdict: 16 filters collapsed or diverged in 6 of 10 runs.")


def test_what_is_proven_comes_first_and_a_higher_mean_of_few_seeds_is_open() -> None:
    found = evidence([BASE, row(91), [92.0, 92.1] + 8 * [NAN]])
    decision = decide(found)
    assert (decision.highest, decision.winner, decision.supported) == (2, 1, True)
    assert headline(found, decision) == (
        "16 filters: better than the baseline (8 filters) by 0.9 to 1.1 points, at 2.0 times the multiply-adds. Open: "
        "the higher mean of 24 filters (92.05 %, 2 seeds)."
    )
    # One that is noisy, not short of seeds, hides nothing either.
    noisy = evidence([BASE, row(91), row(91.5, size=60)])
    assert decide(noisy).winner == 1
    assert headline(noisy, decide(noisy)).endswith("Open: the higher mean of 24 filters (91.50 %, 10 seeds).")


def test_a_baseline_with_a_higher_mean_by_other_seeds_hides_no_setting_that_is_better() -> None:
    found = evidence([[*BASE[:7], 99.0, 99.0, 99.0], row(91)[:7] + 3 * [NAN]])
    decision = decide(found)
    assert (decision.highest, decision.winner) == (0, 1)
    assert "better than the baseline" in headline(found, decision)


@pytest.mark.parametrize("other", [91.0, 90.0])
def test_scores_that_no_seed_changes_are_a_warning_and_no_interval(other: float) -> None:
    found = evidence([[90.0] * 10, [other] * 10])
    decision, words = decide(found), text(found)
    assert decision.differences[0].interval is None
    assert decision.differences[0].verdict is Verdict.NO_VERDICT
    assert "8 filters and 16 filters: all seeds score exactly the same. The seed changes nothing there" in words
    assert headline(found, decision) == (
        "No verdict: the seed changes no score, so that all runs of a setting say no more than one."
    )
    assert "0.00 to 0.00" not in words
    assert "standard deviation is 0.00" not in words


def test_an_argument_without_effect_scores_the_same_seed_by_seed() -> None:
    assert "16 filters: the same score with every seed" in said(BASE, BASE)
    assert "0.00 and 0.00" not in said(BASE, BASE)


def test_no_number_of_seeds_is_named_that_nobody_trains() -> None:
    words = said(row(60), row(60.3, size=350))
    assert "more than 1,000 seeds would tell" in words


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
