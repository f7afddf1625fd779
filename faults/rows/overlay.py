"""A project in a lower layer of an overlay file system, as a container's image holds it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import stored
from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, litter, made, results
from faults.writing_states import runs
from pipeline.storage import digest
from tests.project import Project

STUDY = "layers"
SWEEP = "python", "-m", "pipeline.sweep", "-m", f"study.name={STUDY}", "data.validation_images=200"
OPTIONS = "redirect_dir=off", "redirect_dir=on"
COMMANDS: dict[str, tuple[str, ...]] = {
    "dvc repro": ("dvc", "repro"),
    "sweep": (*SWEEP, "seed=range(3)"),
    "compare": ("python", "-m", "pipeline.compare", STUDY),
}
"""Each replaces folders of the lower layer: the record, a study, a report."""


def prepare(shared: Path) -> None:
    """The lower layer: a project with a record, a study and a report; and what the commands leave elsewhere."""
    project = made(shared / "project", *QUICK)
    project.run("dvc", "repro")
    project.run(*SWEEP, "seed=range(2)")
    project.run(*COMMANDS["compare"])
    project.edit_params({"seed": 1})
    elsewhere = copied(project.path, shared / "elsewhere")
    elsewhere.edit_params({"tracking.enabled": False})
    for command in COMMANDS.values():
        elsewhere.run(*command)
    (shared / "found.json").write_text(json.dumps(_found(elsewhere.path)))


def trial(injection: Injection) -> str:
    name = list(COMMANDS)[injection.number % len(COMMANDS)]
    option = OPTIONS[injection.number // len(COMMANDS) % len(OPTIONS)]
    injection.says(f"{name} in an overlay, {option}")
    lower = injection.shared / "project"
    with _mounted(lower, injection.folder, option):
        project = Project(lower, patience=1800)
        if name == "compare":
            project.run(*COMMANDS["sweep"])
        project.run(*COMMANDS[name])
        wanted = json.loads((injection.shared / "found.json").read_text())
        part = {"dvc repro": "repro", "sweep": "sweep", "compare": "reports"}[name]
        assert _found(lower)[part] == wanted[part]
        assert litter(lower) == [], litter(lower)
        assert {run["status"] for run in stored.held(lower)} == {"FINISHED"}
    return name


def _found(path: Path) -> dict[str, dict[str, str]]:
    return {"repro": results(path), "sweep": runs(path), "reports": digest.of_folder(path / "reports")}


@contextmanager
def _mounted(lower: Path, folder: Path, option: str) -> Iterator[None]:
    """An overlay in the lower folder's own place, so that the paths in its store hold."""
    for name in ("upper", "work"):
        (folder / name).mkdir(exist_ok=True)
    layers = f"lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'},{option}"
    subprocess.run(("mount", "-t", "overlay", "overlay", "-o", layers, lower), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", lower), check=True)


def reason_not_to() -> str | None:
    """Why nothing can be mounted here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may mount an overlay"
    with tempfile.TemporaryDirectory() as name:
        for folder in ("lower", "upper", "work"):
            Path(name, folder).mkdir()
        try:
            with _mounted(Path(name, "lower"), Path(name), OPTIONS[0]):
                return None
        except (OSError, subprocess.CalledProcessError):
            return "an overlay can't be mounted"


ROW = Row(
    name="overlay",
    fault="the project lies in the lower layer of an overlay file system (a container's image); `dvc repro`, a sweep "
    "and `compare` replace what is there, with redirect_dir off and on",
    must_hold="as on any disk: the same bytes, nothing half-written, every run FINISHED in MLflow",
    times=len(COMMANDS) * len(OPTIONS),
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=reason_not_to,
)
