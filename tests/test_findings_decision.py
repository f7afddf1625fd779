"""The results and the answer in words, on scores whose verdicts are plain to see."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.findings.comparison import Comparison
from pipeline.findings.load import ScoredImages
from pipeline.findings.results import Answer, compute_results
from pipeline.findings.wording import headline
from pipeline.findings.write import answer, markdown
from pipeline.statistics.differences import Verdict
from tests.harness.reports import comparison, grid_values, random_scores

NOISE = [0.0, 0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.0]
OTHER = [0.1, -0.1, 0.0, -0.05, 0.05, -0.02, 0.02, -0.08, 0.08, 0.0]
BASE = [90 + noise for noise in NOISE]
NAN = math.nan


def row(mean: float, size: float = 1) -> list[float]:
    return [mean + size * noise for noise in OTHER]


def said(*scores: list[float], **changes: object) -> str:
    """All of the answer as one text."""
    return text(comparison(scores, **changes))  # type: ignore[arg-type]


def text(found: Comparison) -> str:
    return answer(compute_results(found))


def astray(found: Comparison, cells: Sequence[tuple[int, int]], how: str) -> Comparison:
    """The comparison with runs (setting, seed) that did not learn."""
    runs = [replace(run, outcome=how) if (run.setting, run.seed) in cells else run for run in found.runs]
    return replace(found, runs=tuple(runs))


def test_better_supports_the_winner_and_names_the_interval_and_the_cost() -> None:
    found = comparison([BASE, row(91), row(88)])
    results = compute_results(found)
    assert (results.winner, results.supported, results.seeds_needed) == (1, True, None)
    assert [difference.verdict for difference in results.differences] == [Verdict.BETTER, Verdict.WORSE]
    # By hand: differences of 1 with the deviation of OTHER - NOISE, t of 9 degrees of freedom at 0.05 / 4.
    deviation = np.std(np.array(OTHER) - np.array(NOISE), ddof=1)
    half = 2.6850 * deviation / math.sqrt(10)
    low, high = f"{1 - half:.1f}", f"{1 + half:.1f}"
    assert (low, high) == ("0.9", "1.1")
    assert headline(results) == (
        "16 filters: better than the baseline (8 filters) by 0.9 to 1.1 points, at 2.0 times the multiply-adds."
    )


def test_equivalent_supports_the_winner_with_nothing_to_gain() -> None:
    found = comparison([BASE, row(90.05)])
    results = compute_results(found)
    assert results.supported
    assert headline(results).startswith("Nothing to gain that matters: even the best, 16 filters")


def test_equivalence_of_the_highest_mean_is_no_word_about_a_setting_that_is_open() -> None:
    found = comparison([BASE, row(90.05), row(89.9, size=10)])
    assert headline(compute_results(found)) == (
        "Nothing was shown to be better than the baseline (8 filters): the highest mean, 16 filters, is equivalent to "
        "it; 1 setting can't be told from it."
    )


def test_the_baseline_may_win() -> None:
    found = comparison([BASE, row(89)])
    results = compute_results(found)
    assert (results.winner, results.cheapest, results.supported) == (0, 0, True)
    assert headline(results) == "Nothing was shown to be better than the baseline (8 filters)."


def test_where_it_cant_tell_it_says_how_many_seeds_would() -> None:
    found = comparison([BASE, row(90.3, size=10)])
    results = compute_results(found)
    needed = results.differences[0].seeds_needed
    assert needed is not None
    assert (results.supported, results.seeds_needed) == (False, needed)
    text = said(BASE, row(90.3, size=10))
    assert "Can't tell whether the setting with the highest mean, 16 filters, is better" in text
    assert f"about {needed} seeds would tell" in text


@pytest.mark.parametrize(("seeds", "few"), [(2, "2 seeds a setting are"), (1, "1 seed a setting is")])
def test_too_few_seeds_give_no_verdict_and_the_number_needed(seeds: int, few: str) -> None:
    scores = [[80.0 + number, 80.1 + number][:seeds] for number in range(9)]
    results = compute_results(comparison(scores))
    assert (results.answer, results.supported, results.seeds_needed) == (Answer.TOO_FEW_SEEDS, False, 3)
    assert headline(results) == f"No verdict yet: {few} too few; it takes at least 3."
    assert "Better than" not in said(*scores)


def test_a_winner_that_shares_too_few_seeds_with_the_baseline_is_not_supported() -> None:
    results = compute_results(comparison([BASE, row(89), [92.0, 92.1] + 8 * [NAN]]))
    assert (results.winner, results.supported, results.seeds_needed) == (2, False, 3)
    assert headline(results).endswith(": they have 2 seeds in common; a verdict needs 3.")


def test_the_cheapest_not_worse_is_named_with_what_it_loses() -> None:
    found = comparison([row(89), BASE, row(91), row(91.1)], baseline=1)
    results = compute_results(found)
    assert (results.winner, results.cheapest) == (3, 2)
    assert "24 filters is the cheapest setting that was shown to stay within 0.5 points" in said(
        row(89), BASE, row(91), row(91.1), baseline=1
    )
    assert "0.10 points below it on average, with 0.75 times its multiply-adds" in said(
        row(89), BASE, row(91), row(91.1), baseline=1
    )


def test_without_a_score_or_a_second_setting_nothing_is_claimed() -> None:
    nothing = compute_results(comparison([[NAN, NAN], [NAN, NAN]]))
    assert (nothing.winner, nothing.cheapest, nothing.supported) == (None, None, False)
    assert "Nothing can be said" in said([NAN, NAN], [NAN, NAN])
    assert "4 runs have no score (4 failed, 0 not done)" in said([NAN, NAN], [NAN, NAN])
    alone = compute_results(comparison([BASE]))
    assert (alone.winner, alone.supported, alone.differences) == (0, False, [])
    assert "One setting, 90.00 % right" in said(BASE)


@pytest.mark.parametrize("how", ["collapsed", "diverged"])
def test_runs_that_did_not_learn_are_a_finding_and_no_noise(how: str) -> None:
    rows = [BASE, [10.0, 10.0, *row(91)[2:]], row(88)]
    found = astray(comparison(rows), [(1, 0), (1, 1)], how)
    results, words = compute_results(found), text(found)
    assert f"16 filters: 2 of its 10 runs {how} (seeds 0, 1, at 10.00 %)" in words
    # By hand, of the eight that learned: √((9 · var + 7 · var + 9 · var) / 25) of the three settings.
    kept = [BASE, row(91)[2:], row(88)]
    pooled = math.sqrt(sum((len(one) - 1) * np.var(one, ddof=1) for one in kept) / sum(len(one) - 1 for one in kept))
    assert f"the standard deviation is {pooled:.2f} points" in words
    (own,) = (difference for difference in results.differences if difference.setting == 1)
    assert (own.verdict, own.seeds) == (Verdict.BETTER, 8)
    assert "would tell" not in words
    assert headline(results).endswith(f"But 2 of its 10 runs {how} and count in no mean.")
    assert not results.supported


def test_a_setting_whose_runs_all_learn_is_spoken_for_before_one_that_collapses() -> None:
    found = astray(comparison([BASE, [10.0, *row(92)[1:]], row(91)]), [(1, 0)], "collapsed")
    results = compute_results(found)
    assert (results.highest, results.winner, results.supported) == (1, 2, True)
    assert results.cheapest == 2, "though 16 filters are cheaper, and not worse where they learn"


def test_a_baseline_that_collapses_in_all_runs_is_told_and_no_sweep_is_advised() -> None:
    found = astray(comparison([[10.0] * 10, row(91)]), [(0, seed) for seed in range(10)], "collapsed")
    assert headline(compute_results(found)) == (
        "No verdict: the baseline (8 filters) collapsed or diverged in 10 of 10 runs. They would do so again: it takes "
        "other seeds, or another setting."
    )


def test_a_study_in_which_nothing_learned_says_so() -> None:
    found = astray(comparison([[10.0, 10.0]] * 2), [(0, 0), (0, 1), (1, 0), (1, 1)], "collapsed")
    assert headline(compute_results(found)) == (
        "Nothing can be said: all its runs that have a score collapsed or diverged."
    )
    assert "8 filters: 2 of its 2 runs collapsed" in text(found)


@pytest.mark.parametrize(("done", "counts"), [(2, "2 of 10 seeds"), (0, "0 of 10 seeds")])
def test_a_baseline_that_lacks_runs_is_named_with_the_line_that_gives_them(done: int, counts: str) -> None:
    base = BASE[:done] + (10 - done) * [NAN]
    outcomes = {(0, 9): "waiting", (0, 8): "waiting"}
    found = comparison([base, row(91), row(88)], outcomes=outcomes)
    results = compute_results(found)
    seeds = ",".join(map(str, range(done, 10)))
    assert headline(results) == (
        f"No verdict: the baseline (8 filters) lacks runs: {counts} have a score that counts ({8 - done} failed, 2 not "
        f"done). The study's sweep, typed again with model.conv.filters=8 seed={seeds} among its values, does what is "
        "missing."
    )
    assert (results.supported, results.seeds_needed) == (False, None)
    declared = replace(found, commands=("python -m pipeline.sweep +study=kernels", *found.commands))
    line = f"`python -m pipeline.sweep +study=kernels seed={seeds}` does what is missing."
    assert line in headline(compute_results(declared))


def test_a_baseline_that_has_seeds_enough_for_a_verdict_and_lacks_others_is_named_too() -> None:
    text = said(BASE[:3] + 7 * [NAN], row(91), row(88))
    assert text.startswith("16 filters: better than the baseline (8 filters) by ")
    assert "- The baseline (8 filters) lacks runs: 3 of 10 seeds have a score that counts (7 failed)." in text
    assert "model.conv.filters=8 seed=3,4,5,6,7,8,9 among its values, does what is missing." in text


def test_where_all_but_the_baseline_failed_it_is_not_the_seeds_that_are_too_few() -> None:
    found = comparison([BASE, 10 * [NAN], [91.0, *9 * [NAN]]])
    assert headline(compute_results(found)).startswith(
        "No verdict: 24 filters lacks runs: 1 of 10 seeds have a score that counts (9 failed), and no other has more "
        "that count. The study's sweep, typed again with model.conv.filters=24 seed=1,2,3,4,5,6,7,8,9 among"
    )
    found = astray(comparison([BASE, row(91)]), [(1, seed) for seed in range(8)], "collapsed")
    assert headline(compute_results(found)).startswith("No verdict: 16 filters collapsed or diverged in 8 of 10 runs.")


def test_what_is_proven_comes_first_and_a_higher_mean_of_few_seeds_is_open() -> None:
    found = comparison([BASE, row(91), [92.0, 92.1] + 8 * [NAN]])
    results = compute_results(found)
    assert (results.highest, results.winner, results.supported) == (2, 1, True)
    assert headline(results) == (
        "16 filters: better than the baseline (8 filters) by 0.9 to 1.1 points, at 2.0 times the multiply-adds. Open: "
        "the higher mean of 24 filters (92.05 %, 2 seeds)."
    )
    # One that is noisy, not short of seeds, hides nothing either.
    noisy = comparison([BASE, row(91), row(91.5, size=60), row(88)])
    assert compute_results(noisy).winner == 1
    assert headline(compute_results(noisy)).endswith("Open: the higher mean of 24 filters (91.50 %, 10 seeds).")


def test_a_baseline_with_a_higher_mean_by_other_seeds_hides_no_setting_that_is_better() -> None:
    found = comparison([[*BASE[:7], 99.0, 99.0, 99.0], row(91)[:7] + 3 * [NAN]])
    results = compute_results(found)
    assert (results.highest, results.winner) == (0, 1)
    assert "better than the baseline" in headline(results)


@pytest.mark.parametrize("other", [91.0, 90.0])
def test_scores_that_no_seed_changes_are_a_warning_and_no_interval(other: float) -> None:
    found = comparison([[90.0] * 10, [other] * 10])
    results, words = compute_results(found), text(found)
    assert results.differences[0].interval is None
    assert results.differences[0].verdict is Verdict.NO_VERDICT
    assert "8 filters and 16 filters: all seeds score exactly the same. The seed changes nothing there" in words
    assert headline(results) == (
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
    found = comparison(random_scores(10), grid_values(), baseline=4)
    results = compute_results(found)
    listed = [difference.setting for verdict in Verdict for difference in results.with_verdict(verdict)]
    assert sorted(listed) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert results.winner == 5
    assert results.settings[4].difference is None


def test_what_each_argument_does_comes_first_where_the_grid_is_complete() -> None:
    """By hand: means of 90 + 1 a doubling of filters, 5 × 5 half a point above 3 × 3 and 7 × 7 everywhere."""
    scores = [[90 + gain + bonus + noise for noise in NOISE] for bonus in (0.0, 0.5, -0.25) for gain in (0.0, 1.0, 2.0)]
    results = compute_results(comparison(scores, grid_values(), baseline=4))
    text = answer(results)
    filters, kernels = results.arguments
    assert (filters.factor, filters.best, filters.next, filters.everywhere, filters.clear) == (
        "filters", 64, 32, True, True,
    )  # fmt: skip
    assert filters.doublings == pytest.approx((1.0, 1.0))
    assert (kernels.best, kernels.next, kernels.doublings) == (5, 3, None)
    assert kernels.ahead == pytest.approx(0.5)
    first = text.index(
        "- filters: 64 has the highest mean, whatever kernel_size is, 1.00 points above 32; each doubling"
    )
    assert first < text.index("Better than the baseline")
    assert "- kernel_size: 5 has the highest mean, whatever filters is, 0.50 points above 3." in text
    assert "No combination is more than 0.00 points from what its arguments add up to." in text


def test_values_that_lie_close_are_not_told_apart() -> None:
    text = said(BASE, row(90.01), row(89))
    assert "- filters: 16 has the highest mean, 0.01 points above 8, too little to tell them apart." in text


def test_the_winner_stands_beside_the_next_best_and_what_it_costs() -> None:
    runner_up = compute_results(comparison([BASE, row(91), row(90.5)])).runner_up
    assert runner_up is not None
    assert runner_up.setting == 2
    assert runner_up.ahead.mean == pytest.approx(0.5)
    text = said(BASE, row(91), row(90.5))
    assert re.search(
        r"16 filters is 0\.\d+ to 0\.\d+ points better than 24 filters, at 0\.67 times the multiply-adds\.", text
    )
    assert "16 filters and 24 filters can't be told apart (+0.05 points between them so far)" in said(
        BASE, row(91.05), row(91, size=30)
    )


def test_a_higher_mean_by_other_seeds_is_not_called_better_than_the_next_best() -> None:
    text = said(BASE, [*row(90.8)[:7], 93.0, 93.0, 93.0], row(91.3)[:7] + 3 * [NAN])
    assert "16 filters has the higher mean, but is worse than 24 filters on the seeds that both have" in text


def test_a_highest_mean_by_other_seeds_that_is_worse_is_not_called_open() -> None:
    found = comparison([BASE, [*row(89)[:7], 99.0, 99.0, 99.0]], outcomes={})
    worse = replace(found, runs=tuple(run for run in found.runs if run.setting or run.seed < 7))
    assert headline(compute_results(worse)) == (
        "16 filters has the highest mean, but is worse than the baseline (8 filters) on the seeds that both have."
    )


def test_settings_with_exactly_the_same_highest_mean_are_told_as_a_tie() -> None:
    """The same scores in another order: their sums differ in the last bits, their means do not."""
    scores = [90.1, 90.2, 90.3, 90.7, 91.9]
    results = compute_results(comparison([[89.0, 89.1, 89.2, 89.0, 89.1], scores, scores[::-1]]))
    assert (results.winner, results.tied) == (1, (2,))
    assert "24 filters has exactly the same mean." in headline(results)
    assert "| 24 filters **(highest mean)** |" in markdown(results, ScoredImages())
    base = compute_results(comparison([BASE, [*BASE[5:], *BASE[:5]]]))
    assert headline(base) == (
        "Nothing was shown to be better than the baseline (8 filters). 16 filters has exactly the same mean."
    )


def test_what_can_not_be_told_says_between_which_ends_it_lies() -> None:
    results = compute_results(comparison([BASE, row(90.3, size=10)]))
    interval = results.differences[0].interval
    assert interval is not None
    assert f"between {interval.low:.2f} and {interval.high:+.2f} points; about".replace("-", "−") in headline(results)


def test_runs_that_diverged_without_a_score_are_counted_as_runs_that_ended() -> None:
    found = comparison([BASE, [NAN, NAN, *row(91)[2:]]], outcomes={(1, 0): "diverged", (1, 1): "diverged"})
    results = compute_results(found)
    assert headline(results).endswith(" But 2 of its 10 runs diverged and count in no mean.")
    assert results.settings[1].counts == {"learned": 8, "diverged": 2}
    nothing = compute_results(comparison([[NAN], [NAN]], outcomes={(0, 0): "diverged", (1, 0): "diverged"}))
    assert headline(nothing) == "Nothing can be said: all its runs that ended collapsed or diverged."


def test_a_seed_that_a_setting_has_no_run_of_is_counted_as_missing_everywhere() -> None:
    found = comparison([BASE, row(91), row(88)])
    fewer = replace(found, runs=tuple(run for run in found.runs if run.setting != 1 or run.seed < 4))
    results, words = compute_results(fewer), text(fewer)
    assert results.settings[1].counts == {"learned": 4, "missing": 6}
    assert "- 6 runs have no score (0 failed, 6 not done)" in words
    assert "6 of 30 runs have not been done" in markdown(results, ScoredImages())


def answered(image_shares: Sequence[float], images: int = 100) -> Comparison:
    """The baseline is right on half of the images, another setting on these shares of both halves, seeds much alike."""
    generator = np.random.default_rng(0)
    draws = generator.random(images) + generator.normal(0, 0.01, (10, images))
    other = np.repeat(image_shares, images // 2)
    answers = np.concatenate([np.tile(np.arange(images) < images // 2, (10, 1)), draws < other])
    found = comparison(100 * answers.reshape(2, 10, images).mean(axis=2))
    runs = [replace(run, answers=own) for run, own in zip(found.runs, answers, strict=True)]
    return replace(found, runs=tuple(runs))


def test_where_the_images_are_the_larger_error_the_verdict_says_so_where_it_stands() -> None:
    found = answered((0.95, 0.9))
    results = compute_results(found)
    (own,) = results.differences
    setting = results.settings[1]
    assert (own.verdict, setting.images_differ_more, setting.only_here) == (Verdict.BETTER, True, False)
    assert setting.other_images is not None
    wide = f"{setting.other_images.interval.low:.1f} to {setting.other_images.interval.high:.1f}"
    assert f" points ({wide} with other images), at 2.0 times" in headline(results)
    assert f" points ({wide} with other images), at 2.0 times" in text(found).partition("Better than")[2]
    narrow = answered((0.95, 0.15))
    assert compute_results(narrow).settings[1].only_here
    assert "(with other images perhaps none)" in headline(compute_results(narrow))


@pytest.mark.parametrize("means", [[88, 91, 90, 89, 92], [90, 90, 89, 91, 91], [92, 91, 90, 89, 88]])
def test_larger_settings_score_higher_as_far_as_their_ranks_agree(means: list[float]) -> None:
    scores = [[mean, mean + 1] for mean in means]
    # Setting n of the harness costs n + 1 times 100 parameters.
    expected = stats.spearmanr(range(5), means).statistic
    assert compute_results(comparison(scores)).rank_correlation == pytest.approx(expected, rel=1e-8)


def test_ranks_say_nothing_of_settings_that_all_score_alike() -> None:
    assert compute_results(comparison([[90.0, 91.0]] * 3)).rank_correlation is None
