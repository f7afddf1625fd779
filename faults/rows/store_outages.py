"""The MLflow server is away, slow, broken or forgetful while `dvc repro` and a sweep run."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults import stored
from faults.campaign import Injection, Row
from faults.mlflow_server import Server
from faults.proxy import Proxy, Request, passing
from faults.reference import QUICK, VOLATILE, copied, made
from faults.reference import results as repro_results
from pipeline.storage import digest
from tests.project import Project

STUDY = "kernel_size"
SWEEP = "sweep", "-m", "model.conv.kernel_size=3,5", "seed=range(2)", "data.validation_images=200"
COMMANDS = {"dvc repro": ("dvc", "repro"), "sweep": ("python", "-m", f"pipeline.{SWEEP[0]}", *SWEEP[1:])}
EPOCHS = 30
PREPARED, REFERENCE = "prepared", "reference"

TRAINING_WAITS, EVALUATION_WAITS, STARTS = 30, 60, 60
"""Seconds: what a training, a sweep and an evaluation may wait for the store, and what busy machines need to start."""

LONGEST_COMMAND = 900


@dataclass
class Scene:
    """What an outage may touch."""

    injection: Injection
    server: Server
    proxy: Proxy
    project: Project
    process: subprocess.Popen[str] | None = None

    def epoch_done(self) -> None:
        """Wait until some training of the command has ended a random epoch, or the command has."""
        wanted = self.injection.random.randrange(1, EPOCHS - 1)
        self.injection.says(f"after epoch {wanted}")
        while self.process is not None and self.process.poll() is None:
            for timing in self.project.path.glob("checkpoints/*/training/timing.json"):
                try:
                    if len(json.loads(timing.read_text())["epochs"]) >= wanted:
                        return
                except (OSError, ValueError):
                    continue
            time.sleep(0.05)


Outage = Callable[[Scene], Iterator[None]]
"""A generator: before its yield the command has not begun, after it the command runs."""


def absent(scene: Scene) -> Iterator[None]:
    scene.server.kill()
    yield


def late(scene: Scene) -> Iterator[None]:
    scene.server.kill()
    yield
    scene.epoch_done()
    scene.server.start()


def gone(scene: Scene) -> Iterator[None]:
    yield
    scene.epoch_done()
    scene.server.kill()


def gone_and_back(scene: Scene) -> Iterator[None]:
    yield
    scene.epoch_done()
    scene.server.kill()
    pause = round(scene.injection.random.uniform(0, 5), 1)
    scene.injection.says(f"started again {pause} s later")
    time.sleep(pause)
    scene.server.start()


def spoiled(fault: Callable[[Request], str]) -> Outage:
    """The proxy does `fault` from the start."""

    def outage(scene: Scene) -> Iterator[None]:
        scene.proxy.fault = fault
        yield

    return outage


def sometimes(fault: str) -> Outage:
    """The proxy does `fault` to some of the writes, drawn anew for each."""

    def outage(scene: Scene) -> Iterator[None]:
        share = scene.injection.random.choice((0.2, 0.35, 0.5))
        scene.injection.says(f"{share:.0%} of the writes")
        scene.proxy.fault = lambda request: (
            fault if request.write and scene.injection.random.random() < share else "pass"
        )
        yield

    return outage


OUTAGES: dict[str, Outage] = {
    "absent from start to end": absent,
    "absent at the start, there later": late,
    "killed in the middle": gone,
    "killed in the middle, started again": gone_and_back,
    "5 s a call": spoiled(lambda _request: "5"),
    "500 to every call": spoiled(lambda _request: "500"),
    "500 to every third call": spoiled(lambda request: "pass" if request.number % 3 else "500"),
    "500 to every write": spoiled(lambda request: "500" if request.write else "pass"),
    "written, but the answer lost": sometimes("lost"),
    "written, but the answer to every other write lost": spoiled(
        lambda request: "lost" if request.write and request.write % 2 else "pass"
    ),
    "stalls for ever": spoiled(lambda _request: "stall"),
    "a page of HTML with status 200": spoiled(lambda _request: "html"),
}


def prepare(shared: Path) -> None:
    """A project with prepared images, and what it leaves when nothing goes wrong."""
    project = made(shared / PREPARED, *QUICK, f"training.epochs={EPOCHS}")
    project.run("dvc", "repro", "preprocess")
    reference = copied(shared / PREPARED, shared / REFERENCE)
    for command in COMMANDS.values():
        said, _ = (process := reference.start(*command)).communicate(timeout=LONGEST_COMMAND)
        assert process.returncode == 0, said


def trial(injection: Injection) -> str:
    door = list(COMMANDS)[injection.number % 2]
    name, outage = list(OUTAGES.items())[injection.number // 2 % len(OUTAGES)]
    injection.says(f"{door}; server {name}")
    project = copied(injection.shared / PREPARED, injection.folder / "project")
    with Server(injection.folder / "server") as server, Proxy(server.port) as proxy:
        server.start()
        scene = Scene(injection, server, proxy, project)
        said = _run_through(scene, COMMANDS[door], outage)
        _check_told(said, most=2 if door == "dvc repro" else 1)
        _check_waited(scene, door)
        assert results(project.path, door) == results(injection.shared / REFERENCE, door)
        proxy.fault = passing
        if not server.is_running:
            server.start()
        kept_up = _is_whole(server, project.path, door)
        for _ in range(2):
            # The second time nothing may be added.
            project.verb("track", *(() if door == "dvc repro" else (STUDY,)), MLFLOW_TRACKING_URI=proxy.address)
            check(server, project.path, door)
    assert kept_up or "tracking:" in said, f"not told that the store is not whole:\n{said}"
    return "the store kept up" if kept_up else "told; track brought it up"


def _run_through(scene: Scene, command: tuple[str, ...], outage: Outage) -> str:
    """What the command says while the outage happens."""
    acts = outage(scene)
    next(acts)
    scene.process = scene.project.start(*command, MLFLOW_TRACKING_URI=scene.proxy.address)
    next(acts, None)
    said, _ = scene.process.communicate(timeout=LONGEST_COMMAND)
    assert scene.process.returncode == 0, said
    return said


def _check_told(said: str, most: int) -> None:
    told = [line for line in said.splitlines() if line.startswith("tracking:")]
    assert len(told) <= most, said
    assert "Traceback" not in said, said
    assert "View run" not in said, said


def _check_waited(scene: Scene, door: str) -> None:
    """The command ended soon after the last thing it did itself."""
    ended, path = 1000 * time.time(), scene.project.path
    if door == "dvc repro":
        trained = json.loads((path / "record/training/timing.json").read_text())["epochs"][-1]["ended"]
        scored = json.loads((path / "record/evaluation/timing.json").read_text())["scored"]
        waits = {"training": (scored - trained, TRAINING_WAITS), "evaluation": (ended - scored, EVALUATION_WAITS)}
    else:
        scored = max(json.loads(file.read_text())["scored"] for file in path.glob("runs/*/evaluation/timing.json"))
        waits = {"sweep": (ended - scored, TRAINING_WAITS)}
    for what, (milliseconds, most) in waits.items():
        scene.injection.says(f"{what} left after {milliseconds / 1000:.0f} s")
        assert milliseconds / 1000 < most + STARTS, f"the {what} left {milliseconds / 1000:.0f} s after its work"


def check(server: Server, path: Path, door: str) -> None:
    """Raises AssertionError where the store does not hold everything once."""
    if door == "dvc repro":
        stored.check_repro(server.client(), path)
    else:
        stored.check_sweep(server.client(), path, STUDY)


def _is_whole(server: Server, path: Path, door: str) -> bool:
    try:
        check(server, path, door)
    except Exception:  # whatever is missing
        return False
    return True


def results(path: Path, door: str) -> dict[str, str]:
    """Path → SHA-256 of what must repeat byte for byte."""
    if door == "dvc repro":
        return repro_results(path)
    files = digest.of_folder(path / "runs")
    return {file: sha256 for file, sha256 in files.items() if Path(file).name not in VOLATILE and file[0] != "."}


ROW = Row(
    name="store_outages",
    fault="MLflow server absent, gone in the middle, slow (5 s a call), answering 500, losing answers, stalling",
    must_hold="the command ends as without it, with the same bytes, soon, and tells it in a line; afterwards `track` "
    "brings the store to hold every metric, param, tag and file exactly once",
    times=2 * len(OUTAGES),
    short=2,
    trial=trial,
    prepare=prepare,
    jobs=2,
)
