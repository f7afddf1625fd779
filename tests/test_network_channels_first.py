"""channels_first computes what channels_last computes with the same weights, in any size and by whichever way."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config.layers import layers
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Model
from pipeline.network.build import build_network
from pipeline.network.fit import Trainer
from pipeline.network.predict import Predictor, exportable, feature_maps
from tests.harness.settings import article, article_values, put
from tests.test_config_layers import BLOCK, sizes

pytestmark = pytest.mark.usefixtures("two_threads")

Shape = tuple[int, int, int]
Changes = Mapping[str, Any]

GENERATOR = np.random.default_rng(0)
FIRST = {"model.conv.data_format": "channels_first"}
# Biases that differ from one another from the start.
BIASED = {"model.conv.bias_initializer": "he_normal"}
SAME = {"model.conv.kernel_size": 3, "model.conv.padding": "same", "model.filter_growth": 1}

AS_WIDE_AS_CHANNELS: list[tuple[str, Shape, Changes]] = [
    ("24 filters of 5 × 5 on 28 × 28", (28, 28, 1), {"model.depth": 1, "model.conv.filters": 24}),
    ("8 filters in block 2", (28, 28, 1), {"model.conv.filters": 6, "model.blocks.block2.conv.filters": 8}),
    ("28 filters with same", (28, 28, 1), SAME | {"model.conv.filters": 28}),
    ("32 filters with same on 32 × 32", (32, 32, 3), SAME | {"model.conv.filters": 32}),
    (
        "14 filters in groups, with strides",
        (28, 20, 2),
        {"model.depth": 1, "model.conv.strides": [2, 1], "model.conv.groups": 2, "model.conv.filters": 16},
    ),
    (
        "10 filters dilated",
        (12, 14, 1),
        {"model.depth": 1, "model.conv.kernel_size": 3, "model.conv.dilation_rate": 2, "model.conv.filters": 10},
    ),
    *(
        (
            f"24 filters, normalization {place}",
            (28, 28, 1),
            {"model.depth": 1, "model.conv.filters": 24, "model.batch_normalization": place, "model.pooling": pooling},
        )
        for place, pooling in (("before_activation", "average"), ("after_activation", "none"), ("after_pooling", "max"))
    ),
]


def but_for(*numbers: int) -> list[Any]:
    """All of them, as long ones but for those with these numbers."""
    return [
        pytest.param(shape, changes, id=name, marks=() if number in numbers else pytest.mark.long)
        for number, (name, shape, changes) in enumerate(AS_WIDE_AS_CHANNELS)
    ]


# What has the same gradients trains alike: one plain, one in groups, one with normalization; the others are long ones.
FEW = but_for(0, 4, 6)


def model(changes: Changes) -> Model:
    values = article_values()["model"]
    for key, value in {**BIASED, **changes}.items():
        put(values, key.removeprefix("model."), value)
    return Model.model_validate(values)


def twins(shape: Shape, changes: Changes, *, learns: bool = True, precision: str = "float32") -> list[keras.Model]:
    """The network channels_last and channels_first: with the same weights, which the seed and the names decide."""
    return [
        build_network(model({**changes, **data_format}), shape, 10, seed=0, precision=precision, learns=learns)
        for data_format in ({}, FIRST)
    ]


def images(count: int, shape: Shape) -> NDArray[np.uint8]:
    return GENERATOR.integers(0, 256, (count, *shape), dtype=np.uint8)


def assert_alike(found: Any, expected: Any) -> None:
    """But for rounding, beside the largest value of all: before normalization a bias has gradient 0."""
    largest = max(float(np.abs(np.asarray(other)).max()) for other in expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-3, atol=1e-4 * largest)


def gradients(network: keras.Model, pixels: Any) -> list[Any]:
    """Of a loss that every logit changes, by every weight."""
    with tf.GradientTape() as tape:
        logits = network(pixels, training=True)
        targets = tf.range(pixels.shape[0]) % logits.shape[-1]
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
    found: list[Any] = tape.gradient(loss, network.trainable_variables)
    return found


@pytest.mark.parametrize(("shape", "changes"), but_for(0, 1, 4, 5, 6))
def test_as_wide_as_channels_forward_and_backward_called_and_in_a_graph(shape: Shape, changes: Changes) -> None:
    last, first = twins(shape, changes)
    assert any(
        layer.output.shape[-1] == layer.filters for layer in first.layers if isinstance(layer, keras.layers.Conv2D)
    )
    raw = images(8, shape)
    pixels = tf.constant(raw / 255.0, tf.float32)
    assert_alike([first(pixels)], [last(pixels)])
    assert_alike([Predictor(first)(raw)], [Predictor(last)(raw)])
    expected = gradients(last, pixels)
    assert_alike(gradients(first, pixels), expected)
    assert_alike(tf.function(gradients, autograph=False)(first, pixels), expected)


@pytest.mark.parametrize(("shape", "changes"), FEW)
def test_as_wide_as_channels_two_epochs(shape: Shape, changes: Changes) -> None:
    raw, labels = images(64, shape), GENERATOR.integers(0, 10, 64, dtype=np.uint8)
    # Plain steps: those of Adam make much of the rounding of a gradient near 0.
    training = article(
        {"training.epochs": 2, "training.batch_size": 16, "training.optimizer": "sgd", "training.learning_rate": 0.01}
    ).training
    trained = []
    for network in twins(shape, changes):
        before = network.get_layer("block1_conv").kernel.numpy()
        trainer = Trainer(network, training, raw, labels, seed=0)
        for epoch in (1, 2):
            trainer.run_epoch(epoch, lambda _steps: None)
        assert not np.allclose(network.get_layer("block1_conv").kernel.numpy(), before)
        trained.append(network.get_weights())
    assert_alike(trained[1], trained[0])


@pytest.mark.parametrize(("shape", "changes"), FEW)
def test_as_wide_as_channels_exported(shape: Shape, changes: Changes) -> None:
    trained = twins(shape, changes)
    exported = [exportable(network, shape) for network in twins(shape, changes, learns=False)]
    raw = images(8, shape)
    expected = Predictor(trained[0])(raw)
    for network in exported:
        seen = raw[..., 0] if shape[2] == 1 else raw
        assert_alike([network(seen)], [expected])
        assert_alike([tf.function(network)(tf.constant(seen))], [expected])


def test_exported_network_needs_no_processor_that_convolves_channels_first() -> None:
    exported = twins((28, 28, 1), {}, learns=False)[1]
    assert {layer.data_format for layer in exported.layers if hasattr(layer, "data_format")} == {"channels_last"}
    assert not any(isinstance(layer, keras.layers.Permute) for layer in exported.layers)
    assert type(exported.get_layer("block1_conv")) is keras.layers.Conv2D


def test_as_wide_as_channels_in_bfloat16() -> None:
    shape, raw = (28, 28, 1), images(8, (28, 28, 1))
    last, first = twins(shape, {"model.depth": 1, "model.conv.filters": 24}, precision="mixed_bfloat16")
    np.testing.assert_allclose(Predictor(first)(raw), Predictor(last)(raw), atol=0.02)


def test_feature_maps_have_their_channels_last_whatever_the_data_format() -> None:
    changes = {"model.conv.filters": 24, "model.batch_normalization": "before_activation", "model.dropout": 0.1}
    changes |= {"model.input_normalization": True, "model.pool_strides": 1, "model.pool_padding": "same"}
    last, first = twins((28, 28, 1), changes)
    names = [f"block{number}_{part}" for number in (1, 2) for part in ("conv", "norm", "activation", "pool")]
    raw = images(1, (28, 28, 1))[0]
    assert_alike(feature_maps(first, raw, names), feature_maps(last, raw, names))


def test_keras_itself_still_adds_the_bias_along_the_width() -> None:
    # The day this fails Keras is mended, and `Conv2D` of pipeline/network/build.py can go.
    first = keras.layers.Conv2D(24, 5, data_format="channels_first", bias_initializer="he_normal")
    last = keras.layers.Conv2D(24, 5, data_format="channels_last")
    pixels = GENERATOR.normal(size=(2, 28, 28, 1)).astype(np.float32)
    found = np.moveaxis(np.asarray(first(np.moveaxis(pixels, -1, 1))), 1, -1)
    last.build(pixels.shape)
    last.set_weights(first.get_weights())
    assert not np.allclose(found, np.asarray(last(pixels)), atol=1e-3)
    columns = np.asarray(first.bias)[:, None]
    assert np.allclose(found, np.asarray(last(pixels)) - np.asarray(first.bias) + columns, atol=1e-5)


CONV = {
    "filters": st.sampled_from([2, 4, 6, 8]),
    "kernel_size": sizes(4),
    "strides": st.just(1) | sizes(2),
    "padding": st.sampled_from(["valid", "same"]),
    "data_format": st.sampled_from(["channels_first", "channels_first", "channels_last"]),
    "dilation_rate": st.just(1) | sizes(2),
    "groups": st.sampled_from([1, 1, 1, 2]),
    "activation": st.sampled_from(["linear", "relu", "tanh", "elu"]),
    "use_bias": st.sampled_from([True, True, False]),
}


@st.composite
def networks(draw: st.DrawFn) -> tuple[Model, Shape]:
    """A network that can exist and what it sees; in every other one a block has as many filters as it is wide."""
    values = article_values()["model"] | draw(st.fixed_dictionaries({**BLOCK, "dropout": st.just(0.0)}))
    values |= {
        "depth": 2,
        "input_normalization": draw(st.booleans()),
        "head": draw(st.sampled_from(["flatten", "global_average", "global_max"])),
    }
    values["conv"] |= draw(st.fixed_dictionaries(CONV)) | {"bias_initializer": "he_normal"}
    changes = draw(st.fixed_dictionaries({}, optional=CONV))
    shape = draw(st.tuples(st.integers(4, 12), st.integers(4, 12), st.sampled_from([1, 2, 4])))
    number = draw(st.sampled_from([None, "block1", "block2"]))
    try:
        values["blocks"] = {"block2": {"conv": changes}}
        if number is not None:
            found = layers(validated(Model, values), shape, 5)
            width = next(layer.output[1] for layer in found if layer.name == f"{number}_conv")
            put(values, f"blocks.{number}.conv.filters", width)
        network = validated(Model, values)
        layers(network, shape, 5)
    except ConfigurationError:
        assume(False)
        raise
    return network, shape


quick = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


@settings(quick, max_examples=12)
@given(networks())
def test_any_network_computes_what_its_channels_last_twin_computes(case: tuple[Model, Shape]) -> None:
    compare_with_twin(*case)


@pytest.mark.long
@settings(quick, max_examples=60)
@given(networks())
def test_more_networks_compute_what_their_channels_last_twins_compute(case: tuple[Model, Shape]) -> None:
    compare_with_twin(*case)


def compare_with_twin(described: Model, shape: Shape) -> None:
    plain = described.model_dump()
    for conv in (plain["conv"], *(block["conv"] for block in plain["blocks"].values())):
        conv["data_format"] = "channels_last"
    one, twin = (
        build_network(settings, shape, 5, seed=0, precision="float32")
        for settings in (described, Model.model_validate(plain))
    )
    pixels = tf.constant(np.random.default_rng(1).random((4, *shape)), tf.float32)
    assert_alike([one(pixels)], [twin(pixels)])
    assert_alike(gradients(one, pixels), gradients(twin, pixels))
