"""What was asked in advance, and races: contrasts and stopped settings in the results and in the report."""

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.findings import write
from pipeline.findings.load import ScoredImages, from_study
from pipeline.findings.results import Results, compute_results
from pipeline.findings.tables import as_csv, results_json, settings
from pipeline.findings.wording import headline
from pipeline.statistics.differences import ContrastVerdict, Verdict
from pipeline.statistics.race import Stop
from pipeline.statistics.scores import Scores
from pipeline.studies.study import DeclaredContrast, Study, StudyRun
from tests.harness.reports import random_scores, write_study
from tests.harness.studies import a_project

LARGER = DeclaredContrast(
    "larger",
    "5 × 5 kernels do better than 3 × 3.",
    "gain",
    {"s5": 1.0, "s2": -1.0},
    "accuracy",
    0.5,
    "2026-11-28T10:00Z",
    0,
)
HARMLESS = replace(
    LARGER, name="harmless", claim="7 × 7 kernels do no harm", expects="no_harm", weights={"s8": 1.0, "s5": -1.0}
)
FITTED = replace(
    LARGER, name="fitted", claim="64 filters overfit", weights={"s5": 1.0, "s3": -1.0}, score="gap", runs_before=12
)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def asked(*contrasts: DeclaredContrast, scores: Scores | None = None) -> Results:
    study = write_study(random_scores(10) if scores is None else scores)
    return compute_results(from_study(replace(study, contrasts=contrasts)))


def markdown(results: Results) -> str:
    return write.markdown(results, ScoredImages(missing="none here."))


def raced(scores: Scores, stop: Stop = "decided", seeds: int = 10, contrasts: Sequence[DeclaredContrast] = ()) -> Study:
    """A study of which a race has run what it needs, with at most so many seeds."""
    study = replace(write_study(scores), stop=stop, contrasts=tuple(contrasts))
    cells = [cell if cell.seed < seeds else _waiting(cell) for cell in study.cells]
    found = from_study(replace(study, cells=tuple(cells)))
    cells = [cell if cell.seed < found.planned(int(cell.setting[1:])) else _waiting(cell) for cell in cells]
    return replace(study, cells=tuple(cells))


def _waiting(cell: StudyRun) -> StudyRun:
    return replace(cell, state="waiting", accuracy=None, loss=None, seconds=None)


# Contrasts


def test_a_claim_has_the_verdict_of_its_interval() -> None:
    scores = random_scores(10)
    (own,) = asked(LARGER).questions
    # By hand: one contrast has the usual paired t interval.
    paired = scores[5] - scores[2]
    half = stats.t.isf(0.025, 9) * paired.std(ddof=1) / math.sqrt(10)
    assert own.result.interval is not None
    assert (own.result.interval.low, own.result.interval.high) == pytest.approx(
        (paired.mean() - half, paired.mean() + half), abs=1e-8
    )
    assert (own.result.verdict, own.result.seeds, own.stopped) == (ContrastVerdict.SUPPORTED, 10, None)


def test_claims_about_two_kinds_of_score_share_the_error_rate() -> None:
    scores = random_scores(10)
    larger, fitted = asked(LARGER, FITTED).questions
    assert larger.result.interval is not None
    half = stats.t.isf(0.025 / 2, 9) * (scores[5] - scores[2]).std(ddof=1) / math.sqrt(10)
    assert larger.result.interval.high - larger.result.interval.low == pytest.approx(2 * half)
    # The last epoch of the records is right on half of the training images.
    assert fitted.result.mean == pytest.approx(float((scores[3] - scores[5]).mean()))
    assert fitted.result.verdict is ContrastVerdict.REFUTED


def test_the_headline_and_the_first_table_are_what_was_asked() -> None:
    results = asked(LARGER, HARMLESS, FITTED)
    assert headline(results) == (
        "Supported: 5 × 5 kernels do better than 3 × 3. Refuted: 7 × 7 kernels do no harm; 64 filters overfit "
        "(declared after 12 runs)."
    )
    text = markdown(results)
    assert text.index("| claim | verdict |") < text.index("pictures/differences.svg") < text.index("## All settings")
    low, high = (f"{end:+.2f}" for end in vars(results.questions[0].result.interval).values())
    mean = float((random_scores(10)[5] - random_scores(10)[2]).mean())
    assert f"| 5 × 5 kernels do better than 3 × 3. | supported | {mean:+.2f} points | {low} to {high} | 10 |" in text
    assert "| 64 filters overfit **(declared after 12 runs)** | refuted |" in text
    assert "What was declared after runs had been seen is marked" in text
    assert "- larger: accuracy: −(3 × 3 kernels, 64 filters)".replace("−(", "− (") in text
    assert '<td class="verdict better">supported</td>' in write.html(results, text, {}, {})
    said = write.answer(results)
    assert "- 64 filters overfit: refuted; " in said
    assert ", declared after 12 runs\n" in said


def test_claims_are_among_the_results_for_machines() -> None:
    said = json.loads(results_json(asked(LARGER, HARMLESS)))
    assert [one["result"]["verdict"] for one in said["questions"]] == ["supported", "refuted"]
    (_, larger), _ = said["comparison"]["questions"]
    assert larger["weights"] == [0, 0, -1, 0, 0, 1, 0, 0, 0]


def test_of_many_claims_the_headline_counts_the_verdicts() -> None:
    claims = [replace(LARGER, name=f"claim{number}") for number in range(4)]
    results = asked(*claims, HARMLESS)
    assert headline(results) == "Of 5 claims: 4 supported, 1 refuted."
    # Where there is room for all of them, each is said.
    larger = "; ".join(["5 × 5 kernels do better than 3 × 3"] * 4)
    assert headline(results, most_claims=5) == f"Supported: {larger}. Refuted: 7 × 7 kernels do no harm."


def test_a_claim_that_can_not_be_told_says_how_many_seeds_would() -> None:
    open_claim = replace(LARGER, weights={"s8": 1.0, "s4": -1.0})
    (own,) = asked(open_claim, scores=random_scores(3)).questions
    assert own.result.verdict is ContrastVerdict.CANT_TELL
    assert f"can't tell, about {own.result.seeds_needed} seeds would" in markdown(
        asked(open_claim, scores=random_scores(3))
    )
    assert "no verdict, at least 3 seeds needed" in markdown(asked(open_claim, scores=random_scores(2)))


def test_a_hostile_claim_stays_text() -> None:
    results = asked(replace(LARGER, claim="<script>alert(1)</script> | **(x)** [a](javascript:x)"))
    page = write.html(results, markdown(results), {}, {})
    assert "<script>alert" not in page
    assert "javascript:x" in page
    assert 'href="javascript' not in page
    assert '<tr class="marked">\n<td>&lt;script' not in page


def test_a_smaller_error_rate_has_wider_intervals_of_differences_too() -> None:
    study = write_study(random_scores(10))
    plain, strict = (compute_results(from_study(replace(study, error_rate=rate))) for rate in (0.05, 0.01))
    for own, other in zip(plain.differences, strict.differences, strict=True):
        assert own.interval is not None
        assert other.interval is not None
        assert other.mean == own.mean
        assert other.interval.high - other.interval.low > 1.1 * (own.interval.high - own.interval.low)
    assert "| 99 % interval |" in markdown(strict)
    assert "| 99 % interval for other seeds and other images |" in markdown(strict)


# Races


def test_a_setting_whose_verdict_stands_reads_so_and_is_nowhere_missing() -> None:
    scores = random_scores(10)
    study = raced(scores)
    results = compute_results(from_study(study))
    now = results.comparison.standing
    assert now is not None
    assert now.finished
    early = now.decided[0].seeds
    assert 3 <= early < 10
    own = results.settings[0].difference
    assert own is not None
    assert (own.verdict, own.seeds, own.seeds_needed) == (Verdict.WORSE, early, None)
    assert own.interval is not None
    assert own.interval.low == pytest.approx(now.decided[0].interval.low, abs=1e-8)
    assert own.mean == pytest.approx(float((scores[0] - scores[4])[:early].mean()))
    text = markdown(results)
    assert re.search(
        rf"\| 3 × 3 kernels, 16 filters \| worse(, on these images)?, stopped after {early} seeds \|", text
    )
    assert f"multiply-adds, stopped after {early} seeds" in write.answer(results)
    assert "not complete" not in text
    assert "lacks runs" not in text
    assert not re.search(r"\d not done", text)
    ran = sum(cell.state == "finished" for cell in study.cells)
    assert f"It took {ran} of 90 runs. Its 8 looks were planned" in write.answer(results)
    rows = list(csv.DictReader(io.StringIO(as_csv(settings(results)))))
    assert {row["missing"] for row in rows} == {"0"}


def test_a_race_of_three_seeds_has_one_look() -> None:
    text = write.answer(compute_results(from_study(raced(random_scores(3)))))
    assert "Its 1 look was planned: at most 5 % of studies get any false verdict." in text


def test_what_was_run_after_a_verdict_counts_for_nothing() -> None:
    scores = random_scores(10)
    study = raced(scores)
    before = compute_results(from_study(study))
    late = [
        replace(cell, state="finished", accuracy=0.99) if cell.setting == "s0" and cell.state == "waiting" else cell
        for cell in study.cells
    ]
    results = compute_results(from_study(replace(study, cells=tuple(late))))
    assert sum(run.learned for run in results.comparison.of(0)) == 10
    assert results.settings[0].summary == before.settings[0].summary
    assert results.settings[0].difference == before.settings[0].difference


def test_a_race_that_is_not_over_says_so_at_the_top() -> None:
    results = compute_results(from_study(raced(random_scores(10), seeds=2)))
    assert (
        "This race is not over: 3 × 3 kernels, 16 filters, 3 × 3 kernels, 32 filters, 3 × 3 kernels, 64 filters and 5 "
        "more are open after 2 seeds." in markdown(results)
    )
    assert {own.verdict for own in results.differences} == {Verdict.NO_VERDICT}
    assert headline(results) == "No verdict yet: the race is not over."
    assert not results.supported


def test_what_a_race_could_not_tell_needs_seeds_of_its_own() -> None:
    scores = np.repeat(random_scores(4)[4:5], 9, axis=0) + np.random.default_rng(1).normal(0, 0.3, (9, 4)).round(2)
    results = compute_results(from_study(raced(scores, seeds=4)))
    now = results.comparison.standing
    assert now is not None
    assert now.finished
    open_ = [own for own in results.differences if own.verdict is Verdict.CANT_TELL]
    assert open_
    for own in open_:
        assert (own.seeds, own.seeds_needed) == (4, None)
        assert own.interval is not None
        assert own.interval.low == pytest.approx(now.undecided[own.setting].low, abs=1e-8)
    text = markdown(results)
    assert "More seeds need a study of their own" in text
    assert "would tell" not in text


def test_a_race_for_the_best_says_what_was_dropped_and_whether_it_is_found() -> None:
    results = compute_results(from_study(raced(random_scores(10), stop="best")))
    now = results.comparison.standing
    assert now is not None
    assert results.winner == 5
    dropped = now.decided[6]
    assert f", stopped after {dropped.seeds} seeds as worse than the best so far" in markdown(results)
    assert "Against the next best" not in markdown(results)
    assert "would tell" not in markdown(results)
    assert headline(results).endswith("All others were shown to be worse than the best, or equivalent to it.")
    equal = np.repeat(random_scores(10)[5:6], 9, axis=0) + np.random.default_rng(1).normal(0, 0.3, (9, 10)).round(2)
    close = compute_results(from_study(raced(equal, stop="best")))
    assert re.search(r"Which is the best is open: .* may be, too\.", headline(close))


def test_a_race_over_claims_stops_what_no_open_claim_weighs() -> None:
    results = compute_results(from_study(raced(random_scores(10), contrasts=[HARMLESS])))
    (own,) = results.questions
    now = results.comparison.standing
    assert now is not None
    assert own.stopped is not None
    assert own.stopped < 10
    assert (own.result.verdict, own.stopped) == (ContrastVerdict.REFUTED, now.decided[0].seeds)
    assert f"| refuted, stopped after {own.stopped} seeds |" in markdown(results)
    assert results.comparison.counts()["missing"] == 0
    assert {row for row, one in enumerate(results.settings) if one.summary.seeds} == {5, 8}
    said = "Not asked: no claim weighs the baseline, and so nothing was compared with it."
    assert said in markdown(results)
    assert not results.supported
    for words in ("lacks runs", "no seed in common with the baseline\n", "Against the next best", "All are compared"):
        assert words not in markdown(results)
