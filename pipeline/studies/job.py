"""What a worker does: one run of a study, from its configuration to its scored record."""

import os
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

from pipeline.data.prepared import Images, load_test, load_training
from pipeline.data.scoring import test_set, validation_set
from pipeline.run.checkpoint import CHECKPOINT, remove_checkpoint, usable_checkpoint
from pipeline.run.record import TRAINING, TrainingPart, read_training
from pipeline.storage import lock, project
from pipeline.studies.plan import Job, record_of
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in a line, and where there is one the traceback."""

    reason: str
    traceback: str = ""


def start_worker(threads: int) -> None:
    """Once in each worker: TensorFlow and the images are loaded here, before the first job."""
    _leave_with_parent()
    # The sweep tells; a worker's own lines would be a second voice.
    console.quiet = True
    warnings.simplefilter("ignore")
    from pipeline.network.fit import use_threads  # noqa: PLC0415
    from pipeline.network.memory import settle  # noqa: PLC0415
    from pipeline.run import evaluate_run, train_run  # noqa: F401, PLC0415 - imports TensorFlow

    use_threads(threads)
    training_images()
    settle()


def run_in_worker(job: Job) -> Failure | None:
    """Do the job, and give back the memory it took. What goes wrong is told in words: not all exceptions travel."""
    from pipeline.network.memory import release  # noqa: PLC0415 - imports TensorFlow

    try:
        run_job(job, _nobody)
    except BaseException as error:
        return failure(error)
    finally:
        release()
    return None


def failure(error: BaseException) -> Failure:
    """What an exception says, in a line; where it was raised only when it is none that a person can mend."""
    if isinstance(error, UserError):
        return Failure(str(error))
    said = [type(error).__name__, *str(error).strip().splitlines()[:1]]
    return Failure(": ".join(said), "".join(traceback.format_exception(error)))


def run_job(job: Job, sync: Callable[[Path], None]) -> None:
    """Train and score what is missing of the job's record; `sync` is told of a record whenever it has grown.

    One process at a time does a job: another waits, and then finds it done.
    """
    root = project.run_root(job.identity.name)
    with lock.only_one(_lock(job)):
        if record_of(job) is None:
            training = _finished_training(job, root) or _trained(job, root, sync)
            from pipeline.run.evaluate_run import evaluate_run  # noqa: PLC0415 - imports TensorFlow

            data = job.configuration.data
            on_test = job.images == "test"
            scored = test_set(test_images(), data) if on_test else validation_set(training_images(), data)
            evaluate_run(training, scored, root / job.part, pictured=job.pictured)
        remove_checkpoint(project.checkpoint(job.identity.name))
        sync(root)


def is_taken(job: Job) -> bool:
    """Whether a process does the job now: that of another sweep, when ours has not begun it."""
    try:
        return lock.is_held(_lock(job))
    except OSError:
        # Told by the worker that gets it, as the failure of this job alone.
        return False


def forget_checkpoint(job: Job) -> None:
    """Remove what a worker that was killed after its last write has left beside the finished record of its run.

    A training that has not got so far is another's: an interrupted `dvc repro` of the same run.
    """
    work = project.checkpoint(job.identity.name)
    try:
        run = read_training(work / TRAINING).run
        ended = run.epochs == job.configuration.training.epochs or run.outcome == "diverged"
    except UserError:
        ended = True
    if ended:
        remove_checkpoint(work)


def check_checkpoint(job: Job, tell: Callable[[str], None]) -> None:
    """Remove and tell a damaged checkpoint of the job, unless another process writes it: a worker tells nobody."""
    work = project.checkpoint(job.identity.name)
    if (work / CHECKPOINT).exists():
        with lock.if_free(work / "lock") as free:
            if free:
                usable_checkpoint(work / CHECKPOINT, tell)


@cache
def training_images() -> Images:
    """The training images, read and checked once in a process."""
    return load_training(project.PREPARED)


@cache
def test_images() -> Images:
    """The test images: only for a study that asks for them."""
    return load_test(project.PREPARED)


def _lock(job: Job) -> Path:
    return project.run_root(job.identity.name) / ".lock"


def _finished_training(job: Job, root: Path) -> TrainingPart | None:
    """The training part where it is whole: only its scores are missing, or of an earlier code."""
    if not (root / TRAINING).exists():
        return None
    try:
        training = read_training(root / TRAINING)
    except UserError:
        return None
    return training if training.run.identity == job.identity.name else None


def _trained(job: Job, root: Path, sync: Callable[[Path], None]) -> TrainingPart:
    from pipeline.run.train_run import train_run  # noqa: PLC0415 - imports TensorFlow

    train_run(job.configuration, job.identity, training_images(), root, sync)
    return read_training(root / TRAINING)


def _leave_with_parent() -> None:
    """A sweep that is killed leaves no worker behind: the next one goes on from the last checkpoint."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _nobody(_root: Path) -> None:
    """The sweep looks at the record's file itself: a queue could be left locked by a worker that is killed."""
