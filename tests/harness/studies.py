"""Studies, jobs and records made by hand: small, and without a training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import JsonValue

from pipeline.config.schema import Configuration
from pipeline.data.prepare import write_prepared
from pipeline.run.checkpoint import describe_run
from pipeline.run.environment import Environment
from pipeline.run.identity import Identity, identity
from pipeline.run.record import (
    EVALUATION,
    TRAINING,
    WEIGHTS,
    Epoch,
    EpochTime,
    EvaluationClock,
    Outcome,
    TrainingClock,
    write_clock,
    write_manifest,
    write_training,
)
from pipeline.storage import project
from pipeline.storage.arrays import digest_of, pack
from pipeline.storage.digest import as_json
from pipeline.studies.study import RunState, Setting, Study, StudyRun
from pipeline.studies.study_config import StudyConfig
from tests.harness.settings import article

DATA = "d" * 64
START = 1_700_000_000_000
ENVIRONMENT = Environment("abc", False, {"python": "3.12"}, {"cores": 2, "processor_class": "x86_64 avx2"})

NAMED: dict[str, JsonValue] = {"dataset": "fashion_mnist", "class_names": [str(number) for number in range(10)]}
"""What an evaluation says that its images and classes are called."""


def a_project(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """Runs, studies and checkpoints lie in `root` for the time of a test."""
    for name in ("RUNS", "STUDIES", "CHECKPOINTS", "PREPARED"):
        monkeypatch.setattr(project, name, root / name.lower())
    return root


def prepare() -> None:
    """Twenty training images and ten test images where the prepared ones lie."""
    images = np.arange(30 * 784, dtype=np.int64).reshape(30, 28, 28, 1) % 251
    labels = np.arange(30, dtype=np.int64) % 10
    training, test = slice(0, 20), slice(20, 30)
    project.PREPARED.mkdir(parents=True)
    write_prepared(
        project.PREPARED,
        article().data,
        (images[training].astype(np.uint8), labels[training].astype(np.uint8)),
        (images[test].astype(np.uint8), labels[test].astype(np.uint8)),
    )


def declared(**changes: object) -> StudyConfig:
    """The declaration of conf/sweep.yaml, named `kernels`, with changes."""
    plain: dict[str, object] = yaml.safe_load((project.CONF / "sweep.yaml").read_text("utf-8"))["study"]
    return StudyConfig.model_validate(plain | {"name": "kernels"} | changes)


def swept(changes: Mapping[str, object] | None = None) -> Configuration:
    """The article's configuration with images held out, with changes."""
    return article({"data.validation_images": 10} | dict(changes or {}))


def study(
    settings: Mapping[str, Mapping[str, JsonValue]], cells: Sequence[StudyRun] = (), images: str = "validation"
) -> Study:
    """A study of these settings, each of 10 parameters and 1,000 multiply-adds."""
    each = {name: Setting(dict(values), 10, 1_000) for name, values in settings.items()}
    return Study("kernels", images, "basis", None, 0.5, "running", each, tuple(cells))


def cell(setting: str, seed: int, state: RunState = "finished", accuracy: float | None = None) -> StudyRun:
    """A cell; one with an accuracy took two seconds."""
    seconds = None if accuracy is None else 2.0
    return StudyRun(f"{setting}-{seed}", setting, seed, state, None, accuracy, None, seconds)


def write_record(
    root: Path,
    configuration: Configuration,
    *,
    found: Identity | None = None,
    outcome: Outcome = "finished",
    epochs: int = 2,
    accuracy: float | None = 0.9,
    scoring: str = "s",
    part: str = EVALUATION,
    seconds: float = 1.5,
    reason: str | None = None,
) -> Identity:
    """A record in `root`; scored, unless `accuracy` is None. Returns the identity of its run."""
    found = found or identity(configuration, DATA)
    history = [Epoch(number, 1 / number, 0.5, 0.001, 2 / number, 0.25) for number in range(1, epochs + 1)]
    times = [EpochTime(number, seconds, START + 2_000 * number) for number in range(1, epochs + 1)]
    training = root / TRAINING
    training.mkdir(parents=True, exist_ok=True)
    arrays = {"kernel": np.arange(10, dtype=np.float32)}
    (training / WEIGHTS).write_bytes(pack(arrays))
    run = replace(describe_run(configuration, found, history, outcome, reason), weights=digest_of(arrays))
    write_training(training, run, history)
    write_clock(root, TRAINING, TrainingClock(found.name, tuple(times), ENVIRONMENT))
    if accuracy is not None:
        folder = root / part
        folder.mkdir(exist_ok=True)
        (folder / "metrics.json").write_text(as_json({"accuracy": accuracy, "loss": 0.25}))
        write_clock(root, part, EvaluationClock(found.name, scoring, {"latency_ms_batch_1": 0.5}, START + 60_000))
        images = "validation" if part == EVALUATION else "test"
        values: dict[str, JsonValue] = {
            "identity": found.name,
            "images": images,
            "images_digest": "i",
            **NAMED,
            "scoring": scoring,
        }
        write_manifest(folder, "evaluation.json", values)
    return found
