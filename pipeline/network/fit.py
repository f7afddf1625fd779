"""All that decides the weights of a run: which images, which network, how many epochs, in which order.

It is built from the ingredients of the run's identity and from nothing else, and takes only the images that these name.
What resumes, writes and reports (pipeline.run) can't change a weight. All randomness comes from (seed, epoch): no
generator is carried from one epoch to the next, and a training that was interrupted ends with the same bits.

The steps of an epoch run inside TensorFlow, many for one call from Python: the images lie there as uint8, each step
gathers its batch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.config.schema import Augmentation, Training
from pipeline.config.specification import specification_of
from pipeline.data.prepared import Images, split
from pipeline.network.build import build_network, derive_seed
from pipeline.network.predict import Predictor
from pipeline.storage.arrays import Arrays
from pipeline.terminal.errors import UserError

STEPS_A_CALL = 64
"""Fixed, because sums of losses are rounded in groups of so many steps."""


@dataclass(frozen=True)
class EpochScores:
    """Mean loss (with regularization) and accuracy over the images of one epoch, while the weights changed.

    `learning_rate` is that of the step after the epoch: 0 at the end of a cosine.
    """

    loss: float
    accuracy: float
    learning_rate: float


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
            specification.model,
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
        self._loss = 0.0

    def remaining(self, losses: Sequence[float], on_steps: Callable[[int], None]) -> Iterator[EpochScores]:
        """Train the epochs after those with `losses`, one for each `next`; one that is not finite ends the training.

        `on_steps` is told of steps as they are done.
        """
        self._loss = losses[-1] if losses else 0.0
        for epoch in range(len(losses) + 1, self.epochs + 1):
            if not math.isfinite(self._loss):
                return
            scores = self._trainer.run_epoch(epoch, on_steps)
            self._loss = scores.loss
            yield scores

    def trained(self) -> keras.Model:
        """The network at the end of its training. Raises RuntimeError where steps are missing and none diverged."""
        done, all_of_them = int(self._trainer.optimizer.iterations), self.epochs * self.steps
        if done != all_of_them and math.isfinite(self._loss):
            raise RuntimeError(f"{done} of {all_of_them} steps were done: this is no trained network")
        return self.network

    def state(self) -> Arrays:
        """All that training has changed so far."""
        return self._trainer.state()

    def restore(self, state: Arrays) -> None:
        """Go on from `state`. Raises ValueError when it is that of another network or optimizer."""
        self._trainer.restore(state)


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
            layer.seed_generator.state.assign([derive_seed(self.seed, layer.name, epoch), 0])
        noise = tf.constant([derive_seed(self.seed, "augmentation", epoch), 0], tf.int32)
        size = self.training.batch_size
        indices = epoch_permutation(len(self.images), self.seed, epoch)
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

    def state(self) -> Arrays:
        """All that training has changed: weights, statistics, optimizer. Copies."""
        return {name: keras.ops.convert_to_numpy(variable).copy() for name, variable in self._variables().items()}

    def restore(self, state: Arrays) -> None:
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
        images = augment(tf.gather(self.images, indices), self.training.augmentation, seed)
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


def epoch_permutation(images: int, seed: int, epoch: int) -> NDArray[np.int32]:
    """The order in which an epoch sees the images: a permutation, int32 [images]."""
    generator = np.random.default_rng(derive_seed(seed, "order", epoch))
    return generator.permutation(images).astype(np.int32)


def use_threads(threads: int) -> None:
    """Compute with so many threads, and with deterministic kernels, from now on in this process.

    Raises UserError when this process has already computed with another number: TensorFlow sets it once.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # One operation at a time: `threads` is then all that computes.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        present = tf.config.threading.get_intra_op_parallelism_threads()
        raise UserError(
            f"training.threads: {threads} can't follow {present} in one process. Start another process for it."
        ) from None
    tf.config.experimental.enable_op_determinism()


def build_optimizer(training: Training, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer for a training of `steps` steps in all.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2019, arXiv:1711.05101) and leaves biases and
    the scales of batch normalisation alone.
    """
    decay = training.weight_decay or None
    kind: type[keras.optimizers.Optimizer] = type(keras.optimizers.get(training.optimizer))
    arguments: dict[str, float | None] = {}
    if training.optimizer == "sgd":
        arguments = {"momentum": training.momentum}
    elif training.optimizer == "muon":
        kind, arguments = Muon, {"momentum": 0.9, "adam_weight_decay": decay}
    optimizer = kind(learning_rate_schedule(training, steps), weight_decay=decay, **arguments)
    if training.weight_decay > 0:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class Muon(keras.optimizers.Muon):
    """Muon for the kernels of convolutions, as matrices [height × width × channels, filters]; Adam for all else.

    A step of such a matrix is its momentum made orthogonal by five Newton-Schulz iterations (Jordan et al., 2024,
    https://kellerjordan.github.io/posts/muon/), times 0.2 √(the longer side), so that one learning rate fits both kinds
    (Liu et al., 2025, arXiv:2502.16982). Keras has it for variables of two dimensions only.
    """

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4

    def zeropower_via_newtonschulz5(self, x: tf.Tensor, steps: int) -> tf.Tensor:
        matrix = tf.reshape(x, [-1, x.shape[-1]])
        return tf.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(super().lr_adjust(tf.reshape(x, [-1, x.shape[-1]])), x.shape)


def learning_rate_schedule(training: Training, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Constant, or a linear warm-up from 0 and then a cosine down to 0 (Loshchilov and Hutter, 2017, 1608.03983)."""
    if training.schedule == "constant":
        return training.learning_rate
    warmup = round(steps * training.warmup)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(training.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )


def augment(images: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Images uint8 [n, height, width, channels] → the same shape and dtype, each changed by itself.

    `seed` int32 [2] decides it. What a shift leaves free and what is erased is 0 (Fashion-MNIST's background).
    """
    if settings.horizontal_flip:
        images = _flip(images, tf.random.experimental.stateless_fold_in(seed, 1))
    if settings.shift > 0:
        images = _shift(images, settings.shift, tf.random.experimental.stateless_fold_in(seed, 2))
    if settings.erasing > 0:
        images = _erase(images, settings.erasing, tf.random.experimental.stateless_fold_in(seed, 3))
    return images


def _flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    chosen = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(chosen, tf.reverse(images, axis=[2]), images)


def _shift(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
    offsets = tf.random.stateless_uniform([count, 2], seed, 0, 2 * most + 1, tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    padded = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(padded, columns, axis=2, batch_dims=1)


def _erase(images: tf.Tensor, side: int, seed: tf.Tensor) -> tf.Tensor:
    """With a square at a random place, whose middle lies in the image (DeVries and Taylor 2017, "Cutout")."""
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    places = tf.random.stateless_uniform([2, count, 1], seed)
    outside = []
    for place, size in zip(tf.unstack(places), (height, width), strict=True):
        first = tf.cast(place * size, tf.int32) - side // 2
        outside.append((tf.range(size) < first) | (tf.range(size) >= first + side))
    rows, columns = outside
    kept = rows[:, :, None, None] | columns[:, None, :, None]
    return images * tf.cast(kept, images.dtype)
