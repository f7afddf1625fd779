"""Sweeps over the sample, and trainings that fail when they are told to."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.mlflow_store import client, runs
from tests.harness.project import Project, new_project

TINY = (
    "model=small",
    "training=smoke",
    "training.epochs=2",
    "training.batch_size=32",
    "data.validation_images=200",
    "model.conv.filters=4",
)
NAMED = "study.name=kernel_size"
LINE = ("model.conv.kernel_size=3,5", "seed=range(2)", NAMED)
FAULTS = """\
                self._stop_if_abandoned()
                mark = project.ROOT / "fault" / f"{self.configuration.seed}"
                fault = mark.read_text() if mark.exists() else ""
                if fault == "raise":
                    raise RuntimeError("told to fail")
                if fault == "die":
                    os.kill(os.getpid(), 9)
                while fault == "hold" and mark.exists():
                    time.sleep(0.1)
"""


def faulty_project(path: Path) -> Project:
    """A project with prepared images but without its test images, whose trainings fail at an epoch's end when told to.

    The code that is patched is no part of a run's identity.
    """
    project = new_project(path, *TINY)
    project.run("dvc", "repro", "preprocess")
    code = project.path / "pipeline" / "experiment" / "training.py"
    text = code.read_text()
    assert "                self._stop_if_abandoned()\n" in text
    code.write_text(text.replace("                self._stop_if_abandoned()\n", FAULTS))
    (project.path / "fault").mkdir()
    for name in ("test_images.npy", "test_labels.npy"):
        shutil.move(project.path / "data" / "prepared" / name, project.path / name)
    return project


def sweep(project: Project, *overrides: str, status: int | None = 0, **variables: str) -> str:
    return project.verb("sweep", "-m", *overrides, status=status, **variables)


def study(project: Project, name: str = "kernel_size") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "studies" / name / "study.json").read_text())
    return found


def children(project: Project, name: str = "kernel_size") -> list[Any]:
    return [run for run in runs(client(project)) if run.data.tags["study"] == name and run.data.tags["role"] == "run"]


def parent(project: Project, name: str = "kernel_size") -> Any:
    (found,) = [
        run for run in runs(client(project)) if run.data.tags["study"] == name and run.data.tags["role"] == "study"
    ]
    return found


@contextlib.contextmanager
def faulty(project: Project, **faults: str) -> Iterator[None]:
    """Trainings with `seed<n>` end their first epoch as told: raise, die, hold."""
    marks = [project.path / "fault" / seed.removeprefix("seed") for seed in faults]
    for mark, fault in zip(marks, faults.values(), strict=True):
        mark.write_text(fault)
    try:
        yield
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)


def bits(project: Project, identity: str) -> tuple[bytes, bytes, bytes]:
    root = project.path / "runs" / identity
    names = "training/weights.npz", "training/history.csv", "evaluation/probabilities.npy"
    one, two, three = ((root / name).read_bytes() for name in names)
    return one, two, three
