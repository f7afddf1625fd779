"""A study on a Ray cluster: what it says where there is none, and on a real one of three nodes the same bits as here,
whatever dies.
"""

import importlib.util
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from pipeline.run.record import CLOCK, TRAINING
from pipeline.studies.ray_executor import INSTALL
from tests.harness.hosts import Host, hosts, reason_not_to
from tests.harness.mlflow_store import client, curve
from tests.harness.project import ROOT, Project
from tests.harness.ray_clusters import Nodes, hold_where_it_lies, ray_cluster
from tests.harness.sweeps import LINE, TINY, bits, children, faulty, faulty_project, parent, study, sweep

PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
SWEEPS, CLUSTER = (block.splitlines() for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)[:2])
"""The page's commands: installing, and a sweep on a cluster and on one of this machine; a cluster from token to end."""

CUT = 45.0
"""Seconds without a network; after some thirty Ray gives a node up."""

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=f"Ray is not installed: {INSTALL}")


# On a real cluster


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = faulty_project(tmp_path_factory.mktemp("cluster"))
    hold_where_it_lies(project)
    return project


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head and two nodes."""
    with ray_cluster() as nodes:
        yield nodes


def on(nodes: Nodes) -> tuple[str, str]:
    return "study.executor=ray", f"study.address={nodes.address}"


def identities(project: Project, name: str) -> dict[int, str]:
    return {cell["seed"]: cell["identity"] for cell in study(project, name)["cells"]}


def alone(project: Project, folder: Path) -> Project:
    """The project in another folder, where nothing has been trained.

    Without its store: what copies a database in the process that has it open takes its locks away.
    """
    shutil.copytree(project.path, folder, ignore=shutil.ignore_patterns("mlflow.db*"))
    for name in ("runs", "checkpoints", "studies"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return Project(folder)


def local_bits(project: Project, name: str, line: tuple[str, ...], folder: Path) -> dict[int, tuple[bytes, ...]]:
    """The bits of the same runs, trained on this machine by its own processes."""
    here = alone(project, folder)
    sweep(here, *line, "tracking=off")
    return {seed: bits(here, identity) for seed, identity in identities(here, name).items()}


def begun(project: Project, name: str) -> list[int]:
    """How many epochs have come home of each run of a study that is at work, sorted."""
    if not (project.path / "studies" / name / "study.json").exists():
        return []
    found = [
        project.path / "checkpoints" / one / TRAINING / "history.csv" for one in identities(project, name).values()
    ]
    return sorted(len(path.read_text().splitlines()) - 1 for path in found if path.exists())


def wait_for(seen: Callable[[], bool], sweep: Popen[str] | None = None, seconds: float = 240) -> None:
    """Wait until it is `seen`, while the sweep runs."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "was not seen in time"
        assert sweep is None or sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.2)


@needs_ray
@pytest.mark.long
def test_a_cluster_gives_the_same_bits_and_nodes_keep_nothing(prepared: Project, nodes: Nodes, tmp_path: Path) -> None:
    said = sweep(prepared, *LINE, *on(nodes))
    assert "with 2 at a time" in said
    assert "Traceback" not in said
    found = {cell["identity"]: cell["state"] for cell in study(prepared)["cells"]}
    assert list(found.values()) == ["finished"] * 4
    here = alone(prepared, tmp_path / "alone")
    sweep(here, *LINE, "tracking=off")
    for identity in found:
        ours, theirs = prepared.path / "runs" / identity, here.path / "runs" / identity
        for path in [
            path for path in theirs.rglob("*") if path.is_file() and path.name[0] != "." and CLOCK not in path.parts
        ]:
            assert (ours / path.relative_to(theirs)).read_bytes() == path.read_bytes(), path
        clock = (ours / CLOCK / f"{identity}.{TRAINING}.json").read_text()
        assert f'"host": "{socket.gethostname()}"' in clock
        assert prepared.run("git", "rev-parse", "HEAD").strip() in clock
    assert nodes.files() == []
    assert list((prepared.path / "checkpoints").glob("*/*")) == []
    for run in children(prepared):
        assert [step for step, _ in curve(client(prepared), run, "loss/training")] == [1, 2]
    assert "4 done already, 0 to do" in sweep(prepared, *LINE, *on(nodes))


@needs_ray
@pytest.mark.long
def test_a_run_whose_process_is_killed_goes_on_after_its_last_epoch(
    prepared: Project, nodes: Nodes, tmp_path: Path
) -> None:
    line = "seed=11", "study.name=killed"
    with faulty(prepared, seed11="die"):
        said = sweep(prepared, *line, *on(nodes))
    assert "failed" not in said
    assert (
        bits(prepared, identities(prepared, "killed")[11])
        == local_bits(prepared, "killed", line, tmp_path / "alone")[11]
    )


@needs_ray
@pytest.mark.long
def test_what_a_dead_node_did_goes_on_where_one_joins(prepared: Project, tmp_path: Path) -> None:
    line = "seed=21,22", "study.name=joined"
    with ray_cluster() as nodes:
        with faulty(prepared, seed21="hold", seed22="hold"):
            running = prepared.start("python", "-m", "pipeline.sweep", "-m", *line, *on(nodes))
            wait_for(lambda: begun(prepared, "joined") == [1, 1], running)
            nodes.crash(nodes.nodes[0])
            nodes.join()
            # The other node is held in its first epoch.
            wait_for(lambda: begun(prepared, "joined") == [1, 2], running)
        said, _ = running.communicate(timeout=200)
    assert running.returncode == 0, said
    here = local_bits(prepared, "joined", line, tmp_path / "alone")
    assert {seed: bits(prepared, name) for seed, name in identities(prepared, "joined").items()} == here


@needs_ray
@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_sweep_that_is_stopped_leaves_no_training_and_goes_on(
    prepared: Project, nodes: Nodes, number: signal.Signals, status: int
) -> None:
    seed, name = 30 + int(number), f"stopped_{number.name}"
    line = f"seed={seed}", f"study.name={name}", *on(nodes)
    with faulty(prepared, **{f"seed{seed}": "hold"}):
        running = prepared.start("python", "-m", "pipeline.sweep", "-m", *line)
        wait_for(lambda: begun(prepared, name) == [1] and bool(nodes.trainings()), running)
        running.send_signal(number)
        said, _ = running.communicate(timeout=60)
        assert running.returncode == status, said
        wait_for(lambda: not nodes.trainings(), seconds=60)
    wait_for(lambda: {run.info.status for run in children(prepared, name)} == {"KILLED"})
    said = sweep(prepared, *line)
    assert "0 done already, 1 to do" in said
    (run,) = children(prepared, name)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in curve(client(prepared), run, "loss/training")] == [1, 2]
    assert parent(prepared, name).info.status == "FINISHED"


def test_the_page_has_the_commands_that_are_run_here() -> None:
    install, there, here = SWEEPS
    assert install.startswith(INSTALL)
    assert there.replace(" study.address=head:6379", "") == here.partition(" #")[0].rstrip()
    heads = [" ".join(line.split()[:2]) for line in CLUSTER]
    assert heads == ["export RAY_AUTH_MODE=token", "ray start", "ray start", "ray stop"]


@needs_ray
@pytest.mark.long
def test_the_pages_commands_on_hosts_of_which_one_loses_its_network(prepared: Project, tmp_path: Path) -> None:
    if reason := reason_not_to():
        pytest.skip(reason)
    token, head, node, stop = CLUSTER
    more = "model.conv.kernel_size=3", "model.conv.filters=4", "seed=51,52", "study.name=hosts", "study.baseline=null"
    with hosts(3) as (first, *others):

        def on_host(host: Host, *lines: str) -> tuple[str, ...]:
            block = "\n".join(lines).replace("head:", f"{first.address}:").replace("TOKEN=…", f"TOKEN={'t' * 40}")
            return host.words(prepared, block)

        prepared.run(*on_host(first, token, head))
        for other in others:
            prepared.run(*on_host(other, token, node))
        with faulty(prepared, seed51="hold", seed52="hold"):
            line = " ".join([SWEEPS[1], *map(shlex.quote, (*TINY[:-1], *more))])
            running = prepared.start(*on_host(first, token, line))
            wait_for(lambda: begun(prepared, "hosts") == [1, 1], running)
            others[0].unplug()
            time.sleep(CUT)
            others[0].plug()
        said, _ = running.communicate(timeout=400)
        assert running.returncode == 0, said
        for host in (first, *others):
            prepared.run(*on_host(host, stop))
        wait_for(lambda: not any(host.processes() for host in (first, *others)), seconds=30)
    line_here = "+study=kernels_by_filters", *TINY[:-1], *more
    here = local_bits(prepared, "hosts", line_here, tmp_path / "alone")
    assert {seed: bits(prepared, name) for seed, name in identities(prepared, "hosts").items()} == here


@needs_ray
@pytest.mark.long
def test_a_sweep_outlives_no_head_but_the_same_line_goes_on(prepared: Project) -> None:
    line = "seed=41", "study.name=headless"
    with faulty(prepared, seed41="hold"):
        with ray_cluster(1) as nodes:
            running = prepared.start("python", "-m", "pipeline.sweep", "-m", *line, *on(nodes))
            wait_for(lambda: begun(prepared, "headless") == [1], running)
            nodes.behead()
            said, _ = running.communicate(timeout=120)
        assert running.returncode == 1, said
    wait_for(lambda: {run.info.status for run in children(prepared, "headless")} == {"KILLED"})
    assert "0 done already, 1 to do" in sweep(prepared, *line, "study.executor=ray")
    (run,) = children(prepared, "headless")
    assert run.info.status == "FINISHED"
