"""A study's runs on a Ray cluster: the executor for more than one machine.

The conducting machine's disk is the truth, and only the conductor writes there: a node that was given up and lives on
changes nothing. Code and images go to a node once; after each epoch the checkpoint and the growing record come home, at
the end the record. A node of other code, versions or device gets no run.
"""

import contextlib
import math
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from pipeline.run.checkpoint import CHECKPOINT, read_checkpoint, remove_checkpoint
from pipeline.run.environment import environment
from pipeline.run.record import CLOCK, TRAINING, TrainingClock, read_clock
from pipeline.storage import lock, project
from pipeline.studies.plan import Job, record_of
from pipeline.studies.ray_node import Grown, describe, differing, do, files_of, put_files
from pipeline.studies.study import present_study
from pipeline.studies.workers import (
    BETWEEN_LOOKS,
    Ended,
    Failure,
    LocalProcesses,
    MayStart,
    cores,
    lock_of,
    prepared_images,
    threads,
)
from pipeline.terminal.command import TERMINATED
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

INSTALL = ".tools/bin/uv pip install --python .venv --require-hashes -r requirements/cluster.txt"

LONGEST_ANSWER = 5.0
"""Seconds that a cluster's head may take to answer."""

LONGEST_SILENCE = 50.0
"""Seconds that it may be away: after 60 Ray ends this process, without a `finally`."""

LONGEST_WITHOUT_NODE = 60.0
"""Seconds that a job waits for a node that may do it where the cluster has none."""

BETWEEN_NODES = 2.0
"""Seconds between two looks at which nodes there are."""

MOST_LOSSES = 3
"""Times that a run is lost without another epoch and sent again."""

ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""What every head answers, asked with an empty message (ray/core/generated/gcs_service_pb2)."""


@dataclass(frozen=True)
class _Node:
    """A node that may do runs."""

    cpus: int
    cards: int
    processor: str


@dataclass(frozen=True, eq=False)
class _Away:
    """A job that a node does while its locks are ours, and what is heard from there."""

    job: Job
    node: str
    locks: ExitStack
    words: Any


class RayCluster:
    """Does the jobs of the study called `study` on the nodes of a cluster, as an Executor does.

    Without an `address` the cluster is of this machine, and ends with this process. `wanted` is the most at once.
    Raises UserError where there is no Ray, or no cluster at the address.
    """

    def __init__(self, study: str, address: str | None, wanted: int | None) -> None:
        try:
            import ray  # noqa: PLC0415 - an extra
        except ImportError:
            raise UserError(f"study.executor: ray needs Ray, which is not installed: `{INSTALL}`") from None
        self.study, self.address, self.wanted, self.ray = study, address, wanted, ray
        self.nodes: dict[str, _Node] = {}
        self.asked: dict[str, Any] = {}
        self.unfit: dict[str, str] = {}
        self.classes: dict[int, str] = {}
        self.homeless: dict[str, float] = {}
        self.losses = Counter[str]()
        self.images: list[Any] = []
        self.looked = self.heard = 0.0
        if address is not None:
            if reason := refusal(address):
                raise UserError(f"study.address: {reason} (docs/scale.md), or leave it out for this machine alone.")
            self._connect(address=address)

    def slots(self, jobs: Sequence[Job]) -> int:
        """How many of `jobs` go on at once, on the nodes that there are now."""
        if self.address is None:
            return LocalProcesses(self.wanted).slots(jobs)
        most = sum(max(1, cpus // max(map(threads, jobs), default=1)) for _, cpus, _ in self._living().values())
        return min(most, len(jobs), self.wanted or most)

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        """Do `jobs`, as an Executor does."""
        waiting, away = list(jobs), list[_Away]()
        self._prepare(jobs)
        try:
            while True:
                self._look_for_nodes(jobs[0])
                ended = self._send(waiting, away, may_start)
                if not (away or ended or any(map(may_start, waiting))):
                    return
                ended += self._hear(waiting, away)
                lost = [job for job in waiting if self.losses[job.identity.name]]
                yield [*(one.job for one in away), *lost], ended
        except SystemExit:
            # Where SIGTERM comes while Ray waits, Ray gives its own status.
            raise SystemExit(TERMINATED) from None
        finally:
            for one in away:
                with contextlib.suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(one.words, force=True)
                one.locks.close()

    def _connect(self, **options: Any) -> None:
        # It tells nobody, and lets runs have the cores as they have them without it.
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        others = [f"/{path.name}" for path in project.ROOT.iterdir() if path.name != "pipeline"]
        code = {"working_dir": str(project.ROOT), "excludes": others}
        before = signal.getsignal(signal.SIGTERM)
        try:
            self.ray.init(runtime_env=code, log_to_driver=False, logging_level="ERROR", **options)
        except (OSError, RuntimeError, ValueError, self.ray.exceptions.RayError) as error:
            raise UserError(f"study.executor: Ray can't be used: {in_words(error)}") from None
        finally:
            # Ray takes it; how a verb ends is ours.
            signal.signal(signal.SIGTERM, before)

    def _prepare(self, jobs: Sequence[Job]) -> None:
        """Have the cluster, the images where its nodes fetch them, and of which class each seed is that was begun."""
        if not self.ray.is_initialized():
            cpus = max(cores(), (self.wanted or 1) * max(map(threads, jobs)))
            self._connect(address="local", num_cpus=cpus, include_dashboard=False)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            # Two locks a run that is away: a usual limit of 1,024 would end at some 500 nodes.
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if not self.images:
            both = prepared_images("training"), prepared_images("test") if jobs[0].images == "test" else None
            # Without the digest that the summary says: there it is that of the bytes that came.
            self.images = [self.ray.put(images and replace(images, prepared=None)) for images in both]
        self.heard = time.monotonic()
        study = present_study(project.study(self.study))
        for run in () if study is None else study.cells:
            with contextlib.suppress(UserError):
                clock = read_clock(project.run_root(run.identity) / TRAINING, run.identity, TrainingClock)
                if clock is not None and "processor_class" in clock.environment.hardware:
                    self.classes.setdefault(run.seed, str(clock.environment.hardware["processor_class"]))
        for job in jobs:
            with contextlib.suppress(ValueError):
                if (checkpoint := read_checkpoint(project.checkpoint(job.identity.name) / CHECKPOINT)) is not None:
                    self.classes.setdefault(job.seed, checkpoint.processor)

    def _living(self) -> dict[str, tuple[str, int, int]]:
        """The host, the CPUs and the cards of each node that has any CPU, by its id."""
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        has = {node["NodeID"]: (node["NodeManagerHostname"], node["Resources"]) for node in nodes}
        return {node: (host, int(own["CPU"]), int(own.get("GPU", 0))) for node, (host, own) in has.items()}

    def _look_for_nodes(self, job: Job) -> None:
        """Ask nodes that have joined what they are, and forget those that are gone.

        Raises UserError when the head has been away for too long.
        """
        now = time.monotonic()
        if now - self.looked < BETWEEN_NODES:
            return
        self.looked = now
        if self.address is not None and refusal(self.address, seconds=1):
            # Asked now, Ray would wait for it.
            if now - self.heard > LONGEST_SILENCE:
                raise UserError(f"study.address: the head at {self.address} is gone. With one, the same line goes on.")
            return
        self.heard, living = now, self._living()
        self.nodes = {node: one for node, one in self.nodes.items() if node in living}
        for node in living.keys() - self.nodes.keys() - self.asked.keys() - self.unfit.keys():
            self.asked[node] = self._task(describe, node, job).remote()
        for node in self._ready(self.asked):
            host, cpus, cards = living.get(node, ("", 0, 0))
            try:
                processor, ingredients = self.ray.get(self.asked.pop(node))
                reason = differing(ingredients, job.identity.ingredients)
            except (self.ray.exceptions.RayTaskError, self.ray.exceptions.RuntimeEnvSetupError) as error:
                reason = in_words(error)
            except self.ray.exceptions.RayError:
                # It died of it: asked again where it lives.
                continue
            if reason:
                self.unfit[node] = f"{host}: {reason}"
                console.print(f"no run is sent to the node {host}: {reason}")
            elif node in living:
                self.nodes[node] = _Node(cpus, cards, processor)

    def _task(
        self, act: Callable[..., Any], node: str, job: Job, cpus: int = 0, card: float = 0, **options: Any
    ) -> Any:
        there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        # A process sets its threads once: those of another number get another.
        variables = {"CONV2D_THREADS": str(threads(job))}
        if job.identity.ingredients["device"] == "cpu":
            # A card that a node has is not for this study.
            variables["CUDA_VISIBLE_DEVICES"] = ""
        own = {"num_cpus": cpus, "num_gpus": card, "runtime_env": {"env_vars": variables}}
        return self.ray.remote(act).options(scheduling_strategy=there, max_retries=0, **own, **options)

    def _ready(self, words: Mapping[Any, Any], seconds: float = 0) -> list[Any]:
        """The keys of those of which there is something to hear."""
        if not words:
            time.sleep(seconds)
            return []
        waited, _ = self.ray.wait(list(words.values()), num_returns=len(words), timeout=seconds, fetch_local=False)
        ready = set(waited)
        return [key for key, word in words.items() if word in ready]

    def _send(self, waiting: list[Job], away: list[_Away], may_start: MayStart) -> list[Ended]:
        """Send what there is room for; returns what others have done meanwhile, and what no node can do."""
        ended, room = [], {node: one.cpus for node, one in self.nodes.items()}
        for one in away:
            if one.node in room:
                room[one.node] -= self._cpus(one.job, one.node)
        for job in [job for job in waiting if may_start(job)]:
            if (self.wanted is not None and len(away) >= self.wanted) or (room and not any(room.values())):
                break
            node, reason = self._place(job, room)
            if reason:
                ended.append(Ended(job, Failure(reason)))
            elif node is None or (locks := held(job)) is None:
                continue
            elif record_of(job) is not None:
                locks.close()
                ended.append(Ended(job))
            else:
                room[node] -= self._cpus(job, node)
                away.append(_Away(job, node, locks, self._begin(job, node)))
            waiting.remove(job)
        return ended

    def _place(self, job: Job, room: Mapping[str, int]) -> tuple[str | None, str]:
        """The node with the most of the `room` (its free CPUs) for the job, None while there is none; why none will
        ever have any.

        All settings of a seed are trained on one class of processor: what is compared differs in nothing else.
        """
        wanted = self.classes.get(job.seed)
        fitting = [node for node in room if wanted in (None, self.nodes[node].processor)]
        if not fitting:
            since = self.homeless.setdefault(job.identity.name, time.monotonic())
            of_class = "" if wanted is None else f" of the class on which its seed was begun ({wanted})"
            reason = "; ".join([f"the cluster has no node{of_class} that can do it", *self.unfit.values()])
            # One that was asked may be slow to answer.
            is_over = not self.asked and time.monotonic() - since > LONGEST_WITHOUT_NODE
            return None, reason if is_over else ""
        self.homeless.pop(job.identity.name, None)
        node = max(fitting, key=lambda node: room[node])
        return (node if room[node] >= self._cpus(job, node) else None), ""

    def _cpus(self, job: Job, node: str) -> int:
        """More threads than a node has CPUs only where the job would never be done else."""
        return min(threads(job), self.nodes[node].cpus)

    def _card(self, job: Job, node: str) -> float:
        """The part of a card that the job takes: the runs that a node's CPUs have room for share its cards evenly."""
        if job.identity.ingredients["device"] == "cpu" or not self.nodes[node].cards:
            return 0
        sharing = math.ceil(self.nodes[node].cpus // self._cpus(job, node) / self.nodes[node].cards)
        # Ray counts in ten-thousandths, and would round a sixth up.
        return math.floor(10_000 / sharing) / 10_000

    def _begin(self, job: Job, node: str) -> Any:
        self.classes.setdefault(job.seed, self.nodes[node].processor)
        begun = [files_of(job, TRAINING, CLOCK, is_record=True), files_of(job, CHECKPOINT, is_record=False)]
        task = self._task(do, node, job, self._cpus(job, node), self._card(job, node), num_returns="streaming")
        return task.remote(job, begun, environment(), *self.images)

    def _hear(self, waiting: list[Job], away: list[_Away]) -> list[Ended]:
        """Put what has come home into its place, and let what was lost wait again; returns what has ended."""
        ended = []
        for one in self._ready({one: one.words for one in away}, BETWEEN_LOOKS):
            name = one.job.identity.name
            try:
                word = self.ray.get(next(one.words))
            except (self.ray.exceptions.RayError, StopIteration) as error:
                # Its node is asked again before it gets another.
                self.nodes.pop(one.node, None)
                self.losses[name] += 1
                word = Failure(f"its process or its node died: {in_words(error)}")
            else:
                self.losses[name] = 0
            if isinstance(word, Grown):
                put_files(one.job, word)
                continue
            away.remove(one)
            one.locks.close()
            if 0 < self.losses[name] <= MOST_LOSSES:
                waiting.insert(0, one.job)
                continue
            if word is None:
                remove_checkpoint(project.checkpoint(name))
            ended.append(Ended(one.job, word))
        return ended


def refusal(address: str, seconds: float = LONGEST_ANSWER) -> str:
    """Why a sweep can't go on a cluster whose head is there; nothing where it can. Ray itself would try for minutes."""
    import grpc  # noqa: PLC0415 - takes its time, and a cluster of this machine needs none

    token = os.environ.get("RAY_AUTH_TOKEN")
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=seconds, metadata=[("authorization", f"Bearer {token}")])
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                return (
                    f"must be that of a Ray head, but none answers at {address} within {seconds:g} s. Begin one there"
                )
            # Ray may know it from a file.
            if token or os.environ.get("RAY_AUTH_MODE") != "token":
                return f"the head at {address} asks for its token. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    return ""


def in_words(error: BaseException) -> str:
    """The last line of what Ray says, without its colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[-1:]])


def held(job: Job) -> ExitStack | None:
    """What a process holds that does the job; None where another does it."""
    with ExitStack() as locks:
        for path in (lock_of(job), project.checkpoint(job.identity.name) / "lock"):
            if not locks.enter_context(lock.if_free(path)):
                return None
        return locks.pop_all()
