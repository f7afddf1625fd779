"""Inputs made to run code, to read or write elsewhere, or to exhaust memory."""

import sys
from pathlib import Path

from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, made
from tests.harness.hostile_inputs import KNOWN, VARIABLE, every, harmed, moved, run_id
from tests.harness.spent import spent

MOST_MIB = 2_000
"""That a verb may take: TensorFlow by itself takes a third of it."""


def prepare(shared: Path) -> None:
    made(shared / "project", *QUICK).run("dvc", "repro")


def trial(injection: Injection) -> str:
    hostile = every()[injection.number]
    injection.says(hostile.said)
    outside = injection.folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text(KNOWN, encoding="utf-8")
    project = copied(injection.shared / "project", injection.folder / "project")
    project.variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{project.path}/mlflow.db"
    moved(project, injection.shared / "project")
    hostile.done(project, outside)
    command = [run_id(project) if word == "RUN" else word for word in hostile.command]
    verb = sys.executable, "-m", f"pipeline.{command[0]}", *command[1:]
    found = spent(verb, project.path, project.environment | {VARIABLE: KNOWN})
    assert (harm := harmed(project, outside, found.said)) is None, f"{harm}\n{found.said}"
    assert found.peak_mib < MOST_MIB, f"{found.peak_mib:.0f} MiB"
    injection.says(f"{found.peak_mib:.0f} MB")
    return "harmless" if found.status == 0 else "refused"


ROW = Row(
    name="hostile_inputs",
    fault="shell fragments, `_target_`, references to the environment, YAML bombs, names that are paths, forged "
    "records and weights, stores whose artifacts lie elsewhere",
    must_hold="no effect outside of the run's own folder: no canary made, no secret told or written, little memory",
    times=len(every()),
    short=1,
    trial=trial,
    prepare=prepare,
)
