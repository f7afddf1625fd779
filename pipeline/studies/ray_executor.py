"""A study's runs on a Ray cluster: the executor for more than one machine.

The conducting machine's disk is the truth, and only the conductor writes there: a node that was given up and lives on
changes nothing. A node gets the code and the images, once, and what there is of a run; after each epoch the checkpoint
and the growing record come home, at the end the record. A node of other code, versions or device gets no run, and each
run's identity is computed again where it is trained.
"""

import contextlib
import os
import platform
import re
import shutil
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from pydantic import JsonValue

from pipeline.config.load import leaves
from pipeline.data.prepared import Images
from pipeline.run.checkpoint import CHECKPOINT, read_checkpoint, remove_checkpoint
from pipeline.run.environment import Environment, device, environment, processor_class, versions
from pipeline.run.identity import deciding_code, identity
from pipeline.run.record import CLOCK, TRAINING, TrainingClock, read_clock
from pipeline.storage import atomic, digest, lock, project
from pipeline.studies.plan import Job, record_of
from pipeline.studies.study import present_study
from pipeline.studies.workers import (
    BETWEEN_LOOKS,
    Ended,
    Failure,
    LocalProcesses,
    MayStart,
    cores,
    failure,
    lock_of,
    prepared_images,
    run_job,
    threads,
)
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

MOST_DEATHS = 3
"""Times that a run is lost without another epoch and sent again."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS = 4
"""How HTTP/2 begins, which a head speaks, and the kind of frame that answers it (RFC 9113, 3.4 and 6.5)."""

Kind = Literal["training", "test"]


@dataclass(frozen=True)
class Grown:
    """What there is of a run, by the path in its folder: its checkpoint and growing record, or its record."""

    is_record: bool
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class _Node:
    """A node that may do runs."""

    cpus: int
    processor: str


@dataclass(eq=False)
class _Away:
    """A job that is done elsewhere while its locks are ours; `words` come from there, None while it is lost."""

    job: Job
    locks: ExitStack
    node: str = ""
    words: Any = None
    deaths: int = 0


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
        self.images: dict[Kind, Any] = {}
        self.looked, self.heard = 0.0, time.monotonic()
        if address is not None:
            if not answers(address):
                raise UserError(
                    f"study.address: must be that of a Ray head, but none answers at {address} within "
                    f"{LONGEST_ANSWER:g} s. Begin one there (docs/scale.md), or leave it out for this machine alone."
                )
            self._connect(address=address)

    def slots(self, jobs: Sequence[Job]) -> int:
        """How many of `jobs` go on at once, on the nodes that there are now."""
        if self.address is None:
            return LocalProcesses(self.wanted).slots(jobs)
        most = sum(max(1, cpus // max(map(threads, jobs), default=1)) for _, cpus in self._living().values())
        return min(most, len(jobs), self.wanted or most)

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        """Do `jobs`, as an Executor does."""
        waiting, away = list(jobs), list[_Away]()
        self._prepare(jobs)
        try:
            while True:
                self._look_for_nodes(jobs[0])
                ended = [*self._send_lost(away), *self._send_waiting(waiting, away, may_start)]
                if not (away or ended or any(map(may_start, waiting))):
                    return
                yield [one.job for one in away], ended + self._hear(away)
        finally:
            for one in away:
                with contextlib.suppress(self.ray.exceptions.RayError):
                    if one.words is not None:
                        self.ray.cancel(one.words, force=True)
                one.locks.close()

    def _connect(self, **options: Any) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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
        kinds: list[Kind] = ["training", "test"] if jobs[0].images == "test" else ["training"]
        # Without the digest that the summary says: there it is that of the bytes that came.
        self.images = self.images or {
            kind: self.ray.put(replace(prepared_images(kind), prepared=None)) for kind in kinds
        }
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

    def _living(self) -> dict[str, tuple[str, int]]:
        """The host and the CPUs of each node that has any, by its id."""
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        return {node["NodeID"]: (node["NodeManagerHostname"], int(node["Resources"]["CPU"])) for node in nodes}

    def _look_for_nodes(self, job: Job) -> None:
        """Ask nodes that have joined what they are, and forget those that are gone.

        Raises UserError when the head has been away for too long.
        """
        now = time.monotonic()
        if now - self.looked < BETWEEN_NODES:
            return
        self.looked = now
        if self.address is not None and not answers(self.address, seconds=1):
            # Asked now, Ray would wait for it.
            if now - self.heard > LONGEST_SILENCE:
                raise UserError(f"study.address: the head at {self.address} is gone. With one, the same line goes on.")
            return
        self.heard, living = now, self._living()
        self.nodes = {node: one for node, one in self.nodes.items() if node in living}
        for node in living.keys() - self.nodes.keys() - self.asked.keys() - self.unfit.keys():
            self.asked[node] = self._task(describe, node, 0, job).remote()
        for node in self._ready(self.asked):
            host, cpus = living.get(node, ("", 0))
            try:
                processor, ingredients = self.ray.get(self.asked.pop(node))
                if reason := differing(ingredients, job.identity.ingredients):
                    self._leave_out(node, f"{host}: {reason}")
                elif node in living:
                    self.nodes[node] = _Node(cpus, processor)
            except (self.ray.exceptions.RayTaskError, self.ray.exceptions.RuntimeEnvSetupError) as error:
                self._leave_out(node, f"{host}: {in_words(error)}")
            except self.ray.exceptions.RayError:
                # It died of it: asked again where it lives.
                continue

    def _leave_out(self, node: str, reason: str) -> None:
        self.unfit[node] = reason
        console.print(f"no run is sent to the node {reason}")

    def _task(self, act: Callable[..., Any], node: str, cpus: int, job: Job, **options: Any) -> Any:
        there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        # A process sets its threads once: those of another number get another.
        own = {"env_vars": {"CONV2D_THREADS": str(threads(job))}}
        return self.ray.remote(act).options(
            num_cpus=cpus, scheduling_strategy=there, max_retries=0, runtime_env=own, **options
        )

    def _ready(self, words: Mapping[Any, Any], seconds: float = 0) -> list[Any]:
        """The keys of those of which there is something to hear."""
        if not words:
            time.sleep(seconds)
            return []
        ready, _ = self.ray.wait(list(words.values()), num_returns=len(words), timeout=seconds, fetch_local=False)
        return [key for key, word in words.items() if word in ready]

    def _send_waiting(self, waiting: list[Job], away: list[_Away], may_start: MayStart) -> list[Ended]:
        """Send what there is room for; returns what has been done by others, and what no node can do."""
        ended = []
        for job in [job for job in waiting if may_start(job)]:
            if self.wanted is not None and len(away) >= self.wanted:
                break
            node, reason = self._place(job, away)
            if reason:
                ended.append(Ended(job, Failure(reason)))
            elif node is None or (locks := held(job)) is None:
                continue
            elif record_of(job) is not None:
                locks.close()
                ended.append(Ended(job))
            else:
                away.append(_Away(job, locks))
                self._send(away[-1], node)
            waiting.remove(job)
        return ended

    def _send_lost(self, away: list[_Away]) -> list[Ended]:
        """Send on what was lost; returns what no node can do."""
        ended = []
        for one in [one for one in away if one.words is None]:
            node, reason = self._place(one.job, away)
            if node is not None:
                self._send(one, node)
            elif reason:
                ended.append(self._end(one, away, Failure(reason)))
        return ended

    def _place(self, job: Job, away: Sequence[_Away]) -> tuple[str | None, str]:
        """The node with the most room for the job, None while there is no room; why none will ever have any.

        All settings of a seed are trained on one class of processor: what is compared differs in nothing else.
        """
        wanted = self.classes.get(job.seed)
        room = {node: one.cpus for node, one in self.nodes.items() if wanted in (None, one.processor)}
        if not room:
            since = self.homeless.setdefault(job.identity.name, time.monotonic())
            of_class = "" if wanted is None else f" of the class on which its seed was begun ({wanted})"
            reason = "; ".join([f"the cluster has no node{of_class} that can do it", *self.unfit.values()])
            return None, reason if time.monotonic() - since > LONGEST_WITHOUT_NODE else ""
        self.homeless.pop(job.identity.name, None)
        for one in away:
            if one.node in room:
                room[one.node] -= self._cpus(one.job, one.node)
        node = max(room, key=lambda node: room[node])
        return (node if room[node] >= self._cpus(job, node) else None), ""

    def _cpus(self, job: Job, node: str) -> int:
        """More threads than a node has CPUs only where the job would never be done else."""
        return min(threads(job), self.nodes[node].cpus)

    def _send(self, one: _Away, node: str) -> None:
        name = one.job.identity.name
        self.classes.setdefault(one.job.seed, self.nodes[node].processor)
        begun = [
            Grown(is_record=True, files=_files(project.run_root(name), TRAINING, CLOCK)),
            Grown(is_record=False, files=_files(project.checkpoint(name), CHECKPOINT)),
        ]
        task = self._task(do, node, self._cpus(one.job, node), one.job, num_returns="streaming")
        one.node, one.words = node, task.remote(one.job, begun, environment(), list(self.images), *self.images.values())

    def _hear(self, away: list[_Away]) -> list[Ended]:
        """Put what has come home into its place; returns what has ended."""
        ended = []
        for one in self._ready({one: one.words for one in away if one.words is not None}, BETWEEN_LOOKS):
            try:
                word = self.ray.get(next(one.words))
            except (self.ray.exceptions.RayError, StopIteration) as error:
                # The node is asked again before it gets another.
                self.nodes.pop(one.node, None)
                one.node, one.words, one.deaths = "", None, one.deaths + 1
                if one.deaths > MOST_DEATHS:
                    ended.append(self._end(one, away, Failure(f"its node or its process died: {in_words(error)}")))
                continue
            if isinstance(word, Grown):
                one.deaths = 0
                put(one.job, word)
            else:
                ended.append(self._end(one, away, word))
        return ended

    def _end(self, one: _Away, away: list[_Away], failed: Failure | None) -> Ended:
        """Let go of a job before it is told that it ended."""
        away.remove(one)
        one.locks.close()
        if failed is None:
            remove_checkpoint(project.checkpoint(one.job.identity.name))
        return Ended(one.job, failed)


def answers(address: str, seconds: float = LONGEST_ANSWER) -> bool:
    """Whether a server that speaks HTTP/2, as a head does, answers there: Ray itself would ask for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds) as connection:
            connection.sendall(HELLO)
            return connection.recv(9)[3:4] == bytes([SETTINGS])
    except (OSError, OverflowError):
        return False


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


def differing(there: Mapping[str, JsonValue], here: Mapping[str, JsonValue]) -> str:
    """In which ingredients of an identity a node is another than this machine; nothing where it is the same."""
    own = dict(leaves(here))
    return ", ".join(
        f"{key} is {value!s:.12}, not {own.get(key)!s:.12}" for key, value in leaves(there) if value != own.get(key)
    )


def _files(folder: Path, *parts: str) -> dict[str, bytes]:
    """What lies in the folder, or of it in `parts`: no locks, and nothing that is being written."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    shown = {name: path for name, path in paths.items() if name.name[0] != "." and name.name != "lock"}
    return {name.as_posix(): path.read_bytes() for name, path in shown.items() if not parts or name.parts[0] in parts}


def put(job: Job, grown: Grown) -> None:
    """Put what there is of a run into its place, each part in one step: the checkpoint and the clocks before."""
    name = job.identity.name
    root = project.run_root(name) if grown.is_record else project.checkpoint(name)
    parts: dict[str, dict[str, bytes]] = {}
    for path, content in grown.files.items():
        part, _, file = path.partition("/")
        if part in (CHECKPOINT, CLOCK):
            atomic.write_file(root / path, content)
        else:
            parts.setdefault(part, {})[file] = content
    for part in sorted(parts, key=lambda part: part != TRAINING):
        with atomic.write_folder(root / part) as folder:
            for file, content in parts[part].items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)


# On a node


def describe() -> tuple[str, dict[str, JsonValue]]:
    """The class of this node's processor, and what of a run's identity is the node's."""
    return processor_class(), {
        "code": digest.of_value(dict(deciding_code())),
        "device": device(),
        "versions": {**versions()},
    }


def do(job: Job, begun: list[Grown], conductor: Environment, kinds: list[Kind], *images: Images) -> Iterator[Any]:
    """Do a job; yields what there is of it whenever that has grown, and at the end how it failed, or None."""
    words: SimpleQueue[Grown | Failure | None] = SimpleQueue()
    given = dict(zip(kinds, images, strict=True))
    Thread(target=_act, args=(job, begun, conductor, given, words.put), daemon=True).start()
    while isinstance(word := words.get(), Grown):
        yield word
    yield word


def _act(
    job: Job,
    begun: list[Grown],
    conductor: Environment,
    images: Mapping[Kind, Images],
    tell: Callable[[Grown | Failure | None], None],
) -> None:
    console.quiet = True
    warnings.simplefilter("ignore")
    failed = None
    try:
        _settle()
        work = project.checkpoint(job.identity.name)
        # What one that was killed has left here: what there is of the run came along.
        _remove(job)
        for grown in begun:
            put(job, grown)
        here = identity(job.configuration, images["training"].digest)
        if here.name != job.identity.name:
            others = differing(here.ingredients, job.identity.ingredients)
            raise UserError(f"the node {platform.node()} would train another run: {others}")
        where = environment()
        where = replace(
            where,
            git_commit=conductor.git_commit,
            uncommitted_changes=conductor.uncommitted_changes,
            hardware={"host": platform.node(), **where.hardware},
        )
        run_job(job, lambda root: tell(Grown(root != work, _files(root))), images.__getitem__, where)
    except BaseException as error:
        failed = failure(error)
    _remove(job)
    tell(failed)


def _remove(job: Job) -> None:
    for folder in (project.checkpoint(job.identity.name), project.run_root(job.identity.name)):
        shutil.rmtree(folder, ignore_errors=True)


def _settle() -> None:
    """Let runs lie in a folder of this node that ends with the cluster."""
    import ray  # noqa: PLC0415 - an extra

    node = ray.get_runtime_context()
    root = Path(node.get_temp_dir()) / node.get_session_name() / "conv2d" / node.get_node_id()
    project.RUNS, project.CHECKPOINTS = root / "runs", root / "checkpoints"
