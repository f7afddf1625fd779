"""A study with the jobs that were asked for now: what it held of the same code and data stays."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipeline.run.record import write_manifest
from pipeline.storage import project
from pipeline.studies.plan import Job, Plan, merge_plan, plan_grid
from pipeline.studies.study import Point, Study
from pipeline.studies.study_config import StudyConfig
from tests.harness.settings import article_values
from tests.harness.studies import NAMED, a_project, declared, prepare, write_record


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    prepare()


def plan(sizes: tuple[int, ...], seeds: tuple[int, ...], declaration: StudyConfig | None = None) -> Plan:
    grid = [
        Point("", article_values({"data.validation_images": 10, "model.conv.kernel_size": size, "seed": seed}))
        for size in sizes
        for seed in seeds
    ]
    return plan_grid(grid, declaration or declared())


def finish(job: Job, accuracy: float) -> None:
    root = project.run_root(job.identity.name)
    write_record(root, job.configuration, found=job.identity, scoring=job.scoring, accuracy=accuracy, part=job.part)


def sizes(study: Study) -> list[object]:
    return [found.values["model.conv.kernel_size"] for found in study.settings.values()]


def test_a_new_study_is_as_declared_and_all_its_runs_wait() -> None:
    declaration = declared(baseline={"model.conv.kernel_size": 3}, margin=0.25, score_on="test")
    found = plan((3, 5), (0, 1), declaration)
    study = merge_plan(None, replace(found, refused={"a=1": "too small"}), declaration)
    assert (study.name, study.images, study.margin) == ("kernels_on_test", "test", 0.25)
    assert (study.baseline, study.state) == ({"model.conv.kernel_size": 3}, "running")
    assert study.refused == ({"setting": "a=1", "reason": "too small"},)
    assert sizes(study) == [3, 5]
    assert [cell.state for cell in study.cells] == ["waiting"] * 4
    assert [cell.identity for cell in study.cells] == [job.identity.name for job in found.jobs]


def test_what_is_on_disk_is_done_whoever_did_it() -> None:
    found = plan((3, 5), (0,))
    finish(found.jobs[1], 0.75)
    study = merge_plan(None, found, declared())
    assert [(cell.state, cell.accuracy) for cell in study.cells] == [("waiting", None), ("finished", 0.75)]


def test_a_run_that_names_one_class_whatever_it_sees_has_collapsed() -> None:
    found = plan((3, 5), (0,))
    for job, collapsed in zip(found.jobs, (True, False), strict=True):
        finish(job, 0.1)
        folder = project.run_root(job.identity.name) / job.part
        named: dict[str, JsonValue] = {
            "identity": job.identity.name,
            "images": "validation",
            "images_digest": "i",
            "scoring": job.scoring,
            "collapsed": collapsed,
        }
        write_manifest(folder, "evaluation.json", named | NAMED)
    assert [cell.collapsed for cell in merge_plan(None, found, declared()).cells] == [True, False]


def test_another_grid_of_the_same_study_joins_what_is_there() -> None:
    first = merge_plan(None, plan((3,), (0, 1)), declared())
    kept = tuple(replace(cell, state="finished", accuracy=0.5) for cell in first.cells)
    second = merge_plan(replace(first, cells=kept, state="finished"), plan((5,), (0,)), declared(margin=1))
    assert sizes(second) == [3, 5]
    assert second.cells[:2] == kept
    assert [cell.state for cell in second.cells] == ["finished", "finished", "waiting"]
    assert (second.state, second.margin) == ("running", 1)


def test_the_same_line_again_tries_what_failed_and_what_has_lost_its_record() -> None:
    found = plan((3,), (0, 1, 2))
    finish(found.jobs[0], 0.5)
    first = merge_plan(None, found, declared())
    ended = [
        first.cells[0],
        replace(first.cells[1], state="failed", reason="out of memory"),
        replace(first.cells[2], state="finished", accuracy=0.9),
    ]
    again = merge_plan(replace(first, cells=tuple(ended)), found, declared())
    assert [(cell.state, cell.reason, cell.accuracy) for cell in again.cells] == [
        ("finished", None, 0.5),
        ("waiting", None, None),
        ("waiting", None, None),
    ]


def test_runs_of_another_code_leave_the_study_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    before = merge_plan(None, plan((3, 5), (0,)), declared())
    assert capsys.readouterr().out == ""
    after = merge_plan(replace(before, basis="earlier"), plan((7,), (0,)), declared())
    assert sizes(after) == [7]
    assert len(after.cells) == 1
    assert "study kernels" in (told := capsys.readouterr().out)
    assert "of its 2 runs only those" in told


def test_refused_settings_are_those_of_the_last_grid() -> None:
    found = plan((3,), (0,))
    refused = merge_plan(None, replace(found, refused={"a": "b"}), declared())
    assert merge_plan(refused, found, declared()).refused == ()


def test_accuracies_on_other_images_do_not_join_a_study() -> None:
    found = plan((3,), (0,))
    finish(found.jobs[0], 0.5)
    # A name that can't be declared any more, by an earlier version.
    on_validation = replace(merge_plan(None, found, declared()), name="kernels_on_test")
    on_test = merge_plan(on_validation, plan((5,), (0,), declared(score_on="test")), declared(score_on="test"))
    assert on_test.images == "test"
    assert [cell.accuracy for cell in on_test.cells] == [None]


def test_jobs_join_one_by_one() -> None:
    first, second = plan((5,), (0,)), plan((5,), (1,))
    finish(second.jobs[0], 0.5)
    study = merge_plan(merge_plan(None, first, declared()), second, declared())
    assert [(cell.seed, cell.state) for cell in study.cells] == [(0, "waiting"), (1, "finished")]
    finish(first.jobs[0], 0.25)
    again = merge_plan(study, first, declared())
    assert [(cell.seed, cell.accuracy) for cell in again.cells] == [(0, 0.25), (1, 0.5)]
    assert sizes(merge_plan(again, plan((7,), (0,)), declared())) == [5, 7]
