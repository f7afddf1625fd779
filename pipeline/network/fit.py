"""All that decides the weights of a run: which images, which network, how many epochs, in which order.

It is built from the ingredients of the run's identity and from nothing else, and takes only the images that these name.
What resumes, writes and reports (pipeline.run) can't change a weight.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from pipeline.config.specification import specification_of
from pipeline.data.prepared import Images
from pipeline.data.split import split
from pipeline.network.building import build_network
from pipeline.network.prediction import Predictor
from pipeline.network.threads import use_threads
from pipeline.network.training import EpochScores, State, Trainer
from pipeline.terminal.errors import UserError


class Scored(Protocol):
    """An epoch that has been trained."""

    @property
    def loss(self) -> float: ...


class Fit:
    """A run's network and its training.

    `held_out` are the images that the split keeps back (None without any), `predictor` says what the network makes of
    images as it is now. Raises UserError for images that are not those of the ingredients.
    """

    def __init__(self, ingredients: Mapping[str, JsonValue], images: Images) -> None:
        if images.digest != ingredients["data"]:
            raise UserError(
                f"data: the images at hand ({images.digest[:12]}) are not those of this run "
                f"({str(ingredients['data'])[:12]}). Run: dvc repro preprocess"
            )
        specification = specification_of(ingredients)
        training = specification.training
        use_threads(training.threads)
        # With nothing held out the split's seed decides nothing.
        kept, held_out = split(images.labels, specification.validation_images, specification.split_seed or 0)
        whole = len(held_out) == 0
        self.held_out = None if whole else Images(images.images[held_out], images.labels[held_out])
        self.epochs = training.epochs
        self.network = build_network(
            specification.model.as_model(),
            specification.image_shape,
            specification.classes,
            seed=specification.seed,
            precision=training.precision,
        )
        self._trainer = Trainer(
            self.network,
            training,
            images.images if whole else images.images[kept],
            images.labels if whole else images.labels[kept],
            specification.seed,
        )
        self.steps = self._trainer.steps
        self.predictor = Predictor(self.network)

    def remaining(self, done: Sequence[Scored], on_steps: Callable[[int], None]) -> Iterator[EpochScores]:
        """Train the epochs after `done`, one for each `next`; a loss that is not finite ends the training.

        `on_steps` is told of steps as they are done.
        """
        loss = done[-1].loss if done else 0.0
        for epoch in range(len(done) + 1, self.epochs + 1):
            if not math.isfinite(loss):
                return
            scores = self._trainer.run_epoch(epoch, on_steps)
            yield scores
            loss = scores.loss

    def state(self) -> State:
        """All that training has changed so far."""
        return self._trainer.state()

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises ValueError when it is that of another network or optimizer."""
        self._trainer.restore(state)
