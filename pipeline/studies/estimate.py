"""About how long the missing runs of a study will take, and how much disk."""

import contextlib
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.schema import Configuration
from pipeline.run.environment import lacks_bfloat16
from pipeline.run.record import TRAINING, TrainingClock, read_clock
from pipeline.storage import project
from pipeline.studies.plan import Job
from pipeline.studies.race import noise
from pipeline.studies.study import STUDY, Setting, Study, read_study
from pipeline.terminal.errors import UserError

RATES = {"float32": 1.0e10, "mixed_bfloat16": 2.2e10}
"""Multiply-adds of the forward pass that a thread trains in a second, until this machine has shown its own."""

WITHOUT_BFLOAT16 = 1.0e9
"""The same for mixed_bfloat16 on a processor that has no bfloat16 arithmetic."""

FIXED_COST = 100_000
"""What an image costs beside its multiply-adds, in multiply-adds: small networks are not free."""

KIND = "precision", "batch_size", "threads"
"""Runs of the same kind train at about the same rate on the same device."""

START = 8.0
"""Seconds until the workers have loaded TensorFlow."""

MOST_RECORDS = 30
RECORD_BYTES = 60_000
"""What a record takes beside weights and predictions, MLflow's copy and its rows included."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one worker for each job, bytes of all together; `measured` on this machine or only assumed."""

    seconds: dict[str, float]
    bytes: int
    measured: bool

    def total(self, workers: int) -> float:
        """Seconds until `workers` have done all."""
        return START + sum(self.seconds.values()) / workers if self.seconds else 0.0


class Budget:
    """The hours that a sweep may take (None: as many as it needs), from now on."""

    def __init__(self, hours: float | None, seconds: Mapping[str, float]) -> None:
        self._ends = math.inf if hours is None else time.monotonic() + 3600 * hours
        self._seconds = seconds
        self._started: dict[str, float] = {}
        self._expected = self._taken = 0.0

    def fits(self, job: Job) -> bool:
        """Whether a run that starts now would end in time, by its estimate and by how others kept to theirs."""
        pace = self._taken / self._expected if self._expected else 1.0
        return time.monotonic() + pace * self._seconds.get(job.identity.name, 0.0) <= self._ends

    def watch(self, running: Sequence[Job], ended: Sequence[Job]) -> None:
        """Learn from runs that have begun, and from those that ended, how long they take."""
        now = time.monotonic()
        for job in running:
            self._started.setdefault(job.identity.name, now)
        for job in ended:
            if (started := self._started.pop(job.identity.name, None)) is not None:
                self._taken += now - started
                self._expected += self._seconds.get(job.identity.name, 0.0)


def estimate_time(jobs: Sequence[Job], settings: Mapping[str, Setting]) -> Estimate:
    """The estimate for `jobs`, from the runs that this machine has done where there are any."""
    rates = _measured_rates(jobs[0]) if jobs else {}
    seconds = {
        job.identity.name: _cost(job.configuration, settings[job.setting].multiply_adds)
        / rates.get(_kind(job), _assumed(job.configuration))
        for job in jobs
    }
    measured = bool(jobs) and all(_kind(job) in rates for job in jobs)
    return Estimate(seconds, sum(_bytes(job, settings[job.setting].parameters) for job in jobs), measured)


def _cost(configuration: Configuration, multiply_adds: int) -> float:
    data = configuration.data
    images = data.training_images - data.validation_images
    return configuration.training.epochs * images * (multiply_adds + FIXED_COST)


def _kind(job: Job) -> tuple[Any, ...]:
    training = job.configuration.training
    return job.identity.ingredients["device"], *(getattr(training, name) for name in KIND)


def _assumed(configuration: Configuration) -> float:
    training = configuration.training
    slow = training.precision == "mixed_bfloat16" and lacks_bfloat16()
    return (WITHOUT_BFLOAT16 if slow else RATES[training.precision]) * training.threads


def _measured_rates(job: Job) -> dict[tuple[Any, ...], float]:
    """Kind → median rate of the newest records of trainings on the same images as `job`.

    A record that can't be read is passed over: this is an estimate.
    """
    rates: dict[tuple[Any, ...], list[float]] = {}
    for path in sorted(project.RUNS.glob(f"*/{TRAINING}/run.json"), key=_written)[-MOST_RECORDS:]:
        with contextlib.suppress(OSError, UserError, ValueError, KeyError, TypeError, ZeroDivisionError):
            run = json.loads(path.read_text(encoding="utf-8"))
            known, clock = run["ingredients"], read_clock(path.parent, run["identity"], TrainingClock)
            if clock is not None and known["data"] == job.identity.ingredients["data"]:
                images = job.configuration.data.training_images - known["validation_images"]
                cost = len(clock.epochs) * images * (run["multiply_adds"] + FIXED_COST)
                rate = cost / sum(epoch.seconds for epoch in clock.epochs)
                kind = known["device"], *(known["training"][name] for name in KIND)
                rates.setdefault(kind, []).append(rate)
    return {kind: statistics.median(own) for kind, own in rates.items()}


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        # Another sweep makes it anew in this moment.
        return 0.0


def _bytes(job: Job, parameters: int) -> int:
    data = job.configuration.data
    # An IDX file of labels is 8 bytes and one for each image.
    scored = data.files.test_labels.bytes - 8 if job.images == "test" else data.validation_images
    return 4 * parameters + scored * (4 * len(data.class_names) + 1) + RECORD_BYTES


def known_noise(study: Study) -> float | None:
    """Standard deviation between seeds of one setting, in points; None where nothing is known.

    By the study's own runs, or those of a study of the same code, data and versions that trained in the same way.
    """
    if (own := noise(study)) is not None:
        return own
    first, *others = (setting.values for setting in study.settings.values())
    alike = {key: value for key, value in first.items() if key.startswith(("data.", "training."))}
    alike = {key: value for key, value in alike.items() if all(one.get(key) == value for one in others)}
    known = []
    for path in project.STUDIES.glob(f"*/{STUDY}"):
        with contextlib.suppress(UserError):
            other = read_study(path.parent)
            settings = {name: setting for name, setting in other.settings.items() if setting.is_at(alike)}
            if settings and (other.basis, other.images) == (study.basis, study.images):
                runs = tuple(run for run in other.cells if run.setting in settings)
                known.append(noise(replace(other, settings=settings, cells=runs)))
    return max(filter(None, known), default=None)
