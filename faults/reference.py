"""The projects that trials damage, and what an uninterrupted run leaves."""

import shutil
from pathlib import Path

from pipeline.storage import digest
from tests.harness.project import ROOT, Project, new_project

QUICK = (
    "model=small",
    "training=smoke",
    "training.epochs=3",
    "training.batch_size=30",
    "training.augmentation.horizontal_flip=true",
    "training.augmentation.shift=2",
    "model.dropout=0.1",
    "model.head_dropout=0.2",
    "model.batch_normalization=after_pooling",
    "model.conv.filters=4",
)
"""A training of a few seconds with all that draws random numbers."""

PATIENCE = 1_800.0
"""Seconds that a command may take on a busy machine."""

REPEATS = "data/prepared", "record/training", "record/evaluation"


def made(path: Path, *overrides: str) -> Project:
    """A project over the sample that can be used by `make` too: with the Makefile, .venv and .tools of this one."""
    project = new_project(path, *overrides)
    shutil.copy2(ROOT / "Makefile", path / "Makefile")
    for name in (".venv", ".tools"):
        (path / name).symlink_to(ROOT / name)
    project.patience = PATIENCE
    return project


def copied(source: Path, target: Path) -> Project:
    """A project like the one at `source`, in a place of its own."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    return Project(target, patience=PATIENCE)


def results(path: Path) -> dict[str, str]:
    """Path → SHA-256 of every file of a project that must repeat byte for byte."""
    found = {}
    for part in REPEATS:
        for file, sha256 in digest.of_folder(path / part).items():
            found[f"{part}/{file}"] = sha256
    return found


def litter(path: Path) -> list[str]:
    """What was left half-written, wherever in the project."""
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*.partial") if ".venv" not in file.parts)
