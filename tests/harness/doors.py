"""The doors through which a configuration comes in, as real commands in a project over the sample."""

import contextlib
import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.storage import digest
from pipeline.storage import project as places
from pipeline.terminal import command as terminal
from tests.harness.bad_configurations import Bad, overrides, params_yaml, variant
from tests.harness.project import Project, prepared_project
from tests.harness.settings import article_values
from tests.harness.sweeps import TINY

DOORS = "params", "compose", "sweep", "variant"


def prepared(path: Path) -> Project:
    """A project with prepared images, in which nothing has been trained. It has a source of each kind, as conf/ has."""
    project = prepared_project(path, *TINY)
    yaml, file = YAML(typ="safe"), path / "conf" / "data" / "sample.yaml"
    values = yaml.load(file)
    values["sources"] += article_values()["data"]["sources"][1:]
    yaml.dump(values, file)
    project.verb("compose")
    return project


COMPUTING = "train", "evaluate", "reproduce", "predict", "export", "playground", "release"
"""Verbs that may compute with TensorFlow."""


@dataclass(frozen=True)
class Answer:
    """What a door said, with which exit status, after how many seconds; what it left that was not there before."""

    said: str
    status: int
    seconds: float
    left: set[str]


def asked(project: Project, *command: str, **variables: str) -> Answer:
    """Run a verb and look at what it left."""
    before = contents(project.path)
    started = time.perf_counter()
    process = project.start("python", "-m", f"pipeline.{command[0]}", *command[1:], **variables)
    said = process.communicate(timeout=300)[0]
    return Answer(said, process.returncode, time.perf_counter() - started, _left(before, project))


def asked_here(project: Project, *command: str) -> Answer:
    """The same in this process, without the second of imports: for a verb that starts no other and keeps nothing."""
    if command[0] in COMPUTING:
        # As `two_threads` of the tests has it: TensorFlow takes them once in a process.
        importlib.import_module("pipeline.network.fit").use_threads(2)
    module, before = importlib.import_module(f"pipeline.{command[0]}"), contents(project.path)
    handler, said, root = signal.getsignal(signal.SIGTERM), io.StringIO(), places.ROOT
    started = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for name, value in list(vars(places).items()):
            if isinstance(value, Path):
                patch.setattr(places, name, project.path / value.relative_to(root))
            elif hasattr(value, "cache_clear"):
                # A process reads once where DVC's cache lies.
                value.cache_clear()
        # mlflow puts the address of a store that this process has opened into the environment.
        for name in [name for name in os.environ if name.startswith(("MLFLOW", "DVC"))]:
            patch.delenv(name)
        patch.chdir(project.path)
        patch.setattr(sys, "argv", [*command])
        # A process that nobody will need.
        patch.setattr("pipeline.studies.run_study.started_early", contextlib.nullcontext)
        with pytest.raises(SystemExit) as leaving:
            terminal.run(module.main)
    signal.signal(signal.SIGTERM, handler)
    return Answer(said.getvalue(), int(leaving.value.code or 0), time.perf_counter() - started, _left(before, project))


def _left(before: dict[str, str], project: Project) -> set[str]:
    after = contents(project.path)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def through(door: str, bad: Bad, project: Project, ask: Callable[..., Answer] = asked) -> Answer | None:
    """Bring a bad configuration in by a door; None where it does not fit through that one."""
    if door == "params":
        params_yaml(bad, project.path / "params.yaml")
        return ask(project, "check")
    if door == "variant":
        if (found := variant(bad)) is None:
            return None
        group, values = found
        YAML(typ="safe").dump(values, project.path / "conf" / group / "bad.yaml")
        return ask(project, "compose", f"{group}=bad")
    if (words := overrides(bad)) is None:
        return None
    return ask(project, "compose", *words) if door == "compose" else ask(project, "sweep", "-m", *words)


def refused(answer: Answer, named: str) -> None:
    """What every refusal must be."""
    assert answer.status == 1, answer
    assert "error: " in answer.said, answer
    assert "Traceback" not in answer.said, answer
    assert named in answer.said, answer
    assert not answer.left, answer


def contents(path: Path) -> dict[str, str]:
    """Every file of a project but Python's own, with its digest. Hydra notes the line of a sweep in runs/.hydra.

    Of MLflow's database its size and time: to read a file that this process has open as SQLite takes SQLite's locks
    away (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    left = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        beside = file.name in (".store.lock", ".stage.lock", ".sweep.lock", "mlflow.db-shm", "mlflow.db-wal")
        if beside or "__pycache__" in name or name.startswith((".git/", "runs/.hydra/")) or not file.is_file():
            continue
        stat = file.stat()
        is_store = file.name == "mlflow.db"
        left[name] = f"{stat.st_size} {stat.st_mtime_ns}" if is_store else digest.of_file(file)
    return left
