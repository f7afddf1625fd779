"""Train one run, resume it where it was left, write its record."""

import contextlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.progress import Progress, TaskID

from pipeline.config.schema import Configuration
from pipeline.data.prepared import Images
from pipeline.network.fit import EpochScores, Fit
from pipeline.run.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    describe_run,
    put_training,
    usable_checkpoint,
    write_checkpoint,
)
from pipeline.run.environment import Environment, environment, processor_class
from pipeline.run.identity import Identity
from pipeline.run.metrics import scores
from pipeline.run.record import CLOCK, TRAINING, Epoch, EpochTime, Outcome, Run
from pipeline.run.weights import network_weights
from pipeline.storage import lock, project
from pipeline.storage.arrays import digest_of, pack
from pipeline.storage.documents import refuse_links
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console


def train_run(
    configuration: Configuration,
    identity: Identity,
    images: Images,
    root: Path,
    sync: Callable[[Path], None],
    work: Path | None = None,
    where: Environment | None = None,
) -> Run:
    """Train the run, or finish it where it was left; put its training part into `root`.

    `sync` is told of the folder whenever the record there has grown. One process at a time writes a run and a root:
    another waits. While it trains the run lies in `work`, by default the place of its checkpoints. `where` it is
    trained is what this process finds, by default.

    Raises UserError; a run that could not be finished says so in the record that MLflow mirrors.
    """
    work = work or project.checkpoint(identity.name)
    for folder in (work, root / TRAINING, root / CLOCK):
        refuse_links(folder)
    with ExitStack() as held:
        for path in (work / "lock", root / f".{TRAINING}.lock"):
            held.enter_context(lock.only_one(path, _tell_waiting))
        job = _Job(configuration, identity, work, sync, Fit(identity.ingredients, images), where or environment())
        try:
            job.train()
            run = job.finish(root)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            # A disk that is full takes this neither: what is told is why.
            with contextlib.suppress(OSError):
                job.announce("interrupted" if interrupted else "failed", str(error) or type(error).__name__)
            raise
        sync(root)
        return run


@dataclass
class _Job:
    """Resumes, keeps and tells what `Fit` does, which alone decides the weights."""

    configuration: Configuration
    identity: Identity
    work: Path
    sync: Callable[[Path], None]
    fit: Fit
    environment: Environment
    history: tuple[Epoch, ...] = ()
    times: tuple[EpochTime, ...] = ()
    parent: int = field(default_factory=os.getppid)

    def train(self) -> None:
        """Train the epochs that are missing; each one done is kept, in the checkpoint and in the growing record."""
        self._resume()
        self.announce()
        with bar("steps") as progress:
            task = progress.add_task("", total=self.fit.steps)
            started = self._begin_epoch(progress, task)
            losses = [epoch.loss for epoch in self.history]
            for trained in self.fit.remaining(losses, lambda steps: progress.advance(task, steps)):
                self._keep(trained, started)
                self.announce()
                console.print(_line(self.history[-1], self.times[-1].seconds, self.fit.epochs))
                self._stop_if_abandoned()
                started = self._begin_epoch(progress, task)

    def finish(self, root: Path) -> Run:
        """Put the training part, with the weights, into `root`."""
        weights = network_weights(self.fit.trained())
        diverged = bool(self.history) and not self.history[-1].is_finite
        run = describe_run(self.configuration, self.identity, self.history, "diverged" if diverged else "finished")
        run = replace(run, weights=digest_of(weights))
        put_training(root, run, self.history, self.times, self.environment, pack(weights))
        return run

    def announce(self, outcome: Outcome = "running", reason: str | None = None) -> None:
        """Put how far it got into the growing record, and say that there is more in it."""
        run = describe_run(self.configuration, self.identity, self.history, outcome, reason)
        put_training(self.work, run, self.history, self.times, self.environment)
        self.sync(self.work)

    def _resume(self) -> None:
        path = self.work / CHECKPOINT
        checkpoint = usable_checkpoint(path, console.print)
        if checkpoint is None:
            return
        if checkpoint.processor != processor_class():
            # Other instruction sets round otherwise: a run of two halves would repeat nowhere.
            console.print(
                f"this run was begun on another class of processor ({checkpoint.processor}; here "
                f"{processor_class()}): training starts anew"
            )
            return
        try:
            self.fit.restore(checkpoint.state)
        except (TypeError, ValueError) as error:
            path.unlink()
            raise UserError(
                f"{path}: is no checkpoint of this network ({error}): removed. The same command trains anew."
            ) from None
        self.history, self.times = checkpoint.history, checkpoint.times
        console.print(f"going on after epoch {len(self.history)}, where this run was left")

    def _begin_epoch(self, progress: Progress, task: TaskID) -> float:
        """Begin the bar of the next epoch; returns when that was."""
        # After the last there is none.
        number = min(len(self.history) + 1, self.fit.epochs)
        progress.reset(task, description=f"epoch {number}/{self.fit.epochs}")
        return time.perf_counter()

    def _keep(self, trained: EpochScores, started: float) -> None:
        number = len(self.history) + 1
        epoch = Epoch(number, trained.loss, trained.accuracy, trained.learning_rate)
        if self.fit.held_out is not None:
            validated = scores(self.fit.predictor(self.fit.held_out.images), self.fit.held_out.labels)
            loss = float("nan") if validated.loss is None else validated.loss
            epoch = replace(epoch, validation_loss=loss, validation_accuracy=validated.accuracy)
        seconds = round(time.perf_counter() - started, 3)
        self.history += (epoch,)
        self.times += (EpochTime(number, seconds, time.time_ns() // 1_000_000),)
        checkpoint = Checkpoint(self.fit.state(), self.history, self.times, processor_class())
        write_checkpoint(self.work / CHECKPOINT, checkpoint)

    def _stop_if_abandoned(self) -> None:
        """DVC was killed and this stage lives on: leave the run to the next `dvc repro`, which goes on from here."""
        if "DVC_STAGE" in os.environ and os.getppid() != self.parent:
            raise UserError("the dvc that started this training is gone; the next `dvc repro` goes on from here")


def _tell_waiting() -> None:
    console.print("another process trains this run or writes this record; waiting for it")


def _line(epoch: Epoch, seconds: float, epochs: int) -> str:
    line = f"epoch {epoch.epoch}/{epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}"
    if epoch.validation_accuracy is not None:
        line += f"  validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.2%}"
    return f"{line}  {seconds:.1f} s"
