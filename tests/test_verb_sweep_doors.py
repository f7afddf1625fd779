"""The other doors to a study: refused settings, the test images, other launchers, DVC's queue, the shell."""

import json
import sys
from pathlib import Path

import pytest

from pipeline.studies.study_config import StudyConfig
from tests.harness.doors import asked_here, refused
from tests.harness.mlflow_store import client, curve, runs
from tests.harness.project import ROOT, Project, prepared_project
from tests.harness.sweeps import NAMED, TINY, bits, children, parent, study, sweep


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with prepared images in which nothing has been swept."""
    return prepared_project(tmp_path_factory.mktemp("doors"), *TINY)


def leftovers(project: Project) -> set[str]:
    """What a sweep that did something would have left."""
    return {name for name in ("studies", "checkpoints", "mlflow.db") if (project.path / name).exists()}


# Refused before anything starts


def test_settings_that_cannot_exist_are_listed_and_nothing_is_started(prepared: Project) -> None:
    line = "model.conv.kernel_size=3,29", "model.conv.groups=1,3", "seed=range(3)"
    said = asked_here(prepared, "sweep", "-m", *line).said
    assert "refused" in said
    assert "kernel_size=3 model.conv.groups=3" in said
    assert said.count("kernel_size=29 model.conv.groups=1") == 1, "seeds are not listed one by one"
    assert "29 is larger than the 28 × 28" in said
    assert "study.leave_out_refused=true" in said
    assert "3 settings of this grid can't exist" in said
    assert leftovers(prepared) == set()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.conv.kernel_sise=3"], "model.conv.kernel_sise: is no key of the configuration. Did you mean"),
        (["kernel_size=3,5"], "kernel_size: is no key of the configuration. Did you mean model.conv.kernel_size?"),
        (
            ["model=enormous"],
            "conf/model/enormous: is no variant. There are: article, compact, compact_deep, deep, small.",
        ),
        (["+study=nothing"], "conf/study/nothing: is no variant"),
        (["model.conv.filters"], "model.conv.filters: is no override (missing EQUAL"),
        (["seed=1,"], "seed=1,: is no override"),
        (["training.epochs=0"], "training.epochs: must be at least 1, not 0"),
        (["study.margin=-1"], "study.margin: must be more than 0"),
        (["study.jobs=0"], "study.jobs: must be at least 1, not 0"),
        (["study.executor=cloud"], "study.executor: must be one of local, ray, not"),
        (["study.executor=ray", "study.address=head"], "study.address: must match"),
        (["study.address=head:6379"], "study.address: must be null where study.executor is local, not head:6379"),
        (["hydra/launcher=basic", "study.executor=ray"], "study.executor: needs the project's own launcher"),
        (["seed=0,1", "study.zip=[seed,model.depth]"], "study.zip: must name two keys or more that are swept, not mod"),
        (["hydra/launcher=basic", "study.hours=1"], "study.hours: needs the project's own launcher"),
        (["seed=range(301)"], "301 runs: a sweep of more than 300 is started with --yes; nothing was started"),
        (["study.name=../elsewhere"], "study.name: must match"),
        (["study.margin=0.1,0.2"], "study.margin: is the same for all runs"),
        (["data=sample,fashion_mnist", "seed=0"], "data: can't be swept"),
        (["seed=range(0)"], "seed=range(0): is an empty range"),
        (["model=glob(x*)"], "model=glob(x*): matches no variant"),
        (["model.conv.filters=8,16", "model.conv.filters=4"], "model.conv.filters: is set more than once"),
        (["model.blocks.block2.conv.kernel_size=3,5"], "Write +model.blocks.block2.conv.kernel_size=… to add it."),
        (["study=kernels_by_filters"], "Write +study=… to add it."),
        (["+model=deep,small"], "model: has a variant already. Leave out the +"),
        (["model.conv.kernel_regularizer.l2=0.1,0.2"], "Write it whole: model.conv.kernel_regularizer={"),
        (["+study=kernels_by_filters", "model.depth=5"], "9 settings of this grid can't exist"),
        (["seed=range(2)", "--cfg", "job"], "seed=range(2): names several runs, but --cfg shows one"),
        (["study.colour=red"], "colour"),
        (["data.validation_images=0"], "data.validation_images: must be more than 0"),
        (["seed=range(2)", "study.baseline={model.depth: 9}"], "study.baseline: must be exactly one setting"),
        (["model.conv.filters=${oc.env:HOME}"], "may refer to other keys only"),
        (["hydra/launcher=teleport"], "teleport"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(prepared: Project, overrides: list[str], told: str) -> None:
    answer = asked_here(prepared, "sweep", "-m", *overrides)
    refused(answer, told)
    assert leftovers(prepared) == set()


def test_a_store_to_which_a_link_leads_out_of_the_project_is_refused_before_anything_starts(
    prepared: Project, tmp_path: Path
) -> None:
    address = "tracking.address=sqlite:///link/mlflow.db"
    params = (prepared.path / "params.yaml").read_text()
    link = prepared.path / "link"
    assert asked_here(prepared, "compose", address).status == 0
    link.symlink_to(tmp_path)
    try:
        refusals = [
            asked_here(prepared, "sweep", "-m", "seed=range(2)"),
            asked_here(prepared, "sweep", "-m", "seed=range(2)", "hydra/launcher=basic"),
            asked_here(prepared, "check"),
            asked_here(prepared, "compose", "seed=3"),
        ]
    finally:
        link.unlink()
        assert asked_here(prepared, "compose", "tracking.address=null").status == 0
    for refusal in refusals:
        refused(refusal, "tracking.address: sqlite:///link/mlflow.db leads out of the project")
    assert list(tmp_path.iterdir()) == []
    assert leftovers(prepared) == set()
    assert (prepared.path / "params.yaml").read_text() == params


def test_without_prepared_images_the_error_says_what_to_run(prepared: Project, tmp_path: Path) -> None:
    (prepared.path / "data" / "prepared").rename(tmp_path / "prepared")
    try:
        refused(asked_here(prepared, "sweep", "-m", "seed=range(2)"), "dvc repro preprocess")
    finally:
        (tmp_path / "prepared").rename(prepared.path / "data" / "prepared")
    assert leftovers(prepared) == set()


def test_help_tells_how_to_sweep_and_cfg_what_would_run(prepared: Project) -> None:
    told = prepared.verb("sweep", "--help")
    assert "python -m pipeline.sweep -m model.conv.kernel_size=3,5,7" in told
    assert ", compact, compact_deep, kernels_by_filters, options, " in told
    for name in StudyConfig.model_fields.keys() - {"ask"}:
        assert f"study.{name}" in told
    assert "--yes" in told
    shown = asked_here(prepared, "sweep", "+study=kernels_by_filters", "--cfg", "job").said
    assert "name: kernels_by_filters" in shown
    assert "epochs: 4" in shown
    assert shown == asked_here(prepared, "sweep", "-m", "+study=kernels_by_filters", "--cfg", "job").said
    assert leftovers(prepared) == set()


SHAPES = """\
# @package _global_
study:
  name: shapes
  baseline: {setting: plain}
  settings:
    plain: {model.conv.filters: 4}
    deep: {model: deep, model.conv.filters: 1}
  contrasts:
    depth:
      claim: depth gains
      expects: gain
      weights: [{setting: {setting: deep}, weight: 1}, {setting: {setting: plain}, weight: WEIGHT}]
hydra:
  sweeper:
    params:
      seed: range(3)
"""


def test_a_file_names_settings_and_asks_of_them_and_a_dry_run_writes_nothing(prepared: Project) -> None:
    file = prepared.path / "conf" / "study" / "shapes.yaml"
    try:
        file.write_text(SHAPES.replace("WEIGHT", "-1"))
        said = sweep(prepared, "+study=shapes", "study.stop=decided", "study.dry_run=true")
        file.write_text(SHAPES.replace("WEIGHT", "1"))
        refused = asked_here(prepared, "sweep", "-m", "+study=shapes").said
    finally:
        file.unlink()
    assert "study shapes: 6 runs (2 settings, 3 seeds)" in said
    assert "a race: a setting gets seeds until its verdict stands; saves 0 of these runs at most" in said
    assert "study.dry_run: nothing was started" in said
    assert "study.contrasts.depth.weights: must sum to 0 and not all be 0, not [1.0, 1.0] with sum 2" in refused
    assert leftovers(prepared) == set()


def test_two_sweeps_of_one_key_with_another_training_are_two_studies(prepared: Project) -> None:
    names = set()
    for other in ([], ["training=fast"], ["model=deep"]):
        shown = asked_here(prepared, "sweep", *other, "seed=3", "--cfg", "job").said
        names |= {line for line in shown.splitlines() if line.startswith("  name: seeds_with_")}
    assert len(names) == 3, names
    shown = asked_here(prepared, "sweep", "--cfg", "job", "seed=4", "-m").said
    assert "seed: 4" in shown
    assert shown == asked_here(prepared, "sweep", "seed=4", "--cfg", "job").said
    said = asked_here(prepared, "sweep", "seed=0,1", "-m", "model.conv.kernel_size=29").said
    assert "model.conv.kernel_size: 29 is larger than the 28 × 28" in " ".join(said.split())
    assert leftovers(prepared) == set()


@pytest.mark.long
def test_two_sweeps_at_the_same_second_on_a_machine_with_no_store_both_succeed(prepared: Project) -> None:
    assert not (prepared.path / "mlflow.db").exists()
    line = "seed=range(2)", "study.jobs=1", "training.epochs=1"
    names = ("first", "second")
    both = [prepared.start(sys.executable, "-m", "pipeline.sweep", "-m", *line, f"study.name={name}") for name in names]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    for name in names:
        assert {run.info.status for run in children(prepared, name)} == {"FINISHED"}
        assert len(children(prepared, name)) == 2
        assert parent(prepared, name).info.status == "FINISHED"
    assert len(list((prepared.path / "runs").glob("*/training"))) == 2, "each run is trained once"
    assert "tracking:" not in "".join(said)


@pytest.mark.long
def test_the_user_may_go_on_without_what_was_refused(prepared: Project) -> None:
    said = sweep(prepared, "model.conv.kernel_size=3,29", "study.leave_out_refused=true", "training.epochs=1", NAMED)
    assert "29 is larger" in said
    (cell,) = study(prepared)["cells"]
    assert cell["state"] == "finished"
    assert [refused["setting"] for refused in study(prepared)["refused"]] == ["model.conv.kernel_size=29"]
    assert len(children(prepared)) == 1
    assert "1 setting of the grid can't exist" in parent(prepared).data.tags["mlflow.note.content"]


@pytest.mark.long
def test_the_test_images_are_opened_only_when_asked_for_and_that_is_marked(prepared: Project) -> None:
    line = "seed=range(2)", "training.epochs=1", "study.name=seeds"
    said = sweep(prepared, *line, "study.score_on=test")
    assert "study seeds_on_test: 2 runs (1 setting, 2 seeds), scored on the test images" in said
    assert parent(prepared, "seeds_on_test").data.tags["scored_on"] == "test"
    assert "test images were opened" in parent(prepared, "seeds_on_test").data.tags["mlflow.note.content"]
    for run in children(prepared, "seeds_on_test"):
        assert run.data.tags["scored_on"] == "test"
        root = prepared.path / "runs" / run.data.tags["identity"]
        scores = json.loads((root / "evaluation_test" / "metrics.json").read_text())
        assert run.data.metrics["accuracy/test"] == scores["accuracy"]
        assert [step for step, _ in curve(client(prepared), run, "accuracy/validation")] == [1]


@pytest.mark.long
def test_a_study_with_pictures_has_them_in_mlflow(prepared: Project) -> None:
    sweep(prepared, "seed=0", "training.epochs=1", "study.pictures=true", "study.name=pictured")
    (run,) = children(prepared, "pictured")
    found = {artifact.path for artifact in client(prepared).list_artifacts(run.info.run_id, "evaluation/pictures")}
    assert "evaluation/pictures/kernels.png" in found


# Other launchers


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_another_launcher_gives_the_same_bits_and_skips_what_is_done(prepared: Project, launcher: str) -> None:
    line = "model.conv.kernel_size=3,7", "seed=5", f"study.name=by_{launcher}", "training.epochs=1"
    sweep(prepared, *line, f"hydra/launcher={launcher}")
    found = children(prepared, f"by_{launcher}")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert len(found) == 2
    assert parent(prepared, f"by_{launcher}").info.status == "FINISHED"
    identities = sorted(run.data.tags["identity"] for run in found)
    before = [bits(prepared, identity) for identity in identities]
    said = sweep(prepared, *line, f"hydra/launcher={launcher}")
    assert said.count("done already") == 2
    for identity in identities:
        (prepared.path / "runs" / identity / "training" / "run.json").unlink()
    sweep(prepared, *line)
    assert [bits(prepared, identity) for identity in identities] == before


@pytest.mark.long
def test_a_failure_under_another_launcher_is_a_sentence_and_no_run_is_left_running(prepared: Project) -> None:
    code = prepared.path / "pipeline" / "run" / "train_run.py"
    text = code.read_text()
    raising = (
        '                if self.configuration.seed == 6:\n                    raise RuntimeError("told to fail")\n'
    )
    mark = "                self._stop_if_abandoned()\n"
    code.write_text(text.replace(mark, mark + raising))
    try:
        line = "seed=6,7", "study.name=failing", "training.epochs=1", "hydra/launcher=basic"
        said = sweep(prepared, *line, status=1)
    finally:
        code.write_text(text)
    assert "told to fail" in said
    found = {run.data.params["seed"]: run for run in children(prepared, "failing")}
    assert found["6"].info.status == "FAILED"
    assert found["6"].data.tags["reason"] == "RuntimeError: told to fail"
    assert found["7"].info.status == "FINISHED"


@pytest.mark.long
def test_dvc_queues_a_sweep_whose_runs_land_in_the_same_store(prepared: Project) -> None:
    before = len(runs(client(prepared)))
    prepared.run("dvc", "exp", "run", "--queue", "-S", "model.conv.kernel_size=3,5", "-S", "training.epochs=1")
    said = prepared.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    found = [run for run in runs(client(prepared)) if run.data.tags["study"] == "dvc repro"]
    assert {run.data.params["model.conv.kernel_size"] for run in found} == {"3", "5"}, said
    assert {run.info.status for run in found} == {"FINISHED"}
    assert len(runs(client(prepared))) == before + 2


# The shell


COMPLETION = """\
source pipeline/terminal/completion.bash
COMP_LINE="sweep {typed}"
COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=(sweep {typed})
COMP_CWORD=1
_sweep
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("model=", "model=article model=compact model=compact_deep model=deep model=small"),
        pytest.param(
            *("+study=", "+study=compact +study=compact_deep +study=kernels_by_filters +study=options"),
            marks=pytest.mark.long,
        ),
        pytest.param("model.conv.kernel_s", "model.conv.kernel_size=", marks=pytest.mark.long),
    ],
)
def test_bash_completes_what_can_be_swept(prepared: Project, typed: str, completed: str) -> None:
    said = prepared.run("bash", "-c", COMPLETION.format(typed=typed))
    assert completed in said


def test_the_readme_says_how_completion_is_switched_on() -> None:
    assert COMPLETION.splitlines()[0] in (ROOT / "docs" / "sweeps.md").read_text("utf-8")
