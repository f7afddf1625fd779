"""From a grid to the runs that are done, those that are missing, and those that can't exist."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.messages import ConfigurationError
from pipeline.data import prepared
from pipeline.data.scoring import held_out_digest
from pipeline.run.identity import scoring_identity
from pipeline.run.record import EVALUATION, TEST_EVALUATION, read_record
from pipeline.storage import lock, project
from pipeline.studies.plan import Job, basis_of, job_of, plan_grid, record_of, setting_of, study_run_of
from pipeline.studies.study import Point
from pipeline.terminal.errors import UserError
from tests.harness.settings import article_values
from tests.harness.studies import a_project, declared, prepare, swept, write_record


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    prepare()


def one(typed: str = "", **changes: object) -> Point:
    """A job of a grid; keys with `__` for dots."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return Point(typed, article_values({"data.validation_images": 10} | dotted))


def job(**changes: object) -> Job:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return job_of(swept(dotted), prepared.training_digest(project.PREPARED, swept().data), declared())


def recorded(found: Job, **changes: Any) -> Path:
    root = project.run_root(found.identity.name)
    write_record(root, found.configuration, found=found.identity, scoring=found.scoring, **changes)
    return root


# Settings and jobs


def test_seeds_share_a_setting_and_everything_else_makes_another() -> None:
    assert job(seed=0).setting == job(seed=1).setting
    assert job(seed=0).identity != job(seed=1).identity
    settings = [
        job(),
        job(model__conv__kernel_size=3),
        job(model__conv__kernel_size=[3, 5]),
        job(model__dense__units=[8]),
        job(model__blocks={"block2": {"conv": {"filters": 8}}}),
        job(training__threads=1),
        job(training__learning_rate=1e-4),
        job(data__validation_images=11),
        job(data__split_seed=1),
    ]
    assert len({found.setting for found in settings}) == len(settings)
    assert {basis_of(found.identity) for found in settings} == {basis_of(job().identity)}


@pytest.mark.parametrize("ingredient", ["code", "data", "versions"])
def test_code_data_and_versions_are_the_basis_that_the_runs_of_a_study_share(ingredient: str) -> None:
    found = job().identity
    changed = replace(found, ingredients=found.ingredients | {ingredient: "other"})
    assert basis_of(changed) != basis_of(found)


def test_a_setting_is_all_values_but_the_seed_with_the_networks_cost() -> None:
    found = setting_of(swept({"seed": 7, "model.conv.kernel_size": [3, 5], "tracking.experiment": "other"}))
    assert found.values["model.conv.kernel_size"] == [3, 5]
    assert found.values["data.validation_images"] == 10
    assert "seed" not in found.values
    assert not [key for key in found.values if key.startswith(("tracking", "data.files", "data.sources"))]
    assert setting_of(swept({"seed": 8})).values == setting_of(swept({"tracking.experiment": "x"})).values
    # The article's network: 5·5·1·32 + 32, 5·5·32·64 + 64, 4·4·64·10 + 10; 24 × 24 and 8 × 8 places.
    article = setting_of(swept())
    assert article.parameters == 832 + 51_264 + 10_250
    assert article.multiply_adds == 576 * 800 + 64 * 51_200 + 10_240


def test_a_job_scores_on_the_images_that_are_held_out_or_on_the_test_images_when_asked() -> None:
    training, test = (
        prepared.training_digest(project.PREPARED, swept().data),
        prepared.test_digest(project.PREPARED, swept().data),
    )
    found = job()
    assert (found.images, found.part, found.seed, found.pictured) == ("validation", EVALUATION, 0, False)
    assert found.scoring == scoring_identity(held_out_digest(training, 10, 0), swept().data.class_names)
    on_test = job_of(swept({"seed": 3}), training, declared(score_on="test", pictures=True))
    assert (on_test.images, on_test.part, on_test.seed, on_test.pictured) == ("test", TEST_EVALUATION, 3, True)
    assert on_test.scoring == scoring_identity(test, swept().data.class_names)
    assert on_test.setting == found.setting


# The plan


def test_a_plan_holds_each_run_once_and_its_settings_in_the_order_of_the_grid() -> None:
    grid = [
        one("model.conv.filters=16", model__conv__filters=16, seed=1),
        one("model.conv.filters=8", model__conv__filters=8, seed=0),
        one("model.conv.filters=16", model__conv__filters=16, seed=0),
        one("model.conv.filters=16", model__conv__filters=16, seed=1),
        one("model.conv.filters=8 tracking.experiment=x", model__conv__filters=8, tracking__experiment="x"),
        one("model.conv.kernel_size=[5,5]", model__conv__filters=8, model__conv__kernel_size=[5, 5]),
    ]
    plan = plan_grid(grid, declared())
    assert [(found.configuration.model.conv.filters, found.seed) for found in plan.jobs] == [(16, 1), (8, 0), (16, 0)]
    assert [found.values["model.conv.filters"] for found in plan.settings.values()] == [16, 8]
    assert [found.setting for found in plan.jobs] == [*plan.settings, next(iter(plan.settings))]
    assert plan.refused == {}
    assert plan.basis == basis_of(plan.jobs[0].identity)


def test_points_that_are_the_same_run_are_no_runs_of_their_own_and_are_kept_as_they_were_typed() -> None:
    same = one("model.conv.kernel_size=[5,5]", model__conv__kernel_size=[5, 5])
    grid = [one("model.conv.kernel_size=5"), same, same, one("model.conv.kernel_size=5"), one("seed=1", seed=1)]
    plan = plan_grid(grid, declared())
    assert len(plan.jobs) == 2
    assert plan.repeated == {
        ("model.conv.kernel_size=[5,5]", "model.conv.kernel_size=5"): 2,
        ("model.conv.kernel_size=5", "model.conv.kernel_size=5"): 1,
    }
    assert plan_grid(grid[:1], declared()).repeated == {}


def test_a_baseline_that_can_not_exist_is_told_with_those_that_were_left_out() -> None:
    wrong = one("filters=8", model__conv__kernel_size=99, model__conv__filters=8)
    plan = plan_grid([wrong, one("filters=16", model__conv__filters=16)], declared())
    assert len(plan.refused) == 1
    with pytest.raises(ConfigurationError, match=r"is 0 of 1, without the 1 that can't exist"):
        declared(baseline={"model.conv.filters": 8}).check_grid(plan.settings, left_out=1)


def test_excluded_combinations_are_no_runs_whether_they_can_exist_or_not() -> None:
    grid = [
        one(f"filters={filters} size={size}", seed=seed, model__conv__filters=filters, model__conv__kernel_size=size)
        for filters in (8, 16)
        for size in (3, 99)
        for seed in (0, 1)
    ]
    excluded = [{"model.conv.kernel_size": 99, "model.conv.filters": 16}, {"model.conv.kernel_size": 3, "seed": 1}]
    plan = plan_grid(grid, declared(exclude=excluded))
    assert [(job.configuration.model.conv.filters, job.seed) for job in plan.jobs] == [(8, 0), (16, 0)]
    assert list(plan.refused) == ["filters=8 size=99"]
    assert plan.excluded == 1
    with pytest.raises(
        ConfigurationError, match=r"^study\.exclude\.1: must be a combination of the grid, but .* is none"
    ):
        plan_grid(grid, declared(exclude=[excluded[0], {"model.conv.kernel_sise": 3}]))


def test_a_setting_that_can_not_exist_is_refused_once_whatever_its_seeds() -> None:
    grid = [
        one(f"model.conv.kernel_size={size}", seed=seed, model__conv__kernel_size=size)
        for size in (5, 99, 0)
        for seed in (0, 1)
    ]
    plan = plan_grid(grid, declared())
    assert [found.configuration.model.conv.kernel_size for found in plan.jobs] == [5, 5]
    assert list(plan.refused) == ["model.conv.kernel_size=99", "model.conv.kernel_size=0"]
    assert all("model.conv.kernel_size" in reason for reason in plan.refused.values())


def test_images_that_are_missing_while_dvc_runs_may_be_in_the_making(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(project, "PREPARED", tmp_path / "nowhere")
    monkeypatch.setattr(project, "STAGE_LOCK", tmp_path / ".stage.lock")
    with pytest.raises(UserError, match=r"images are missing\. Run: dvc repro"):
        plan_grid([one("")], declared())
    with lock.stage(), pytest.raises(UserError, match="a `dvc repro` is running and may be making them"):
        plan_grid([one("")], declared())


def test_a_grid_of_refused_settings_alone_has_no_jobs() -> None:
    plan = plan_grid([one("", model__conv__kernel_size=99)], declared())
    assert (plan.jobs, plan.settings, plan.basis) == ((), {}, "")
    assert list(plan.refused) == ["(no override)"]


def test_without_prepared_images_the_error_says_how_to_make_them() -> None:
    shutil.rmtree(project.PREPARED)
    with pytest.raises(UserError, match=r"dvc repro preprocess"):
        plan_grid([one()], declared())


# Records


def test_a_run_is_done_when_its_record_is_scored_by_the_present_code_on_the_same_images() -> None:
    found = job()
    assert record_of(found) is None
    recorded(found, accuracy=None)
    assert record_of(found) is None
    recorded(found)
    assert record_of(found) is not None
    assert record_of(replace(found, scoring="other")) is None
    assert record_of(replace(found, images="test")) is None
    assert record_of(job(seed=1)) is None


def test_pictures_that_are_asked_for_belong_to_a_done_run() -> None:
    found = job()
    root = recorded(found)
    assert record_of(replace(found, pictured=True)) is None
    (root / EVALUATION / "pictures").mkdir()
    assert record_of(replace(found, pictured=True)) is not None


@pytest.mark.parametrize("file", ["training/run.json", "training/history.csv", "evaluation/metrics.json"])
def test_a_damaged_record_is_not_used_and_that_is_said(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = job()
    path = recorded(found) / file
    path.write_bytes(path.read_bytes()[:-3])
    assert record_of(found) is None
    told = capsys.readouterr().out
    assert Path(file).name in told
    # The sweep that is typed again is this one.
    assert told.endswith("This run is done again.\n")
    assert "typed again" not in told


def test_a_record_of_another_run_in_its_place_is_not_used() -> None:
    found, other = job(), job(seed=1)
    write_record(
        project.run_root(found.identity.name), other.configuration, found=other.identity, scoring=found.scoring
    )
    assert record_of(found) is None


def test_a_cell_is_what_the_record_says() -> None:
    found = job(seed=3)
    waiting = study_run_of(found, None)
    assert (waiting.identity, waiting.setting, waiting.seed) == (found.identity.name, found.setting, 3)
    assert (waiting.state, waiting.accuracy, waiting.loss, waiting.seconds) == ("waiting", None, None, None)
    recorded(found, epochs=3, seconds=0.1, accuracy=0.0)
    finished = study_run_of(found, record_of(found))
    assert (finished.state, finished.accuracy, finished.loss, finished.seconds) == ("finished", 0.0, 0.25, 0.3)
    recorded(found, outcome="diverged")
    assert study_run_of(found, record_of(found)).state == "diverged"
    assert study_run_of(found, read_record(recorded(job(seed=4), accuracy=None))).state == "waiting"
