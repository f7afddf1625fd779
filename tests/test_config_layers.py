"""The arithmetic of Conv2D networks is Keras's."""

import math
from collections.abc import Mapping
from typing import Any, get_args

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.config.layers import Layer, layers, size_after
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Activation, BiasInitializerName, Block, Conv, KernelInitializerName, Model
from pipeline.network.build import build_network
from tests.harness.settings import article, article_values, put

pytestmark = pytest.mark.usefixtures("two_threads")

quick = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
some_activation = st.sampled_from(Activation.__args__)  # type: ignore[attr-defined]


def sizes(most: int) -> st.SearchStrategy[int | list[int]]:
    """One number, or height × width."""
    one = st.integers(1, most)
    return one | st.lists(one, min_size=2, max_size=2)


initializers = st.one_of(
    st.fixed_dictionaries({"name": st.just("constant")}, optional={"value": st.sampled_from([0, 0.5, 1])}),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["random_normal", "truncated_normal"])},
        optional={"stddev": st.sampled_from([0.01, 1])},
    ),
    st.fixed_dictionaries(
        {"name": st.just("variance_scaling")},
        optional={
            "scale": st.sampled_from([1, 2, 3]),
            "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            "distribution": st.sampled_from(["truncated_normal", "untruncated_normal", "uniform"]),
        },
    ),
)

CONV = {
    "filters": st.sampled_from([2, 4, 8]),
    "kernel_size": sizes(4),
    "strides": st.just(1) | sizes(3),
    "padding": st.sampled_from(["valid", "same"]),
    "data_format": st.sampled_from(["channels_last", "channels_first"]),
    "dilation_rate": st.just(1) | sizes(3),
    "groups": st.sampled_from([1, 2, 2]),
    "activation": some_activation,
    "use_bias": st.booleans(),
    "kernel_initializer": st.sampled_from(["glorot_uniform", "orthogonal", "ones"]) | initializers,
    "bias_initializer": st.sampled_from(["zeros", "he_normal"]) | initializers,
    "kernel_regularizer": st.sampled_from([None, "l1", "l2", "l1_l2"]),
    "kernel_constraint": st.sampled_from([None, "NonNeg", "MaxNorm", "RadialConstraint"]),
}
BLOCK = {
    "batch_normalization": st.sampled_from(["none", "before_activation", "after_activation", "after_pooling"]),
    "pooling": st.sampled_from(get_args(Block.model_fields["pooling"].annotation)),
    "pool_size": sizes(3),
    "pool_strides": st.none() | sizes(3),
    "pool_padding": st.sampled_from(["valid", "same"]),
    "dropout": st.sampled_from([0.0, 0.5]),
}
MODEL = {
    **BLOCK,
    "depth": st.integers(1, 3),
    "filter_growth": st.sampled_from([0.5, 1, 2]),
    "blocks": st.dictionaries(
        st.sampled_from(["block1", "block2", "block3"]),
        st.fixed_dictionaries({}, optional={**BLOCK, "conv": st.fixed_dictionaries({}, optional=CONV)}),
        max_size=2,
    ),
    "input_normalization": st.booleans(),
    "head": st.sampled_from(["flatten", "global_average", "global_max"]),
    "head_dropout": st.sampled_from([0.0, 0.5]),
    "dense": st.fixed_dictionaries(
        {
            "units": st.lists(st.integers(1, 9), max_size=2),
            "activation": some_activation,
            "batch_normalization": st.sampled_from(["none", "before_activation", "after_activation"]),
            "dropout": st.sampled_from([0.0, 0.5, [0.0, 0.5], [0.25]]),
        }
    ),
    "output": st.sampled_from(["dense", "dense", "head"]),
}
image_shapes = st.tuples(st.integers(3, 16), st.integers(3, 16), st.sampled_from([1, 2, 3, 4, 6]))


@st.composite
def networks(draw: st.DrawFn) -> tuple[Model, tuple[int, int, int], int, tuple[Layer, ...]]:
    """A network that can exist, what it sees, its classes, its layers by arithmetic."""
    values = article_values()["model"]
    values |= draw(st.fixed_dictionaries(MODEL))
    values["conv"] |= draw(st.fixed_dictionaries(CONV))
    shape, classes = draw(image_shapes), draw(st.integers(2, 12))
    if values["output"] == "head":
        # Most of them could not exist.
        values |= {
            "head": "global_average",
            "head_dropout": 0.0,
            "dense": values["dense"] | {"units": [], "dropout": 0.0},
        }
        put(values, f"blocks.block{values['depth']}.conv.filters", classes + classes % 2)
        classes += classes % 2
    try:
        model = validated(Model, values)
        return model, shape, classes, layers(model, shape, classes)
    except ConfigurationError:
        assume(False)
        raise


def height_width_channels(tensor: Any, channels_first: bool) -> tuple[int, ...]:
    shape = tuple(tensor.shape[1:])
    return (*shape[1:], shape[0]) if channels_first and len(shape) == 3 else shape


@settings(quick, max_examples=50)
@given(networks())
def test_shapes_parameters_and_multiply_adds_are_those_of_the_keras_network(
    case: tuple[Model, tuple[int, int, int], int, tuple[Layer, ...]],
) -> None:
    compare_with_keras(*case)


@pytest.mark.long
@settings(quick, max_examples=500)
@given(networks())
def test_those_of_many_networks_are_those_of_keras(
    case: tuple[Model, tuple[int, int, int], int, tuple[Layer, ...]],
) -> None:
    compare_with_keras(*case)


def compare_with_keras(model: Model, shape: tuple[int, int, int], classes: int, found: tuple[Layer, ...]) -> None:
    network = build_network(model, shape, classes, seed=0, precision="float32")
    made = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer | keras.layers.Permute)]
    assert [layer.name for layer in found] == [layer.name for layer in made]
    for layer, keras_layer in zip(found, made, strict=True):
        first = layer.block is not None and layer.block.conv.data_format == "channels_first"
        assert layer.output == height_width_channels(keras_layer.output, first)
        assert layer.parameters == keras_layer.count_params()
        # A kernel's last axis is the layer's output; each weight is used once at each place of a convolution's output.
        places = math.prod(layer.output[:-1])
        kernel = getattr(keras_layer, "kernel", None)
        assert layer.multiply_adds == (0 if kernel is None else places * math.prod(kernel.shape))
    assert sum(layer.parameters for layer in found) == network.count_params()
    assert network.output.shape == (None, classes)


@settings(quick, max_examples=300)
@given(
    st.fixed_dictionaries(
        {
            "filters": st.integers(1, 8),
            "kernel_size": sizes(6),
            "strides": st.just(1) | sizes(3),
            "padding": st.sampled_from(["valid", "same"]),
            "data_format": st.sampled_from(["channels_last", "channels_first"]),
            "dilation_rate": st.just(1) | sizes(4),
            "groups": st.integers(1, 4),
        }
    ),
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6)),
)
def test_a_convolution_is_refused_exactly_where_keras_refuses_it(
    arguments: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    assert by_arithmetic(arguments, shape) == by_keras(arguments, shape)


def by_arithmetic(arguments: Mapping[str, Any], shape: tuple[int, int, int]) -> tuple[int, ...] | None:
    """The output shape; None where it is refused."""
    values = article_values({"model.depth": 1, "model.pooling": "none"})["model"]
    values["conv"] |= arguments
    try:
        return layers(Model.model_validate(values), shape, 10)[0].output
    except ConfigurationError:
        return None


def by_keras(arguments: Mapping[str, Any], shape: tuple[int, int, int]) -> tuple[int, ...] | None:
    first = arguments["data_format"] == "channels_first"
    inputs = keras.Input((shape[2], *shape[:2]) if first else shape)
    try:
        return height_width_channels(keras.layers.Conv2D(**arguments)(inputs), first)
    except ValueError:
        return None


@settings(quick, max_examples=25)
@given(
    sizes(4),
    st.just(1) | sizes(3),
    st.just(1) | sizes(2),
    st.sampled_from([1, 2]),
    st.integers(4, 9),
    st.integers(4, 9),
)
def test_multiply_adds_are_what_ones_convolved_with_ones_add_up_to(
    kernel_size: Any, strides: Any, dilation_rate: Any, groups: int, height: int, width: int
) -> None:
    # Each product of 1 and 1 adds 1 to one output: the sum of all outputs is the number of multiply-adds.
    arguments = {"kernel_size": kernel_size, "strides": strides, "dilation_rate": dilation_rate, "groups": groups}
    values = article_values({"model.depth": 1, "model.conv.filters": 6})["model"]
    values["conv"] |= arguments
    values["pooling"] = "none"
    try:
        found = layers(Model.model_validate(values), (height, width, 4), 10)
    except ConfigurationError:
        assume(False)
        raise
    convolution = keras.layers.Conv2D(6, **arguments, kernel_initializer="ones", use_bias=False)
    total = keras.ops.sum(convolution(np.ones((1, height, width, 4), np.float32)))
    assert found[0].multiply_adds == float(total)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["valid", "same"]))
def test_output_size_is_the_number_of_places_where_the_kernel_fits(
    size: int, kernel: int, stride: int, dilation: int, padding: str
) -> None:
    reach = len(range(0, kernel * dilation, dilation)) * dilation - dilation + 1
    last = size - reach if padding == "valid" else size - 1
    places = len(range(0, last + 1, stride))
    assert max(0, size_after(size, kernel, stride, dilation, padding)) == places


def test_pooling_drops_what_is_left_over() -> None:
    assert [size_after(size, 3, 3, 1, "valid") for size in (2, 3, 5, 6, 28)] == [0, 1, 1, 2, 9]


def test_the_articles_network_has_62346_parameters_and_3747840_multiply_adds() -> None:
    configuration = article()
    found = layers(configuration.model, configuration.data.image_shape, 10)
    assert [(layer.name, layer.output) for layer in found] == [
        ("block1_conv", (24, 24, 32)),
        ("block1_pool", (12, 12, 32)),
        ("block2_conv", (8, 8, 64)),
        ("block2_pool", (4, 4, 64)),
        ("head", (1024,)),
        ("output", (10,)),
    ]
    parameters = (5 * 5 * 1 * 32 + 32) + (5 * 5 * 32 * 64 + 64) + (4 * 4 * 64 * 10 + 10)
    assert parameters == 832 + 51_264 + 10_250 == 62_346
    multiply_adds = 24 * 24 * (5 * 5 * 1 * 32) + 8 * 8 * (5 * 5 * 32 * 64) + 1024 * 10
    assert multiply_adds == 460_800 + 3_276_800 + 10_240 == 3_747_840
    assert sum(layer.parameters for layer in found) == parameters
    assert sum(layer.multiply_adds for layer in found) == multiply_adds
    network = build_network(configuration.model, (28, 28, 1), 10, seed=0, precision="float32")
    assert network.count_params() == parameters


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Batch normalisation: scale, offset, mean and variance of each channel. No bias: 32 less.
        ({"batch_normalization": "after_pooling", "conv.use_bias": False}, 800 + 4 * 32 + 12 * 12 * 32 * 10 + 10),
        # Each of two groups sees half of the channels; one image channel has no halves, so only in block 2.
        ({"depth": 2, "blocks.block2.conv.groups": 2}, 832 + (5 * 5 * 16 * 64 + 64) + 10_250),
        ({"head": "global_max"}, 832 + 32 * 10 + 10),
        ({"head": "global_average", "dense.units": [7, 5]}, 832 + (33 * 7) + (8 * 5) + (6 * 10)),
        # 26 places strided by 2 in windows of 3: 12 valid, 13 with same.
        ({"conv.kernel_size": 3, "pool_size": 3, "pool_strides": 2}, 320 + (12 * 12 * 32 + 1) * 10),
        (
            {"conv.kernel_size": 3, "pool_size": 3, "pool_strides": 2, "pool_padding": "same"},
            320 + (13 * 13 * 32 + 1) * 10,
        ),
        ({"input_normalization": True}, 4 * 1 + 832 + (12 * 12 * 32 + 1) * 10),
        (
            {"head": "global_max", "dense.units": [7, 5], "dense.batch_normalization": "before_activation"},
            832 + (33 * 7 + 4 * 7) + (8 * 5 + 4 * 5) + (6 * 10),
        ),
        ({"head": "global_average", "output": "head", "conv.filters": 10}, 5 * 5 * 10 + 10),
        ({"conv.kernel_size": [1, 4], "pool_size": [2, 3]}, (4 * 32 + 32) + (14 * 8 * 32 + 1) * 10),
    ],
)
def test_parameters_by_hand(changes: dict[str, object], expected: int) -> None:
    values = article_values({"model.depth": 1})["model"]
    for key, value in changes.items():
        put(values, key, value)
    found = layers(Model.model_validate(values), (28, 28, 1), 10)
    assert sum(layer.parameters for layer in found) == expected


Changes = Mapping[str, object]


def chain(*each: Changes) -> dict[str, object]:
    """A model of one block for each mapping, in which padding is `same` and nothing is pooled unless it says so."""
    plain = {"conv.padding": "same", "pooling": "none", "filter_growth": 1, "depth": len(each)}
    own = {f"blocks.block{at}.{key}": value for at, one in enumerate(each, start=1) for key, value in one.items()}
    return plain | own


def conv(filters: int, kernel_size: int, **more: object) -> dict[str, object]:
    return {"conv.filters": filters, "conv.kernel_size": kernel_size} | {
        key.replace("__", "."): value for key, value in more.items()
    }


POOLED = {"pooling": "max", "pool_size": 3, "pool_strides": 2}
ALEXNET = chain(
    conv(96, 11, conv__strides=4, conv__padding="valid") | POOLED,
    conv(256, 5) | POOLED,
    *(conv(filters, 3) for filters in (384, 384)),
    conv(256, 3) | POOLED,
) | {
    "conv.kernel_initializer": {"name": "random_normal", "stddev": 0.01},
    "blocks.block2.conv.bias_initializer": "ones",
    "dense.units": [4096, 4096],
    "dense.dropout": 0.5,
}
IN_TWO = {f"blocks.block{number}.conv.groups": 2 for number in (2, 4, 5)}
VGG16 = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
CONV_ONLY = {"head": "global_average", "output": "head"}
PUBLISHED = {
    # Krizhevsky, Sutskever and Hinton 2012, on images of 227 × 227; on one device, and in the paper's two groups.
    "AlexNet, one tower": ((227, 227, 3), 1000, ALEXNET, 62_378_344),
    "AlexNet": ((227, 227, 3), 1000, ALEXNET | IN_TWO, 60_965_224),
    # Lin, Chen and Yan 2014 (arXiv:1312.4400), CIFAR-10.
    "Network in Network": (
        (32, 32, 3),
        10,
        chain(
            conv(192, 5),
            conv(160, 1),
            conv(96, 1, dropout=0.5) | POOLED | {"pool_padding": "same"},
            conv(192, 5),
            conv(192, 1),
            conv(192, 1, dropout=0.5) | POOLED | {"pooling": "average", "pool_padding": "same"},
            conv(192, 3),
            conv(192, 1),
            conv(10, 1),
        )
        | CONV_ONLY,
        966_986,
    ),
    # Springenberg et al. 2015 (arXiv:1412.6806), All-CNN-C, CIFAR-10.
    "All Convolutional Net": (
        (32, 32, 3),
        10,
        chain(
            *(conv(96, 3, conv__strides=strides) for strides in (1, 1, 2)),
            *(conv(192, 3, conv__strides=strides) for strides in (1, 1, 2)),
            conv(192, 3, conv__padding="valid"),
            conv(192, 1),
            conv(10, 1),
        )
        | CONV_ONLY,
        1_369_738,
    ),
    # Liu and Deng 2015, as github.com/geifmany/cifar-vgg builds it for CIFAR-10.
    "VGG-16 with batch normalisation": (
        (32, 32, 3),
        10,
        chain(
            *(
                conv(filters, 3) | ({"pooling": "max"} if number in (2, 4, 7, 10, 13) else {"dropout": 0.4})
                for number, filters in enumerate(VGG16, start=1)
            )
        )
        | {
            "batch_normalization": "after_activation",
            "head_dropout": 0.5,
            "dense": {"units": [512], "activation": "relu", "batch_normalization": "after_activation", "dropout": 0.5},
        },
        15_001_418,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_the_published_number_of_parameters(name: str) -> None:
    shape, classes, changes, published = PUBLISHED[name]
    values = article_values()["model"]
    for key, value in changes.items():
        put(values, key, value)
    model = validated(Model, values)
    assert sum(layer.parameters for layer in layers(model, shape, classes)) == published
    assert build_network(model, shape, classes, seed=0, precision="float32").count_params() == published


def test_activations_and_initializers_are_all_that_keras_has_and_that_fit() -> None:
    # glu halves the channels and threshold needs arguments; the other initializers need a value, a square or a window.
    assert names_in(keras.activations) - {"glu", "threshold"} == set(Activation.__args__)  # type: ignore[attr-defined]
    every = {name.replace("s_t_f_t", "stft") for name in snake_case_classes(keras.initializers)}
    assert every - {"constant", "identity", "stft", "initializer"} == set(KernelInitializerName.__args__)  # type: ignore[attr-defined]
    assert set(KernelInitializerName.__args__) - {"orthogonal"} == set(BiasInitializerName.__args__)  # type: ignore[attr-defined]


def names_in(module: Any) -> set[str]:
    """The functions of a module by their own names (swish is silu), but those that find and save the others."""
    found = {value.__name__ for value in vars(module).values() if callable(value)}
    return found - {"deserialize", "get", "serialize"}


def snake_case_classes(module: Any) -> set[str]:
    classes = {value.__name__ for value in vars(module).values() if isinstance(value, type)}
    return {"".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:] for name in classes}


@pytest.mark.parametrize("name", Activation.__args__)  # type: ignore[attr-defined]
def test_each_activation_keeps_the_number_of_channels(name: str) -> None:
    outputs = keras.layers.Conv2D(4, 3, activation=name)(np.ones((1, 5, 5, 2), np.float32))
    assert outputs.shape == (1, 3, 3, 4)
    assert np.isfinite(np.asarray(outputs)).all()


@pytest.mark.parametrize("name", KernelInitializerName.__args__)  # type: ignore[attr-defined]
def test_each_initializer_fits_kernels_and_biases(name: str) -> None:
    values = article_values()["model"]["conv"]
    bias = name if name != "orthogonal" else "zeros"
    conv = Conv.model_validate(values | {"kernel_initializer": name, "bias_initializer": bias})
    layer = keras.layers.Conv2D(
        4, (2, 3), kernel_initializer=conv.kernel_initializer, bias_initializer=conv.bias_initializer
    )
    layer.build((None, 8, 8, 2))
    assert layer.kernel.shape == (2, 3, 2, 4)
    assert layer.bias.shape == (4,)
