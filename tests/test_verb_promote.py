"""What promote makes the choice, and when it refuses."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import promote
from pipeline.config.compose import Choice, as_text, choose, compose_with, promote_setting, read_choice, values
from pipeline.config.load import leaves, read_params
from pipeline.run.checkpoint import recorded
from pipeline.run.record import EVALUATION, TEST_EVALUATION
from pipeline.storage import project
from pipeline.studies.plan import setting_of
from pipeline.studies.study import Study, StudyRun, read_study, update_study
from pipeline.terminal.errors import UserError
from tests.harness.settings import article
from tests.harness.studies import a_project, write_record

Promote = Callable[..., str]

FAST = {
    "training.batch_size": 128,
    "training.schedule": "cosine",
    "training.warmup": 0.1,
    "training.threads": 1,
    "data.validation_images": 10,
}
KERNELS = {3: 89.0, 5: 90.0, 7: 90.9}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """conf/, params.yaml and the records lie in a temporary folder; nothing is chosen but the seed and a fast model."""
    a_project(monkeypatch, tmp_path)
    shutil.copytree(project.CONF, tmp_path / "conf")
    shutil.copy(project.PARAMS, tmp_path / "params.yaml")
    for name, path in (("CONF", "conf"), ("CHOSEN", "conf/chosen.yaml"), ("PARAMS", "params.yaml")):
        monkeypatch.setattr(project, name, tmp_path / path)
    before = Choice({"model": "deep", "tracking": "off"}, {"seed": 7, "training.threads": 2, "training.epochs": 3})
    project.CHOSEN.write_text(as_text(before))
    return tmp_path


@pytest.fixture
def run(
    here: Path,  # noqa: ARG001 - where it runs
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Promote:
    def typed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["promote", *arguments])
        assert promote.main() == 0
        return capsys.readouterr().out

    return typed


def a_study(seeds: int, means: dict[int, float] = KERNELS, images: str = "validation") -> None:
    """Kernel sizes with these mean accuracies in points, their seeds 0.1 apart; the article's is the baseline."""
    shutil.rmtree(project.RUNS, ignore_errors=True)
    settings: dict[str, Any] = {}
    cells = []
    for size, mean in means.items():
        for seed in range(seeds):
            configuration = article({"model.conv.kernel_size": size, "seed": seed} | FAST)
            accuracy = (mean + 0.1 * ((seed * size) % 3 - 1)) / 100
            root = project.RUNS / "new"
            part = TEST_EVALUATION if images == "test" else EVALUATION
            found = write_record(root, configuration, part=part, accuracy=accuracy)
            np.save(root / part / "correct.npy", np.ones(10, dtype=bool))
            root.rename(project.run_root(found.name))
            settings[str(size)] = setting_of(configuration)
            cells.append(StudyRun(found.name, str(size), seed, "finished", None, accuracy, 0.25, 2.0))
    baseline: dict[str, Any] = {"model.conv.kernel_size": 5}
    made = Study("kernels", images, "basis", baseline, 0.5, "finished", settings, tuple(cells))
    update_study(project.study("kernels"), lambda _present: made)


def test_the_winner_becomes_params_yaml_and_the_choice(run: Promote) -> None:
    a_study(seeds=10)
    said = run("kernels")
    assert said.startswith("7 × 7 kernels: better than the baseline (5 × 5 kernels) by ")
    assert " Chosen: 7 × 7 kernels, the highest mean of 3 settings.\n" in said
    params = read_params(project.PARAMS)
    assert params.model.conv.kernel_size == 7
    assert params.training.batch_size == 128
    assert params.training.epochs == 10
    assert "all training images" in said
    assert values(compose_with(project.CONF, read_choice(project.CHOSEN))) == values(
        compose_with(project.CONF, promote_setting(read_choice(project.CHOSEN), setting("7")))
    )


def test_a_params_yaml_that_is_missing_is_not_said_to_hold_the_setting(run: Promote) -> None:
    a_study(seeds=10)
    project.PARAMS.unlink()
    assert "holds this already" not in run("kernels")
    assert read_params(project.PARAMS).model.conv.kernel_size == 7


def test_what_is_not_the_networks_or_the_trainings_stays_as_it_was_chosen(run: Promote) -> None:
    a_study(seeds=10)
    run("kernels")
    params = read_params(project.PARAMS)
    assert params.seed == 7
    assert params.training.threads == 2
    assert not params.tracking.enabled
    assert params.data.validation_images == 0
    assert params.model.depth == 2, "the variant that was chosen before is gone"


def test_the_setting_is_promoted_whole(run: Promote) -> None:
    a_study(seeds=10)
    run("kernels")
    ours = dict(leaves(recorded(read_params(project.PARAMS))))
    for key, value in setting("7").items():
        if key.startswith(("model.", "training.")) and key != "training.threads":
            assert ours[key] == value, key


def test_the_change_is_shown_and_with_show_nothing_is_written(run: Promote) -> None:
    a_study(seeds=10)
    before = project.CHOSEN.read_text(), project.PARAMS.read_text()
    said = run("kernels", "--show")
    assert "model.conv.kernel_size: 5 → 7" in said
    assert (project.CHOSEN.read_text(), project.PARAMS.read_text()) == before


def test_mlflow_is_told_what_was_promoted(run: Promote, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []

    def announce(*words: Any) -> str:
        told.append(words)
        return "MLflow run 1 shows the verdict"

    monkeypatch.setattr(promote, "announce", announce)
    a_study(seeds=10)
    run("kernels", "--show")
    assert told == []
    assert run("kernels").endswith("MLflow run 1 shows the verdict\n")
    ((_, study, verdict),) = told
    assert study == "kernels"
    assert verdict.startswith("7 × 7 kernels: better than the baseline")
    assert verdict.endswith(" Promoted: 7 × 7 kernels.")


def test_without_a_verdict_it_refuses_unless_told(run: Promote) -> None:
    a_study(seeds=2)
    before = project.PARAMS.read_text()
    with pytest.raises(UserError, match=r"kernels: No verdict yet: 2 seeds .*at least 3\. More seeds .*--anyway"):
        run("kernels")
    assert project.PARAMS.read_text() == before
    run("kernels", "--anyway")
    assert read_params(project.PARAMS).model.conv.kernel_size == 7


def test_what_was_selected_on_test_images_is_refused_and_with_anyway_said_wherever_it_goes(run: Promote) -> None:
    a_study(seeds=10, images="test")
    before = project.CHOSEN.read_text(), project.PARAMS.read_text()
    with pytest.raises(UserError, match=r"kernels: The study kernels selects on test images.*--anyway"):
        run("kernels")
    with pytest.raises(UserError, match="selects on test images"):
        run("kernels", "--cheapest")
    assert (project.CHOSEN.read_text(), project.PARAMS.read_text()) == before
    said = run("kernels", "--anyway")
    assert "warning: The study kernels selects on test images" in said
    assert "scores on the test images that selected it" in said
    assert "opens the test images" not in said
    assert read_params(project.PARAMS).model.conv.kernel_size == 7
    # It stays beside the choice until another network is chosen.
    note = "# Note: The study kernels selects on test images"
    assert note in project.CHOSEN.read_text()
    choice = read_choice(project.CHOSEN)
    assert note in as_text(choose(choice, ["training.epochs=5"], ["model", "training"]))
    assert note not in as_text(choose(choice, ["model=deep"], ["model", "training"]))
    a_study(seeds=10)
    run("kernels")
    assert "# Note" not in project.CHOSEN.read_text()


def test_a_higher_mean_of_few_seeds_does_not_keep_what_is_proven_from_being_promoted(run: Promote) -> None:
    a_study(seeds=10, means={3: 92.0, 5: 90.0, 7: 90.9})
    study = read_study(project.study("kernels"))
    few = [cell for cell in study.cells if cell.setting != "3" or cell.seed < 2]
    update_study(project.study("kernels"), lambda _present: replace(study, cells=tuple(few)))
    said = run("kernels")
    assert said.startswith("7 × 7 kernels: better than the baseline")
    assert "Open: the higher mean of 3 × 3 kernels (91.90 %, 2 seeds). Chosen: 7 × 7 kernels, the highest mean" in said
    assert read_params(project.PARAMS).model.conv.kernel_size == 7


def test_a_baseline_that_lacks_runs_is_named_and_more_seeds_are_not_advised(run: Promote) -> None:
    a_study(seeds=10)
    study = read_study(project.study("kernels"))
    cells = [replace(one, state="failed") if one.setting == "5" and one.seed > 1 else one for one in study.cells]
    update_study(project.study("kernels"), lambda _present: replace(study, cells=tuple(cells)))
    with pytest.raises(UserError, match=r"the baseline \(5 × 5 kernels\) lacks runs: 2 of 10 .*8 failed") as raised:
        run("kernels")
    assert "More seeds" not in str(raised.value)
    assert "typed again with model.conv.kernel_size=5 seed=2,3,4,5,6,7,8,9" in str(raised.value)


def test_the_cheapest_is_of_those_not_worse_than_the_winner(run: Promote) -> None:
    a_study(seeds=10, means={3: 90.85, 5: 90.0, 7: 90.9})
    said = run("kernels", "--cheapest")
    assert "3 × 3 kernels: the fewest multiply-adds of those that are not worse than 7 × 7 kernels by 0.5" in said
    assert read_params(project.PARAMS).model.conv.kernel_size == 3
    a_study(seeds=10, means={3: 89.0, 5: 90.0, 7: 90.9})
    run("kernels", "--cheapest")
    assert read_params(project.PARAMS).model.conv.kernel_size == 7


def test_a_study_that_is_not_there_is_a_sentence(run: Promote) -> None:
    with pytest.raises(UserError, match="nothing: is no study here"):
        run("nothing")


def test_what_conf_sets_and_no_setting_has_is_refused(here: Path) -> None:
    default = here / "conf" / "model" / "article.yaml"
    default.write_text(default.read_text().replace("blocks: {}", "blocks: {block2: {pooling: none}}"))
    with pytest.raises(UserError, match=r"model.blocks.block2.pooling: is set in conf/"):
        promote_setting(Choice({}, {}), dict(leaves(recorded(article()))))


@pytest.mark.usefixtures("here")
def test_a_study_that_is_older_than_a_key_is_promoted_without_it() -> None:
    older = {key: value for key, value in leaves(recorded(article(FAST))) if key != "model.pool_padding"}
    assert promote_setting(Choice({}, {}), older) == promote_setting(
        Choice({}, {}), dict(leaves(recorded(article(FAST))))
    )


def test_a_block_and_a_regularizer_of_their_own_are_promoted() -> None:
    wanted = article({"model.blocks": {"block2": {"conv": {"kernel_size": 3}}}, "model.conv.kernel_regularizer": "l2"})
    found = compose_with(project.CONF, promote_setting(Choice({}, {}), dict(leaves(recorded(wanted)))))
    assert values(found)["model"]["blocks"] == {"block2": {"conv": {"kernel_size": 3}}}
    assert values(found)["model"]["conv"]["kernel_regularizer"] == {"name": "l2", "l2": 0.01}


def setting(name: str) -> dict[str, Any]:
    """The values of a kernel size's setting."""
    configuration = article({"model.conv.kernel_size": int(name)} | FAST)
    return dict(setting_of(configuration).values)
