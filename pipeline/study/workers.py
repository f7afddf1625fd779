"""Processes that do a study's jobs side by side, and survive each other."""

import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from pipeline.study.job import Failure, failure, run_in_worker, start_worker
from pipeline.study.planning import Job

BETWEEN_LOOKS = 0.3
"""Seconds between two looks at what the workers do."""

MOST_STARTS = 3
"""How often a job is given to a new worker because the last one died before it began."""


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
        while waiting or any(worker.future for worker in crew):
            for worker in crew:
                if worker.future is None and waiting:
                    worker.start(waiting.popleft())
            wait([worker.future for worker in crew if worker.future], BETWEEN_LOOKS, FIRST_COMPLETED)
            ended = [ended for worker in crew if (ended := worker.ended())]
            yield [worker.job for worker in crew if worker.future and worker.job], ended
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A pool of one process, replaced when it dies: workers that share a queue can block each other in dying."""

    def __init__(self, threads: int) -> None:
        self.job: Job | None = None
        self.future: ProcessFuture[Failure | None] | None = None
        self._threads = threads
        self._pool = self._new_pool()
        self._starts = 0

    def start(self, job: Job) -> None:
        self.job = job
        self._starts = 0
        self._schedule(job)

    def ended(self) -> Ended | None:
        """How the job ended, when it has; the worker is then free."""
        if self.job is None or self.future is None or not self.future.done():
            return None
        job, error = self.job, self.future.exception()
        if isinstance(error, BrokenProcessPool):
            self.stop()
            self._pool = self._new_pool()
            if self._starts < MOST_STARTS:
                self._schedule(job)
                return None
        found = self.future.result() if error is None else _died(error)
        self.job = self.future = None
        return Ended(job, found)

    def stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _schedule(self, job: Job) -> None:
        self._starts += 1
        self.future = self._pool.schedule(run_in_worker, args=(job,))

    def _new_pool(self) -> ProcessPool:
        # Spawned: a fork would copy the threads' locks of this process, held or not.
        return ProcessPool(1, initializer=start_worker, initargs=(self._threads,), context=get_context("spawn"))


def _died(error: BaseException) -> Failure:
    """How a job failed whose process could not say so itself."""
    match error:
        case BrokenProcessPool():
            return Failure(f"{MOST_STARTS} workers for it died before they could begin: is there enough memory?")
        case ProcessExpired():
            return Failure(_death(error.exitcode))
        case _:
            return failure(error)


def _death(exitcode: int) -> str:
    """How a process ended that did not say so itself."""
    if exitcode == -signal.SIGKILL:
        return "its process was killed (SIGKILL): by a person, or by the system for lack of memory"
    if exitcode < 0:
        return f"its process was ended by signal {-exitcode} ({signal.strsignal(-exitcode)})"
    return f"its process ended with status {exitcode}"
