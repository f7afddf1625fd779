"""How contenders are compared, and the page that is written of it. Nothing is measured here."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks import conductor, performance
from benchmarks.__main__ import ROWS
from benchmarks.costs import alternately, as_figures, cost, median, ratio_in_words
from benchmarks.epoch import parts, training_multiply_adds
from benchmarks.rows import Finding
from pipeline.run.environment import lacks_bfloat16
from pipeline.studies.plan import Job
from tests.harness.conducting import finish
from tests.harness.settings import article
from tests.harness.spent import Cost

COSTS = {
    "ours": [Cost(1.0, 2.0, 100), Cost(3.0, 2.0, 100), Cost(2.0, 2.0, 100)],
    "theirs": [Cost(4.0, 4.0, 300), Cost(4.0, 4.0, 300), Cost(4.0, 8.0, 300)],
}


def test_contenders_run_in_turn_and_each_is_as_often_the_first() -> None:
    order: list[str] = []

    def contender(name: str) -> Cost:
        order.append(name)
        return Cost(1, 1, 1)

    costs = alternately({"a": lambda: contender("a"), "b": lambda: contender("b")}, 4)
    assert "".join(order) == "abbaabba"
    assert {name: len(found) for name, found in costs.items()} == {"a": 4, "b": 4}


def test_a_ratio_is_that_of_the_medians_with_the_rounds_extremes() -> None:
    assert ratio_in_words(COSTS, "ours", "theirs") == "0.50 (0.25 to 0.75) of the time, 0.50 of the CPU time"
    assert median(COSTS["ours"], "peak_mib") == 100
    figures = as_figures(COSTS)["ours"]
    assert isinstance(figures, dict)
    assert figures["median"] == {"seconds": 2.0, "cpu_seconds": 2.0, "peak_mib": 100}


def test_a_command_costs_what_its_children_cost_too(tmp_path: Path) -> None:
    grown = "x = bytearray(300_000_000); print('grown')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grown!r}], check=True)"
    found = cost((sys.executable, "-c", code), tmp_path)
    assert found.said == "grown\n"
    assert found.peak_mib > 280
    assert found.cpu_seconds > 0
    assert found.seconds > 0


def test_a_contender_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="status 3\nfailed"):
        cost((sys.executable, "-c", "print('failed'); raise SystemExit(3)"), tmp_path)


def test_what_a_conductor_does_is_measured_without_what_its_nodes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(job: Job) -> None:
        time.sleep(0.1)
        finish(job)

    monkeypatch.setattr(conductor, "finish", slowly)
    started = time.perf_counter()
    marks = conductor.conduct(2, 4, 2, conductor.Nodes(1, b"state"))
    assert marks[-1][0] == 4
    assert marks[-1][1] - marks[0][1] <= time.perf_counter() - started - 4 * 0.1


def test_a_training_step_multiplies_three_times_but_for_the_first_layers_inputs() -> None:
    # 24 × 24 × 32 × 25, 8 × 8 × 64 × 25 × 32, 1024 × 10.
    first, second, output = 460_800, 3_276_800, 10_240
    assert training_multiply_adds(article()) == 2 * first + 3 * (second + output)


def test_the_page_holds_a_line_for_each_row_measured_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESULTS", "PAGE", "PICTURE"):
        monkeypatch.setattr(performance, name, tmp_path / name)
    performance.keep(ROWS[0], Finding("half the time", met=True, figures={}, bars={"this project": 1.0, "script": 2.0}))
    performance.keep(ROWS[1], Finding("too long", met=False, figures={}))
    performance.write(ROWS)
    lines = [line for line in (tmp_path / "PAGE").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(ROWS)
    place = 4 + performance.KINDS.index("without bfloat16" if lacks_bfloat16() else "with bfloat16")
    assert [line.split(" | ")[place - 1].rstrip(" |") for line in lines[:3]] == [
        "met: half the time",
        "**missed**: too long",
        "not measured yet",
    ]
    assert (tmp_path / "PICTURE").read_bytes().startswith(b"\x89PNG")


def test_operations_are_told_by_their_part_of_the_time_and_of_the_peak() -> None:
    # 12 images × 3,276,800 multiply-adds × 2 in a second, where the machine could do four times as much.
    taken = {"block2_conv Conv2DBackpropInput": 1.0, "block1_pool MaxPoolGrad": 3.0}
    found = parts(taken, article(), 12, 4 * 2 * 12 * 3_276_800)
    assert found == {
        "block2_conv Conv2DBackpropInput": {"time": 0.25, "peak": 0.25},
        "block1_pool MaxPoolGrad": {"time": 0.75},
    }
