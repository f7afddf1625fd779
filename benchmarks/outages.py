"""Does a training go on at the same speed when its MLflow server is away, slow or broken?

python -m benchmarks.outages [FAULT …] [--pairs 6] [--epochs 40]

Trains the article's network on the sample in tests/, with a healthy server and with each fault in turn, and compares
the seconds of the epochs and the CPU time that the training's own process spends in them (without the first epoch,
which builds the graph). Prints the medians of the pairs' ratios and writes benchmarks/outages.json, where faults that
are not named stay as they were. Linux only, on a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from faults.mlflow_server import Server
from faults.proxy import Fault, Proxy, passing
from tests.harness.project import Project, new_project

FAULTS: dict[str, Fault] = {
    "no answer, connection cut": lambda _request: "cut",
    "5 s a call": lambda _request: "5",
    "500 to every call": lambda _request: "500",
    "answers to writes lost": lambda request: "lost" if request.write else "pass",
    "stalls for ever": lambda _request: "stall",
}
PROMISED = 1.05
TARGET = Path(__file__).with_suffix(".json")
TICKS = os.sysconf("SC_CLK_TCK")
BETWEEN_LOOKS = 0.02

Speed = tuple[float, float]
"""Seconds and CPU seconds of the epochs after the first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"one of {', '.join(map(repr, FAULTS))}; or all")
    parser.add_argument("--pairs", type=int, default=6, help="trainings with and without each fault, even (default 6)")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of a training (default 40)")
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"no fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    if options.pairs < 2 or options.pairs % 2:
        parser.error(f"--pairs: even, so that each is as often the first of a pair, not {options.pairs}")
    if options.epochs < 2:
        parser.error(f"--epochs: at least 2, since the first is not compared, not {options.epochs}")
    with tempfile.TemporaryDirectory() as name, Server(Path(name) / "server") as server:
        project = new_project(Path(name) / "project", "training=article", f"training.epochs={options.epochs}")
        project.run("dvc", "repro", "preprocess")
        server.start()
        for fault in options.faults or FAULTS:
            _keep(fault, _measured(project, server, fault, options.pairs) | {"epochs": options.epochs})


def _keep(fault: str, figures: dict[str, object]) -> None:
    kept = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    TARGET.write_text(json.dumps(kept | {fault: figures}, indent=2) + "\n", encoding="utf-8")


def _measured(project: Project, server: Server, fault: str, pairs: int) -> dict[str, object]:
    """Ratios of the seconds with `fault` to those without, of `pairs` trainings of each, one after the other."""
    seconds, cpu = [], []
    for number in range(pairs):
        # Each is as often the first of a pair.
        order = (passing, FAULTS[fault]) if number % 2 else (FAULTS[fault], passing)
        speeds = {does: _trained(project, server, does) for does in order}
        seconds.append(speeds[FAULTS[fault]][0] / speeds[passing][0])
        cpu.append(speeds[FAULTS[fault]][1] / speeds[passing][1])
    found = {"seconds": statistics.median(seconds), "cpu": statistics.median(cpu)}
    held = "as promised" if max(found.values()) <= PROMISED else f"more than {PROMISED - 1:.0%} slower"
    print(f"{fault:28}seconds × {found['seconds']:.3f}, CPU × {found['cpu']:.3f} (medians of {pairs}): {held}")
    return found | {"all seconds": seconds, "all cpu": cpu}


def _trained(project: Project, server: Server, does: Callable[..., str]) -> Speed:
    for part in ("record", "checkpoints"):
        shutil.rmtree(project.path / part, ignore_errors=True)
    with Proxy(server.port, does) as proxy:
        process = project.start("python", "-m", "pipeline.train", MLFLOW_TRACKING_URI=proxy.address)
        last, begun, ended = project.params()["training"]["epochs"], 0.0, 0.0
        while process.poll() is None:
            epochs = _epochs(project)
            begun = begun or (_cpu(process.pid) if epochs else 0.0)
            ended = ended or (_cpu(process.pid) if epochs == last else 0.0)
            time.sleep(BETWEEN_LOOKS)
        said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(said)
    (clock,) = project.path.glob("record/clock/*.training.json")
    timing = json.loads(clock.read_text(encoding="utf-8"))["epochs"]
    return sum(epoch["seconds"] for epoch in timing[1:]), ended - begun


def _epochs(project: Project) -> int:
    """How many epochs the training has done."""
    (timing, *_) = [*project.path.glob("checkpoints/*/clock/*.training.json"), None]
    try:
        return 0 if timing is None else len(json.loads(timing.read_text(encoding="utf-8"))["epochs"])
    except (OSError, ValueError):
        return 0


def _cpu(pid: int) -> float:
    """CPU seconds of a process itself, without its children (proc(5): fields 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
