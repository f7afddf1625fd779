"""The same on a real file system: ext4 is told to stop at a write, and to forget what is not on its disk."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import stored
from faults.campaign import Injection, Row
from faults.disk import NOISE, Disk, library
from faults.disk import reason_not_to as no_library
from faults.reference import PATIENCE, litter, results
from faults.rows.killed_writing import SETTING
from faults.writing_states import runs
from tests.harness.project import Project, new_project

MEGABYTES = 200
STUDY = "power"
TRAIN = ("python", "-m", "pipeline.train"), ("python", "-m", "pipeline.evaluate")
SWEEP = (
    *("python", "-m", "pipeline.sweep", "-m", "hydra/launcher=basic"),
    *(f"study.name={STUDY}", "data.validation_images=100", "seed=range(2)"),
)
Command = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    commands: tuple[Command, ...]
    found: Callable[[Path], dict[str, str]]
    track: Command


CASES = {
    "train, evaluate": Case(TRAIN, results, ("python", "-m", "pipeline.track")),
    "sweep": Case((SWEEP,), runs, ("python", "-m", "pipeline.track", STUDY)),
}


def prepare(shared: Path) -> None:
    """An image of a file system with a project whose images are prepared."""
    image = shared / "start.img"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    subprocess.run(("mkfs.ext4", "-q", image), check=True)
    (shared / "disk").mkdir()
    with mounted(image, shared / "disk") as project:
        new_project(project.path, *SETTING, "tracking=local")
        for verb in ("fetch", "preprocess"):
            project.verb(verb)


def _reference(shared: Path, name: str) -> dict[str, Any]:
    """How often a case writes, what it then leaves, and what MLflow holds; done when it is first asked for."""
    file = shared / f"{name}.json"
    if not file.exists():
        with _copy(shared) as image, mounted(image, shared / "disk") as project:
            disk = _disk(shared, project)
            variables = disk.counting()
            for command in CASES[name].commands:
                project.run(*command, status=0, **variables)
            count = len(disk.calls())
            project.run(*CASES[name].track)
            found = {"count": count, "found": CASES[name].found(project.path), "held": stored.held(project.path)}
            file.write_text(json.dumps(found), "utf-8")
    return dict(json.loads(file.read_text("utf-8")))


def trial(injection: Injection) -> str:
    name = list(CASES)[injection.number % len(CASES)]
    case, reference = CASES[name], _reference(injection.shared, name)
    place = injection.random.randint(1, int(str(reference["count"])))
    with _copy(injection.shared) as image:
        with mounted(image, injection.shared / "disk") as project:
            disk = _disk(injection.shared, project)
            variables = disk.killing(place, "cut")
            for command in case.commands:
                if not _ran(project, command, variables):
                    break
            calls = disk.calls()
        where = f"{calls[place - 1].call} of {calls[place - 1].place}" if len(calls) >= place else "not reached"
        injection.says(f"{name}: the file system stops at writing call {place}, {where}")
        with mounted(image, injection.shared / "disk") as project:
            for command in case.commands:
                project.run(*command)
            assert case.found(project.path) == reference["found"]
            assert litter(project.path) == [], litter(project.path)
            project.run(*case.track, status=0)
            held, wanted = json.loads(json.dumps(stored.held(project.path))), reference["held"]
            assert held == wanted, stored.told_apart(held, wanted)
    return f"{name}: the same command"


def _ran(project: Project, command: Command, variables: dict[str, str]) -> bool:
    """Whether the command ended well; nothing of it is left."""
    process = project.start(*command, **variables)
    try:
        # What it has started goes on without a file system.
        process.wait(PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return process.returncode == 0


def _disk(shared: Path, project: Project) -> Disk:
    # Neither the log nor the counter may lie where the power is cut.
    return Disk(library(shared), project.path, left_alone=NOISE, removals=True, beside=shared / "calls")


@contextmanager
def _copy(shared: Path) -> Iterator[Path]:
    image = shared / "trial.img"
    subprocess.run(("cp", "--sparse=always", shared / "start.img", image), check=True)
    try:
        yield image
    finally:
        image.unlink()


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Project]:
    subprocess.run(("mount", "-o", "loop", image, place), check=True)
    try:
        (place / "project").mkdir(exist_ok=True)
        yield Project(place / "project", {"TMPDIR": str(image.parent)}, PATIENCE)
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    # Who was killed may take a moment to be gone.
    for _ in range(100):
        if subprocess.run(("umount", place), check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(("umount", place), check=True)


def reason_not_to() -> str | None:
    """Why no file system can be mounted here."""
    if reason := no_library():
        return reason
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return "only root may mount a file system, and it needs mkfs.ext4"
    with tempfile.TemporaryDirectory() as name:
        image = Path(name, "image")
        image.write_bytes(bytes(1 << 20))
        (Path(name) / "disk").mkdir()
        try:
            subprocess.run(("mkfs.ext4", "-q", image), check=True, capture_output=True)
            with mounted(image, Path(name) / "disk"):
                return None
        except (OSError, subprocess.CalledProcessError):
            return "no image of a file system can be mounted"


ROW = Row(
    name="power_cuts_ext4",
    fault="the power of a real ext4 is cut at a write of a training, an evaluation or a sweep: it stops there and "
    "forgets what is not on its disk (FS_IOC_SHUTDOWN), and is mounted again",
    must_hold="records and runs end in the same bytes after the same command; MLflow holds the same runs",
    times=60,
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=reason_not_to,
)
