"""What a user types, on the real sample: real DVC, real MLflow store, real kills."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from pipeline.tracking.fields import all_tags, is_timed
from tests.harness.doors import asked_here
from tests.harness.mlflow_store import client, curve, runs, wait_for_metric, wait_for_status
from tests.harness.mutations import IN_THE_ROOM, OUTSIDE
from tests.harness.project import Project, finished_project, stages_run
from tests.sample import content

REPEATING = (
    "record/training/weights.npz",
    "record/training/history.csv",
    "record/evaluation/metrics.json",
    "record/evaluation/per_class.csv",
    "record/evaluation/predictions.csv",
    "record/evaluation/probabilities.npy",
    "record/evaluation/pictures/kernels.png",
    "record/evaluation/pictures/training_curves.png",
)
PICTURES = {"calibration", "confusion_matrix", "feature_maps", "kernels", "mistakes", "training_curves"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc repro` has been run once, committed. Tests leave it as they found it."""
    return finished_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def unchanged(finished: Project) -> Iterator[Project]:
    """The finished project; what a test edits in its configuration and code is put back, and what stages made of it."""
    yield finished
    has_made = finished.run("git", "status", "--porcelain", "dvc.lock") != ""
    finished.run("git", "checkout", "-q", ".")
    if has_made:
        finished.run("dvc", "checkout", "-q", status=None)


def digests(project: Project) -> dict[str, str]:
    return {name: hashlib.sha256((project.path / name).read_bytes()).hexdigest() for name in REPEATING}


def test_the_record_holds_scores_tables_predictions_and_pictures(finished: Project) -> None:
    evaluation = finished.path / "record" / "evaluation"
    metrics = json.loads((evaluation / "metrics.json").read_text())
    lines = (evaluation / "predictions.csv").read_text().splitlines()
    assert lines[0] == "image,actual,predicted,probability,correct"
    assert len(lines) == 201
    right = sum(line.endswith(",true") for line in lines)
    assert metrics["accuracy"] == pytest.approx(right / 200)
    assert metrics["accuracy"] > 0.15
    assert {path.stem for path in (evaluation / "pictures").iterdir()} == PICTURES
    history = (finished.path / "record" / "training" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]


def test_git_keeps_metrics_and_ignores_what_is_large(finished: Project) -> None:
    tracked = finished.run("git", "ls-files").splitlines()
    assert "record/evaluation/metrics.json" in tracked
    assert "dvc.lock" in tracked
    assert not [name for name in tracked if name.startswith(("data/", "mlartifacts", "checkpoints", "record/training"))]
    assert finished.run("git", "status", "--porcelain") == ""


def test_a_finished_run_leaves_no_checkpoint(finished: Project) -> None:
    assert list((finished.path / "checkpoints").iterdir()) == []


def test_nothing_to_do_runs_the_check_alone_and_moves_no_lock(finished: Project) -> None:
    assert stages_run(finished.run("dvc", "repro")) == ["check"]
    assert finished.run("git", "status", "--porcelain") == ""


def test_mlflow_holds_one_run_with_everything(finished: Project) -> None:
    store = client(finished)
    (run,) = runs(store)
    metrics = json.loads((finished.path / "record" / "evaluation" / "metrics.json").read_text())
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy/test"] == metrics["accuracy"]
    assert run.data.metrics["cost/parameters"] == 6090
    assert [step for step, _ in curve(store, run, "loss/training")] == [1, 2, 3]
    assert run.data.params["model.conv.filters"] == "8"
    assert run.data.params["training.epochs"] == "3"
    assert not [name for name in run.data.params if "path" in name or "address" in name]
    tags = all_tags(run.data.tags)
    recorded = json.loads((finished.path / "record" / "training" / "run.json").read_text())
    assert tags["identity"] == recorded["identity"]
    assert tags["git.commit"] == finished.run("git", "rev-parse", "HEAD~1").strip()
    assert tags["git.uncommitted_changes"] == "false"
    assert tags["versions.tensorflow"] == "2.21.0"
    assert "parameters" in tags["mlflow.note.content"]
    datasets = {found.dataset.name: found.dataset.digest for found in run.inputs.dataset_inputs}
    assert recorded["ingredients"]["data"].startswith(datasets["fashion_mnist training"])
    assert "fashion_mnist test" in datasets
    artifacts = {artifact.path for artifact in store.list_artifacts(run.info.run_id, "evaluation/pictures")}
    assert artifacts == {f"evaluation/pictures/{name}.png" for name in PICTURES}
    assert "configuration.json" in {artifact.path for artifact in store.list_artifacts(run.info.run_id)}


def test_nothing_of_mlflow_lies_outside_its_store(finished: Project) -> None:
    assert not (finished.path / "mlruns").exists()


def test_the_model_in_mlflow_predicts_from_raw_images_in_a_fresh_process(finished: Project, tmp_path: Path) -> None:
    raw = np.frombuffer(content("test_images"), np.uint8, offset=16).reshape(-1, 28, 28)
    np.save(tmp_path / "raw.npy", raw)
    (run,) = runs(client(finished))
    code = (
        "import mlflow, numpy as np\n"
        f"mlflow.set_tracking_uri('sqlite:///{finished.path}/mlflow.db')\n"
        f"model = mlflow.pyfunc.load_model('runs:/{run.info.run_id}/model')\n"
        f"np.save('{tmp_path}/said.npy', model.predict(np.load('{tmp_path}/raw.npy')))\n"
        "assert 'pipeline' not in __import__('sys').modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=finished.environment, timeout=120)
    said = np.load(tmp_path / "said.npy")
    expected = np.load(finished.path / "record" / "evaluation" / "probabilities.npy")
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert (said.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_what_mlflow_holds_contains_no_pickle(finished: Project) -> None:
    held = dict(contents(finished.path / "mlartifacts"))
    assert any(name.endswith(".keras/model.weights.h5") for name in held)
    for name, found in held.items():
        assert not name.endswith((".pkl", ".pickle", ".joblib")), name
        # A pickle begins with its protocol and ends with a stop; an array of objects is one inside .npy.
        assert not (found[:1] == b"\x80" and found[-1:] == b"."), name
        assert b"'descr': '|O'" not in found[:200], name
        assert not (name.endswith("config.json") and b"Lambda" in found), "a Lambda layer is code"


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file in a folder, and of those inside archives."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path}/{name}", archive.read(name)) for name in archive.namelist())


def test_track_adds_nothing_to_a_store_that_is_up_to_date_whatever_the_current_folder_is(
    finished: Project, tmp_path: Path
) -> None:
    store = client(finished)

    def held() -> object:
        (run,) = runs(store)
        curves = {name: curve(store, run, name) for name in run.data.metrics}
        return curves, run.data.params, run.data.tags, run.info.end_time, len(run.outputs.model_outputs)

    before = held()
    command = [sys.executable, "-m", "pipeline.track"]
    environment = finished.environment | {"PYTHONPATH": str(finished.path)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120, capture_output=True)
    assert held() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_track_brings_a_run_back_into_an_empty_store(finished: Project, tmp_path: Path) -> None:
    (kept,) = runs(client(finished))
    finished.verb("track", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/other.db")
    other = MlflowClient(f"sqlite:///{tmp_path}/other.db")
    (run,) = runs(other)
    assert run.info.run_id != kept.info.run_id
    assert run.data.metrics == kept.data.metrics
    assert run.data.params == kept.data.params
    assert len(run.outputs.model_outputs) == 1
    assert (tmp_path / "mlartifacts").is_dir()


def test_an_edit_reruns_only_what_it_concerns(unchanged: Project) -> None:
    unchanged.edit_params({"tracking.experiment": "another"})
    for mutation in OUTSIDE:
        mutation.plant(unchanged.path)
    assert stages_run(unchanged.run("dvc", "repro")) == ["check"]
    assert unchanged.run("git", "status", "--porcelain", "dvc.lock") == ""


@pytest.mark.long
def test_an_edit_of_what_decides_weights_trains_again_and_one_of_the_scores_evaluates(unchanged: Project) -> None:
    fewer, halved = (one for one in IN_THE_ROOM if "32 of the images" in one.title or "is written" in one.title)
    before = digests(unchanged)
    accuracy = json.loads((unchanged.path / "record" / "evaluation" / "metrics.json").read_text())["accuracy"]
    halved.plant(unchanged.path)
    assert stages_run(unchanged.run("dvc", "repro")) == ["check", "evaluate"]
    after = json.loads((unchanged.path / "record" / "evaluation" / "metrics.json").read_text())["accuracy"]
    assert after == accuracy / 2
    fewer.plant(unchanged.path)
    assert stages_run(unchanged.run("dvc", "repro")) == ["check", "train", "evaluate"]
    assert digests(unchanged)["record/training/weights.npz"] != before["record/training/weights.npz"]


@pytest.mark.long
def test_a_class_that_is_called_otherwise_is_called_so_everywhere(unchanged: Project) -> None:
    names = [f"class {number}" for number in range(10)]
    before = (unchanged.path / "record" / "training" / "run.json").read_bytes()
    unchanged.edit_params({"data.class_names": names, "data.name": "corrected"})
    assert stages_run(unchanged.run("dvc", "repro")) == ["check", "preprocess", "evaluate"]
    assert (unchanged.path / "record" / "training" / "run.json").read_bytes() == before
    table = (unchanged.path / "record" / "evaluation" / "per_class.csv").read_text()
    assert [line.split(",")[0] for line in table.splitlines()[1:]] == names
    store = client(unchanged)
    (run,) = (run for run in runs(store) if run.data.tags.get("dataset") == "corrected")
    kept = Path(store.download_artifacts(run.info.run_id, "evaluation/per_class.csv"))
    assert kept.read_text() == table


def test_a_sweep_refuses_images_that_are_not_those_of_the_configuration(unchanged: Project) -> None:
    other = unchanged.path / "conf" / "data" / "numerals.yaml"
    other.write_text(
        "defaults: [sample]\nname: numerals\nfiles:\n  train_images:\n    sha256: '" + "0" * 64 + "'\n", "utf-8"
    )
    words = "sweep", "-m", "training=smoke", "data.validation_images=100", "seed=range(2)"
    # As long as params.yaml names the images that are prepared, preprocess prepares these again.
    told = asked_here(unchanged, *words, "data=numerals").said
    assert "Choose numerals with `python -m pipeline.compose data=…`, then run: dvc repro preprocess" in told
    assert asked_here(unchanged, "compose", "data=numerals").status == 0
    told = asked_here(unchanged, *words).said
    assert "what is prepared is fashion_mnist (other train images), not numerals" in told
    assert "names. Run: dvc repro preprocess" in told
    assert "Traceback" not in told
    for verb in (("train",), ("evaluate",), ("reproduce", "record")):
        answer = asked_here(unchanged, *verb)
        assert answer.status == 1
        assert "what is prepared is fashion_mnist" in answer.said
    other.unlink()


def test_an_edit_in_conf_is_told_in_one_line(unchanged: Project) -> None:
    variant = unchanged.path / "conf" / "training" / "article.yaml"
    variant.write_text(variant.read_text().replace("label_smoothing: 0.0", "label_smoothing: 0.1"))
    output = unchanged.run("dvc", "repro")
    notes = [line for line in output.splitlines() if line.startswith("note:")]
    assert stages_run(output) == ["check"]
    assert len(notes) == 1
    assert "training.label_smoothing 0.0 (conf/: 0.1)" in notes[0]
    assert "python -m pipeline.compose" in notes[0]


def test_dvc_composes_trains_and_compares_an_experiment(unchanged: Project) -> None:
    output = unchanged.run("dvc", "exp", "run", "-S", "model=small", "-S", "training.epochs=1", "-n", "smaller")
    assert "note: params.yaml" not in output
    assert "train" in stages_run(output)
    assert "preprocess" not in stages_run(output)
    assert unchanged.params()["model"]["conv"]["kernel_size"] == 3
    latest = max(runs(client(unchanged)), key=lambda run: run.info.start_time)
    assert latest.data.params["model.conv.kernel_size"] == "3"
    assert all_tags(latest.data.tags)["git.uncommitted_changes"] == "true"
    # The line of docs/tracking.md: no column of hashes.
    columns = unchanged.run("dvc", "exp", "show", "--only-changed", "--drop", ".*/", "--csv").splitlines()[0].split(",")
    assert {"accuracy", "model.conv.kernel_size"} <= set(columns)
    assert not [
        name for name in columns if "/" in name or ("." in name and not name.startswith(("model.", "training.")))
    ]
    difference = unchanged.run("dvc", "metrics", "diff")
    assert "accuracy" in difference
    assert "training.epochs" in unchanged.run("dvc", "params", "diff")
    unchanged.run("dvc", "plots", "show")
    page = (unchanged.path / "dvc_plots" / "index.html").read_text()
    assert "confusion" in page
    assert "Training accuracy" in page
    assert "mistakes.png" in page


def test_bad_params_stop_before_anything_runs(unchanged: Project) -> None:
    before = digests(unchanged), len(runs(client(unchanged)))
    unchanged.edit_params({"model.conv.kernel_size": 29})
    output = unchanged.run("dvc", "repro", status=None)
    assert "model.conv.kernel_size: 29 is larger than the 28 × 28 input of block 1" in output
    assert "Traceback" not in output
    assert stages_run(output) == ["check"]
    said = unchanged.verb("train", status=1)
    assert "model.conv.kernel_size" in said
    assert "Traceback" not in said
    assert (digests(unchanged), len(runs(client(unchanged)))) == before


@pytest.mark.long
def test_bad_params_do_not_stop_what_needs_other_sections(unchanged: Project) -> None:
    before = digests(unchanged), len(runs(client(unchanged)))
    unchanged.edit_params({"model.conv.kernel_size": 29})
    for verb in ("fetch", "preprocess", "evaluate", "track"):
        assert "Traceback" not in unchanged.verb(verb)
    assert (digests(unchanged), len(runs(client(unchanged)))) == before


def test_a_flipped_byte_is_noticed_before_use(unchanged: Project) -> None:
    flipped = {
        "data/prepared/train_images.npy": ("train", "dvc repro --force preprocess"),
        "data/prepared/test_labels.npy": ("evaluate", "dvc repro --force preprocess"),
        "record/training/weights.npz": ("evaluate", "dvc repro --force train"),
        "record/training/history.csv": ("track", "dvc repro --force train"),
        "record/evaluation/predictions.csv": ("track", "dvc repro --force evaluate"),
    }
    for name, (verb, repair) in flipped.items():
        path = unchanged.path / name
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        # Weights are read where there is a network for them: in a process that TensorFlow may have.
        here = path.suffix != ".npz"
        said = asked_here(unchanged, verb).said if here else unchanged.verb(verb, status=1)
        path.write_bytes(good)
        assert Path(name).name in said
        assert repair in said
        assert "Traceback" not in said


@pytest.mark.long
def test_a_fresh_clone_that_trains_to_the_same_bits_is_not_dirty(finished: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "clone")
    finished.run("git", "clone", "-q", str(finished.path), str(clone.path))
    assert stages_run(clone.run("dvc", "repro")) == ["check", "fetch", "preprocess", "train", "evaluate"]
    assert clone.run("git", "status", "--porcelain") == ""
    assert (clone.path / "dvc.lock").read_bytes() == (finished.path / "dvc.lock").read_bytes()
    # What DVC does not keep: a record that comes out of its cache elsewhere has no clock.
    shutil.rmtree(clone.path / "record" / "clock")
    assert "training       3 epochs\n" in clone.verb("summary")
    assert "damaged" not in clone.verb("verify")
    assert "not recorded" in clone.verb("reproduce", "record")
    clone.verb("track", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/other.db")
    (run,) = runs(MlflowClient(f"sqlite:///{tmp_path}/other.db"))
    assert run.info.status == "FINISHED"
    assert not [name for name in run.data.metrics if is_timed(name)]
    assert len(curve(MlflowClient(f"sqlite:///{tmp_path}/other.db"), run, "loss/training")) == 3


@pytest.mark.long
def test_track_all_knows_the_clock_of_an_earlier_run(unchanged: Project, tmp_path: Path) -> None:
    unchanged.edit_params({"training.epochs": 1})
    unchanged.run("dvc", "repro")
    unchanged.verb("track", "--all", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/other.db")
    other = MlflowClient(f"sqlite:///{tmp_path}/other.db")
    found = {run.data.params["training.epochs"]: run for run in runs(other)}
    (before,) = (
        run for run in runs(client(unchanged)) if run.data.tags["identity"] == found["3"].data.tags["identity"]
    )
    # Which of several evaluations was the last to be timed depends on the tests before.
    name = "cost/seconds"
    assert found["3"].data.metrics[name] == before.data.metrics[name]
    assert name in found["1"].data.metrics


HELD = """\
                self._stop_if_abandoned()
                while (project.ROOT / "hold").exists():
                    time.sleep(0.1)
"""


def test_a_training_that_is_killed_is_seen_live_and_ends_with_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "clone")
    finished.run("git", "clone", "-q", str(finished.path), str(project.path))
    # Each epoch's end waits while a file is there: the same run, but for what is no part of its identity.
    code = project.path / "pipeline" / "run" / "train_run.py"
    code.write_text(code.read_text().replace("                self._stop_if_abandoned()\n", HELD))
    (project.path / "hold").touch()
    repro = project.start("dvc", "repro", "train")
    wait_for_metric(project, "loss/training")
    (run,) = runs(client(project))
    assert run.info.status == "RUNNING"
    assert repro.poll() is None
    os.killpg(repro.pid, signal.SIGKILL)
    repro.wait()
    wait_for_status(project, "KILLED")
    (project.path / "hold").unlink()
    project.run("git", "checkout", "-q", "pipeline")
    assert not (project.path / "record" / "training").exists()
    assert "going on after epoch 1" in project.run("dvc", "repro", "train")
    for name in ("record/training/weights.npz", "record/training/history.csv", "dvc.lock"):
        assert (project.path / name).read_bytes() == (finished.path / name).read_bytes(), name
    assert project.run("git", "status", "--porcelain") == ""
    # Where all else is busy a training does not wait for the store.
    project.verb("track")
    (run,) = runs(client(project))
    assert run.info.status == "RUNNING", "it is not scored yet"
    assert "reason" not in run.data.tags
    assert [step for step, _ in curve(client(project), run, "loss/training")] == [1, 2, 3]
