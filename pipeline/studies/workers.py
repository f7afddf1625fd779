"""Runs of a study, side by side: who does them, and what is done for each."""

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, Protocol

from pipeline.data.prepared import Images, load_test, load_training
from pipeline.data.scoring import test_set, validation_set
from pipeline.run.checkpoint import CHECKPOINT, remove_checkpoint, usable_checkpoint
from pipeline.run.environment import Environment, device
from pipeline.run.record import TRAINING, TrainingPart, read_training
from pipeline.storage import lock, project
from pipeline.studies.plan import Job, record_of
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

BETWEEN_LOOKS = 0.3
"""Seconds between two looks at what the workers do."""

LONGEST_DEATH = 5.0
"""Seconds that a worker whose end of the pipe is closed may take to be gone."""

PRELOADED = ["pipeline.studies.workers", "pipeline.run.train_run", "pipeline.run.evaluate_run"]
"""What the process that workers are forked from imports, so that none does it again. None of it starts a thread: a fork
would not copy it, and TensorFlow starts its own when it first computes."""

NEVER_BEGUN = "its process could not be started: is there enough memory?"


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in a line, and where there is one the traceback."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Ended:
    """A job that has ended, and how when it failed."""

    job: Job
    failure: Failure | None = None


MayStart = Callable[[Job], bool]
"""Asked right before a job starts."""


class Executor(Protocol):
    """Who does jobs. It is no part of a run's identity: the bits are the same wherever they are computed."""

    def slots(self, jobs: Sequence[Job]) -> int:
        """How many of `jobs` go on at once."""

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        """Do `jobs`, but for those that may not start; yields again and again which run, and which have ended since.

        Leaving the iteration early ends those that run.
        """


@dataclass(frozen=True)
class LocalProcesses:
    """Does each job in a process of its own on this machine: one that dies takes only its own job with it.

    `wanted` runs go on at once; where that is None as many as the cores allow.
    """

    wanted: int | None = None

    def slots(self, jobs: Sequence[Job]) -> int:
        most = max((self.wanted or max(1, cores() // threads(job)) for job in jobs), default=0)
        return min(most, len(jobs))

    def run(self, jobs: Sequence[Job], may_start: MayStart) -> Iterator[tuple[list[Job], list[Ended]]]:
        waiting = list(jobs)
        workers: list[_Worker] = []
        try:
            while True:
                while (job := self._next([job for job in waiting if may_start(job)], workers)) is not None:
                    waiting.remove(job)
                    workers.append(_Worker(job))
                if not workers:
                    return
                wait([worker.pipe for worker in workers], BETWEEN_LOOKS)
                ended = [ended for worker in workers if (ended := worker.ended())]
                gone = [one.job for one in ended]
                workers = [worker for worker in workers if worker.job not in gone]
                yield [worker.job for worker in workers], ended
        finally:
            for worker in workers:
                worker.stop()

    def _next(self, waiting: Sequence[Job], workers: Sequence["_Worker"]) -> Job | None:
        """The first job for which there is room and that no other sweep does now, so that two sweeps divide the work.

        Where others do all that is left it is the first: its worker waits, and goes on should the other be killed.
        """
        busy = [threads(worker.job) for worker in workers]
        if self.wanted is not None:
            fitting = list(waiting) if len(busy) < self.wanted else []
        else:
            fitting = [job for job in waiting if not busy or sum(busy) + threads(job) <= cores()]
        return next((job for job in fitting if not _is_taken(job)), next(iter(fitting), None))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(job: Job) -> int:
    """The cores that a job uses."""
    return job.configuration.training.threads


class _Worker:
    """The process of one job, with a pipe on which it says how it ended."""

    def __init__(self, job: Job) -> None:
        self.job = job
        # A card's driver can't be shared with a process that is forked, and macOS forbids it to most libraries.
        forked = sys.platform == "linux" and device() == "cpu"
        context = get_context("forkserver") if forked else get_context("spawn")
        context.set_forkserver_preload(PRELOADED)
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, run_job, job), daemon=True)
        self._is_started = _start(self._process, forked=forked)
        theirs.close()

    def ended(self) -> Ended | None:
        """How the job ended, when it has."""
        if not self.pipe.poll():
            return None
        try:
            failure = self.pipe.recv()
        except (EOFError, OSError):
            # However it died, with whatever status: nobody holds the other end any more.
            failure = Failure(self._death())
        self.stop()
        return Ended(self.job, failure)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._is_started:
            self._process.kill()
            self._process.join()
        self.pipe.close()

    def _death(self) -> str:
        """How a process ended that did not say so itself."""
        if not self._is_started:
            return NEVER_BEGUN
        self._process.join(LONGEST_DEATH)
        return death_in_words(self._process.exitcode)


def _start(process: BaseProcess, *, forked: bool) -> bool:
    """Start a process that Ctrl-C never reaches; whether it could be started."""
    try:
        if forked:
            # It hands its mask of signals on. It may import for seconds, in which a Ctrl-C shall reach us.
            with _ctrl_c_later():
                forkserver.ensure_running()
            process.start()
        else:
            with _ctrl_c_later():
                process.start()
    except (EOFError, OSError):
        return False
    return True


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """What is started in the block never gets a Ctrl-C: it is for the sweep, which gets it after the block."""
    # multiprocessing starts its tracker with the first process, and takes back what is blocked here.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def death_in_words(exitcode: int | None) -> str:
    """How a process ended, by its exit status."""
    if exitcode == -signal.SIGKILL:
        return "its process was killed (SIGKILL): by a person, or by the system for lack of memory"
    if exitcode is not None and exitcode < 0:
        return f"its process was ended by signal {-exitcode} ({signal.strsignal(-exitcode)})"
    return f"its process ended with status {exitcode}"


def _work(pipe: Connection, act: Callable[[Job, Callable[[Path], None]], None], job: Job) -> None:
    """A worker's life. What goes wrong is told in words: not all exceptions travel."""
    _leave_with_parent()
    # The sweep tells; a worker's own lines would be a second voice.
    console.quiet = True
    warnings.simplefilter("ignore")
    try:
        # The sweep looks at the record's file itself: a queue could be left locked by a worker that is killed.
        act(job, lambda _root: None)
    except BaseException as error:
        pipe.send(failure(error))
    else:
        pipe.send(None)


def _leave_with_parent() -> None:
    """A sweep that is killed leaves no worker behind: the next one goes on from the last checkpoint."""
    parent = parent_process()

    def wait_for_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()


def failure(error: BaseException) -> Failure:
    """What an exception says, in a line; where it was raised only when it is none that a person can mend."""
    if isinstance(error, UserError):
        return Failure(str(error))
    words = [type(error).__name__, *str(error).strip().splitlines()[:1]]
    return Failure(": ".join(words), "".join(traceback.format_exception(error)))


@cache
def prepared_images(kind: Literal["training", "test"]) -> Images:
    """The prepared images, read and checked once in a process; the test images only for a study that asks for them."""
    return load_test(project.PREPARED) if kind == "test" else load_training(project.PREPARED)


def run_job(
    job: Job,
    sync: Callable[[Path], None],
    images: Callable[[Literal["training", "test"]], Images] = prepared_images,
    where: Environment | None = None,
) -> None:
    """Train and score what is missing of the job's record; `sync` is told of a record whenever it has grown.

    One process at a time does a job: another waits, and then finds it done.
    """
    root = project.run_root(job.identity.name)
    with lock.only_one(lock_of(job)):
        if record_of(job) is None:
            from pipeline.run.evaluate_run import Draw, evaluate_run  # noqa: PLC0415 - imports TensorFlow

            draw: Draw | None = None
            if job.pictured:
                from pipeline.figures.run_figures import draw_run  # noqa: PLC0415 - matplotlib

                draw = draw_run

            if (training := _finished_training(job, root)) is None:
                from pipeline.run.train_run import train_run  # noqa: PLC0415 - imports TensorFlow

                train_run(job.configuration, job.identity, images("training"), root, sync, where=where)
                training = read_training(root / TRAINING)
            data = job.configuration.data
            on_test = job.images == "test"
            scored = test_set(images("test"), data) if on_test else validation_set(images("training"), data)
            evaluate_run(training, scored, root / job.part, draw)
        remove_checkpoint(project.checkpoint(job.identity.name))
        sync(root)


def _finished_training(job: Job, root: Path) -> TrainingPart | None:
    """The training part where it is whole: only its scores are missing, or of an earlier code."""
    with contextlib.suppress(UserError):
        training = read_training(root / TRAINING)
        if training.run.identity == job.identity.name:
            return training
    return None


def lock_of(job: Job) -> Path:
    """What the process that does a job holds."""
    return project.run_root(job.identity.name) / ".lock"


def _is_taken(job: Job) -> bool:
    """Whether a process does the job now: that of another sweep, when ours has not begun it."""
    try:
        return lock.is_held(lock_of(job))
    except OSError:
        # Told by the worker that gets it, as the failure of this job alone.
        return False


def forget_checkpoint(job: Job) -> None:
    """Remove what a worker that was killed after its last write has left beside the finished record of its run.

    A training that has not got so far is another's: an interrupted `dvc repro` of the same run.
    """
    work = project.checkpoint(job.identity.name)
    with contextlib.suppress(UserError):
        run = read_training(work / TRAINING).run
        if run.epochs < job.configuration.training.epochs and run.outcome != "diverged":
            return
    remove_checkpoint(work)


def check_checkpoint(job: Job, tell: Callable[[str], None]) -> None:
    """Remove and tell a damaged checkpoint of the job, unless another process writes it: a worker tells nobody."""
    work = project.checkpoint(job.identity.name)
    if (work / CHECKPOINT).exists():
        with lock.if_free(work / "lock") as free:
            if free:
                usable_checkpoint(work / CHECKPOINT, tell)
