"""A copy of the project over the sample, in a folder and a git repository of its own, used as a person uses it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import OmegaConf

from pipeline.config.load import read_yaml
from pipeline.storage import digest
from tests.sample import sample_data_config

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "conf",
    "hydra_plugins",
    "pipeline",
    "requirements",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
)
HARD = (
    "training.epochs=3",
    "training.augmentation.horizontal_flip=true",
    "training.augmentation.shift=2",
    "training.augmentation.erasing=4",
    "model.dropout=0.1",
    "model.head_dropout=0.2",
    "model.batch_normalization=after_pooling",
    "model.conv.filters=8",
)
"""A training with all that draws random numbers."""

SHARED = "PROJECTS_OF_THIS_TEST_RUN"
"""The variable that names a folder for projects that several tests start from; without it each is made where it is."""


@dataclass
class Project:
    path: Path
    variables: dict[str, str] = field(default_factory=dict)
    patience: float = 300
    """Seconds that a command may take."""

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DVC"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return inherited | {"PATH": path, "GIT_CONFIG_GLOBAL": "/dev/null"} | self.variables

    def run(self, *command: str, status: int | None = 0, **variables: str) -> str:
        """What the command prints; `status` None accepts any."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment | variables,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=self.patience,
        )
        assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def verb(self, *arguments: str, status: int | None = 0, **variables: str) -> str:
        return self.run("python", "-m", f"pipeline.{arguments[0]}", *arguments[1:], status=status, **variables)

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """The command in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment | variables,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def params(self) -> dict[str, Any]:
        values = read_yaml(self.path / "params.yaml")
        assert isinstance(values, dict)
        return values

    def edit_params(self, changes: Mapping[str, Any]) -> None:
        """Edit params.yaml by hand: dotted key → value."""
        values = self.params()
        for key, value in changes.items():
            *sections, last = key.split(".")
            level = values
            for section in sections:
                level = level[section]
            level[last] = value
        OmegaConf.save(values, self.path / "params.yaml")


def stages_run(output: str) -> list[str]:
    """The stages that DVC ran, by what it printed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def new_project(path: Path, *overrides: str) -> Project:
    """The project as it is in the work tree, over the sample, with `overrides` composed and committed to git."""
    for name in COPIED:
        source = ROOT / name
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    sample = {"defaults": ["fashion_mnist"], **sample_data_config()}
    OmegaConf.save(sample, path / "conf" / "data" / "sample.yaml")
    project = Project(path)
    for command in (
        ("git", "init", "-q"),
        ("git", "config", "user.name", "test"),
        ("git", "config", "user.email", "test@localhost"),
        ("python", "-m", "pipeline.compose", "data=sample", *overrides),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "start"),
    ):
        project.run(*command)
    return project


def prepared_project(path: Path, *overrides: str) -> Project:
    """A new project with prepared images, in which nothing has been trained; `overrides` are of model and training."""

    def make(path: Path) -> None:
        project = _copied("prepared", path, _prepare)
        project.run("python", "-m", "pipeline.compose", *overrides)
        project.run("git", "commit", "-qam", "composed", "--allow-empty")

    return _copied(f"prepared {digest.of_value(list(overrides))[:12]}", path, make)


def finished_project(path: Path) -> Project:
    """A project in which `dvc repro` has been run once with HARD, committed. Its MLflow store is as after a move."""
    return _copied("finished", path, _finish)


def _prepare(path: Path) -> None:
    project = new_project(path)
    project.run("dvc", "repro", "preprocess")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "prepared")


def _finish(path: Path) -> None:
    project = prepared_project(path, *HARD)
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "first run")


def _copied(name: str, path: Path, make: Callable[[Path], None]) -> Project:
    """A copy of what is made once for all processes of a test run."""
    if (shared := os.environ.get(SHARED)) is None:
        make(path)
        return Project(path)
    Path(shared).mkdir(exist_ok=True)
    with FileLock(Path(shared) / f"{name}.lock"):
        if not (Path(shared) / f"{name} is made").exists():
            make(Path(shared) / name)
            (Path(shared) / f"{name} is made").touch()
    shutil.copytree(Path(shared) / name, path, symlinks=True, dirs_exist_ok=True)
    return Project(path)
