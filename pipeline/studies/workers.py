"""Processes that do a study's jobs side by side, and survive each other."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait

from pipeline.studies.job import Failure, failure, is_taken, run_in_worker, start_worker
from pipeline.studies.plan import Job

BETWEEN_LOOKS = 0.3
"""Seconds between two looks at what the workers do."""

MOST_STARTS = 3
"""How often a job is given to a new worker because the last one died before it began."""

LONGEST_DEATH = 5.0
"""Seconds that a worker whose end of the pipe is closed may take to be gone."""

BEGUN = "begun"
"""What a worker says when it has taken a job; then, how it ended."""


@dataclass(frozen=True)
class Ended:
    """A job that has ended, and how when it failed."""

    job: Job
    failure: Failure | None = None


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(threads: int, wanted: int | None) -> int:
    """How many runs of `threads` threads go on at once: as many as the cores allow, or as many as are `wanted`."""
    return wanted or max(1, cores() // threads)


def done(jobs: Sequence[Job], wanted: int | None) -> Iterator[tuple[list[Job], list[Ended]]]:
    """Do `jobs`; yields again and again which are running, and which have ended since.

    A worker that dies takes only its own job with it. Leaving the iteration early kills the workers.
    """
    for threads in sorted({job.configuration.training.threads for job in jobs}):
        # A process sets its number of threads once: one group of workers after another.
        same = [job for job in jobs if job.configuration.training.threads == threads]
        yield from _done_by([_Worker(threads) for _ in range(min(len(same), workers(threads, wanted)))], same)


def _done_by(crew: Sequence["_Worker"], jobs: Sequence[Job]) -> Iterator[tuple[list[Job], list[Ended]]]:
    waiting = deque(jobs)
    try:
        while waiting or any(worker.job for worker in crew):
            for worker in crew:
                if worker.job is None and waiting:
                    worker.start(_next(waiting))
            wait([worker.pipe for worker in crew if worker.job], BETWEEN_LOOKS)
            ended = [ended for worker in crew if (ended := worker.ended())]
            yield [worker.job for worker in crew if worker.job], ended
    finally:
        for worker in crew:
            worker.stop()


def _next(waiting: deque[Job]) -> Job:
    """Take the first job out that no other sweep does now, so that two sweeps divide the work.

    Where others do all that is left it is the first: its worker waits, and goes on with it should the other be killed.
    """
    job = next((job for job in waiting if not is_taken(job)), waiting[0])
    waiting.remove(job)
    return job


class _Worker:
    """A process with a pipe of its own, replaced when it dies: workers that share one can block each other in dying."""

    def __init__(self, threads: int) -> None:
        self.job: Job | None = None
        self._threads = threads
        self._open()

    def start(self, job: Job) -> None:
        self.job = job
        if not self._process.is_alive():
            self._renew()
        self._starts = 0
        self._give(job)

    def ended(self) -> Ended | None:
        """How the job ended, when it has; the worker is then free."""
        job = self.job
        if job is None:
            return None
        try:
            while self.pipe.poll():
                said = self.pipe.recv()
                if said != BEGUN:
                    self.job = None
                    return Ended(job, said)
                self._begun = True
        except (EOFError, OSError):
            # However it died, with whatever status: nobody holds the other end any more.
            return self._lost(job)
        return None

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _open(self) -> None:
        # Spawned: a fork would copy the threads' locks of this process, held or not.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        acts = theirs, start_worker, self._threads, run_in_worker
        self._process = context.Process(target=_serve, args=acts, daemon=True)
        with _ctrl_c_later():
            self._process.start()
        theirs.close()

    def _renew(self) -> None:
        self.stop()
        self._open()

    def _give(self, job: Job) -> None:
        self._begun = False
        self._starts += 1
        # One that has just died is noticed when it is listened to.
        with suppress(OSError):
            self.pipe.send(job)

    def _lost(self, job: Job) -> Ended | None:
        """What becomes of the job whose worker is gone: it failed, or had not been begun and is given to another."""
        self._process.join(LONGEST_DEATH)
        reason = _death(self._process.exitcode) if self._begun else NEVER_BEGUN
        self._renew()
        if not self._begun and self._starts < MOST_STARTS:
            self._give(job)
            return None
        self.job = None
        return Ended(job, Failure(reason))


NEVER_BEGUN = f"{MOST_STARTS} workers for it died before they could begin: is there enough memory?"


def _serve(pipe: Connection, start: Callable[[int], None], threads: int, act: Callable[[Job], Failure | None]) -> None:
    """A worker's life: one job after another, until the sweep closes its end."""
    try:
        start(threads)
    except Exception as error:
        # It can do no job: the one that it was started for is told why.
        pipe.send(failure(error))
        return
    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            pipe.send(BEGUN)
            pipe.send(act(job))


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """What is started in the block never gets a Ctrl-C: it is for the sweep, which gets it after the block."""
    # multiprocessing starts its tracker with the first process, and takes back what is blocked here.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(exitcode: int | None) -> str:
    """How a process ended that did not say so itself."""
    if exitcode == -signal.SIGKILL:
        return "its process was killed (SIGKILL): by a person, or by the system for lack of memory"
    if exitcode is not None and exitcode < 0:
        return f"its process was ended by signal {-exitcode} ({signal.strsignal(-exitcode)})"
    return f"its process ended with status {exitcode}"
