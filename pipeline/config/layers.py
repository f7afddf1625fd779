"""What a network is made of and costs, by plain arithmetic.

Sizes after "A guide to convolution arithmetic for deep learning" (Dumoulin and Visin, 2016, arXiv:1603.07285), in
TensorFlow's convention for `same` (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2).

An argument that can have no effect stands at one value, however it was written: two ways to write one network are one
setting, with one identity. Each rule here names what makes it so.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from rich.table import Table

from pipeline.config.messages import ConfigurationError, Problem, refused, shown, validated
from pipeline.config.schema import (
    L1,
    L1L2,
    L2,
    LARGEST_SIZE,
    Block,
    Constant,
    Conv,
    Dense,
    Initializer,
    Kind,
    Model,
    Network,
    RadialConstraint,
    Regularizer,
    Size,
    VarianceScaling,
    height_width,
)

MOST_PARAMETERS = 100_000_000

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, what leaves it (height, width, channels; or features), what it costs for one image.

    `multiply_adds` counts those of convolutions and dense layers, one for each weight at each place it is used.
    """

    name: str
    kind: str
    output: Shape
    parameters: int = 0
    multiply_adds: int = 0
    block: Block | None = None


class _BlockError(Exception):
    """A problem with an argument of block `number`; `other_ways` help beside a smaller one where that is too large."""

    def __init__(self, number: int, argument: str, problem: str, other_ways: str | None = None) -> None:
        super().__init__(problem)
        self.number, self.argument, self.other_ways = number, argument, other_ways


def layers(model: Model | Network, image_shape: Sequence[int], classes: int) -> tuple[Layer, ...]:
    """The layers from the image (height, width, channels) to one number a class.

    Raises ConfigurationError where such a network can't exist.
    """
    try:
        every = tuple(_layers(model, tuple(image_shape), classes))
    except _BlockError as error:
        key, way = _key(model, error.number, error.argument), ""
        if error.other_ways:
            largest = _largest(model, key, image_shape, classes)
            way = f" Use {f'at most {largest}, ' if largest else ''}{error.other_ways}, or a smaller depth."
        raise refused(key, f"{error}{way}") from None
    parameters = sum(layer.parameters for layer in every)
    if parameters > MOST_PARAMETERS:
        largest_layer = max(every, key=lambda layer: layer.parameters)
        raise refused(
            "model", f"{parameters:,} parameters ({largest_layer.name} has most) are more than {MOST_PARAMETERS:,}."
        )
    return every


def layer_table(layers: Sequence[Layer]) -> Table:
    """The layers as a table: what leaves each, and what it costs for one image."""
    table = Table("layer", "output", show_footer=True)
    table.add_column("parameters", f"{sum(layer.parameters for layer in layers):,}", justify="right")
    table.add_column("multiply-adds", f"{sum(layer.multiply_adds for layer in layers):,}", justify="right")
    for layer in layers:
        name = f"head ({layer.kind.replace('_', ' ')})" if layer.name == "head" else layer.name
        size = " × ".join(map(str, layer.output))
        table.add_row(name, size, f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
    return table


def blocks(model: Model | Network) -> tuple[Block, ...]:
    """The blocks of a model as they are built, each with every argument: the model's, its share of the growth, its own
    changes; what has no effect stands at one value.

    Raises ConfigurationError.
    """
    if isinstance(model, Network):
        return tuple(model.blocks)
    names = [f"block{number}" for number in range(1, model.depth + 1)]
    there = f"depth {model.depth} has {names[0]}{f' to {names[-1]}' if model.depth > 1 else ''}"
    if unknown := [name for name in model.blocks if name not in names]:
        raise ConfigurationError([_no_block(name, there) for name in unknown])
    return tuple(_block(model, number) for number in range(1, model.depth + 1))


def size_after(size: int, window: int, stride: int, dilation: int, padding: str) -> int:
    """Height (or width) that leaves a convolution or a pooling; 0 or less where the window is larger than its input."""
    if padding == "same":
        return math.ceil(size / stride)
    return (size - (window - 1) * dilation - 1) // stride + 1


def _block(model: Model, number: int) -> Block:
    """Block `number`, its changes merged argument by argument."""
    name = f"model.blocks.block{number}"
    changes = model.blocks.get(f"block{number}", {})
    conv_changes = changes.get("conv", {})
    if not isinstance(conv_changes, dict):
        raise refused(f"{name}.conv", f"must be a mapping of keys to values, not {shown(conv_changes)}.")
    base = {field: getattr(model, field) for field in Block.model_fields}
    conv = dict(model.conv)
    if "filters" not in conv_changes:
        conv["filters"] = _grown(model, number)
    return block_as_built(validated(Block, base | changes | {"conv": conv | conv_changes}, prefix=name))


def _no_block(name: str, there: str) -> Problem:
    key = f"model.blocks.{name}"
    way = f"Write block{name}." if name.isdigit() else f"Where a variant says it: {key}=null"
    return Problem(key, f"is no block: {there}. {way}")


def _grown(model: Model, number: int) -> int:
    filters = model.conv.filters * model.filter_growth ** (number - 1)
    if abs(filters - round(filters)) > 1e-6 or not 1 <= filters <= LARGEST_SIZE:
        raise refused(
            "model.filter_growth",
            f"{shown(model.filter_growth)} makes {filters:.6g} filters of {model.conv.filters} in block {number}; "
            f"it must make a whole number from 1 to {LARGEST_SIZE}.",
        )
    return round(filters)


def _layers(model: Model | Network, shape: Shape, classes: int) -> Iterator[Layer]:
    if model.input_normalization:
        yield Layer("input_norm", "batch_normalization", shape, 4 * shape[2])
    for number, block in enumerate(blocks(model), start=1):
        for layer in _block_layers(number, block, shape):
            yield layer
            shape = layer.output
    yield from _head_layers(model, shape, classes)


def _block_layers(number: int, block: Block, shape_in: Shape) -> Iterator[Layer]:
    name = f"block{number}"
    shape = _conv_output(number, block.conv, shape_in)
    pooled = shape if block.pooling == "none" else _pool_output(number, block, shape)
    block = _without_empty_padding(block, shape_in, shape, pooled)
    conv = block.conv
    height, width, channels = shape
    kernel_height, kernel_width = height_width(conv.kernel_size)
    weights = kernel_height * kernel_width * (shape_in[2] // conv.groups) * channels
    bias = channels if conv.use_bias else 0
    yield Layer(f"{name}_conv", "conv2d", shape, weights + bias, weights * height * width, block)
    norm = Layer(f"{name}_norm", "batch_normalization", shape, 4 * channels, block=block)
    if block.batch_normalization == "before_activation":
        yield norm
        yield Layer(f"{name}_activation", "activation", shape, block=block)
    elif block.batch_normalization == "after_activation":
        yield norm
    if block.pooling != "none":
        yield Layer(f"{name}_pool", f"{block.pooling}_pooling", pooled, block=block)
    if block.batch_normalization == "after_pooling":
        yield Layer(norm.name, norm.kind, pooled, norm.parameters, block=block)
    if block.dropout > 0:
        yield Layer(f"{name}_dropout", "dropout", pooled, block=block)


def _head_layers(model: Model | Network, shape: Shape, classes: int) -> Iterator[Layer]:
    height, width, channels = shape
    features = height * width * channels if model.head == "flatten" else channels
    # Of a single place the mean and the largest are what is there.
    yield Layer("head", "flatten" if height == width == 1 else model.head, (features,))
    if model.output == "head":
        _check_output(model, features, classes)
        return
    if model.head_dropout > 0:
        yield Layer("head_dropout", "dropout", (features,))
    for number, (units, dropout) in enumerate(zip(model.dense.units, model.dense.dropouts, strict=True), start=1):
        name = f"dense{number}"
        yield Layer(name, "dense", (units,), (features + 1) * units, features * units)
        features = units
        if model.dense.batch_normalization != "none":
            yield Layer(f"{name}_norm", "batch_normalization", (units,), 4 * units)
        if model.dense.batch_normalization == "before_activation":
            yield Layer(f"{name}_activation", "activation", (units,))
        if dropout > 0:
            yield Layer(f"{name}_dropout", "dropout", (units,))
    yield Layer("output", "dense", (classes,), (features + 1) * classes, features * classes)


def _check_output(model: Model | Network, features: int, classes: int) -> None:
    """Raises ConfigurationError where what the head makes can't be one number a class."""
    last = f"block{len(blocks(model))}"
    if model.dense.units or model.head_dropout > 0:
        key = "dense.units" if model.dense.units else "head_dropout"
        raise refused(f"model.{key}", "has no place with output head, which has no dense layer. Leave it out there.")
    if features != classes:
        raise refused(
            "model.output",
            f"head makes {features:,} numbers of {last}, not one for each of the {classes} classes. Use a global head "
            f"and {classes} filters there: model.head=global_average +model.blocks.{last}.conv.filters={classes}",
        )


def _conv_output(number: int, conv: Conv, shape: Shape) -> Shape:
    height, width, channels = shape
    kernel, strides, dilation = map(height_width, (conv.kernel_size, conv.strides, conv.dilation_rate))
    if max(strides) > 1 and max(dilation) > 1:
        problem = (
            f"{shown(conv.dilation_rate)} together with strides {shown(conv.strides)} in block {number}: "
            "Conv2D takes one of the two. Set strides or dilation_rate to 1."
        )
        raise _BlockError(number, "conv.dilation_rate", problem)
    if channels % conv.groups != 0 or conv.filters % conv.groups != 0:
        largest = math.gcd(channels, conv.filters)
        problem = (
            f"{conv.groups} must divide both the {channels} channels that reach block {number} "
            f"and its {conv.filters} filters. Use {f'{largest} or a divisor of it' if largest > 1 else 1}."
        )
        raise _BlockError(number, "conv.groups", problem)
    after = _after(shape, conv.kernel_size, conv.strides, conv.dilation_rate, conv.padding)
    if min(after) < 1:
        reach = " × ".join(str((size - 1) * rate + 1) for size, rate in zip(kernel, dilation, strict=True))
        dilated = f" (dilated to {reach})" if max(dilation) > 1 else ""
        problem = f"{dilated} is larger than the {height} × {width} input of block {number} (padding valid)."
        raise _BlockError(number, "conv.kernel_size", f"{shown(conv.kernel_size)}{problem}", "padding same")
    return *after, conv.filters


def _pool_output(number: int, block: Block, shape: Shape) -> Shape:
    after = _after(shape, block.pool_size, _pool_strides(block), 1, block.pool_padding)
    if min(after) < 1:
        problem = (
            f"{shown(block.pool_size)} is larger than the {shape[0]} × {shape[1]} that reaches the pooling of block "
            f"{number}: nothing of the image would be left."
        )
        raise _BlockError(number, "pool_size", problem, "pooling none there")
    return *after, shape[2]


def _pool_strides(block: Block) -> Size:
    return block.pool_size if block.pool_strides is None else block.pool_strides


def _after(shape: Shape, window: Size, strides: Size, dilation: Size, padding: str) -> Shape:
    """Height and width that leave a convolution or a pooling."""
    sizes = zip(shape[:2], *map(height_width, (window, strides, dilation)), strict=True)
    return tuple(size_after(size, one, stride, dilation=rate, padding=padding) for size, one, stride, rate in sizes)


def _without_empty_padding(block: Block, shape_in: Shape, shape: Shape, pooled: Shape) -> Block:
    """As built for this input: `same` that adds nothing, as where kernels lie side by side and fill it, is `valid`."""
    conv = block.conv
    changes: dict[str, object] = {}
    if _is_filled(shape_in, shape, conv.kernel_size, conv.strides, conv.dilation_rate):
        changes["conv"] = conv.model_copy(update={"padding": "valid"})
    if _is_filled(shape, pooled, block.pool_size, _pool_strides(block), 1):
        changes["pool_padding"] = "valid"
    return block.model_copy(update=changes)


def _is_filled(shape_in: Shape, shape: Shape, window: Size, strides: Size, dilation: Size) -> bool:
    sizes = zip(shape_in[:2], shape[:2], *map(height_width, (window, strides, dilation)), strict=True)
    return all((places - 1) * stride + (size - 1) * rate + 1 <= whole for whole, places, size, stride, rate in sizes)


def _key(model: Model | Network, number: int, argument: str) -> str:
    """Where the argument of a block was set: in the block's own changes or for all blocks."""
    own = f"model.blocks.block{number}.{argument}"
    if isinstance(model, Network):
        return own
    *way, last = argument.split(".")
    changes: Any = model.blocks.get(f"block{number}", {})
    for part in way:
        changes = changes.get(part, {})
    return own if last in changes else f"model.{argument}"


def _largest(model: Model | Network, key: str, image_shape: Sequence[int], classes: int) -> int:
    """The largest number at `key` with which every kernel and window of the network fits its input; 0 for none."""
    if isinstance(model, Network):
        return 0
    values = model.model_dump()
    _, *way, last = key.split(".")
    level = reduce(getitem, way, values)

    def fails(size: int) -> bool:
        level[last] = size
        try:
            tuple(_layers(Model.model_validate(values), tuple(image_shape), classes))
        except _BlockError as error:
            return error.other_ways is not None
        except ConfigurationError:
            # Another key's fault, which comes next.
            return False
        return False

    return bisect_left(range(1, min(image_shape[:2]) + 1), x=True, key=fails)


SAME_INITIALIZER: Mapping[object, str] = {"variance_scaling": "lecun_normal"}
"""Keras's own default arguments make the one the other, from the same seed."""

SAME_BIAS_INITIALIZER = {**SAME_INITIALIZER, "glorot_normal": "lecun_normal", "glorot_uniform": "lecun_uniform"}
"""A vector has as many inputs as outputs, so that their mean (Glorot) is the number of inputs (LeCun)."""

BY_VARIANCE = {
    (1.0, "fan_in", "truncated_normal"): "lecun_normal",
    (1.0, "fan_in", "uniform"): "lecun_uniform",
    (1.0, "fan_avg", "truncated_normal"): "glorot_normal",
    (1.0, "fan_avg", "uniform"): "glorot_uniform",
    (2.0, "fan_in", "truncated_normal"): "he_normal",
    (2.0, "fan_in", "uniform"): "he_uniform",
}
"""Keras's names for scale, mode and distribution of variance_scaling."""


def block_as_built(block: Block) -> Block:
    """The block whose layers compute the same, without what has no effect."""
    changes: dict[str, Any] = {"conv": _conv(block.conv)}
    strides = _pool_strides(block)
    if strides == block.pool_size:
        changes["pool_strides"] = None
    if block.pooling == "none" or block.pool_size == strides == 1:
        changes |= {"pooling": "none", "pool_size": 1, "pool_strides": None, "pool_padding": "valid"}
        if block.batch_normalization == "after_pooling":
            changes["batch_normalization"] = "after_activation"
    elif block.pool_size == 1:
        # Of a single pixel the mean is the largest.
        changes["pooling"] = "max"
    if block.batch_normalization == "before_activation" and block.conv.activation == "linear":
        changes["batch_normalization"] = "after_activation"
    return block.model_copy(update=changes)


def dense_as_built(model: Model | Network) -> Dense:
    """The dense layers; where there are none, nothing that is said of them has a place."""
    dense = model.dense
    if not dense.units:
        return Dense(units=[], activation="linear", dropout=0.0)
    changes: dict[str, object] = {}
    if len(set(dense.dropouts)) == 1:
        changes["dropout"] = dense.dropouts[0]
    if dense.batch_normalization == "before_activation" and dense.activation == "linear":
        changes["batch_normalization"] = "after_activation"
    return dense.model_copy(update=changes)


def _conv(conv: Conv) -> Conv:
    changes: dict[str, Any] = {
        "kernel_initializer": _initializer(conv.kernel_initializer),
        "bias_initializer": _initializer(conv.bias_initializer, is_of_vector=True),
        "kernel_regularizer": _regularizer(conv.kernel_regularizer),
        "bias_regularizer": _regularizer(conv.bias_regularizer),
        "activity_regularizer": _regularizer(conv.activity_regularizer),
    }
    if not conv.use_bias:
        changes |= {"bias_initializer": "zeros", "bias_regularizer": None, "bias_constraint": None}
    kernel = height_width(conv.kernel_size)
    if max(height_width(conv.strides)) == 1:  # Conv2D refuses other strides together with dilation
        rates = zip(kernel, height_width(conv.dilation_rate), strict=True)
        height, width = (1 if size == 1 else rate for size, rate in rates)
        changes["dilation_rate"] = height if height == width else (height, width)
    if kernel == (1, 1):
        # Nothing to pad, and each weight is a ring of its own.
        changes["padding"] = "valid"
        if isinstance(conv.kernel_constraint, RadialConstraint):
            changes["kernel_constraint"] = None
    return conv.model_copy(update=changes)


def _initializer(initializer: Initializer, *, is_of_vector: bool = False) -> Initializer:
    """With arguments that are Keras's defaults, or make another by name, its name."""
    match initializer:
        case Constant(value=0 | 1):
            return "ones" if initializer.value else "zeros"
        case VarianceScaling():
            mode = "fan_in" if is_of_vector else initializer.mode
            initializer = initializer.model_copy(update={"mode": mode})
            initializer = BY_VARIANCE.get((initializer.scale, mode, initializer.distribution), initializer)
        case Kind() if initializer == type(initializer).model_validate({"name": initializer.name}):
            initializer = initializer.name
    return (SAME_BIAS_INITIALIZER if is_of_vector else SAME_INITIALIZER).get(initializer, initializer)


def _regularizer(regularizer: Regularizer | None) -> Regularizer | None:
    """With factor 0 none; of two factors only the one that is more than 0."""
    match regularizer:
        case L1(l1=0) | L2(l2=0) | L1L2(l1=0, l2=0):
            return None
        case L1L2(l1=0, l2=factor):
            return L2(name="l2", l2=factor)
        case L1L2(l1=factor, l2=0):
            return L1(name="l1", l1=factor)
        case _:
            return regularizer
