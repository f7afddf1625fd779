"""From a study's records to the evidence: what is read, what is counted, what is refused in a sentence."""

import csv
import io
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import JsonValue

from pipeline.findings.load import from_study, scored_images
from pipeline.findings.results import compute_results
from pipeline.findings.tables import as_csv, settings
from pipeline.run.metrics import has_collapsed
from pipeline.run.record import (
    EVALUATION,
    TEST_EVALUATION,
    EvaluationClock,
    read_record,
    write_clock,
    write_manifest,
)
from pipeline.storage import project
from pipeline.studies.study import read_study, update_study
from pipeline.summary import summary
from pipeline.terminal.errors import UserError
from pipeline.tracking.fields import all_tags, final_metrics, tags
from tests.harness.reports import random_scores, write_study
from tests.harness.studies import DATA, NAMED, START, a_project, prepare


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def test_scores_stand_at_their_setting_and_seed_in_points() -> None:
    scores = random_scores(3)
    scores[2, 1] = math.nan
    found = from_study(write_study(scores))
    np.testing.assert_allclose(found.scores, scores, rtol=1e-12)
    assert found.seeds == (0, 1, 2)
    assert [found.label(row) for row in (0, 4)] == ["3 × 3 kernels, 16 filters", "5 × 5 kernels, 32 filters"]
    assert (found.baseline, found.baseline_declared) == (4, True)
    assert [run.outcome for run in found.runs if run.accuracy is None] == ["failed"]
    assert [run.reason for run in found.runs if run.accuracy is None] == ["out of memory"]


def test_costs_and_where_the_runs_come_from_are_those_of_the_records() -> None:
    found = from_study(write_study(random_scores(2)))
    assert found.cost("parameters").tolist() == [1000.0 * (row + 1) for row in range(9)]
    # Two epochs of 1.5 s each.
    assert set(found.cost("seconds").tolist()) == {3.0}
    assert set(found.cost("latency").tolist()) == {0.5}
    run = found.runs[0]
    assert (run.commit, run.uncommitted, run.scored, found.data) == ("abc", False, START + 60_000, DATA)
    assert len({run.identity for run in found.runs}) == 18


@pytest.mark.parametrize(
    ("named", "accuracy", "collapsed"),
    [
        ([3] * 20, 0.1, True),
        ([3] * 19 + [4], 0.15, True),
        ([3] * 18 + [4, 5], 0.2, False),
        ([3] * 20, 1.0, False),
        ([-1] * 20, 0.0, True),
    ],
)
def test_a_run_that_names_one_class_whatever_it_sees_has_collapsed(
    named: list[int], accuracy: float, collapsed: bool
) -> None:
    """By hand: 95 % of 20 images are 19; an image without a finite probability has class -1."""
    assert has_collapsed(np.array(named, np.int64), accuracy) is collapsed


def test_a_collapsed_run_is_told_and_in_no_mean() -> None:
    study = write_study(random_scores(3))
    root = project.run_root(study.cells[4].identity)
    kept: dict[str, JsonValue] = {
        "identity": study.cells[4].identity,
        "images": "validation",
        "images_digest": "i",
        **NAMED,
        "scoring": "s",
        "collapsed": True,
    }
    write_manifest(root / EVALUATION, "evaluation.json", kept)
    found = from_study(study)
    assert [(run.setting, run.seed, run.outcome) for run in found.runs if run.outcome != "finished"] == [
        (1, 1, "collapsed")
    ]
    expected = random_scores(3)
    expected[1, 1] = math.nan
    np.testing.assert_allclose(found.scores, expected, rtol=1e-12)
    (row,) = [
        row for row in csv.DictReader(io.StringIO(as_csv(settings(compute_results(found))))) if row["collapsed"] == "1"
    ]
    assert (row["seeds"], row["failed"], row["missing"]) == ("2", "0", "0")


def test_a_latency_that_was_measured_beside_other_runs_is_none_and_the_run_says_so() -> None:
    study = write_study(random_scores(2))
    for cell in study.cells[:3]:
        clock = EvaluationClock(cell.identity, "s", {"shared_latency_ms_batch_1": 9.57}, START)
        write_clock(project.run_root(cell.identity), EVALUATION, clock)
    found = from_study(study)
    assert [setting.latency for setting in found.settings[:3]] == [pytest.approx(math.nan, nan_ok=True), 0.5, 0.5]
    assert "9.57" not in as_csv(settings(compute_results(found)))
    record = read_record(project.run_root(study.cells[0].identity))
    assert final_metrics(record)["timing/shared_latency_ms_batch_1"] == 9.57
    assert "timing/latency_ms_batch_1" not in final_metrics(record)
    assert all_tags(tags(record, "kernels"))["clock"] == "shared"
    other = read_record(project.run_root(study.cells[3].identity))
    assert all_tags(tags(other, "kernels"))["clock"] == "alone"
    assert record.evaluation is not None
    said = "\n".join(summary(record.training, replace(record.evaluation, folder=project.ROOT)))
    assert "9.57 ms an image (batches of 1), beside other runs" in said


def test_without_a_declared_baseline_it_is_the_setting_that_was_declared_first() -> None:
    study = write_study(random_scores(2), baseline=None)
    backwards = replace(study, settings=dict(reversed(study.settings.items())))
    found = from_study(backwards)
    np.testing.assert_allclose(found.scores, random_scores(2), rtol=1e-12)
    assert found.cost("parameters").tolist() == [1000.0 * (row + 1) for row in range(9)]
    assert (found.baseline, found.baseline_declared) == (8, False)
    assert [found.label(row) for row in (0, 8)] == ["3 × 3 kernels, 16 filters", "7 × 7 kernels, 64 filters"]


def test_a_setting_is_named_by_its_variant_and_a_baseline_may_be_one() -> None:
    values: list[dict[str, JsonValue]] = [
        {"model.depth": 1, "model.blocks": {}},
        {"model.depth": 2, "model.blocks.block2.pooling": "none"},
    ]
    study = write_study(random_scores(2)[:2], values=values)
    names = iter(("article", "deep"))
    settings = {name: replace(found, variants={"model": next(names)}) for name, found in study.settings.items()}
    found = from_study(replace(study, settings=settings, baseline={"model": "deep"}))
    assert [setting.label for setting in found.settings] == ["model article", "model deep"]
    assert [(factor.name, factor.levels) for factor in found.factors] == [("model", ("article", "deep"))]
    assert (found.baseline, found.baseline_declared) == (1, True)
    assert found.settings[1].values == values[1] | {"model": "deep"}


def test_a_baseline_that_is_null_is_no_setting_that_lacks_the_key() -> None:
    key, filters = "training.regularizer", "model.conv.filters"
    study = write_study(random_scores(2)[:2], values=[{f"{key}.l2": 0.1, filters: 8}, {key: None, filters: 16}])
    assert from_study(replace(study, baseline={key: None})).baseline == 1


def test_a_damaged_record_is_named_with_what_to_do() -> None:
    study = write_study(random_scores(2))
    damaged = project.run_root(study.cells[3].identity) / EVALUATION / "correct.npy"
    damaged.write_bytes(b"other")
    with pytest.raises(UserError, match=f"{damaged}.*Run the study's sweep again") as raised:
        from_study(study)
    assert "dvc repro" not in str(raised.value)


def test_a_record_that_is_gone_is_named() -> None:
    study = write_study(random_scores(2))
    shutil.rmtree(project.run_root(study.cells[0].identity))
    with pytest.raises(UserError, match=study.cells[0].identity):
        from_study(study)


def test_runs_that_are_not_done_have_no_score_and_no_record_is_asked_for() -> None:
    study = write_study(random_scores(2))
    waiting = tuple(replace(cell, state="waiting") if cell.seed == 1 else cell for cell in study.cells)
    shutil.rmtree(project.run_root(study.cells[1].identity))
    found = from_study(replace(study, cells=waiting))
    assert np.isnan(found.scores[:, 1]).all()
    assert not np.isnan(found.scores[:, 0]).any()


def test_a_study_without_a_run_is_refused() -> None:
    with pytest.raises(UserError, match="has no run yet"):
        from_study(replace(write_study(random_scores(2)), cells=()))


def test_a_study_scored_on_test_reads_the_scores_on_test() -> None:
    found = from_study(write_study(random_scores(2), images="test"))
    assert found.images == "test"
    assert not np.isnan(found.scores).any()
    assert all(run.on_test is None for run in found.runs)


def test_runs_that_another_study_scored_on_test_are_told() -> None:
    study = write_study(random_scores(2))
    root = project.run_root(study.cells[0].identity)
    shutil.copytree(root / EVALUATION, root / TEST_EVALUATION)
    write_clock(root, TEST_EVALUATION, EvaluationClock(study.cells[0].identity, "s", {}, 5))
    assert [run.on_test for run in from_study(study).runs[:2]] == [5, None]


def test_the_sweep_that_conf_declares_is_among_the_commands() -> None:
    study = write_study(random_scores(2))
    assert from_study(study).commands == ("python -m pipeline.compare kernels",)
    assert from_study(replace(study, name="kernels_by_filters")).commands == (
        "python -m pipeline.sweep +study=kernels_by_filters",
        "python -m pipeline.compare kernels_by_filters",
    )


def test_the_sweep_that_opened_the_test_images_is_named_as_it_is_typed() -> None:
    study = write_study(random_scores(2), name="compact_on_test", images="test")
    assert from_study(study).commands == (
        "python -m pipeline.sweep +study=compact study.score_on=test",
        "python -m pipeline.compare compact_on_test",
    )


def test_answers_belong_to_their_runs() -> None:
    study = write_study(random_scores(2), answered=20)
    found = from_study(study).answers()
    assert found is not None
    assert found.correct.shape == (18, 20)
    # 5 × 5 kernels, 64 filters are row 5: the accuracy of the answers is that of the score, to one image of 20.
    (answers,) = found.correct[(found.settings == 5) & (found.seeds == 1)]
    assert answers.mean() == pytest.approx(random_scores(2)[5, 1] / 100, abs=1 / 40)


def test_the_images_are_those_that_scored_or_none_with_a_reason() -> None:
    prepare()
    study = write_study(random_scores(2))
    found = scored_images(from_study(study))
    assert found.images is not None
    assert found.images.shape == (10, 28, 28, 1)
    read = from_study(study)
    strange = replace(read, runs=tuple(replace(run, images_digest="other") for run in read.runs))
    assert "not those that scored" in scored_images(strange).missing
    (project.PREPARED / "train_images.npy").write_bytes(b"other")
    assert "was changed after" in scored_images(from_study(study)).missing


def test_the_study_on_disk_is_the_study() -> None:
    write_study(random_scores(2))
    study = read_study(project.study("kernels"))
    assert update_study(project.study("kernels"), lambda _: study) == study
    assert len(from_study(study).runs) == 18


def test_answers_that_are_none_are_refused_by_the_name_of_their_file() -> None:
    """Their digest may be right all the same: a record can come from others."""
    study = write_study(random_scores(2))
    folder = project.run_root(study.cells[3].identity) / EVALUATION
    kept = json.loads((folder / "evaluation.json").read_text())
    for wrong, words in ((np.zeros((2, 5), np.bool_), r"not bool \[2, 5\]"), (np.zeros(10), r"not float64 \[10\]")):
        np.save(folder / "correct.npy", wrong)
        own = {key: value for key, value in kept.items() if key not in ("sha256", "layout", "files")}
        write_manifest(folder, "evaluation.json", own)
        with pytest.raises(UserError, match=rf"correct\.npy: must be bool \[images\], {words}\. Run the study's"):
            from_study(study)


def test_records_of_other_code_tell_what_they_were_made_of() -> None:
    """Which images were held out, and which versions decided, is read as it was written, not as it is built today."""
    study = write_study(random_scores(2))
    found = from_study(study)
    assert found.split == (10, 0)
    assert found.runs[0].curve == (25.0, 25.0)
    assert re.fullmatch(r"python 3\.\d+, .*tensorflow \d.*", found.runs[0].versions)
    assert found.runs[0].hardware == "2 cores, x86_64 avx2"
