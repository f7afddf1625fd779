"""Environments that people have: each runs `dvc repro` on the sample."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faults import stored
from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, litter, made, results
from tests.harness.project import Project

REPRO = "dvc", "repro"
MADE_READY = "sh", "-c", "python -m pipeline.repair && exec dvc repro"
"""As `make repro` does it: DVC is told that there is no git."""
SMALL_SHM = "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec dvc repro"
"""Far less than the weights of the sample's network."""

CLOSED = " && ".join(
    f"python -m pipeline.{verb} >&-" for verb in ("check", "fetch", "preprocess", "train", "evaluate", "summary")
)
"""DVC itself needs one."""

KERAS_JSON = '{"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}'


def _as_it_is(_path: Path) -> None:
    pass


def _without_git(path: Path) -> None:
    shutil.rmtree(path / ".git")


def _keras_json(path: Path) -> None:
    (path / "temporary-home").mkdir()
    (path / "temporary-home" / "keras.json").write_text(KERAS_JSON, "utf-8")


@dataclass(frozen=True)
class Environment:
    """`{project}` in a variable is the project's folder; `folder` is its name, where that is odd."""

    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = REPRO
    before: Callable[[Path], None] = _as_it_is
    folder: str = "project"
    root: bool = False


LONG = "/".join(["a folder with a long name of sixty-four characters in all it is"] * 6)
ENVIRONMENTS: dict[str, Environment] = {
    "KERAS_BACKEND=torch": Environment({"KERAS_BACKEND": "torch"}),
    "ONEDNN_MAX_CPU_ISA=AVX2": Environment({"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "keras.json names jax, float16 and channels_first": Environment(
        {"KERAS_HOME": "{project}/temporary-home"}, before=_keras_json
    ),
    "TF_XLA_FLAGS=--tf_xla_auto_jit=2": Environment({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"}),
    "XLA_FLAGS": Environment({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}),
    "TF_ENABLE_ONEDNN_OPTS=0": Environment({"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "shared memory of 64 KB": Environment(command=("unshare", "--mount", "sh", "-c", SMALL_SHM), root=True),
    "no .git, as from a ZIP": Environment(command=MADE_READY, before=_without_git),
    "a path with ? % # and a quote": Environment(folder="what? 100%20 #1 it's"),
    "a path in other scripts": Environment(folder="プロジェクト/проект/ünï"),
    "a path of 400 characters": Environment(folder=LONG),
    "standard output closed": Environment(command=("sh", "-c", CLOSED)),
    "locale C, no UTF-8 mode": Environment({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "PYTHONIOENCODING=latin-1": Environment({"PYTHONIOENCODING": "latin-1"}),
    "umask 077": Environment(command=("sh", "-c", "umask 077 && exec dvc repro")),
    "one core": Environment(command=("taskset", "-c", "0", *REPRO)),
    "other thread variables": Environment(
        {"OMP_NUM_THREADS": "7", "TF_NUM_INTRAOP_THREADS": "5", "TF_NUM_INTEROP_THREADS": "3", "MKL_NUM_THREADS": "2"}
    ),
    "PYTHONOPTIMIZE=2": Environment({"PYTHONOPTIMIZE": "2"}),
    "no HOME": Environment({"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"}),
    "TMPDIR that is not there": Environment({"TMPDIR": "/nonexistent"}),
}


def prepare(shared: Path) -> None:
    """A project that has run nothing yet, and what it leaves in this environment."""
    start = made(shared / "start", *QUICK)
    whole = copied(start.path, shared / "whole")
    whole.run(*REPRO)
    (shared / "held.json").write_text(json.dumps(stored.held(whole.path)), "utf-8")


def trial(injection: Injection) -> str:
    name = list(ENVIRONMENTS)[injection.number % len(ENVIRONMENTS)]
    environment = ENVIRONMENTS[name]
    injection.says(name)
    if environment.root and (os.geteuid() != 0 or shutil.which("unshare") is None):
        return "not tried: only root may mount"
    project = copied(injection.shared / "start", injection.folder / environment.folder)
    environment.before(project.path)
    variables = {key: value.format(project=project.path) for key, value in environment.variables.items()}
    output = project.run(*environment.command, status=0, **variables)
    assert "Traceback" not in output, output
    whole = injection.shared / "whole"
    if _identity(project) != _identity(Project(whole)):
        # What decides bits may be a part of what a run is called.
        return "another run"
    found, wanted = results(project.path), results(whole)
    assert found == wanted, sorted(file for file in found | wanted if found.get(file) != wanted.get(file))
    assert litter(project.path) == []
    held, alike = (
        json.loads(json.dumps(stored.held(project.path))),
        json.loads((injection.shared / "held.json").read_text("utf-8")),
    )
    assert held == alike, stored.told_apart(held, alike)
    return "the same bytes"


def _identity(project: Project) -> str:
    identity = json.loads((project.path / "record" / "training" / "run.json").read_text("utf-8"))["identity"]
    assert isinstance(identity, str)
    return identity


ROW = Row(
    name="environments",
    fault="variables that steer Keras, XLA and oneDNN, a small /dev/shm, no .git, odd paths, a closed standard output, "
    "the locale C, a umask, one core, no HOME",
    must_hold="`dvc repro` ends with the bytes of any other environment, or says that it is another run; MLflow holds "
    "the same",
    times=len(ENVIRONMENTS),
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=1,
)
