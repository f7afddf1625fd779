"""What one conductor holds: a sweep on a cluster of nodes that only tell, so that all that is measured is its process.

python -m benchmarks.conductor [--nodes 1000] [--runs 2000] [--settings 1] [--epochs 5] [--kilobytes 750] [--rounds 3]
python -m benchmarks.conductor --cluster [--runs 1000]

Prints JSON: wall and CPU milliseconds that the end of a run takes in each quarter of the study, what an epoch takes
that comes home with its checkpoint, and the memory of the process at the end. Medians of the rounds, in which runs
without and with epochs are done in turn. Nothing of Ray itself is in it, nor of MLflow, which another process tells.

With --cluster so many real runs of a moment, over the sample, on a head and two nodes of this machine: how often one
ends, early and late, and the memory of the process that conducts.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from benchmarks.rows.sweeps import tiny_sweep
from pipeline.config.schema import Tracking
from pipeline.run.checkpoint import CHECKPOINT
from pipeline.run.record import TRAINING
from pipeline.studies.plan import Job
from pipeline.studies.ray_executor import RayCluster
from pipeline.studies.ray_node import Grown, describe
from pipeline.studies.run_study import run_study
from pipeline.studies.study import Point
from pipeline.studies.workers import Ended, MayStart, prepared_images
from tests.harness.conducting import finish
from tests.harness.fake_ray import FakeRay
from tests.harness.project import prepared_project
from tests.harness.ray_clusters import ray_cluster
from tests.harness.settings import article, article_values
from tests.harness.studies import a_project, declared, prepare

CPUS = 1
TINY = "model=small", "training=smoke", "model.conv.filters=2", "training.threads=1"


@dataclass
class Nodes:
    """What nodes tell of a run. `theirs` are wall and CPU seconds of this process that are a node's in truth."""

    epochs: int
    checkpoint: bytes
    theirs: tuple[float, float] = (0.0, 0.0)

    def act(self, job: Job, _node: str) -> Iterator[Any]:
        for epoch in range(1, self.epochs + 1):
            growing = {f"{TRAINING}/{name}": bytes(1_000 + 50 * epoch) for name in ("run.json", "history.csv")}
            yield Grown(False, {CHECKPOINT: self.checkpoint, **growing})
        before = self.now()
        finish(job)
        now = self.now()
        self.theirs = self.theirs[0] + now[0] - before[0], self.theirs[1] + now[1] - before[1]
        yield None

    def now(self) -> tuple[float, float]:
        """Wall and CPU seconds of the conductor."""
        return time.perf_counter() - self.theirs[0], time.process_time() - self.theirs[1]


class Watched(RayCluster):
    """`marks`: how many runs have ended, and the seconds until the conductor had kept them, at each of its looks."""

    marks: list[tuple[int, float, float]]

    def watch(self, nodes: Nodes) -> Self:
        self.told, self.marks = nodes, []
        return self

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        count = 0
        self.marks.append((0, *self.told.now()))
        for running, ended in super().run(jobs, may_start):
            yield running, ended
            if ended:
                count += len(ended)
                self.marks.append((count, *self.told.now()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("nodes", 1000), ("runs", 2000), ("settings", 1), ("epochs", 5), ("kilobytes", 750)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cluster", action="store_true")
    options = vars(parser.parse_args())
    if options.pop("cluster"):
        with tempfile.TemporaryDirectory() as folder, ray_cluster() as nodes:
            project = prepared_project(Path(folder) / "tiny", *TINY)
            on_nodes = "study.executor=ray", f"study.address={nodes.address}"
            print(tiny_sweep(project, options["runs"], *on_nodes).said)
    else:
        print(json.dumps(measured(**options)))


def measured(nodes: int, runs: int, settings: int, epochs: int, kilobytes: int, rounds: int) -> dict[str, object]:
    """What this module prints."""
    ends: list[list[tuple[float, float]]] = []
    epochs_home: list[tuple[float, float]] = []
    for number in range(rounds):
        both = {}
        for count in dict.fromkeys((0, epochs) if number % 2 == 0 else (epochs, 0)):
            both[count] = conduct(nodes, runs, settings, Nodes(count, os.urandom(1_000 * kilobytes)))
        ends.append([_a_run(both[0], quarter / 4, (quarter + 1) / 4) for quarter in range(4)])
        one, other = (_a_run(both[count], 0, 1) for count in (epochs, 0))
        epochs_home.append(((one[0] - other[0]) / max(1, epochs), (one[1] - other[1]) / max(1, epochs)))
    return {
        "nodes": nodes,
        "runs": runs,
        "settings": settings,
        "a run's end": [_in_words([one[quarter] for one in ends]) for quarter in range(4)],
        "an epoch home": _in_words(epochs_home),
        "MiB": round(psutil.Process().memory_info().rss / 2**20),
    }


def conduct(nodes: int, runs: int, settings: int, told: Nodes) -> list[tuple[int, float, float]]:
    """Sweep `runs` runs of so many settings; the marks of `Watched`."""
    answers = "this class", describe()[1]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        a_project(patch, Path(folder))
        prepare()
        prepared_images.cache_clear()
        patch.setitem(sys.modules, "ray", FakeRay({f"n{number}": (CPUS, answers) for number in range(nodes)}, told.act))
        executor = Watched("kernels", None, nodes).watch(told)
        tracking = Tracking.model_validate(article().tracking.model_dump() | {"enabled": False})
        with contextlib.redirect_stdout(io.StringIO()):
            run_study(_grid(runs, settings), declared(ask=False), tracking, executor)
    return executor.marks


def _grid(runs: int, settings: int) -> list[Point]:
    each = itertools.product(range(1, settings + 1), range(runs // settings))
    changes = ({"data.validation_images": 10, "model.conv.filters": filters, "seed": seed} for filters, seed in each)
    return [Point(f"{one}", article_values(one)) for one in changes]


def _a_run(marks: list[tuple[int, float, float]], start: float, end: float) -> tuple[float, float]:
    """Wall and CPU seconds a run between two parts of the study; looks at which many end are not divided."""
    total = marks[-1][0]
    early, late = (next(mark for mark in marks if mark[0] >= part * total) for part in (start, end))
    count = max(1, late[0] - early[0])
    return (late[1] - early[1]) / count, (late[2] - early[2]) / count


def _in_words(seconds: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = (round(1_000 * statistics.median(one), 2) for one in zip(*seconds, strict=True))
    return {"ms": wall, "CPU ms": cpu}


if __name__ == "__main__":
    main()
