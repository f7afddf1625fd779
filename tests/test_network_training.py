"""Training: what it does to the weights, that it repeats, that it can be interrupted."""

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config.schema import Configuration
from pipeline.network.build import build_network
from pipeline.network.fit import EpochScores, Trainer, build_optimizer, learning_rate_schedule
from pipeline.storage import project
from pipeline.storage.arrays import Arrays
from tests.harness.settings import article

pytestmark = pytest.mark.usefixtures("two_threads")

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (64, 12, 12, 1), dtype=np.uint8)
LABELS = np.arange(64, dtype=np.uint8) % 10

# 64 images in batches of 24: the last batch of an epoch is a partial one.
SMALL: dict[str, object] = {
    "data.image_shape": [12, 12, 1],
    "model.depth": 1,
    "model.conv.filters": 4,
    "model.conv.kernel_size": 3,
    "training.batch_size": 24,
    "training.epochs": 3,
}
EVERYTHING: dict[str, object] = {
    "model.dropout": 0.3,
    "model.head_dropout": 0.2,
    "model.dense.units": [8],
    "model.dense.dropout": 0.1,
    "model.batch_normalization": "after_activation",
    "model.conv.kernel_regularizer": "l2",
    "model.conv.activity_regularizer": "l1",
    "model.conv.kernel_constraint": "MaxNorm",
    "training.augmentation.horizontal_flip": True,
    "training.augmentation.shift": 2,
    "training.augmentation.erasing": 4,
    "training.weight_decay": 0.01,
    "training.label_smoothing": 0.1,
    "training.schedule": "cosine",
    "training.warmup": 0.2,
}
OPTIMIZERS: dict[str, dict[str, object]] = {
    "adam": {"training.optimizer": "adam", "training.learning_rate": 0.01},
    "sgd with momentum": {"training.optimizer": "sgd", "training.momentum": 0.9, "training.learning_rate": 0.05},
}
# So small that no float32 weight changes: what is scored is the network as it was built.
STANDING_STILL: dict[str, object] = {"training.optimizer": "sgd", "training.learning_rate": 1e-30}


def trainer(
    changes: dict[str, object], seed: int = 0, images: NDArray[np.uint8] = IMAGES, labels: NDArray[np.uint8] = LABELS
) -> Trainer:
    configuration: Configuration = article({**SMALL, "data.image_shape": list(images.shape[1:]), **changes})
    network = build_network(
        configuration.model, images.shape[1:], 10, seed=seed, precision=configuration.training.precision
    )
    return Trainer(network, configuration.training, images, labels, seed)


def some_of(cases: Iterable[tuple[Any, ...]], numbers: Sequence[int]) -> list[Any]:
    """The cases, all but those with these numbers as long ones."""
    return [
        pytest.param(*case, marks=() if number in numbers else pytest.mark.long) for number, case in enumerate(cases)
    ]


def run(training: Trainer, epochs: Sequence[int] = (1, 2, 3)) -> list[EpochScores]:
    return [training.run_epoch(epoch, lambda _steps: None) for epoch in epochs]


def in_bytes(state: Arrays) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


def kernel(training: Trainer, name: str = "block1_conv") -> NDArray[np.float32]:
    return np.array(training.network.get_layer(name).kernel.numpy())


def digest_of_a_training_with_everything() -> str:
    training = trainer(EVERYTHING | OPTIMIZERS["adam"])
    scores = run(training)
    said = repr(scores).encode() + b"".join(in_bytes(training.state()).values())
    return hashlib.sha256(said).hexdigest()


# Repeating


@pytest.mark.parametrize(
    "optimizer", ["adam", *(pytest.param(name, marks=pytest.mark.long) for name in OPTIMIZERS if name != "adam")]
)
def test_training_that_was_interrupted_gives_the_same_bytes_as_one_that_was_not(optimizer: str) -> None:
    changes = EVERYTHING | OPTIMIZERS[optimizer]
    whole = trainer(changes)
    scores = run(whole)
    interrupted = trainer(changes)
    first = run(interrupted, [1])
    kept = interrupted.state()
    kept_bytes = in_bytes(kept)
    run(interrupted, [2])
    assert in_bytes(kept) == kept_bytes, "a state is a copy"
    resumed = trainer(changes)
    resumed.restore(kept)
    assert first + run(resumed, [2, 3]) == scores
    assert in_bytes(resumed.state()) == in_bytes(whole.state())
    # The averages of batch normalisation decide no later step: they must be asked for by themselves.
    assert all(map(np.array_equal, resumed.network.get_weights(), whole.network.get_weights()))


@pytest.mark.long
def test_another_process_with_the_same_arguments_gives_the_same_bytes() -> None:
    program = (
        "from pipeline.network.fit import use_threads; use_threads(2)\n"
        "from tests.test_network_training import digest_of_a_training_with_everything\n"
        "print(digest_of_a_training_with_everything())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    keras.utils.set_random_seed(5)
    assert said.stdout.split() == [digest_of_a_training_with_everything()]


def test_another_seed_gives_other_weights_and_scores() -> None:
    one, other = trainer({}, seed=0), trainer({}, seed=1)
    assert run(one, [1]) != run(other, [1])
    assert not np.array_equal(kernel(one), kernel(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"model.dropout": 0.5},
        {"model.head_dropout": 0.5},
        {"model.dense.units": [8], "model.dense.dropout": 0.5},
        {"training.augmentation.horizontal_flip": True},
        {"training.augmentation.shift": 2},
        {"training.augmentation.erasing": 4},
    ],
)
def test_each_epoch_draws_anew_and_always_the_same(changes: dict[str, object]) -> None:
    # The weights stand still and one batch holds all images: only what is drawn differs.
    training = trainer(changes | STANDING_STILL | {"training.batch_size": 64})
    first, second, again = run(training, [1, 2, 1])
    assert first.loss != pytest.approx(second.loss, rel=1e-4)
    assert first.loss == again.loss


@pytest.mark.parametrize("changes", [{"model.head_dropout": 0.5}, {"training.augmentation.shift": 2}])
def test_steps_of_an_epoch_draw_differently(changes: dict[str, object]) -> None:
    # The same image over and over in batches of one: were what is drawn the same, so would be all losses.
    def mean_loss(count: int) -> float:
        images, labels = np.repeat(IMAGES[:1], count, axis=0), np.zeros(count, np.uint8)
        return run(trainer(changes | STANDING_STILL | {"training.batch_size": 1}, images=images, labels=labels), [1])[
            0
        ].loss

    # 64 steps are one call from Python, 128 are two.
    losses = [mean_loss(count) for count in (1, 64, 128)]
    assert len({round(loss, 5) for loss in losses}) == 3


def test_state_of_another_network_or_optimizer_is_refused() -> None:
    training = trainer({})
    for changes in ({"model.conv.filters": 5}, {"model.dense.units": [3]}, {"training.optimizer": "sgd"}):
        with pytest.raises(ValueError, match=r"network or optimizer|in place of"):
            training.restore(trainer(dict(changes)).state())


# Scores


def logits(training: Trainer) -> Any:
    return training.network((IMAGES / 255.0).astype(np.float32), training=False)


@pytest.mark.parametrize(("smoothing", "batch"), some_of(product([0.0, 0.1, 0.9], [24, 64, 100]), [0, 4, 8]))
def test_loss_is_kerass_mean_over_all_images_whatever_the_batches(smoothing: float, batch: int) -> None:
    training = trainer(STANDING_STILL | {"training.label_smoothing": smoothing, "training.batch_size": batch})
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(
        keras.utils.to_categorical(LABELS, 10), logits(training)
    )
    found = run(training, [1])[0]
    assert found.loss == pytest.approx(float(expected), rel=1e-5)
    assert found.accuracy == np.mean(np.argmax(logits(training), axis=1) == LABELS)


@pytest.mark.parametrize(
    ("changes", "name", "penalty"),
    [
        ({"kernel_regularizer": {"name": "l2", "l2": 0.5}}, "kernel", lambda w: 0.5 * np.sum(w**2)),
        ({"kernel_regularizer": {"name": "l1", "l1": 0.5}}, "kernel", lambda w: 0.5 * np.sum(abs(w))),
        (
            {"kernel_regularizer": {"name": "l1_l2", "l1": 0.3, "l2": 0.7}},
            "kernel",
            lambda w: 0.3 * np.sum(abs(w)) + 0.7 * np.sum(w**2),
        ),
        ({"bias_regularizer": {"name": "l1", "l1": 0.5}, "bias_initializer": "ones"}, "bias", lambda _w: 0.5 * 4),
    ],
)
def test_penalties_on_weights_enter_the_loss(changes: dict[str, object], name: str, penalty: Any) -> None:
    training = trainer(STANDING_STILL | {f"model.conv.{key}": value for key, value in changes.items()})
    weights = getattr(training.network.get_layer("block1_conv"), name).numpy()
    plain = loss_without_penalty(str(changes.get("bias_initializer", "zeros")))
    assert run(training, [1])[0].loss - plain == pytest.approx(float(penalty(weights)), rel=1e-4)


@cache
def loss_without_penalty(bias_initializer: str) -> float:
    return run(trainer(STANDING_STILL | {"model.conv.bias_initializer": bias_initializer}), [1])[0].loss


def test_penalty_on_the_activity_is_its_mean_over_the_images_of_a_batch() -> None:
    training = trainer(STANDING_STILL | {"model.conv.activity_regularizer": {"name": "l1", "l1": 0.5}})
    maps = keras.Model(training.network.input, training.network.get_layer("block1_conv").output)
    expected = 0.5 * np.abs(maps((IMAGES / 255.0).astype(np.float32))).sum() / len(IMAGES)
    assert run(training, [1])[0].loss - loss_without_penalty("zeros") == pytest.approx(expected, rel=1e-4)


def test_training_learns_what_can_be_learnt() -> None:
    # The class is the row that is bright.
    images = np.zeros((200, 10, 10, 1), np.uint8)
    labels = np.arange(200, dtype=np.uint8) % 10
    images[np.arange(200), labels] = 255
    changes = OPTIMIZERS["adam"] | {"model.conv.padding": "same", "model.pooling": "none", "training.epochs": 8}
    scores = run(trainer(changes, images=images, labels=labels), range(1, 9))
    assert scores[-1].accuracy == 1
    assert scores[-1].loss < scores[0].loss / 3


def test_loss_that_is_not_finite_is_returned() -> None:
    exploding = {"training.optimizer": "sgd", "training.learning_rate": 100.0, "training.batch_size": 4}
    scores = run(trainer(exploding | {"model.conv.activation": "linear"}))
    assert not math.isfinite(scores[-1].loss)


def test_steps_are_told_as_they_are_done() -> None:
    told: list[int] = []
    training = trainer({"training.batch_size": 1})
    training.run_epoch(1, told.append)
    assert sum(told) == training.steps == 64
    many = trainer({"training.batch_size": 24})
    told.clear()
    many.run_epoch(1, told.append)
    assert sum(told) == many.steps == 3


# Constraints


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        ("NonNeg", lambda w: (w >= 0).all()),
        pytest.param(
            {"name": "MaxNorm", "max_value": 0.5, "axis": [0, 1, 2]},
            lambda w: (norms(w, (0, 1, 2)) <= 0.5001).all(),
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"name": "UnitNorm", "axis": [0, 1, 2]},
            lambda w: np.allclose(norms(w, (0, 1, 2)), 1, atol=1e-4),
            marks=pytest.mark.long,
        ),
        (
            {"name": "MinMaxNorm", "min_value": 0.3, "max_value": 0.4, "axis": [0, 1]},
            lambda w: ((norms(w, (0, 1)) >= 0.2999) & (norms(w, (0, 1)) <= 0.4001)).all(),
        ),
        ("RadialConstraint", lambda w: np.allclose(w, np.rot90(w), atol=1e-6) and np.allclose(w, w[::-1], atol=1e-6)),
    ],
)
def test_constraints_hold_after_training(settings: object, holds: Any) -> None:
    assert not holds(kernel_without_constraint())
    bound = trainer(OPTIMIZERS["adam"] | {"model.conv.kernel_constraint": settings})
    run(bound, [1])
    assert holds(kernel(bound))


@cache
def kernel_without_constraint() -> NDArray[np.float32]:
    free = trainer(OPTIMIZERS["adam"])
    run(free, [1])
    return kernel(free)


def norms(weights: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.sum(weights**2, axis=axes)))


def test_constraint_on_the_bias_holds_after_training() -> None:
    training = trainer(
        OPTIMIZERS["adam"] | {"model.conv.bias_constraint": "UnitNorm", "model.conv.bias_initializer": "ones"}
    )
    run(training, [1])
    assert np.linalg.norm(training.network.get_layer("block1_conv").bias.numpy()) == pytest.approx(1, abs=1e-4)


# Optimizers


@pytest.mark.parametrize(
    ("name", "momentum"), [("adam", 0), ("lion", 0), ("nadam", 0), ("rmsprop", 0), ("sgd", 0), ("sgd", 0.9)]
)
def test_each_optimizer_takes_kerass_steps(name: str, momentum: float) -> None:
    changes = {"training.optimizer": name, "training.learning_rate": 0.1, "training.momentum": momentum}
    config = {"learning_rate": 0.1} | ({"momentum": momentum} if momentum > 0 else {})
    expected = keras.optimizers.get({"class_name": name, "config": config})
    variables = [keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])]
    for optimizer, variable in zip((build_optimizer(article(changes).training, 10), expected), variables, strict=True):
        for gradient in ([0.5, 0.25], [0.5, -1.0]):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    assert np.array_equal(variables[0].numpy(), variables[1].numpy())
    assert not np.array_equal(variables[0].numpy(), [1.0, -2.0])


def test_muon_steps_kernels_as_kerass_own_steps_matrices_and_takes_adam_for_the_rest() -> None:
    kernel, bias = (keras.Variable(np.zeros(shape, np.float32)) for shape in ((3, 3, 2, 4), (4,)))
    matrix, twin = (keras.Variable(np.zeros(shape, np.float32)) for shape in ((18, 4), (4,)))
    ours = build_optimizer(article({"training.optimizer": "muon", "training.learning_rate": 0.1}).training, 10)
    muon = keras.optimizers.Muon(0.1, momentum=0.9, weight_decay=None, adam_weight_decay=None)
    adam = keras.optimizers.Adam(0.1)
    generator = np.random.default_rng(0)
    for _ in range(2):
        gradient, other = (generator.normal(size=shape).astype(np.float32) for shape in ((18, 4), (4,)))
        ours.apply([keras.ops.reshape(gradient, (3, 3, 2, 4)), keras.ops.convert_to_tensor(other)], [kernel, bias])
        muon.apply([keras.ops.convert_to_tensor(gradient)], [matrix])
        adam.apply([keras.ops.convert_to_tensor(other)], [twin])
    assert np.array_equal(kernel.numpy().reshape(18, 4), matrix.numpy())
    np.testing.assert_allclose(bias.numpy(), twin.numpy(), rtol=1e-5)
    # Of the first step all singular values are near 1, times the rate and 0.2 √18.
    assert np.linalg.norm(matrix.numpy(), 2) < 2 * 1.3 * 0.1 * 0.2 * math.sqrt(18)


def test_weight_decay_shrinks_kernels_by_rate_times_decay_and_spares_biases_and_scales() -> None:
    base = {
        "training.optimizer": "sgd",
        "training.learning_rate": 0.1,
        "training.batch_size": 64,
        "model.batch_normalization": "after_activation",
    }
    plain, decayed = trainer(base), trainer(base | {"training.weight_decay": 0.5})
    for variable in (*plain.network.trainable_variables, *decayed.network.trainable_variables):
        if not variable.path.endswith("kernel"):
            variable.assign(np.ones(variable.shape))
    before = {variable.path: variable.numpy() for variable in plain.network.trainable_variables}
    run(plain, [1])
    run(decayed, [1])
    for one, other in zip(plain.network.trainable_variables, decayed.network.trainable_variables, strict=True):
        expected = 0.1 * 0.5 * before[one.path] if one.path.endswith("kernel") else np.zeros(one.shape)
        np.testing.assert_allclose(one.numpy() - other.numpy(), expected, atol=1e-6)
    assert sum(path.endswith("kernel") for path in before) == 2
    assert len(before) == 6


def test_rate_is_constant_without_a_schedule() -> None:
    assert [score.learning_rate for score in run(trainer({}))] == [pytest.approx(0.001)] * 3


def test_rate_grows_in_a_line_and_falls_in_a_cosine_to_0() -> None:
    changes = {"training.schedule": "cosine", "training.warmup": 0.25, "training.learning_rate": 0.8}
    course: Any = learning_rate_schedule(article(changes).training, steps=40)
    found = [float(course(step)) for step in range(41)]
    rising = [0.8 * step / 10 for step in range(10)]
    falling = [0.8 * (1 + math.cos(math.pi * step / 30)) / 2 for step in range(31)]
    assert found == pytest.approx(rising + falling, abs=1e-6)
    assert found[40] == pytest.approx(0, abs=1e-7)


def test_cosine_without_a_warm_up_starts_at_the_full_rate() -> None:
    course: Any = learning_rate_schedule(article({"training.schedule": "cosine"}).training, steps=20)
    assert [float(course(step)) for step in (0, 10, 20)] == pytest.approx([0.001, 0.0005, 0], abs=1e-9)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.9), (1, 0.1), (3, 0.99), (2, 0.5)])
def test_courses_of_few_steps_are_finite(steps: int, warmup: float) -> None:
    course: Any = learning_rate_schedule(
        article({"training.schedule": "cosine", "training.warmup": warmup}).training, steps=steps
    )
    assert all(0 <= float(course(step)) <= 0.001001 for step in range(steps + 1))


def test_rate_is_0_after_the_last_of_all_epochs() -> None:
    scores = run(trainer({"training.schedule": "cosine", "training.warmup": 0.2}))
    # 9 steps, 2 of them warm-up; after 3 and 6 steps, 1 and 4 of 7 have gone along the cosine.
    expected = [0.001 * (1 + math.cos(math.pi * gone / 7)) / 2 for gone in (1, 4, 7)]
    assert [score.learning_rate for score in scores] == pytest.approx(expected, abs=1e-9)


# Every kind of convolution


def test_bfloat16_trains_and_keeps_its_weights_in_float32() -> None:
    training = trainer(EVERYTHING | OPTIMIZERS["adam"] | {"training.precision": "mixed_bfloat16"})
    before = kernel(training)
    scores = run(training)
    assert all(math.isfinite(score.loss) for score in scores)
    assert kernel(training).dtype == np.float32
    assert not np.array_equal(kernel(training), before)


KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "strided": {"strides": [2, 1]},
    "dilated": {"dilation_rate": [1, 2]},
}


# Of the twelve each kind, each padding and both numbers of groups.
@pytest.mark.parametrize(("kind", "groups", "padding"), some_of(product(KINDS, [1, 2], ["valid", "same"]), [0, 7, 9]))
def test_every_kind_of_convolution_trains_alike_in_both_data_formats(kind: str, groups: int, padding: str) -> None:
    images = np.repeat(IMAGES, 2, axis=3)
    images[..., 1] = 255 - images[..., 1]
    conv = KINDS[kind] | {"groups": groups, "padding": padding, "kernel_size": [2, 3]}
    changes: dict[str, object] = {f"model.conv.{key}": value for key, value in conv.items()}
    changes |= {"training.optimizer": "sgd", "training.learning_rate": 0.1, "training.batch_size": 64}
    trained = []
    for data_format in ("channels_last", "channels_first"):
        training = trainer({**changes, "model.conv.data_format": data_format}, images=images)
        before = kernel(training)
        loss = run(training, [1])[0].loss
        assert not np.array_equal(kernel(training), before)
        trained.append((loss, kernel(training), kernel(training, "output")))
    for last, first in zip(*trained, strict=True):
        np.testing.assert_allclose(first, last, rtol=1e-3, atol=1e-5)
