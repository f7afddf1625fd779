"""Inputs made to run code, to read or write elsewhere, or to exhaust memory."""

import os
import subprocess
from pathlib import Path

from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, made
from tests.hostile_inputs import KNOWN, VARIABLE, every, harmed, moved, run_id
from tests.project import Project

MOST_MEMORY = 2_000_000
"""kB that a verb may take: TensorFlow by itself takes a third of it."""


def prepare(shared: Path) -> None:
    made(shared / "project", *QUICK).run("dvc", "repro")


def trial(injection: Injection) -> str:
    hostile = every()[injection.number]
    injection.says(hostile.said)
    outside = injection.folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text(KNOWN)
    project = copied(injection.shared / "project", injection.folder / "project")
    project.variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{project.path}/mlflow.db"
    moved(project, injection.shared / "project")
    hostile.done(project, outside)
    command = [run_id(project) if word == "RUN" else word for word in hostile.command]
    status, said, memory = _measured(project, command)
    assert (harm := harmed(project, outside, said)) is None, f"{harm}\n{said}"
    assert memory < MOST_MEMORY, f"{memory} kB"
    injection.says(f"{memory / 1000:.0f} MB")
    return "harmless" if status == 0 else "refused"


def _measured(project: Project, command: list[str]) -> tuple[int, str, int]:
    """Exit status, what was said, and the most memory in kB."""
    told = project.path.parent / "said"
    with told.open("wb") as file:
        process = subprocess.Popen(
            ("python", "-m", f"pipeline.{command[0]}", *command[1:]),
            cwd=project.path,
            env=project.environment | {VARIABLE: KNOWN},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, told.read_text(errors="replace"), used.ru_maxrss


ROW = Row(
    name="hostile_inputs",
    fault="shell fragments, `_target_`, references to the environment, YAML bombs, names that are paths, forged "
    "records and weights, stores whose artifacts lie elsewhere",
    must_hold="no effect outside of the run's own folder: no canary made, no secret told or written, little memory",
    times=len(every()),
    short=2,
    trial=trial,
    prepare=prepare,
)
