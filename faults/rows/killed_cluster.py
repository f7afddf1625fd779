"""A sweep on a Ray cluster of this machine, of which something is killed: the process of a run, a node, the driver."""

import importlib.util
import time
from pathlib import Path
from signal import SIGKILL
from subprocess import Popen

import psutil

from faults import sweeps
from faults.campaign import Injection, Row
from faults.reference import copied
from pipeline.studies.ray_executor import INSTALL
from tests.harness.project import Project
from tests.harness.ray_clusters import Nodes, ray_cluster

LINE = sweeps.line("seed=range(2)")
RUNS = 4
TARGETS = "the process of a run", "a node", "the driver"
LATEST = 3.0
"""Seconds after the moment until which the kill comes."""

TASKS_LEAVE = 60.0
"""Seconds after which a training that nobody waits for is taken to stay."""


def prepare(shared: Path) -> None:
    """A project without a store, and what a sweep on this machine leaves that nobody disturbs."""
    project = sweeps.prepared(shared / "project")
    reference = copied(project.path, shared / "reference")
    reference.run(*LINE, "tracking=off")
    assert len(sweeps.bits(reference)) == RUNS


def trial(injection: Injection) -> str:
    """A sweep on two nodes, a kill in its middle, and after one of the driver the same line."""
    target = TARGETS[injection.number % len(TARGETS)]
    home, delay = injection.random.randrange(RUNS * sweeps.EPOCHS), injection.random.uniform(0, LATEST)
    injection.says(f"SIGKILL to {target} {delay:.2f} s after {home} epochs had come home")
    project = copied(injection.shared / "project", injection.folder / "project")
    with ray_cluster() as nodes, sweeps.watched(project):
        line = *LINE, "study.executor=ray", f"study.address={nodes.address}"
        process = sweeps.start(project, *line)
        sweeps.wait_until(lambda: process.poll() is not None or _epochs_home(project) >= home)
        time.sleep(delay)
        finished, begun = sweeps.written(project), sweeps.epochs_done(project)
        is_hit = _strike(nodes, target, process, injection)
        said = sweeps.said_by(process)
        injection.says(f"the sweep left with {process.returncode}")
        assert process.returncode == (-SIGKILL if is_hit and target == "the driver" else 0), said
        _assert_no_training(nodes)
        if process.returncode:
            sweeps.assert_all_leave(project)
            # Runs may have ended in the moment of the kill.
            finished, begun = sweeps.written(project), sweeps.epochs_done(project)
            again = sweeps.said_by(sweeps.start(project, *line))
            assert f"{len(finished)} done already, {RUNS - len(finished)} to do" in again, again
            _assert_no_training(nodes)
        _assert_whole(project, injection.shared, finished, begun)
    sweeps.wait_until(lambda: not nodes.processes(), TASKS_LEAVE, every=0.2)
    assert nodes.processes() == []
    if not is_hit:
        return "nothing left to kill"
    return "the same line went on to the same bits" if process.returncode else "the sweep went on to the same bits"


def _epochs_home(project: Project) -> int:
    ended = len(list(project.path.glob("runs/*/evaluation/metrics.json")))
    return sweeps.EPOCHS * ended + sum(map(len, sweeps.epochs_done(project).values()))


def _strike(nodes: Nodes, target: str, process: Popen[str], injection: Injection) -> bool:
    """Kill it; whether the sweep was still at work. A node that was killed is followed by one that joins."""
    if target == "the driver":
        process.kill()
    elif target == "a node":
        victim = injection.random.choice(nodes.nodes)
        nodes.crash(victim)
        nodes.nodes.remove(victim)
    else:
        sweeps.wait_until(lambda: process.poll() is not None or bool(nodes.trainings()))
        if not (there := nodes.trainings()):
            return False
        psutil.Process(injection.random.choice(there)).kill()
    is_hit = process.poll() in (None, -SIGKILL)
    if target == "a node":
        nodes.nodes.append(nodes.join())
    return is_hit


def _assert_no_training(nodes: Nodes) -> None:
    sweeps.wait_until(lambda: not nodes.trainings(), TASKS_LEAVE, every=0.2)
    assert nodes.trainings() == [], f"still trained after {TASKS_LEAVE:.0f} s"


def _assert_whole(
    project: Project, shared: Path, finished: dict[str, dict[str, int]], begun: dict[str, list[int]]
) -> None:
    """The study is what a sweep on this machine leaves, and what had come home before the kill has been kept."""
    now = sweeps.written(project)
    assert {name: now[name] for name in finished} == finished, "a finished run was written again"
    sweeps.assert_no_epoch_was_done_again(project, begun)
    assert sweeps.bits(project) == sweeps.bits(Project(shared / "reference"))
    sweeps.assert_study_is_whole(project, RUNS)
    sweeps.assert_store_is_whole(project, {sweeps.STUDY: RUNS})
    sweeps.assert_tidy(project)
    sweeps.assert_all_leave(project)


def _needs() -> str | None:
    return None if importlib.util.find_spec("ray") else f"Ray is not installed: {INSTALL}"


ROW = Row(
    name="ray",
    fault="SIGKILL to the process of a run, to all processes of a node (another joins), to the driver of a sweep on a "
    "Ray cluster of two nodes and a head, in turn, at a random moment",
    must_hold="the sweep goes on, or the same line does, after the last epochs that had come home and to the bytes of "
    "a local sweep; finished runs are kept, nothing is twice in MLflow, no process stays",
    times=60,
    short=1,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=_needs,
)
