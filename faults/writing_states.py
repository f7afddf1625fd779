"""States of a project in the middle of its work, from which killed_writing starts."""

import json
import shutil
from pathlib import Path

from mlflow import MlflowClient

from faults.bench import Bench
from faults.reference import results
from pipeline.config.schema import Tracking
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import EVALUATION, TRAINING, read_training
from pipeline.storage import digest
from pipeline.tracking.mirror_process import settings
from tests.harness.mlflow_store import client
from tests.harness.project import Project

SWEEP = "sweep", "-m", "hydra/launcher=basic", "study.name=disk", "data.validation_images=100", "tracking=off"
FOLLOW = ("tracking.mirror_worker",)


def make_states(at: Bench, shared: Path, *, mirrored: bool) -> None:
    """`chosen`: the record is that of seed 0, seed 1 is chosen. `trained`: its epochs are done, its record is not.

    `unscored`: it has not been evaluated. `scored`: MLflow knows of its epochs alone. `no store`: there is no MLflow.
    """
    if mirrored:
        _follow(at, at.path / "nowhere")
    at.project.edit_params({"tracking.enabled": False})
    for verb in (("fetch",), ("preprocess",), ("train",), ("evaluate",), (*SWEEP, "seed=0")):
        at.done(*verb)
    old = _name(at.path)
    at.project.edit_params({"seed": 1})
    _keep(at, shared / "chosen", mirrored=mirrored)
    at.done("train")
    (shared / "seeds.json").write_text(json.dumps({old: "old", _name(at.path): "new"}), encoding="utf-8")
    _keep(at, shared / "unscored", mirrored=mirrored)
    shutil.copytree(shared / "unscored", shared / "trained", symlinks=True)
    shutil.rmtree(shared / "trained" / "record")
    shutil.copytree(shared / "chosen" / "record", shared / "trained" / "record")
    if mirrored:
        _follow(at, next((at.path / "checkpoints").iterdir()))
    at.done("evaluate")
    (shared / "results.json").write_text(json.dumps(results(at.path)), encoding="utf-8")
    _keep(at, shared / "scored", mirrored=mirrored)
    shutil.rmtree(at.path / "mlartifacts", ignore_errors=True)
    for path in at.path.glob("mlflow.db*"):
        path.unlink()
    _keep(at, shared / "no store", mirrored=mirrored)
    at.becomes(shared / "chosen")
    at.done(*SWEEP, "seed=1")
    (shared / "runs.json").write_text(json.dumps(runs(at.path)), encoding="utf-8")


def _keep(at: Bench, state: Path, *, mirrored: bool) -> None:
    at.project.edit_params({"tracking.enabled": mirrored})
    at.keep(state)
    at.project.edit_params({"tracking.enabled": False})


def _follow(at: Bench, root: Path) -> None:
    """Tell a mirror process of the record at `root`."""
    at.project.edit_params({"tracking.enabled": True})
    at.done(*FOLLOW, source=messages(at, root))


def messages(at: Bench, *roots: Path) -> Path:
    """What a mirror process reads on its standard input: settings, and the records at `roots`, or those that grow."""
    target = at.path.with_name(f"{at.path.name}.messages")
    found = roots or tuple(at.path.glob("checkpoints/*"))
    tracking = Tracking.model_validate(at.project.params()["tracking"])
    named = [json.dumps({"record": str(root), "part": EVALUATION}) for root in found]
    target.write_text("".join(f"{line}\n" for line in [settings(tracking, REPRO_STUDY), *named]), encoding="utf-8")
    return target


def store(path: Path, scratch: Path) -> MlflowClient:
    """What the store of the project at `path` holds, read from a copy in the folder `scratch`.

    A client keeps the file open that lay at its path first: each copy needs a place of its own.
    """
    for file in path.glob("mlflow.db*"):
        shutil.copy2(file, scratch)
    return client(Project(scratch))


def runs(path: Path) -> dict[str, str]:
    """Path → SHA-256 of what of a sweep's runs repeats."""
    kept = "weights.npz", "history.csv", "probabilities.npy", "metrics.json"
    return {name: found for name, found in digest.of_folder(path / "runs").items() if name.endswith(kept)}


def _name(path: Path) -> str:
    return read_training(path / "record" / TRAINING).run.identity
