"""What a sweep says: what it is about to do, how far it is, what came of it."""

import io
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.run.identity import identity
from pipeline.storage import atomic, project
from pipeline.studies import console
from pipeline.studies.console import LiveStandings, duration, size, standings
from pipeline.studies.estimate import Estimate
from pipeline.studies.plan import Job, Plan
from pipeline.studies.study import Study, StudyRun
from pipeline.studies.study_summary import titles
from tests.harness.studies import DATA, a_project, cell, study, swept

SETTINGS: dict[str, dict[str, Any]] = {"a": {"conv.filters": 8}, "b": {"conv.filters": 16}}
COLLAPSED = replace(cell("a", 3, accuracy=0.1), collapsed=True)
HOSTILE = "no [/gpu:0] for [Op:Conv2D] [[node a]] [red] \\[x] 100 %"
"""What TensorFlow's messages are like; rich would take parts of it for mark-up."""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was printed, on as many lines as it takes."""
    return lambda: " ".join(capsys.readouterr().out.split())


def ended() -> Study:
    return study(SETTINGS, [cell("a", 0, accuracy=0.5), cell("a", 1, accuracy=0.75), cell("b", 0, accuracy=0.9)])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (0.4, "1 s"),
        (1.6, "2 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (150, "2 min"),
        (151, "3 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (119.6 * 60, "2 h 00 min"),
        (25 * 3600 + 5 * 60, "25 h 05 min"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "1 MB"), (1_600_000, "2 MB"), (999_000_000, "999 MB"), (1_000_000_000, "1.0 GB"), (2_550_000_000, "2.5 GB")],
)
def test_a_size_in_words(count: int, words: str) -> None:
    assert size(count) == words


def plan(seeds: int) -> Plan:
    made = []
    for seed in range(seeds):
        configuration = swept({"seed": seed})
        made.append(Job(configuration, identity(configuration, DATA), "a", "validation", "s", pictured=False))
    return Plan(tuple(made), {"a": study(SETTINGS).settings["a"]}, {}, "basis")


def test_before_it_starts_a_sweep_says_how_many_runs_how_long_and_how_much(told: Any) -> None:
    estimate = Estimate({"1": 100.0, "2": 200.0}, 3_000_000, measured=True)
    console.print_plan(study(SETTINGS), plan(3), estimate, 2)
    assert (text := told()).startswith(
        "study kernels: 3 runs (1 setting, 3 seeds), scored on the validation images; 1 done already, 2 to do"
    )
    # (100 + 200) / 2 s, and 8 s to start.
    assert "about 3 min with 2 at a time (by the runs of this machine), 3 MB of disk" in text
    console.print_plan(study(SETTINGS), plan(1), replace(estimate, measured=False), 2)
    assert "1 run (1 setting, 1 seed)" in (text := told())
    assert "roughly: no such run was measured here yet" in text


def test_a_sweep_without_anything_to_do_does_not_say_how_long_it_takes(told: Any) -> None:
    console.print_plan(study({"a": SETTINGS["a"]}), plan(2), Estimate({}, 0, measured=False), 0)
    assert told().endswith("2 done already, 0 to do")


def test_points_of_a_grid_that_are_the_same_run_are_told_before_it_starts(told: Any) -> None:
    again = {
        ("model.conv.filters=16", "model.conv.filters=16"): 2,
        ("model.conv.kernel_size=[5,5]", "model.conv.kernel_size=5"): 1,
    }
    console.print_plan(ended(), replace(plan(3), repeated=again), Estimate({}, 0, measured=False), 0)
    text = told()
    assert text.startswith("study kernels: 3 runs (1 setting, 3 seeds; 6 asked for, 3 of them a second time), scored")
    assert "model.conv.filters=16 is asked for more than once" in text
    assert text.count("model.conv.kernel_size=[5,5] is the same as model.conv.kernel_size=5") == 1
    more = {(f"model.conv.kernel_size=[{size},{size}]", f"model.conv.kernel_size={size}"): 1 for size in (3, 7, 9)}
    console.print_plan(ended(), replace(plan(3), repeated=again | more), Estimate({}, 0, measured=False), 0)
    assert told().count("and 2 more") == 1


def test_a_sweep_that_joins_others_says_before_it_starts_in_what_they_differ(told: Any) -> None:
    article, smoke = {"training": "article"}, {"training": "smoke"}
    other = {"training.epochs": 1, "conv.filters": 8}
    found = study({"a": SETTINGS["a"] | {"training.epochs": 10}, "b": other, "c": other | {"conv.filters": 16}})
    settings = {name: replace(found.settings[name], variants=article if name == "a" else smoke) for name in "abc"}
    console.print_plan(replace(found, settings=settings), plan(2), Estimate({}, 0, measured=False), 0)
    text = told()
    assert "note: study kernels holds 2 settings more, by earlier sweeps, which differ in training;" in text
    # More values of what is swept are no other study.
    console.print_plan(
        study({"a": {"f": 1}, "b": {"f": 2}, "c": {"f": 3}}), plan(2), Estimate({}, 0, measured=False), 0
    )
    assert "note:" not in told()


@pytest.mark.parametrize("width", [18, 30, 40, 60, 80, 120, 200])
def test_no_width_of_a_terminal_cuts_off_a_score(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [f"model.blocks.block{number}.conv.kernel_regularizer" for number in range(4)]
    settings = {name: dict.fromkeys(long, 0.125 + place) for place, name in enumerate("ab")}
    cells = [cell("a", 0, accuracy=0.5), cell("a", 1, accuracy=0.75), cell("b", 0, "failed")]
    for found in (SETTINGS, settings):
        out = io.StringIO()
        monkeypatch.setattr(
            "pipeline.studies.console.console", Console(file=out, width=width, soft_wrap=True, markup=False)
        )
        console.print_results(study(found, cells))
        said = out.getvalue()
        for part in ("62.50 ± 17.68 % (2)", "highest", "mean", "failed", *(["multiply-adds"] if width >= 120 else [])):
            assert part in said or (found is settings and part == "multiply-adds")
        assert "…" not in said


def test_a_disk_that_is_nearly_full_is_noted(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    for free, noted in ((6_000_000, False), (5_900_000, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: usage(free))
        console.print_plan(study(SETTINGS), plan(2), Estimate({"1": 1.0}, 3_000_000, measured=True), 1)
        assert ("note: only 6 MB of disk is free" in told()) is noted


def test_refused_settings_are_listed_with_their_reasons(told: Any) -> None:
    console.print_refused({"model.conv.filters=0": "must be at least 1", "a=[3,5]": "is no key"})
    text = told()
    for part in ("model.conv.filters=0", "must be at least 1", "a=[3,5]", "is no key"):
        assert part in text


def test_refused_settings_are_listed_with_their_reasons_as_they_were_typed(told: Any) -> None:
    console.print_refused({"model.dense.units=[8,x]": "must be [a,b]", "y=[a,b]": "z"})
    text = told()
    for part in ("model.dense.units=[8,x]", "must be [a,b]", "y=[a,b]"):
        assert part in text


def test_results_say_what_was_best_what_failed_and_what_diverged(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_results(
        replace(ended(), cells=(*ended().cells, cell("b", 1, "failed"), cell("a", 2, "diverged"), COLLAPSED))
    )
    lines = capsys.readouterr().out.splitlines()
    (a,) = (line for line in lines if "62.50 ± 17.68 % (2)" in line)
    (b,) = (line for line in lines if "90.00 % (1)" in line)
    assert "filters" in lines[1]
    assert "highest mean, 1 failed" in b
    assert "1 collapsed, 1 diverged" in a
    assert "highest" not in a
    assert "validation images" in "".join(lines)
    # What to type next, each on a line of its own.
    assert lines[-2:] == ["python -m pipeline.compare kernels", "python -m pipeline.ui --study kernels"]


@pytest.mark.parametrize(
    "found",
    [
        study({}),
        study({"a": {}}),
        study({"a": {}}, [cell("a", 0, accuracy=0.5)]),
        study(SETTINGS, [cell("a", 0, "failed"), cell("b", 0, "failed")]),
        study({"a": {"k": [1, 2]}, "b": {"k": None}, "c": {"k": "[/x]"}}, [cell("c", 0, accuracy=0.5)]),
    ],
)
def test_any_study_can_be_told(found: Study, told: Any) -> None:
    console.print_results(found)
    console.print_failures(found, found.cells)
    told()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cell("a", 3, accuracy=0.5), "3/12 filters 8, seed 3: 50.00% in 2.0 s"),
        (cell("a", 3, accuracy=0.0), "3/12 filters 8, seed 3: 0.00% in 2.0 s"),
        (cell("a", 3, "diverged", 0.1), "3/12 filters 8, seed 3: diverged 10.00% in 2.0 s"),
        (COLLAPSED, "3/12 filters 8, seed 3: collapsed 10.00% in 2.0 s"),
        (cell("a", 3, "diverged"), "3/12 filters 8, seed 3: diverged"),
        (replace(cell("b", 0, "failed"), reason="out of memory"), "3/12 filters 16, seed 0: failed out of memory"),
        (replace(cell("b", 0, "failed"), reason=HOSTILE), f"3/12 filters 16, seed 0: failed {HOSTILE}"),
    ],
    ids=[
        "finished",
        "finished with nothing right",
        "diverged",
        "collapsed",
        "diverged without a score",
        "failed",
        "failed with brackets",
    ],
)
def test_a_run_that_has_ended_is_one_line_with_its_reason_word_for_word(found: StudyRun, words: str, told: Any) -> None:
    console.print_run(titles(ended())[found.setting], found, 3, 12)
    assert told() == words


def test_failures_are_listed_with_their_reasons(told: Any) -> None:
    failed = [replace(cell("a", 0, "failed"), reason="killed"), replace(cell("b", 1, "failed"), reason="no memory")]
    console.print_failures(study(SETTINGS, failed), failed)
    text = told()
    for part in ("filters 8", "filters 16", "killed", "no memory"):
        assert part in text


def test_failures_are_listed_with_their_reasons_word_for_word(told: Any) -> None:
    failed = [replace(cell("a", 0, "failed"), reason="killed [a]"), replace(cell("b", 1, "failed"), reason="[/b]")]
    console.print_failures(study(SETTINGS, failed), failed)
    text = told()
    for part in ("filters 8", "filters 16", "killed [a]", "[/b]"):
        assert part in text


def test_a_failure_names_the_file_that_holds_its_traceback(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "ROOT", project.CHECKPOINTS.parent)
    failed = [replace(cell("a", 0, "failed"), reason="x"), replace(cell("b", 1, "failed"), reason="y")]
    atomic.write_file(project.checkpoint("a-0") / "failure.txt", "Traceback")
    console.print_failures(study(SETTINGS, failed), failed)
    text = told()
    assert "checkpoints/a-0/failure.txt" in text
    assert "b-1" not in text


class Shown:
    """In place of a live display: what it was told last."""

    def __init__(self) -> None:
        self.completed = 0
        self.description = ""

    def add_task(self, description: str, total: int) -> int:
        self.description = description
        return total

    def update(self, _task: int, *, completed: int, description: str) -> None:
        self.completed, self.description = completed, description

    def show(self, now: Study) -> None:
        self.shown = now


def test_the_live_line_says_done_running_failed_the_best_and_the_time_left() -> None:
    shown: Any = Shown()
    line = console.SweepLine(shown, 9)
    line.update(study(SETTINGS), [], running=2, left=None)
    assert (shown.completed, shown.description) == (0, "done 0 · running 2 · failed 0")
    line.update(ended(), [*ended().cells, *[cell("b", 1, "failed")] * 2], running=1, left=100.0)
    best = "best 90.00 % (1): filters 16"
    assert (shown.completed, shown.description) == (5, f"done 3 · running 1 · failed 2 · {best} · 2 min left")
    assert shown.shown == ended()


def test_below_the_live_line_settings_stand_with_their_intervals_the_best_first_and_who_is_out() -> None:
    scores = {"a": (0.90, 0.901, 0.902, 0.903), "b": (0.80, 0.802, 0.803, 0.804), "c": (0.90, 0.902, 0.903)}
    cells = [cell(name, seed, accuracy=one) for name, row in scores.items() for seed, one in enumerate(row)]
    settings = {name: {"model.conv.filters": number} for number, name in enumerate(scores, start=8)}
    race = replace(study(settings, [*cells, cell("c", 3, "waiting")]), stop="best")
    table = standings(race, 20)
    assert table is not None
    recorder = Console(width=120, file=io.StringIO(), record=True)
    recorder.print(table)
    _, first, second, last = recorder.export_text().splitlines()
    # t of 3 and 2 degrees of freedom, 3.182 and 4.303, by hand.
    assert "90.17 %" in first
    assert "89.79 to 90.55" in first
    assert "89.94 to 90.36" in second
    assert "worse than the best, stopped after" in last
    assert standings(race, 2) is None
    assert standings(study(SETTINGS), 20) is None


def test_an_interval_ends_where_an_accuracy_does() -> None:
    rows = {"a": (0.26, 0.42), "b": (0.90, 0.97)}
    table = standings(
        study(SETTINGS, [cell(name, n, accuracy=one) for name in rows for n, one in enumerate(rows[name])]), 20
    )
    assert table is not None
    # t of 1 degree of freedom, 12.706, by hand: 93.5 ± 44.47, 34 ± 101.65.
    assert list(table.columns[3].cells) == ["49.03 to 100.00", "0.00 to 100.00"]


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_terminal_shows_the_settings_while_they_run(is_watched: bool) -> None:
    screen = Console(file=io.StringIO(), force_terminal=is_watched, width=120, height=30)
    with LiveStandings(console=screen, disable=not is_watched) as live:
        live.show(ended())
        live.refresh()
    assert ("95 % interval" in screen.file.getvalue()) == is_watched  # type: ignore[attr-defined]


def test_where_nobody_watches_the_live_line_is_silent(told: Any) -> None:
    with console.live_line(3) as line:
        line.update(ended(), ended().cells[:1], running=1, left=1.0)
    assert told() == ""


def test_settings_of_earlier_sweeps_are_counted_not_shown(told: Any) -> None:
    console.print_results(ended(), others=2)
    assert "note: study kernels holds 2 settings more, by earlier sweeps" in told()
    console.print_results(ended())
    assert "note:" not in told()
