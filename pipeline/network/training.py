"""Training: what decides a run's weights, and nothing else.

The steps of an epoch run inside TensorFlow, many for one call from Python: the images lie there as uint8, each step
gathers its batch. Two trainings with the same arguments give the same bits, and so does one that was interrupted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Training
from pipeline.network.augmentation import augmented
from pipeline.network.optimization import build_optimizer
from pipeline.network.randomness import derived, order

STEPS_A_CALL = 64
"""Fixed, because sums of losses are rounded in groups of so many steps."""

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class EpochScores:
    """Mean loss (with regularization) and accuracy over the images of one epoch, while the weights changed.

    `learning_rate` is that of the step after the epoch: 0 at the end of a cosine.
    """

    loss: float
    accuracy: float
    learning_rate: float


class Trainer:
    """A network, its optimizer and the images it learns from: uint8 [n, height, width, channels], labels uint8 [n]."""

    def __init__(
        self,
        network: keras.Model,
        training: Training,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        seed: int,
    ) -> None:
        self.network = network
        self.training = training
        self.seed = seed
        self.images = tf.constant(images)
        self.labels = tf.constant(labels, tf.int32)
        self.steps = -(-len(images) // training.batch_size)
        self.optimizer = build_optimizer(training, self.steps * training.epochs)
        self.optimizer.build(network.trainable_variables)
        self._dropouts = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
        self._calls: dict[int, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {}

    def run_epoch(self, epoch: int, on_steps: Callable[[int], None]) -> EpochScores:
        """Train epoch `epoch` (from 1); `on_steps` is told of steps as they are done."""
        for layer in self._dropouts:
            layer.seed_generator.state.assign([derived(self.seed, layer.name, epoch), 0])
        noise = tf.constant([derived(self.seed, "augmentation", epoch), 0], tf.int32)
        size = self.training.batch_size
        indices = order(len(self.images), self.seed, epoch)
        whole = len(indices) // size
        batches = indices[: whole * size].reshape(whole, size)
        calls = [batches[start : start + STEPS_A_CALL] for start in range(0, whole, STEPS_A_CALL)]
        if len(indices) > whole * size:
            calls.append(indices[None, whole * size :])
        loss, correct, done = 0.0, 0, 0
        for call in calls:
            call_loss, call_correct = self._call(call.shape[1])(tf.constant(call), noise, tf.constant(done))
            loss += float(call_loss)
            correct += int(call_correct)
            done += len(call)
            on_steps(len(call))
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        return EpochScores(loss / len(indices), correct / len(indices), rate)

    def state(self) -> State:
        """All that training has changed: weights, statistics, optimizer. Copies."""
        return {name: keras.ops.convert_to_numpy(variable).copy() for name, variable in self._variables().items()}

    def restore(self, state: State) -> None:
        """Go on from `state`.

        Raises ValueError when it is that of another network or optimizer.
        """
        variables = self._variables()
        if variables.keys() != state.keys():
            raise ValueError("the state is that of another network or optimizer")
        for name, variable in variables.items():
            if tuple(variable.shape) != state[name].shape:
                raise ValueError(f"{name}: shape {state[name].shape} in place of {tuple(variable.shape)}")
            variable.assign(state[name])

    def _variables(self) -> dict[str, keras.Variable]:
        return {
            f"{owner}/{number}": variable
            for owner, variables in (("network", self.network.variables), ("optimizer", self.optimizer.variables))
            for number, variable in enumerate(variables)
        }

    def _call(self, size: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The compiled steps for batches of `size` (an epoch's last batch may be smaller)."""
        if size not in self._calls:
            signature = (
                tf.TensorSpec([None, size], tf.int32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([], tf.int32),
            )
            # Without autograph, which takes longer to rewrite this code than the rest of the tracing.
            traced = tf.function(self._steps, input_signature=signature, autograph=False)
            self._calls[size] = traced.get_concrete_function()
        return self._calls[size]

    def _steps(self, batches: tf.Tensor, noise: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Train on batches int32 [steps, size] of indices; returns the sum of losses and the number correct."""

        def one_more(step: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            seed = tf.random.experimental.stateless_fold_in(noise, first + step)
            step_loss, step_correct = self._step(batches[step], seed)
            return step + 1, loss + step_loss, correct + step_correct

        steps = tf.shape(batches)[0]
        start = tf.constant(0), tf.constant(0.0), tf.constant(0)
        _, loss, correct = tf.while_loop(lambda step, _loss, _correct: step < steps, one_more, start)
        return loss, correct

    def _step(self, indices: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = augmented(tf.gather(self.images, indices), self.training.augmentation, seed)
        labels = tf.gather(self.labels, indices)
        with tf.GradientTape() as tape:
            logits = self.network(tf.cast(images, tf.float32) / 255.0, training=True)
            loss = self._cross_entropy(labels, logits)
            for penalty in self.network.losses:
                loss += tf.cast(penalty, tf.float32)
        weights = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        correct = tf.reduce_sum(tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.int32))
        return loss * tf.cast(tf.size(indices), tf.float32), correct

    def _cross_entropy(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        smoothing = self.training.label_smoothing
        if smoothing == 0:
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        classes = logits.shape[-1]
        targets = tf.one_hot(labels, classes, 1 - smoothing + smoothing / classes, smoothing / classes)
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
