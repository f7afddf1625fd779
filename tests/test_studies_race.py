"""A race of settings, its hours and its failures: which runs are done, and what stands. Without a training."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.messages import ConfigurationError
from pipeline.findings.load import from_study
from pipeline.storage import project
from pipeline.studies import estimate
from pipeline.studies.plan import Job
from pipeline.studies.race import due, final_state, scores, standing
from pipeline.studies.run_study import run_study
from pipeline.studies.study import Point, Study, read_study, update_study
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.study_summary import best, rows, table
from pipeline.studies.workers import Ended, Failure
from pipeline.terminal.errors import UserError
from tests.harness.conducting import Acting, Told, finish
from tests.harness.settings import article, article_values
from tests.harness.studies import a_project, cell, declared, prepare, study

MEANS = {8: 0.80, 16: 0.803, 32: 0.85}
"""True accuracy by the number of filters. Sixteen filters are too near to the baseline for ten seeds to tell."""

DECIDED: dict[str, Any] = {"stop": "decided", "baseline": {"model.conv.filters": 8}}


@pytest.fixture(autouse=True)
def companion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    prepare()
    told = Told()
    monkeypatch.setattr("pipeline.studies.run_study.MirrorProcess", told)
    monkeypatch.setattr("pipeline.studies.run_study.started_early", contextlib.nullcontext)
    return told


def grid(seeds: Sequence[int] = range(10), filters: Sequence[int] = (8, 16, 32)) -> list[Point]:
    values = [{"model.conv.filters": count, "seed": seed} for count in filters for seed in seeds]
    return [
        Point(f"model.conv.filters={one['model.conv.filters']}", article_values({"data.validation_images": 10} | one))
        for one in values
    ]


def place(job: Job) -> tuple[int, int]:
    return job.configuration.model.conv.filters, job.seed


def accuracy(job: Job) -> float:
    filters, seed = place(job)
    return MEANS[filters] + float(np.random.default_rng([filters, seed]).normal(0, 0.003))


def score(job: Job) -> None:
    finish(job, accuracy(job))


def each(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
    for job in jobs:
        yield [job], []
        score(job)
        yield [], [Ended(job)]


def sweep(config: StudyConfig, act: Callable[[list[Job]], Any] = each, points: list[Point] | None = None) -> list[Job]:
    """The jobs that the sweep did, in their order."""
    executor = Acting(act)
    run_study(grid() if points is None else points, config, article().tracking, executor)
    return executor.given


def kernels() -> Study:
    return read_study(project.study("kernels"))


def done() -> set[tuple[str, int]]:
    return {(run.setting, run.seed) for run in kernels().cells if run.state == "finished"}


# Which runs are done


def test_a_race_gives_no_more_seeds_to_a_setting_whose_verdict_stands() -> None:
    jobs = sweep(declared(**DECIDED))
    seeds: dict[int, list[int]] = {}
    for job in jobs:
        seeds.setdefault(place(job)[0], []).append(job.seed)
    assert seeds[32] == [0, 1, 2]
    assert seeds[8] == seeds[16] == list(range(10))
    # Round by round: none has its fourth seed before all have their third.
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    found = kernels()
    assert found.state == "finished"
    assert [run.state for run in found.cells].count("waiting") == 7
    notes = [line["note"] for line in table(found)]
    assert notes == ["", "", "highest mean, better, stopped after 3 seeds"]
    assert [row.finished for row in rows(found)] == [10, 10, 3]


def test_the_same_line_again_does_nothing_and_says_what_was_not_needed(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(declared(**DECIDED))
    first = kernels()
    capsys.readouterr()
    assert sweep(declared(**DECIDED)) == []
    assert kernels() == first
    assert "23 done already, 0 to do, 7 not needed, as verdicts stand" in " ".join(capsys.readouterr().out.split())


def test_a_race_for_the_best_leaves_out_what_can_not_be_it() -> None:
    jobs = sweep(declared(**DECIDED | {"stop": "best"}))
    assert [seed for filters, seed in map(place, jobs) if filters == 16] == [0, 1, 2]
    verdicts = {row.label["filters"]: row.verdict for row in rows(kernels())}
    assert verdicts[16] == "worse than the best, stopped after 3 seeds"
    assert verdicts[8] == "worse than the best"
    assert {seed for _, seed in map(place, jobs)} == {0, 1, 2}, "what is left is the best"
    assert best(kernels()) == rows(kernels())[2]
    assert kernels().state == "finished"


@pytest.mark.parametrize("ends", [1, 9, *(pytest.param(ends, marks=pytest.mark.long) for ends in (0, 8, 10, 17))])
def test_a_race_that_is_killed_goes_on_to_the_same_runs_and_verdicts(ends: int, tmp_path: Path) -> None:
    sweep(declared(**DECIDED))
    runs, stands = done(), standing(kernels())
    project.RUNS.rename(tmp_path / "before")
    count = 0

    def killed(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        nonlocal count
        for job in jobs:
            if count == ends:
                raise KeyboardInterrupt
            count += 1
            score(job)
            yield [], [Ended(job)]

    with pytest.raises(KeyboardInterrupt):
        sweep(declared(**DECIDED), killed)
    assert kernels().state == "interrupted"
    sweep(declared(**DECIDED))
    assert (done(), standing(kernels())) == (runs, stands)
    assert kernels().state == "finished"


def test_two_sweeps_of_one_race_do_the_same_runs_as_one() -> None:
    sweep(declared(**DECIDED))
    runs, stands = done(), standing(kernels())
    project.RUNS.rename(project.RUNS.parent / "before")
    other = list[Job]()

    def disturbed(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if job.seed == 4 and not other:
                # The other goes on to the end while this one is at its fifth seed.
                other.extend(sweep(declared(**DECIDED)))
            score(job)
            yield [], [Ended(job)]

    own = sweep(declared(**DECIDED), disturbed)
    assert (done(), standing(kernels())) == (runs, stands)
    assert kernels().state == "finished"
    assert {place(job) for job in own if job.seed > 4} == set()
    assert {job.seed for job in other} == set(range(4, 10))


def test_a_run_that_fails_is_given_up_for_this_race_and_tried_by_the_next() -> None:
    def fails(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if place(job) == (16, 1):
                yield [], [Ended(job, Failure("out of memory"))]
            else:
                score(job)
                yield [], [Ended(job)]

    with pytest.raises(UserError, match=r"^1 of 30 runs failed\."):
        sweep(declared(**DECIDED), fails)
    assert kernels().state == "failed"
    assert sum(run.state == "finished" for run in kernels().cells) == 22
    assert [place(job) for job in sweep(declared(**DECIDED))] == [(16, 1)]
    assert kernels().state == "finished"


def test_a_run_that_collapsed_has_ended_and_is_no_score() -> None:
    cells = [cell(name, seed, accuracy=0.8 + seed / 1000) for name in "ab" for seed in range(3)]
    cells[0] = replace(cells[0], collapsed=True, accuracy=0.1)
    cells[4] = replace(cells[4], state="diverged")
    cells[5] = replace(cells[5], state="failed", accuracy=None)
    at = scores(study({"a": {"k": 1}, "b": {"k": 2}}, cells))
    assert at.ended.tolist() == [[True, True, True], [True, True, False]]
    assert np.isnan(at.points).tolist() == [[True, False, False], [False, True, True]]
    assert at.points[0, 1] == pytest.approx(80.1)


def test_a_study_that_is_no_race_has_no_standing() -> None:
    plain = study({"a": {"k": 1}, "b": {"k": 2}}, [cell("a", 0, accuracy=0.5), cell("b", 0, "waiting")])
    assert standing(plain) is None
    assert due(plain, ()) == set()
    assert final_state(plain) == "interrupted"


# What can't be raced


@pytest.mark.parametrize(
    ("points", "changes", "told"),
    [
        (grid(range(2)), {}, r"^study\.stop: must have 2 settings and 3 seeds or more, not 3 and 2\."),
        (grid(filters=[8]), {}, r"^study\.stop: must have 2 settings and 3 seeds or more, not 1 and 10\."),
        ([*grid(), *grid([11], [8])], {}, r"^study\.stop: must have every setting with every seed, 3 × 11, not 31"),
    ],
)
def test_what_is_no_race_is_refused_before_anything_is_written(
    points: list[Point], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        sweep(declared(**DECIDED | changes), points=points)
    assert not project.STUDIES.exists()


def test_the_looks_of_a_race_are_planned_before_it_and_not_changed() -> None:
    sweep(declared(**DECIDED))
    before = kernels()
    others = [grid(range(12)), grid(range(5)), grid(filters=[8, 16]), grid(filters=[8, 16, 32, 64])]
    for points, stop in product(others, ["decided", None]):
        with pytest.raises(ConfigurationError, match=r"^study\.name: must be another: kernels is a race"):
            sweep(declared(**DECIDED | {"stop": stop}), points=points)
        assert kernels() == before


def test_a_study_with_other_runs_can_not_become_a_race() -> None:
    sweep(declared(), points=grid(range(3), [8, 64][:1]))
    sweep(declared(), points=grid([40], [8]))
    with pytest.raises(ConfigurationError, match=r"^study\.stop: must be planned with all runs of its study"):
        sweep(declared(**DECIDED))


def test_all_runs_of_a_race_are_done_where_the_line_asks_for_no_race() -> None:
    sweep(declared(**DECIDED))
    assert len(sweep(declared())) == 7
    assert (kernels().stop, kernels().state) == (None, "finished")
    assert [row.finished for row in rows(kernels())] == [10, 10, 10]


def test_what_ran_after_a_verdict_counts_neither_in_the_table_nor_in_the_report() -> None:
    sweep(declared())
    assert sweep(declared(**DECIDED)) == []
    found = rows(kernels())
    assert [row.finished for row in found] == [10, 10, 3]
    assert [100 * (row.mean or 0) for row in found] == pytest.approx(from_study(kernels()).means.tolist())


# Budgets


class Clock:
    """A false clock, on which each run takes as long as is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, each: float) -> None:
        self.now, self.each = 1_000.0, each
        monkeypatch.setattr("pipeline.studies.estimate.time.monotonic", lambda: self.now)

    def act(self, executor: Acting) -> Callable[[list[Job]], Iterator[tuple[list[Job], list[Ended]]]]:
        def one_by_one(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
            for job in list(jobs):
                if executor.may_start(job):
                    yield [job], []
                    self.now += self.each
                    score(job)
                    yield [], [Ended(job)]

        return one_by_one


def timed(clock: Clock, config: StudyConfig) -> set[tuple[int, int]]:
    """The runs that were done within the hours of `config`."""
    executor = Acting(None, slots=1)
    executor.act = clock.act(executor)
    before = {run.identity for run in kernels().cells if run.state == "finished"} if project.STUDIES.exists() else set()
    run_study(grid(), config, article().tracking, executor)
    after = {run.identity for run in kernels().cells if run.state == "finished"} - before
    return {place(job) for job in executor.given if job.identity.name in after}


def test_hours_start_no_run_whose_estimate_ends_after_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "_cost", lambda *_: 100 * 1.0e10)
    clock = Clock(monkeypatch, each=100.0 / article().training.threads)
    seconds = 100 / article().training.threads
    # Seven and a half runs.
    first = timed(clock, declared(hours=7.5 * seconds / 3600))
    assert len(first) == 7
    assert clock.now == 1_000 + 7 * seconds
    assert kernels().state == "interrupted"
    said = " ".join(capsys.readouterr().out.split())
    assert "note: not all of it fits into study.hours" in said
    assert "leaves 23 runs open: 16 filters (8), 8 filters (8), 32 filters (7). The same line goes on." in said
    assert len(timed(clock, declared(hours=100))) == 23
    assert kernels().state == "finished"


def test_hours_learn_that_runs_take_longer_than_was_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_cost", lambda *_: 100 * 1.0e10)
    seconds = 100 / article().training.threads
    # Each takes three times its estimate: three fit into ten estimates, not ten.
    assert len(timed(Clock(monkeypatch, each=3 * seconds), declared(hours=10 * seconds / 3600))) == 3


def test_hours_of_a_race_go_to_what_is_nearest_to_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEANS, 32, 0.81)
    monkeypatch.setattr(estimate, "_cost", lambda *_: 100 * 1.0e10)
    seconds = 100 / article().training.threads
    clock = Clock(monkeypatch, each=seconds)
    timed(clock, declared(**DECIDED, hours=11.5 * seconds / 3600))
    found = {(run.setting, run.seed) for run in kernels().cells if run.state == "finished"}
    names = [setting.values["model.conv.filters"] for setting in kernels().settings.values()]
    fourth = {names[list(kernels().settings).index(name)] for name, seed in found if seed == 3}
    # The baseline first, which all need.
    assert fourth == {8, 32}


def test_after_a_failure_no_run_starts_where_that_was_asked_for() -> None:
    executor = Acting(None)

    def fails(jobs: list[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
        for job in jobs:
            if executor.may_start(job):
                yield [], [Ended(job, Failure("out of memory"))]

    executor.act = fails
    with pytest.raises(UserError, match=r"^1 of 30 runs failed\. No other was started after it"):
        run_study(grid(), declared(stop_on_failure=True), article().tracking, executor)
    assert [run.state for run in kernels().cells].count("waiting") == 29


# Before it starts


def test_a_dry_run_prints_the_plan_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(project.ROOT.rglob("*"))
    assert sweep(declared(**DECIDED, dry_run=True)) == []
    said = " ".join(capsys.readouterr().out.split())
    assert "30 runs (3 settings, 10 seeds)" in said
    assert "a race: a setting gets seeds until its verdict stands; saves 21 of these runs at most" in said
    assert "nothing was started" in said
    assert "can tell" not in said
    assert sorted(project.ROOT.rglob("*")) == before


def test_the_plan_says_what_its_seeds_can_find_by_the_noise_of_earlier_runs(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(declared(name="earlier"), points=grid(range(3)))
    sweep(declared(dry_run=True), points=grid(range(100, 103)))
    said = " ".join(capsys.readouterr().out.split())
    assert "3 seeds can tell" in said
    assert "points apart (by the noise of earlier runs, 0." in said
    sweep(declared(dry_run=True), points=grid(range(100, 102)))
    assert "2 seeds: too few for a verdict, which takes 3" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "starts"), [("y", True), ("Yes ", True), ("", False), ("n", False), (None, False)])
def test_a_large_grid_is_started_after_a_question(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, starts: bool
) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.MOST_UNASKED", 29)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)

    def asked(_question: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", asked)
    if starts:
        assert len(sweep(declared())) == 30
    else:
        with pytest.raises(UserError, match="nothing was started"):
            sweep(declared())
        assert not project.STUDIES.exists()


def test_where_nobody_can_be_asked_a_large_grid_takes_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studies.run_study.MOST_UNASKED", 29)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(UserError, match=r"^30 runs: a sweep of more than 29 is started with --yes; nothing"):
        sweep(declared())
    assert len(sweep(declared(ask=False))) == 30
    # What is done is not asked for again.
    assert sweep(declared()) == []


def test_a_study_of_other_code_is_told_once_however_many_runs_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(declared(), points=grid(range(3)))
    update_study(project.study("kernels"), lambda present: replace(present or study({}), basis="earlier"))
    capsys.readouterr()
    monkeypatch.setattr("pipeline.studies.run_study.MOST_UNASKED", 29)
    assert len(sweep(declared())) == 21
    assert capsys.readouterr().out.count("the code, the data or the versions have changed since") == 1


def test_no_setting_takes_the_place_of_a_baseline_that_is_none_of_them() -> None:
    raced = replace(study({"a": {"f": 1}, "b": {"f": 2}}, [cell("a", 0), cell("b", 0)]), stop="decided")
    assert standing(replace(raced, baseline={"f": 2})) is not None
    with pytest.raises(UserError, match="its baseline is none of its settings"):
        standing(replace(raced, baseline={"f": 3}))
