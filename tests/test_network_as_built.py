"""Two ways to write one network are one run; what has an effect makes another."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.config.layers import block_as_built, blocks, dense_as_built, layers
from pipeline.config.schema import Configuration, Model
from pipeline.network.build import build_network
from pipeline.network.fit import Trainer
from pipeline.run.identity import identity
from tests.harness.settings import article
from tests.test_config_layers import networks

pytestmark = pytest.mark.usefixtures("two_threads", "_steps_without_a_graph")

Changes = Mapping[str, Any]

SHAPE = (12, 12, 1)
SMALL: Changes = {
    "data.image_shape": list(SHAPE),
    "model.conv.filters": 4,
    "model.conv.kernel_size": 3,
    "training.batch_size": 16,
}
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (64, *SHAPE), dtype=np.uint8)
LABELS = GENERATOR.integers(0, 10, 64, dtype=np.uint8)

BATCH_NORMALIZATION = "model.batch_normalization"
ONE = {"model.conv.kernel_size": 1}
FLAT = {"model.conv.kernel_size": [1, 3]}
UNBIASED = {"model.conv.use_bias": False}
UNPOOLED = {"model.pooling": "none"}
DENSE = {"model.dense.units": [5]}
TWO_DENSE = {"model.dense.units": [5, 6], "model.depth": 1}
WIDE_POOL = {"model.pool_size": 3, "model.depth": 1}


BY_VARIANCE: dict[str, dict[str, object]] = {
    "he_normal": {"scale": 2},
    "he_uniform": {"scale": 2.0, "distribution": "uniform"},
    "lecun_normal": {"scale": 1},
    "lecun_uniform": {"distribution": "uniform"},
    "glorot_normal": {"mode": "fan_avg"},
    "glorot_uniform": {"mode": "fan_avg", "distribution": "uniform"},
}
KERAS_ARGUMENTS: dict[str, dict[str, object]] = {
    "random_normal": {"mean": 0, "stddev": 0.05},
    "truncated_normal": {"stddev": 0.05},
    "random_uniform": {"minval": -0.05},
    "orthogonal": {"gain": 1},
    "he_normal": {},
}


def initializer(name: str, **arguments: object) -> Changes:
    return {"model.conv.kernel_initializer": {"name": name, **arguments}}


def bias(name: str, **arguments: object) -> Changes:
    return {"model.conv.bias_initializer": {"name": name, **arguments}}


SAME: list[tuple[str, Changes, Changes]] = [
    *(
        (f"{part} regularizer {written}", {}, {f"model.conv.{part}_regularizer": regularizer})
        for part in ("kernel", "bias", "activity")
        for written, regularizer in (
            ("l1_l2 without numbers", "l1_l2"),
            ("l1 of 0", {"name": "l1", "l1": 0}),
            ("l2 of 0", {"name": "l2", "l2": 0.0}),
            ("l2 of -0", {"name": "l2", "l2": -0.0}),
        )
    ),
    (
        "l1_l2 with l1 alone",
        {"model.conv.kernel_regularizer": {"name": "l1", "l1": 0.02}},
        {"model.conv.kernel_regularizer": {"name": "l1_l2", "l1": 0.02}},
    ),
    (
        "l1_l2 with l2 alone",
        {"model.conv.activity_regularizer": "l2"},
        {"model.conv.activity_regularizer": {"name": "l1_l2", "l2": 0.01}},
    ),
    ("no bias, its initializer", UNBIASED, UNBIASED | {"model.conv.bias_initializer": "ones"}),
    ("no bias, its regularizer", UNBIASED, UNBIASED | {"model.conv.bias_regularizer": "l2"}),
    ("no bias, its constraint", UNBIASED, UNBIASED | {"model.conv.bias_constraint": "NonNeg"}),
    ("no pooling, its size", UNPOOLED, UNPOOLED | {"model.pool_size": 3}),
    ("pooling of single pixels, the largest", UNPOOLED, {"model.pool_size": 1}),
    ("pooling of single pixels, the mean", UNPOOLED, {"model.pool_size": [1, 1], "model.pooling": "average"}),
    (
        "normalization after no pooling",
        UNPOOLED | {BATCH_NORMALIZATION: "after_activation"},
        UNPOOLED | {BATCH_NORMALIZATION: "after_pooling"},
    ),
    (
        "normalization before no activation",
        {"model.conv.activation": "linear", BATCH_NORMALIZATION: "after_activation"},
        {"model.conv.activation": "linear", BATCH_NORMALIZATION: "before_activation"},
    ),
    ("single weights, padding", ONE, ONE | {"model.conv.padding": "same"}),
    (
        "single weights with strides, padding",
        ONE | {"model.conv.strides": [2, 1]},
        ONE | {"model.conv.strides": [2, 1], "model.conv.padding": "same"},
    ),
    ("single weights, dilation", ONE, ONE | {"model.conv.dilation_rate": [3, 2]}),
    ("a row of weights, dilation of rows", FLAT, FLAT | {"model.conv.dilation_rate": [2, 1]}),
    ("single weights, rings", ONE, ONE | {"model.conv.kernel_constraint": "RadialConstraint"}),
    (
        "the kernel's initializer by another name",
        {"model.conv.kernel_initializer": "lecun_normal"},
        {"model.conv.kernel_initializer": "variance_scaling"},
    ),
    *(
        (
            f"the bias's initializer {name}",
            {"model.conv.bias_initializer": known},
            {"model.conv.bias_initializer": name},
        )
        for name, known in (
            ("variance_scaling", "lecun_normal"),
            ("glorot_normal", "lecun_normal"),
            ("glorot_uniform", "lecun_uniform"),
        )
    ),
    (
        "axes in another order",
        {"model.conv.kernel_constraint": {"name": "UnitNorm", "axis": [0, 1]}},
        {"model.conv.kernel_constraint": {"name": "UnitNorm", "axis": [1, 0]}},
    ),
    ("pooling strides by its size", {}, {"model.pool_strides": 2}),
    ("no pooling, its strides", UNPOOLED, UNPOOLED | {"model.pool_strides": 3}),
    ("no pooling, its padding", UNPOOLED, UNPOOLED | {"model.pool_padding": "same"}),
    (
        "every other pixel, the mean of each",
        {"model.pool_size": 1, "model.pool_strides": 2},
        {"model.pool_size": 1, "model.pool_strides": 2, "model.pooling": "average"},
    ),
    *(
        (
            f"{name} is variance scaling",
            {"model.conv.kernel_initializer": name},
            initializer("variance_scaling", **other),
        )
        for name, other in BY_VARIANCE.items()
    ),
    (
        "a bias has as many inputs as outputs",
        bias("variance_scaling", scale=3),
        bias("variance_scaling", scale=3, mode="fan_out"),
    ),
    ("a bias of 0", {}, bias("constant")),
    ("a bias of 1", {"model.conv.bias_initializer": "ones"}, bias("constant", value=1)),
    *(
        (f"{name} with Keras's own arguments", {"model.conv.kernel_initializer": name}, initializer(name, **arguments))
        for name, arguments in KERAS_ARGUMENTS.items()
    ),
    (
        "normalization before no activation of dense layers",
        DENSE | {"model.dense.activation": "linear", "model.dense.batch_normalization": "after_activation"},
        DENSE | {"model.dense.activation": "linear", "model.dense.batch_normalization": "before_activation"},
    ),
    ("no dense layers, their normalization", {}, {"model.dense.batch_normalization": "after_activation"}),
    (
        "each dense layer's dropout, all alike",
        TWO_DENSE | {"model.dense.dropout": 0.25},
        TWO_DENSE | {"model.dense.dropout": [0.25, 0.25]},
    ),
    ("no dense layers, their activation", {}, {"model.dense.activation": "tanh"}),
    ("no dense layers, their dropout", {}, {"model.dense.dropout": 0.5}),
    ("one block, growth", {"model.depth": 1}, {"model.depth": 1, "model.filter_growth": 1}),
    ("all filters written out", {}, {"model.filter_growth": 3, "model.blocks.block2.conv.filters": 8}),
    ("a block's change that is none", {}, {"model.blocks.block1": {"pooling": "max", "conv": {"kernel_size": [3, 3]}}}),
    ("dropout of -0", {}, {"model.dropout": -0.0, "model.head_dropout": -0.0, "training.weight_decay": -0.0}),
    ("a rate as a whole number", {"training.learning_rate": 1.0}, {"training.learning_rate": 1}),
]

OTHER: list[tuple[str, Changes, Changes]] = [
    ("a regularizer", {}, {"model.conv.kernel_regularizer": "l2"}),
    (
        "l1 in place of l2",
        {"model.conv.kernel_regularizer": {"name": "l1_l2", "l1": 0.1}},
        {"model.conv.kernel_regularizer": {"name": "l1_l2", "l2": 0.1}},
    ),
    ("the bias", {}, UNBIASED),
    ("the bias's initializer", {}, {"model.conv.bias_initializer": "ones"}),
    (
        "the bias's variance",
        {"model.conv.bias_initializer": "he_normal"},
        {"model.conv.bias_initializer": "lecun_normal"},
    ),
    ("the bias's regularizer", {}, {"model.conv.bias_regularizer": {"name": "l2", "l2": 10}}),
    ("the bias's constraint", {}, {"model.conv.bias_constraint": "NonNeg"}),
    ("the pooling", {}, UNPOOLED),
    ("the pooling's size", {}, {"model.pool_size": [1, 2]}),
    (
        "the place of normalization",
        {BATCH_NORMALIZATION: "after_activation"},
        {BATCH_NORMALIZATION: "after_pooling"},
    ),
    (
        "normalization before an activation",
        {BATCH_NORMALIZATION: "before_activation"},
        {BATCH_NORMALIZATION: "after_activation"},
    ),
    ("padding", {}, {"model.conv.padding": "same"}),
    ("dilation along the weights", FLAT, FLAT | {"model.blocks.block1.conv.dilation_rate": [1, 2]}),
    ("rings", {}, {"model.conv.kernel_constraint": "RadialConstraint"}),
    ("the initializer", {}, {"model.conv.kernel_initializer": "lecun_uniform"}),
    (
        "the kernel's initializer, by its inputs or the mean",
        {"model.conv.kernel_initializer": "glorot_normal"},
        {"model.conv.kernel_initializer": "lecun_normal"},
    ),
    ("the dense layer's activation", DENSE, DENSE | {"model.dense.activation": "tanh"}),
    ("the dense layer's dropout", DENSE, DENSE | {"model.dense.dropout": 0.5}),
    ("the pooling's strides", WIDE_POOL, WIDE_POOL | {"model.pool_strides": 2}),
    ("the pooling's padding", WIDE_POOL, WIDE_POOL | {"model.pool_padding": "same"}),
    ("every other pixel", UNPOOLED, {"model.pool_size": 1, "model.pool_strides": 2}),
    ("an initializer's deviation", initializer("random_normal"), initializer("random_normal", stddev=0.06)),
    ("an initializer's gain", initializer("orthogonal"), initializer("orthogonal", gain=1.1)),
    ("a bias's value", {}, bias("constant", value=0.1)),
    ("normalization of the images", {}, {"model.input_normalization": True}),
    ("normalization of dense layers", DENSE, DENSE | {"model.dense.batch_normalization": "after_activation"}),
    (
        "the place of dense layers' normalization",
        DENSE | {"model.dense.batch_normalization": "before_activation"},
        DENSE | {"model.dense.batch_normalization": "after_activation"},
    ),
    (
        "one dense layer's dropout",
        TWO_DENSE | {"model.dense.dropout": [0.25, 0.0]},
        TWO_DENSE | {"model.dense.dropout": [0.0, 0.25]},
    ),
    ("growth", {}, {"model.filter_growth": 1}),
    ("one block", {}, {"model.blocks.block1.pooling": "average"}),
]


@pytest.fixture(scope="module")
def _steps_without_a_graph() -> Iterator[None]:
    """A graph for each of these networks takes longer than the few steps that it would be used for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_call", lambda trainer, _size: trainer._steps)
        yield


def configuration(changes: Changes) -> Configuration:
    return article({**SMALL, **changes})


@cache
def trained_as_built(described: str, epochs: int = 1) -> list[Any]:
    """`trained`, of a configuration as JSON: most settings here are compared with the same few."""
    return trained(Configuration.model_validate_json(described), epochs)


def trained(described: Configuration, epochs: int = 1) -> list[Any]:
    """The weights after so many epochs of four steps."""
    network = build_network(described.model, SHAPE, 10, seed=0, precision="float32")
    trainer = Trainer(network, described.training, IMAGES, LABELS, seed=0)
    for epoch in range(1, epochs + 1):
        trainer.run_epoch(epoch, lambda _steps: None)
    return [variable for variable in network.get_weights() if variable.dtype == np.float32]


def alike(weights: list[Any], others: list[Any]) -> bool:
    """But for rounding: TensorFlow convolves with dilation, even of single weights, in another order."""
    shapes = [[variable.shape for variable in network] for network in (weights, others)]
    return shapes[0] == shapes[1] and all(
        np.allclose(*pair, rtol=1e-3, atol=1e-5) for pair in zip(weights, others, strict=True)
    )


def named(pairs: list[tuple[str, Changes, Changes]]) -> list[Any]:
    return [pytest.param(one, another, id=name) for name, one, another in pairs]


@pytest.mark.parametrize(("one", "another"), named(SAME))
def test_a_setting_without_effect_is_the_same_run(
    one: Changes, another: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = configuration(one), configuration(another)
    assert blocks(first.model) == blocks(second.model)
    assert dense_as_built(first.model) == dense_as_built(second.model)
    assert identity(first, "d") == identity(second, "d")
    expected = trained_as_built(first.model_dump_json())
    # As written, whatever the rules say: it is Keras that makes the one equal to the other.
    monkeypatch.setattr("pipeline.config.layers.block_as_built", lambda block: block)
    assert alike(trained(second), expected)


@pytest.mark.parametrize(("one", "another"), named(OTHER))
def test_a_setting_with_an_effect_is_another_run(one: Changes, another: Changes) -> None:
    first, second = configuration(one), configuration(another)
    assert identity(first, "d").name != identity(second, "d").name
    # From the start, or as they are trained.
    assert any(
        not alike(*(trained_as_built(each.model_dump_json(), epochs) for each in (first, second))) for epochs in (0, 2)
    )


SIDE_BY_SIDE = {"model.depth": 1, "model.conv.kernel_size": [3, 4], "model.conv.strides": [3, 4]}


@pytest.mark.parametrize(
    ("one", "another"),
    [
        (SIDE_BY_SIDE, {**SIDE_BY_SIDE, "model.conv.padding": "same"}),
        (
            {**SIDE_BY_SIDE, "model.conv.kernel_size": [2, 3]},
            {**SIDE_BY_SIDE, "model.conv.kernel_size": [2, 3], "model.conv.padding": "same"},
        ),
    ],
)
def test_padding_that_adds_nothing_at_this_size_is_built_as_none(
    one: Changes, another: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = configuration(one), configuration(another)
    assert layers(first.model, SHAPE, 10) == layers(second.model, SHAPE, 10)
    expected = trained(first)
    monkeypatch.setattr("pipeline.config.layers._without_empty_padding", lambda block, *_shapes: block)
    assert alike(trained(second), expected)
    # Where there is something to pad it stays.
    assert layers(first.model, (13, 12, 1), 10) != layers(second.model, (13, 12, 1), 10)


@pytest.mark.parametrize(
    ("window", "strides", "adds"),
    [(2, None, False), (3, 3, False), (4, 2, True), (1, 5, False), (2, 5, False), (3, 5, True)],
)
def test_padding_of_a_pooling_that_adds_nothing_at_this_size_is_built_as_none(
    window: int, strides: int | None, adds: bool
) -> None:
    pool = {"model.pool_size": window, "model.pool_strides": strides}
    plain, padded = (
        configuration({"model.depth": 1, "model.conv.kernel_size": 1, **pool, "model.pool_padding": padding}).model
        for padding in ("valid", "same")
    )
    assert (layers(plain, SHAPE, 10) != layers(padded, SHAPE, 10)) is adds
    images = GENERATOR.normal(size=(2, *SHAPE)).astype(np.float32)
    for kind in (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D):
        by_keras = [np.asarray(kind(window, strides, padding)(images)) for padding in ("valid", "same")]
        assert (by_keras[0].shape != by_keras[1].shape) is adds
        assert adds or np.array_equal(by_keras[0], by_keras[1])


def test_the_head_of_a_single_place_is_built_as_the_same_whichever_it_is() -> None:
    heads = [configuration({"model.head": head}).model for head in ("flatten", "global_average", "global_max")]
    assert len({layers(model, (10, 10, 1), 10) for model in heads}) == 1
    assert len({layers(model, (14, 10, 1), 10) for model in heads}) == 3
    place = GENERATOR.normal(size=(2, 1, 1, 5)).astype(np.float32)
    for head in (keras.layers.GlobalAveragePooling2D(), keras.layers.GlobalMaxPooling2D()):
        assert np.array_equal(head(place), keras.layers.Flatten()(place))


quick = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


@settings(quick, max_examples=12)
@given(networks())
def test_any_network_computes_as_built_what_it_computes_as_written(
    case: tuple[Model, tuple[int, int, int], int, object],
) -> None:
    compare_with_written(*case[:3])


@pytest.mark.long
@settings(quick, max_examples=100)
@given(networks())
def test_many_networks_compute_as_built_what_they_compute_as_written(
    case: tuple[Model, tuple[int, int, int], int, object],
) -> None:
    compare_with_written(*case[:3])


def compare_with_written(model: Model, shape: tuple[int, int, int], classes: int) -> None:
    pixels = np.random.default_rng(1).random((4, *shape)).astype(np.float32)
    built = build_network(model, shape, classes, seed=0, precision="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.config.layers.block_as_built", lambda block: block)
        patch.setattr("pipeline.config.layers._without_empty_padding", lambda block, *_shapes: block)
        written = build_network(model, shape, classes, seed=0, precision="float32")
    assert alike([np.asarray(built(pixels))], [np.asarray(written(pixels))])
    assert alike([np.asarray(sum(built.losses, 0.0))], [np.asarray(sum(written.losses, 0.0))])


def test_what_is_built_is_built_the_same_again() -> None:
    for _, one, another in SAME + OTHER:
        for block in (*blocks(configuration(one).model), *blocks(configuration(another).model)):
            assert block_as_built(block) == block
