"""The doors through which a configuration comes in, as real commands in a project over the sample."""

import time
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.storage import digest
from tests.harness.bad_configurations import Bad, overrides, params_yaml, variant
from tests.harness.project import Project, new_project
from tests.harness.settings import article_values
from tests.harness.sweeps import TINY

DOORS = "params", "compose", "sweep", "variant"


def prepared(path: Path) -> Project:
    """A project with prepared images, in which nothing has been trained. It has a source of each kind, as conf/ has."""
    project = new_project(path, *TINY)
    yaml, file = YAML(typ="safe"), path / "conf" / "data" / "sample.yaml"
    values = yaml.load(file)
    values["sources"] += article_values()["data"]["sources"][1:]
    yaml.dump(values, file)
    project.verb("compose")
    project.run("dvc", "repro", "preprocess")
    return project


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
    seconds = time.perf_counter() - started
    after = contents(project.path)
    left = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return Answer(said, process.returncode, seconds, left)


def through(door: str, bad: Bad, project: Project) -> Answer | None:
    """Bring a bad configuration in by a door; None where it does not fit through that one."""
    if door == "params":
        params_yaml(bad, project.path / "params.yaml")
        return asked(project, "check")
    if door == "variant":
        if (found := variant(bad)) is None:
            return None
        group, values = found
        YAML(typ="safe").dump(values, project.path / "conf" / group / "bad.yaml")
        return asked(project, "compose", f"{group}=bad")
    if (words := overrides(bad)) is None:
        return None
    return asked(project, "compose", *words) if door == "compose" else asked(project, "sweep", "-m", *words)


def refused(answer: Answer, named: str) -> None:
    """What every refusal must be."""
    assert answer.status == 1, answer
    assert "error: " in answer.said, answer
    assert "Traceback" not in answer.said, answer
    assert named in answer.said, answer
    assert not answer.left, answer


def contents(path: Path) -> dict[str, str]:
    """Every file of a project but Python's own, with its digest. Hydra notes the line of a sweep in runs/.hydra."""
    found = digest.of_folder(path)
    kept = (name for name in found if "__pycache__" not in name and not name.startswith((".git/", "runs/.hydra/")))
    return {name: found[name] for name in kept if Path(name).name not in (".store.lock", ".stage.lock", ".sweep.lock")}
