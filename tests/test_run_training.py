"""A run that is resumed, on the processor that began it and on another; images that are not the run's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepared import Images
from pipeline.run.identity import Identity, identity
from pipeline.run.record import TRAINING, read_training
from pipeline.run.train_run import train_run
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from tests.harness.settings import article

pytestmark = pytest.mark.usefixtures("two_threads")

CONFIGURATION = article(
    {
        "data.image_shape": [12, 12, 1],
        "model.depth": 1,
        "model.conv.filters": 4,
        "training.batch_size": 24,
        "training.epochs": 3,
        "data.validation_images": 10,
    }
)
IMAGES = Images(
    np.random.default_rng(0).integers(0, 256, (64, 12, 12, 1), dtype=np.uint8), np.arange(64, dtype=np.uint8) % 10
)
RUN = identity(CONFIGURATION, IMAGES.digest)


def train(root: Path, images: Images = IMAGES, run: Identity = RUN, interrupted_after: int | None = None) -> str:
    """The digest of the weights; the training is interrupted once so many epochs are in its record."""

    def sync(grown: Path) -> None:
        if interrupted_after is not None and read_training(grown / TRAINING).run.epochs == interrupted_after:
            raise KeyboardInterrupt

    train_run(CONFIGURATION, run, images, root, sync, work=root / "work")
    return str(read_training(root / TRAINING).run.weights)


def test_a_run_goes_on_where_it_was_left_on_the_same_class_of_processor_and_elsewhere_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(console, "print", told.append)
    whole = train(tmp_path / "whole")
    for place in ("same", "other"):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / place, interrupted_after=2)
    told.clear()
    assert train(tmp_path / "same") == whole
    assert told[0] == "going on after epoch 2, where this run was left"
    told.clear()
    monkeypatch.setattr("pipeline.run.train_run.processor_class", lambda: "riscv64 rvv")
    assert train(tmp_path / "other") == whole
    assert "begun on another class of processor" in told[0]
    assert "riscv64 rvv): training starts anew" in told[0]
    assert [line[:9] for line in told[1:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_images_that_are_not_those_of_the_run_are_not_trained_on(tmp_path: Path) -> None:
    fewer = Images(IMAGES.images[:32], IMAGES.labels[:32])
    for others in (fewer, replace(IMAGES, images=255 - IMAGES.images)):
        with pytest.raises(UserError, match=r"data: the images at hand \(.*\) are not those of this run"):
            train(tmp_path / "run", images=others)
    assert not (tmp_path / "run" / TRAINING).exists()
