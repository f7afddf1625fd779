"""Where contenders work: projects over the real images, and the environment of the contenders that are not ours."""

import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.costs import cost
from pipeline.run.environment import environment, lacks_bfloat16
from tests.harness.project import ROOT, Project, new_project
from tests.harness.spent import Cost

CONTENDERS = ROOT / "benchmarks" / "contenders"
THEIRS = ROOT / ".bench" / "venv" / "bin" / "python"
FORGOTTEN = "record", "checkpoints", "runs", "studies", "mlruns", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm"


@dataclass(frozen=True)
class Workshop:
    """`rounds` of each contender; `quick`: a fraction of the work, to see that everything runs."""

    folder: Path
    rounds: int
    quick: bool

    def project(self, name: str, *overrides: str) -> Project:
        """A project over the real images, which are prepared, with `overrides` chosen."""
        found = new_project(self.folder / name, "data=fashion_mnist", *overrides)
        for part in ("raw", "prepared"):
            shutil.copytree(ROOT / "data" / part, found.path / "data" / part)
        found.patience = 3600
        return found

    def script(self, name: str, *arguments: str) -> Cost:
        """A contender's script over the prepared images; those of other libraries in their own environment."""
        python = sys.executable if name.startswith("keras") else str(THEIRS)
        script = str(CONTENDERS / f"{name}_script.py")
        return cost((python, script, str(ROOT / "data" / "prepared"), *arguments), self.folder)

    def epochs(self, *arguments: str) -> dict[str, Any]:
        """What `python -m benchmarks.epoch` measures."""
        done = cost((sys.executable, "-m", "benchmarks.epoch", *arguments), ROOT)
        found = json.loads(done.said.splitlines()[-1])
        assert isinstance(found, dict)
        return found


def verb(project: Project, *arguments: str, **variables: str) -> Cost:
    return cost((sys.executable, "-m", f"pipeline.{arguments[0]}", *arguments[1:]), project.path, **variables)


def afresh(project: Project) -> None:
    """Nothing has been trained or recorded here."""
    for name in FORGOTTEN:
        path = project.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def has(library: str) -> bool:
    """Whether the contenders' environment has a library."""
    return any((THEIRS.parents[1] / "lib").glob(f"python*/site-packages/{library}"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        **environment().hardware,
        "bfloat16": not lacks_bfloat16(),
        "platform": platform.platform(),
        "load at the start": round(os.getloadavg()[0], 1),
    }
