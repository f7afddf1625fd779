"""The MLflow server is killed and started again twenty times during a sweep of twelve runs."""

import subprocess
import time
from pathlib import Path

from faults import stored
from faults.campaign import Injection, Row
from faults.mlflow_server import Server
from faults.reference import QUICK, copied, made
from faults.rows.store_outages import results
from tests.harness.project import Project

STUDY = "twelve"
SWEEP = (
    *("python", "-m", "pipeline.sweep", "-m", "data.validation_images=200", f"study.name={STUDY}"),
    *("model.conv.kernel_size=3,5,7", "model.conv.filters=4,6", "seed=range(2)"),
)
EPOCHS = 250
"""So many that twenty restarts fit, and a server has time to start between some of them."""

RESTARTS = 20
UP = 1.0, 12.0
"""Seconds from a start to the next kill, where the sweep lasts as long: some come before the server answers."""

SHARE = 0.8
"""Of the time of an undisturbed sweep, in which all restarts happen."""

LONGEST_SWEEP = 3600
SECONDS = "seconds"


def prepare(shared: Path) -> None:
    """A project with prepared images, and one with what the sweep leaves when nothing goes wrong."""
    project = made(shared / "prepared", *QUICK, f"training.epochs={EPOCHS}", "training.threads=1")
    project.run("dvc", "repro", "preprocess")
    started = time.monotonic()
    _swept(copied(shared / "prepared", shared / "reference").start(*SWEEP))
    (shared / SECONDS).write_text(str(time.monotonic() - started), encoding="utf-8")


def trial(injection: Injection) -> str:
    project = copied(injection.shared / "prepared", injection.folder / "project")
    with Server(injection.folder / "server") as server:
        server.start()
        process = project.start(*SWEEP, MLFLOW_TRACKING_URI=server.address)
        least, most = UP
        most = min(most, 2 * SHARE * float((injection.shared / SECONDS).read_text(encoding="utf-8")) / RESTARTS - least)
        restarts = _restart(injection, server, process, (least, most))
        injection.says(f"{restarts} restarts, {least:.0f} to {most:.0f} s apart")
        said = _swept(process)
        told = [line for line in said.splitlines() if line.startswith("tracking:")]
        assert len(told) <= 1, said
        assert "Traceback" not in said, said
        assert "View run" not in said, said
        assert results(project.path, "sweep") == results(injection.shared / "reference", "sweep")
        server.wait()
        kept_up = _is_whole(server, project)
        assert kept_up or told, f"not told that the store is not whole:\n{said}"
        for _ in range(2):
            project.verb("track", STUDY, MLFLOW_TRACKING_URI=server.address)
            stored.check_sweep(server.client(), project.path, STUDY)
    assert restarts == RESTARTS, f"the sweep had ended after {restarts} restarts"
    return "the store kept up" if kept_up else "told; track brought it up"


def _restart(injection: Injection, server: Server, process: subprocess.Popen[str], up: tuple[float, float]) -> int:
    """Kill the server and start it again while the sweep runs; how often. The last one stays."""
    for number in range(RESTARTS):
        time.sleep(injection.random.uniform(*up))
        if process.poll() is not None:
            return number
        server.kill()
        server.start(wait=False)
    return RESTARTS


def _swept(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=LONGEST_SWEEP)
    assert process.returncode == 0, said
    return said


def _is_whole(server: Server, project: Project) -> bool:
    try:
        stored.check_sweep(server.client(), project.path, STUDY)
    except Exception:  # whatever is missing
        return False
    return True


ROW = Row(
    name="store_restarts",
    fault="MLflow server restarted 20 times (kill -9) during a sweep of 12",
    must_hold="the sweep ends as without it, with the same bytes; afterwards the store holds every metric exactly once",
    times=2,
    short=0,  # a sweep that lasts twenty restarts takes a quarter of an hour
    trial=trial,
    prepare=prepare,
    jobs=1,
)
