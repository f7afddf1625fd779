"""What a user types to sweep, on the real sample: real workers, real MLflow store, real kills."""

import csv
import json
import re
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from tests.harness.mlflow_store import client, curve
from tests.harness.project import Project
from tests.harness.sweeps import LINE, NAMED, bits, children, faulty_project, parent, study, sweep


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return faulty_project(tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(scope="module")
def swept(prepared: Project) -> Project:
    """The project after `LINE`, with what it printed in said.txt."""
    said = sweep(prepared, *LINE)
    (prepared.path / "said.txt").write_text(said)
    return prepared


# A sweep as it should go


def test_a_sweep_says_what_it_will_do_and_what_came_of_it(swept: Project) -> None:
    said = (swept.path / "said.txt").read_text()
    assert "study kernel_size: 4 runs (2 settings, 2 seeds)" in said
    assert "0 done already, 4 to do" in said
    assert re.search(r"about \d+ s with \d+ at a time .*, \d+ MB of disk", said)
    assert len(re.findall(r"^\d/4  [35] × [35] kernels, seed [01]: \d+\.\d+% in ", said, re.MULTILINE)) == 4
    for size in (3, 5):
        assert re.search(rf"{size} +│ +\d+\.\d\d ± \d+\.\d\d % \(2\)", said)


def test_a_record_keeps_for_each_held_out_image_whether_it_was_right(swept: Project) -> None:
    for cell in study(swept)["cells"]:
        evaluation = swept.path / "runs" / cell["identity"] / "evaluation"
        correct = np.load(evaluation / "correct.npy")
        assert correct.shape == (200,)
        assert correct.dtype == bool
        assert json.loads((evaluation / "metrics.json").read_text())["accuracy"] == correct.mean() == cell["accuracy"]


def test_the_final_scores_are_those_of_the_last_epoch(swept: Project) -> None:
    for cell in study(swept)["cells"]:
        history = (swept.path / "runs" / cell["identity"] / "training" / "history.csv").read_text()
        last = list(csv.DictReader(history.splitlines()))[-1]
        assert float(last["validation_accuracy"]) == cell["accuracy"]
        assert float(last["validation_loss"]) == pytest.approx(cell["loss"], rel=1e-6)


def test_each_run_is_a_child_with_numbers_curves_scores_and_cost(swept: Project) -> None:
    store, study_run = client(swept), parent(swept)
    found = children(swept)
    assert len(found) == 4
    cells = {cell["identity"]: cell for cell in study(swept)["cells"]}
    for run in found:
        cell = cells[run.data.tags["identity"]]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == study_run.info.run_id
        assert float(run.data.params["model.conv.kernel_size"]) in (3, 5)
        assert int(run.data.params["seed"]) == cell["seed"]
        assert run.data.metrics["accuracy/validation"] == cell["accuracy"]
        assert [step for step, _ in curve(store, run, "accuracy/validation")] == [1, 2]
        assert [step for step, _ in curve(store, run, "loss/training")] == [1, 2]
        expected = 2346 if run.data.params["model.conv.kernel_size"] == "3" else 2202
        assert run.data.metrics["cost/parameters"] == expected
        assert run.data.metrics["cost/multiply_adds"] > 10_000
        assert run.data.metrics["cost/seconds"] == pytest.approx(cell["seconds"])
        assert not [name for name in run.data.metrics if name.endswith("/test")]


def test_the_parent_holds_the_grid_and_the_table(swept: Project) -> None:
    run = parent(swept)
    assert run.info.status == "FINISHED"
    assert run.data.tags["swept"].startswith("kernel_size 3, 5; seed 0, 1")
    cells = study(swept)["cells"]
    settings = study(swept)["settings"]
    for name, setting in settings.items():
        accuracies = [
            100 * cell["accuracy"] for cell in cells if cell["setting"] == name and cell["state"] == "finished"
        ]
        score = f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f} % ({len(accuracies)})"
        table = run.data.tags["mlflow.note.content"].replace("&emsp;", " ")
        assert f"| {setting['values']['model.conv.kernel_size']} | {score} |" in table
    artifacts = {artifact.path for artifact in client(swept).list_artifacts(run.info.run_id)}
    assert "settings.csv" in artifacts


def test_models_and_pictures_stay_out_of_mlflow_unless_asked_for(swept: Project) -> None:
    names = {path.name for path in (swept.path / "mlartifacts").rglob("*") if path.is_file()}
    texts = {"run.json", "history.csv", "clock.json", "evaluation.json", "metrics.json", "per_class.csv"}
    assert names == texts | {"configuration.json", "settings.csv"}


@pytest.mark.long
def test_track_brings_a_study_into_an_empty_store_and_adds_nothing_to_a_full_one(
    swept: Project, tmp_path: Path
) -> None:
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    swept.verb("track", "kernel_size", MLFLOW_TRACKING_URI=elsewhere)
    found = MlflowClient(elsewhere).search_runs(["1"])
    assert {run.data.tags["identity"] for run in found if run.data.tags["role"] == "run"} == {
        cell["identity"] for cell in study(swept)["cells"]
    }

    def held() -> object:
        everything = [*children(swept), parent(swept)]
        return [(run.info.end_time, run.data.metrics, run.data.params, run.data.tags) for run in everything]

    before = held()
    swept.verb("track", "kernel_size")
    assert held() == before
    said = swept.verb("track", "kernel_sighs", status=1)
    assert "kernel_sighs: is no study here. There are:" in said


# A race


def test_a_race_ends_when_each_verdict_stands_and_mlflow_has_it_as_finished(prepared: Project) -> None:
    line = "model.conv.filters=1,16", "seed=range(70,76)", "study.stop=decided", "study.name=race"
    said = sweep(prepared, *line)
    assert "12 runs (2 settings, 6 seeds)" in said
    found = study(prepared, "race")
    finished = [run for run in found["cells"] if run["state"] == "finished"]
    looks = len(finished) // 2
    assert 3 <= looks < 6, "one filter is hopeless: no seed shall be wasted on it"
    assert [run["seed"] for run in finished] == [*range(70, 70 + looks)] * 2
    assert found["state"] == "finished"
    assert f"highest mean, better, stopped after {looks} seeds" in said
    assert len(children(prepared, "race")) == len(finished)
    assert parent(prepared, "race").info.status == "FINISHED"
    assert f"better, stopped after {looks} seeds" in parent(prepared, "race").data.tags["mlflow.note.content"]
    again = sweep(prepared, *line, "tracking=off")
    assert f"{2 * looks} done already, 0 to do, {12 - 2 * looks} not needed, as verdicts stand" in again


# Resume


def test_the_same_line_again_has_nothing_to_do_and_never_imports_tensorflow(swept: Project) -> None:
    program = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(sorted({'numpy', 'tensorflow', 'keras', 'mlflow'} & set(sys.modules))))\n"
        "runpy.run_module('pipeline.sweep', run_name='__main__')\n"
    )
    said = swept.run(sys.executable, "-c", program, "-m", *LINE, "tracking=off")
    assert "4 done already, 0 to do" in said
    assert said.splitlines()[-1] == "['numpy']"


@pytest.mark.long
def test_another_seed_and_another_size_run_only_the_new_cells(swept: Project) -> None:
    before = {run.info.run_id for run in children(swept)}, parent(swept).info.run_id
    said = sweep(swept, "model.conv.kernel_size=5,7", "seed=1,2", NAMED)
    assert "1 done already, 3 to do" in said
    found = children(swept)
    assert before[0] < {run.info.run_id for run in found}
    assert len(found) == 7
    assert parent(swept).info.run_id == before[1]
    assert parent(swept).data.tags["swept"] == "kernel_size 3, 5, 7; seed 0 to 2"


@pytest.mark.long
def test_a_run_of_two_studies_is_trained_once_and_appears_under_both(swept: Project) -> None:
    said = sweep(swept, *LINE, "study.name=another", "study.margin=0.2")
    assert "study another: 4 runs" in said
    assert "4 done already, 0 to do" in said
    ours = {run.data.tags["identity"] for run in children(swept, "another")}
    assert ours <= {run.data.tags["identity"] for run in children(swept)}
    assert len(ours) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children(swept, "another")} == {
        parent(swept, "another").info.run_id
    }
    assert all(curve(client(swept), run, "accuracy/validation") for run in children(swept, "another"))


@pytest.mark.long
def test_only_code_that_decides_results_starts_a_study_anew(swept: Project) -> None:
    training = swept.path / "pipeline" / "network" / "fit.py"
    picture = swept.path / "pipeline" / "figures" / "run_figures.py"
    before = training.read_text(), picture.read_text()
    training.write_text(before[0].replace("Training: what decides", "Training: all that decides"))
    picture.write_text(before[1] + '\nCOLOUR = "green"\n')
    assert "1 done already, 0 to do" in sweep(swept, "model.conv.kernel_size=3", "seed=0", "study.name=touched")
    training.write_text(before[0].replace("STEPS_A_CALL = 64", "STEPS_A_CALL = 63"))
    try:
        said = sweep(swept, "model.conv.kernel_size=3", "seed=0", "study.name=touched")
    finally:
        training.write_text(before[0])
        picture.write_text(before[1])
    assert "0 done already, 1 to do" in said
    assert "have changed since; of its 1 runs only those" in said


@pytest.mark.long
def test_a_record_that_is_damaged_is_said_and_made_again(swept: Project) -> None:
    cell = next(cell for cell in study(swept)["cells"] if cell["seed"] == 0)
    size = study(swept)["settings"][cell["setting"]]["values"]["model.conv.kernel_size"]
    line = f"model.conv.kernel_size={size}", "seed=0", "study.name=damaged"
    before = bits(swept, cell["identity"])
    weights = swept.path / "runs" / cell["identity"] / "training" / "weights.npz"
    middle = len(before[0]) // 2
    weights.write_bytes(before[0][:middle] + bytes([before[0][middle] ^ 1]) + before[0][middle + 1 :])
    said = sweep(swept, *line)
    assert "weights.npz" in said
    assert "0 done already, 1 to do" in said
    assert bits(swept, cell["identity"]) == before


# The same bits


def test_a_run_has_the_same_bits_alone_and_one_by_one_and_side_by_side(swept: Project, tmp_path: Path) -> None:
    (cell,) = [
        cell
        for cell in study(swept)["cells"]
        if cell["seed"] == 1 and study(swept)["settings"][cell["setting"]]["values"]["model.conv.kernel_size"] == 3
    ]
    side_by_side = bits(swept, cell["identity"])
    (swept.path / "runs").rename(tmp_path / "runs")
    try:
        sweep(swept, "model.conv.kernel_size=5,3", "seed=1", "study.jobs=1", "study.name=serial", "tracking=off")
        assert bits(swept, cell["identity"]) == side_by_side
    finally:
        shutil.rmtree(swept.path / "runs")
        (tmp_path / "runs").rename(swept.path / "runs")
    committed = (swept.path / "params.yaml").read_text()
    swept.edit_params({"model.conv.kernel_size": 3, "seed": 1, "training.threads": 1, "tracking.enabled": False})
    try:
        swept.verb("train")
    finally:
        (swept.path / "params.yaml").write_text(committed)
    shutil.rmtree(swept.path / "checkpoints")
    alone = swept.path / "record" / "training"
    assert json.loads((alone / "run.json").read_text())["identity"] == cell["identity"]
    assert ((alone / "weights.npz").read_bytes(), (alone / "history.csv").read_bytes()) == side_by_side[:2]


def test_a_run_is_done_again_from_mlflow_alone_and_nothing_changes(swept: Project, tmp_path: Path) -> None:
    run = min(children(swept), key=lambda run: str(run.info.run_id))
    (swept.path / "runs").rename(tmp_path / "runs")
    before = written(swept)
    try:
        said = swept.verb("reproduce", run.info.run_id)
        assert written(swept) == before
    finally:
        (tmp_path / "runs").rename(swept.path / "runs")
    assert "code, data, versions and hardware are as they were" in said
    assert "bit-identical: the weights and the history (epochs: 2) are the same bytes" in said
    assert len(children(swept)) >= 4


@pytest.mark.long
def test_other_code_makes_another_run_and_the_first_epoch_that_differs_is_told(swept: Project) -> None:
    code = swept.path / "pipeline" / "network" / "fit.py"
    text = code.read_text()
    code.write_text(text.replace('"order"', '"another order"'))
    try:
        said = swept.verb("reproduce", study(swept)["cells"][0]["identity"], status=None)
    finally:
        code.write_text(text)
    assert "code (digest)" in said
    assert "histories part in epoch 1" in said


@pytest.mark.long
def test_a_run_that_is_nowhere_is_a_sentence(swept: Project) -> None:
    assert "nowhere: is no run's identity" in swept.verb("reproduce", "nowhere", status=1)
    assert "../nowhere: is no run's identity" in swept.verb("reproduce", "../nowhere", status=1)


def written(project: Project) -> dict[Path, int]:
    """When each file below the project was last written, but for the database, which is opened."""
    files = [path for path in project.path.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in files if not path.name.startswith(("mlflow.db", ".store"))}
