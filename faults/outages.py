"""What can happen to an MLflow server while a command runs: away, slow, broken, forgetful."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faults.campaign import Injection
from faults.mlflow_server import Server
from faults.proxy import Proxy, Request
from tests.harness.project import Project

EPOCHS = 30
"""Of each training, so that there is a middle."""


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
            for timing in self.project.path.glob("checkpoints/*/clock/*.training.json"):
                try:
                    if len(json.loads(timing.read_text(encoding="utf-8"))["epochs"]) >= wanted:
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
