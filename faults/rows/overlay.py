"""A project in a lower layer of an overlay file system, as a container's image holds it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import stored
from faults.campaign import Injection, Row
from faults.reference import PATIENCE, QUICK, copied, litter, made, results
from faults.writing_states import runs
from pipeline.storage import digest
from tests.harness.project import Project

STUDY = "layers"
SWEEP = (
    *("python", "-m", "pipeline.sweep", "-m", "hydra/launcher=basic"),
    *(f"study.name={STUDY}", "data.validation_images=200"),
)
OPTIONS = "redirect_dir=off", "redirect_dir=on"
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("python", "-m", "pipeline.train"),
    "dvc repro": ("dvc", "repro"),
    "sweep": (*SWEEP, "seed=range(3)"),
    "compare": ("python", "-m", "pipeline.compare", STUDY),
}
"""Each replaces folders of the lower layer: the record, a study, a report."""


FOUND: dict[str, Callable[[Path], dict[str, str]]] = {
    "train": results,
    "dvc repro": results,
    "sweep": runs,
    "compare": lambda path: digest.of_folder(path / "reports"),
}
"""What each command leaves that repeats."""


def prepare(shared: Path) -> None:
    """The lower layer: a project with a record, a study and a report."""
    project = made(shared / "project", *QUICK)
    project.run("dvc", "repro")
    project.run(*SWEEP, "seed=range(2)")
    project.run(*COMMANDS["compare"])
    project.edit_params({"seed": 1})


def trial(injection: Injection) -> str:
    name = list(COMMANDS)[injection.number % len(COMMANDS)]
    option = OPTIONS[injection.number // len(COMMANDS) % len(OPTIONS)]
    injection.says(f"{name} in an overlay, {option}")
    lower = injection.shared / "project"
    elsewhere = copied(lower, injection.folder / "elsewhere")
    # Its store names the other place.
    elsewhere.edit_params({"tracking.enabled": False})
    with _mounted(lower, option):
        project = Project(lower, patience=PATIENCE)
        _run(project, name)
        if name == "compare":  # A report says what a clock measured: both are of the same runs.
            shutil.copytree(lower / "runs", elsewhere.path / "runs", dirs_exist_ok=True)
        _run(elsewhere, name)
        assert FOUND[name](lower) == FOUND[name](elsewhere.path)
        assert litter(lower) == [], litter(lower)
        if name != "train":
            assert {run["status"] for run in stored.held(lower)} == {"FINISHED"}
    return name


def _run(project: Project, name: str) -> None:
    if name == "compare":
        project.run(*COMMANDS["sweep"])
    project.run(*COMMANDS[name])


@contextmanager
def _mounted(lower: Path, option: str) -> Iterator[None]:
    """An overlay in the lower folder's own place, so that the paths in its store hold."""
    # In a folder of its own: what is removed is a device there, which can't be copied.
    with tempfile.TemporaryDirectory(prefix="fault-overlay-") as name:
        upper, work = Path(name, "upper"), Path(name, "work")
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work},{option}"
        subprocess.run(("mount", "-t", "overlay", "overlay", "-o", layers, lower), check=True)
        try:
            yield
        finally:
            subprocess.run(("umount", lower), check=True)


def reason_not_to() -> str | None:
    """Why nothing can be mounted here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may mount an overlay"
    with tempfile.TemporaryDirectory() as name:
        try:
            with _mounted(Path(name), OPTIONS[0]):
                return None
        except (OSError, subprocess.CalledProcessError):
            return "an overlay can't be mounted"


ROW = Row(
    name="overlay",
    fault="the project lies in the lower layer of an overlay file system (a container's image); a training, "
    "`dvc repro`, a sweep and `compare` replace what is there, with redirect_dir off and on",
    must_hold="as on any disk: the same bytes, nothing half-written, every run FINISHED in MLflow",
    times=len(COMMANDS) * len(OPTIONS),
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=reason_not_to,
)
