"""Projects in which command after command is run, each from the same state, without the seconds that imports take."""

import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from faults import forking
from tests.harness.project import Project, new_project

STATE = (
    "data", "record", "checkpoints", "runs", "studies", "fingerprints", "conf", "params.yaml",
    "mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlartifacts", "temporary", "dvc.lock",
)  # fmt: skip
"""What commands change in a project."""


LATENCY = "repeats, seconds = (10, 0.1) if quick else (50, 5.0)", "repeats, seconds = 1, 0.01"


class Bench:
    """A project at `path`, and the process that runs its verbs."""

    def __init__(self, path: Path, library: Path, imports: tuple[str, ...]) -> None:
        self.project = Project(path, {"LD_PRELOAD": str(library), "TF_CPP_MIN_LOG_LEVEL": "3"})
        self._output = path.with_name(f"{path.name}.output")
        (path / "temporary").mkdir()
        self._process = subprocess.Popen(
            (sys.executable, Path(forking.__file__), *imports),
            cwd=path,
            env=self.project.environment | {"TMPDIR": str(path / "temporary")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    @property
    def path(self) -> Path:
        return self.project.path

    def verb(self, *verb: str, source: Path | str = os.devnull, **variables: str) -> tuple[int, str]:
        """The status of a verb that reads the file `source`, and what it printed."""
        inlet: IO[str] | None = self._process.stdin
        outlet: IO[str] | None = self._process.stdout
        assert inlet is not None
        assert outlet is not None
        asked = {"verb": verb, "variables": variables, "input": str(source), "output": str(self._output)}
        inlet.write(json.dumps(asked) + "\n")
        inlet.flush()
        return int(outlet.readline()), self._output.read_text(errors="replace", encoding="utf-8")

    def done(self, *verb: str, source: Path | str = os.devnull) -> None:
        """A verb that must end well."""
        status, output = self.verb(*verb, source=source)
        assert status == 0, f"{verb}: {status}\n{output}"

    def becomes(self, state: Path) -> None:
        """Put the project into a state that `keep` kept."""
        for name in STATE:
            _remove(self.path / name)
        shutil.copytree(state, self.path, symlinks=True, dirs_exist_ok=True)
        (self.path / "temporary").mkdir(exist_ok=True)

    def keep(self, state: Path) -> None:
        """Keep the state that the project is in."""
        for name in STATE:
            source = self.path / name
            (state / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, state / name, symlinks=True)
            elif source.exists():
                shutil.copy2(source, state / name)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def bench(path: Path, library: Path, setting: tuple[str, ...], imports: tuple[str, ...]) -> Bench:
    """A bench over a new project, in which no clock is measured for seconds: that writes nothing."""
    new_project(path, *setting)
    code = path / "pipeline" / "run" / "evaluate_run.py"
    assert LATENCY[0] in code.read_text(encoding="utf-8")
    code.write_text(code.read_text(encoding="utf-8").replace(*LATENCY), encoding="utf-8")
    return Bench(path, library, imports)


class Benches:
    """As many benches as trials run at once, copies of one project."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[Bench] = queue.SimpleQueue()

    def add(self, bench: Bench) -> None:
        self._free.put(bench)

    @contextmanager
    def one(self) -> Iterator[Bench]:
        bench = self._free.get()
        try:
            yield bench
        finally:
            self._free.put(bench)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        os.unlink(path)  # noqa: PTH108 - the same for a link
