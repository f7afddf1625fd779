"""The promises of docs/statistics.md, by simulation, and the page itself."""

import math
from collections.abc import Mapping

import pytest
from scipy import stats

from benchmarks import comparison, races
from benchmarks.comparison import NOISES, PAGE, PROMISED, SEEDS, Figure, page, read_figures, verdicts
from pipeline.statistics import intervals
from pipeline.statistics.intervals import Interval
from pipeline.statistics.race import Decided, Stop, detectable, race

HARDEST = "all but one differ, and the margin is out of reach"
"""Of the truths of races: the noisiest setting alone has the whole error rate."""


@pytest.mark.parametrize("seeds", SEEDS)
def test_false_verdicts_are_as_rare_as_promised_and_as_stated(seeds: int) -> None:
    stated = {(figure.what, figure.noise, figure.seeds): figure.value for figure in read_figures()}
    for figure in verdicts("normal", seeds, studies=2000):
        before = stated[figure.what, "normal", seeds]
        # 8 differences of a study move together: the error of a share of differences is counted in studies.
        assert figure.kept, figure
        assert figure.value == pytest.approx(before, abs=4 * math.sqrt(before * (1 - before) / 2000)), figure


def test_without_its_share_for_each_comparison_the_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "t_quantile", lambda degrees, *_: stats.t.isf(0.025, degrees))
    assert not next(verdicts("normal", 5, studies=300)).kept


def test_without_the_pool_the_power_of_few_seeds_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "FAR", 0)
    *_, found = verdicts("normal", 5, studies=300)
    assert found.value < 0.45


def test_every_promise_is_kept_by_the_figures_of_the_page() -> None:
    figures = read_figures()
    assert [figure for figure in figures if not figure.kept] == []
    told = {(each.noise, each.seeds) for each in figures if each.what == "false verdicts" and each.promised == 0.05}
    assert told == {(noise, seeds) for noise in PROMISED for seeds in SEEDS}
    assert {each.noise for each in figures if each.studies >= 4000} >= set(NOISES)


def test_a_figure_above_its_promise_is_not_kept() -> None:
    assert Figure("false verdicts", "normal", 3, 0.06, 4000, 0.05).kept
    assert not Figure("false verdicts", "normal", 3, 0.07, 4000, 0.05).kept


def test_the_page_is_that_of_its_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_figures()) + races.section(races.read_figures())


def test_every_promise_of_races_is_kept_by_the_figures_of_the_page() -> None:
    figures = races.read_figures()
    assert [figure for figure in figures if not figure.kept] == []
    promised = {(each.what, each.noise) for each in figures if each.promised == 0.05}
    assert promised >= {
        (f"{stop}, false verdicts: {truth}", noise)
        for stop in ("decided", "best", "extended")
        for truth in races.TRUTHS
        for noise in PROMISED
    }
    # The page says it of the intervals, too.
    missed = [each for each in figures if "intervals that miss" in each.what and each.noise in PROMISED]
    assert max(each.value for each in missed) < 0.05


@pytest.mark.parametrize("stop", races.STOPS)
def test_the_races_of_the_benchmark_are_those_of_the_pipeline(stop: Stop) -> None:
    names = {races.BETTER: "better", races.WORSE: "worse", races.EQUIVALENT: "equivalent"}
    for number, truth in enumerate(races.TRUTHS.values()):
        scores = races.draw("uneven, 0.1 to 0.4 points", truth, studies=4, seeds=8, number=number)
        outcome = races.replay(scores, stop, truth.margin)
        for study, own in enumerate(scores):
            standing = race(own, own > 0, 0, truth.margin, stop)
            verdicts = {each: names[code] for each, code in enumerate(outcome.verdicts[study].tolist()) if code}
            assert {each: known.verdict for each, known in standing.decided.items()} == verdicts
            for each, interval in (*standing.undecided.items(), *_intervals(standing.decided)):
                assert interval.low == pytest.approx(outcome.lows[study, each])
                assert interval.high == pytest.approx(outcome.highs[study, each])
            last = {each: known.seeds for each, known in standing.decided.items() if each != 0}
            assert outcome.seeds[study].tolist() == [last.get(each, standing.seeds) for each in range(len(own))]


def _intervals(decided: Mapping[int, Decided]) -> list[tuple[int, Interval]]:
    return [(each, known.interval) for each, known in decided.items()]


@pytest.mark.parametrize("stop", races.STOPS)
def test_races_keep_their_error_rate_and_are_false_as_often_as_stated(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(races, "TRUTHS", {HARDEST: races.TRUTHS[HARDEST]})
    stated = {(each.what, each.noise, each.seeds): each.value for each in races.read_figures()}
    for figure in races.races(stop, "skewed and uneven", seeds=10, studies=2000):
        before = stated[figure.what, figure.noise, figure.seeds]
        assert figure.kept, figure
        assert figure.value == pytest.approx(before, abs=4 * math.sqrt(before * (1 - before) / 2000)), figure


def test_what_a_race_can_detect_is_found_in_four_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    for seeds in races.SEEDS:
        monkeypatch.setattr(races, "SIZES", [detectable(9, seeds, 0.2, is_race=True)])
        (figure,) = races.power("normal", seeds, studies=1000)
        assert figure.value == pytest.approx(0.8, abs=0.05), figure


def test_races_whose_looks_are_not_paid_for_break_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "TRUTHS", {HARDEST: races.TRUTHS[HARDEST]})
    monkeypatch.setattr(races, "look_level", lambda _, share: share)
    assert not next(races.races("decided", "skewed and uneven", seeds=10, studies=1000)).kept


def test_the_committed_study_is_raced_to_its_verdicts_with_half_of_its_runs() -> None:
    stated = {(each.what, each.noise): each.value for each in races.read_figures()}
    assert stated["decided, runs of all", "committed study"] <= 45 / 90
    for figure in races.committed(orders=40):
        assert figure.kept, figure
        assert figure.value == pytest.approx(stated[figure.what, figure.noise], abs=0.05)


def test_the_images_interval_holds_for_new_images() -> None:
    for figure in comparison.images(seeds=5, studies=100):
        assert figure.kept, figure


def test_the_readme_states_the_figures_of_the_page() -> None:
    values = {(each.what, each.noise, each.seeds): 100 * each.value for each in read_figures()}
    false = [f"{values['false verdicts', 'normal', seeds]:.1f}" for seeds in SEEDS]
    found = [f"{values['0.5 points called better', 'normal', seeds]:.0f}" for seeds in SEEDS]
    worst = {
        promised: max(
            value for (what, noise, _), value in values.items() if what == "false verdicts" and noise in noises
        )
        for promised, noises in ((True, PROMISED), (False, set(NOISES) - PROMISED))
    }
    text = " ".join((PAGE.parent / "sweeps.md").read_text(encoding="utf-8").split())
    assert f"{false[0]}, {false[1]} and {false[2]} % of studies get any false" in text
    assert f"at most {worst[True]:.1f} % for {len(PROMISED) - 1} other kinds" in text.replace("seven", "7")
    assert f"up to {worst[False]:.1f} % where half" in text
    assert f"a power of {found[0]}, {found[1]} and {found[2]} %" in text
