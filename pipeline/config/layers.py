"""What a network is made of and costs, by plain arithmetic.

Sizes after "A guide to convolution arithmetic for deep learning" (Dumoulin and Visin, 2016, arXiv:1603.07285), in
TensorFlow's convention for `same` (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2).

An argument that can have no effect stands at one value, however it was written: two ways to write one network are one
setting, with one identity. Each rule here names what makes it so.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.messages import ConfigurationError, Problem, refused, shown, validated
from pipeline.config.schema import (
    L1,
    L1L2,
    L2,
    LARGEST_SIZE,
    Block,
    Conv,
    Dense,
    Model,
    RadialConstraint,
    Regularizer,
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


def blocks(model: Model) -> tuple[Block, ...]:
    """The blocks of a model as they are built, each with every argument: the model's, its share of the growth, its own
    changes; what has no effect stands at one value.

    Raises ConfigurationError.
    """
    names = [_block_name(number) for number in range(1, model.depth + 1)]
    there = f"depth {model.depth} has {names[0]}{f' to {names[-1]}' if model.depth > 1 else ''}"
    unknown = [f"model.blocks.{name}" for name in model.blocks if name not in names]
    if unknown:
        said = f"is no block: {there}. Where a variant says it"
        raise ConfigurationError([Problem(key, f"{said}: {key}=null") for key in unknown])
    return tuple(_block(model, number) for number in range(1, model.depth + 1))


def layers(model: Model, image_shape: Sequence[int], classes: int) -> tuple[Layer, ...]:
    """The layers from the image (height, width, channels) to one number a class.

    Raises ConfigurationError where such a network can't exist.
    """
    found: list[Layer] = []
    shape = tuple(image_shape)
    for number, block in enumerate(blocks(model), start=1):
        found.extend(_block_layers(model, number, block, shape))
        shape = found[-1].output
    found.extend(_head_layers(model, shape, classes))
    parameters = sum(layer.parameters for layer in found)
    if parameters > MOST_PARAMETERS:
        largest = max(found, key=lambda layer: layer.parameters)
        raise refused(
            "model", f"{parameters:,} parameters ({largest.name} has most) are more than {MOST_PARAMETERS:,}."
        )
    return tuple(found)


def convolved(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Height (or width) that leaves a convolution; 0 or less where the kernel is larger than its input."""
    if padding == "same":
        return math.ceil(size / stride)
    return (size - (kernel - 1) * dilation - 1) // stride + 1


def pooled(size: int, window: int) -> int:
    """Height (or width) that leaves a pooling whose windows lie side by side; what is left over is dropped."""
    return size // window


def _block_name(number: int) -> str:
    return f"block{number}"


def _block(model: Model, number: int) -> Block:
    """Block `number`, its changes merged argument by argument."""
    name = f"model.blocks.{_block_name(number)}"
    changes = model.blocks.get(_block_name(number), {})
    conv_changes = changes.get("conv", {})
    if not isinstance(conv_changes, dict):
        raise refused(f"{name}.conv", f"must be a mapping of keys to values, not {shown(conv_changes)}.")
    base = {field: getattr(model, field) for field in Block.model_fields}
    conv: dict[str, Any] = {field: getattr(model.conv, field) for field in Conv.model_fields}
    if "filters" not in conv_changes:
        conv["filters"] = _grown(model, number)
    return block_as_built(validated(Block, base | changes | {"conv": conv | conv_changes}, prefix=name))


def _grown(model: Model, number: int) -> int:
    filters = model.conv.filters * model.filter_growth ** (number - 1)
    if abs(filters - round(filters)) > 1e-6 or not 1 <= filters <= LARGEST_SIZE:
        raise refused(
            "model.filter_growth",
            f"{shown(model.filter_growth)} makes {filters:.6g} filters of {model.conv.filters} in block {number}; "
            f"it must make a whole number from 1 to {LARGEST_SIZE}.",
        )
    return round(filters)


def _block_layers(model: Model, number: int, block: Block, shape: Shape) -> Iterator[Layer]:
    name = _block_name(number)
    shape = _conv_output(model, number, block.conv, shape_in := shape)
    block = _without_empty_padding(block, shape_in, shape)
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
        shape = _pool_output(model, number, block, shape)
        yield Layer(f"{name}_pool", f"{block.pooling}_pooling", shape, block=block)
    if block.batch_normalization == "after_pooling":
        yield Layer(norm.name, norm.kind, shape, norm.parameters, block=block)
    if block.dropout > 0:
        yield Layer(f"{name}_dropout", "dropout", shape, block=block)


def _head_layers(model: Model, shape: Shape, classes: int) -> Iterator[Layer]:
    height, width, channels = shape
    features = height * width * channels if model.head == "flatten" else channels
    # Of a single place the mean and the largest are what is there.
    yield Layer("head", "flatten" if height == width == 1 else model.head, (features,))
    if model.head_dropout > 0:
        yield Layer("head_dropout", "dropout", (features,))
    for number, units in enumerate(model.dense.units, start=1):
        yield Layer(f"dense{number}", "dense", (units,), (features + 1) * units, features * units)
        features = units
        if model.dense.dropout > 0:
            yield Layer(f"dense{number}_dropout", "dropout", (units,))
    yield Layer("output", "dense", (classes,), (features + 1) * classes, features * classes)


def _conv_output(model: Model, number: int, conv: Conv, shape: Shape) -> Shape:
    height, width, channels = shape
    kernel, strides, dilation = map(height_width, (conv.kernel_size, conv.strides, conv.dilation_rate))
    if max(strides) > 1 and max(dilation) > 1:
        raise refused(
            _key(model, number, "conv.dilation_rate"),
            f"{shown(conv.dilation_rate)} together with strides {shown(conv.strides)} in block {number}: "
            "Conv2D takes one of the two. Set strides or dilation_rate to 1.",
        )
    if channels % conv.groups != 0 or conv.filters % conv.groups != 0:
        largest = math.gcd(channels, conv.filters)
        raise refused(
            _key(model, number, "conv.groups"),
            f"{conv.groups} must divide both the {channels} channels that reach block {number} "
            f"and its {conv.filters} filters. Use {f'{largest} or a divisor of it' if largest > 1 else 1}.",
        )
    reach = tuple((size - 1) * rate + 1 for size, rate in zip(kernel, dilation, strict=True))
    if conv.padding == "valid" and (reach[0] > height or reach[1] > width):
        dilated = f" (dilated to {reach[0]} × {reach[1]})" if max(dilation) > 1 else ""
        raise refused(
            _key(model, number, "conv.kernel_size"),
            f"{shown(conv.kernel_size)}{dilated} is larger than the {height} × {width} input of block {number} "
            f"(padding valid). Use at most {(min(height, width) - 1) // max(dilation) + 1}, or padding same.",
        )
    sizes = zip((height, width), kernel, strides, dilation, strict=True)
    return *(convolved(*size, conv.padding) for size in sizes), conv.filters


def _without_empty_padding(block: Block, shape_in: Shape, shape: Shape) -> Block:
    """As built for this input: `same` that adds nothing, as where kernels lie side by side and fill it, is `valid`."""
    conv = block.conv
    arguments = map(height_width, (conv.kernel_size, conv.strides, conv.dilation_rate))
    sizes = zip(shape_in[:2], shape[:2], *arguments, strict=True)
    if any((places - 1) * stride + (kernel - 1) * rate + 1 > size for size, places, kernel, stride, rate in sizes):
        return block
    return block.model_copy(update={"conv": conv.model_copy(update={"padding": "valid"})})


def _pool_output(model: Model, number: int, block: Block, shape: Shape) -> Shape:
    height, width, channels = shape
    window = height_width(block.pool_size)
    if window[0] > height or window[1] > width:
        raise refused(
            _key(model, number, "pool_size"),
            f"{shown(block.pool_size)} is larger than the {height} × {width} that reaches the pooling of block "
            f"{number}: nothing of the image would be left. Use at most {min(height, width)}, pooling none there, "
            "or a smaller depth.",
        )
    return pooled(height, window[0]), pooled(width, window[1]), channels


def _key(model: Model, number: int, argument: str) -> str:
    """Where the argument of a block was set: in the block's own changes or for all blocks."""
    level: Any = model.blocks.get(_block_name(number), {})
    for part in argument.split("."):
        if not isinstance(level, dict) or part not in level:
            return f"model.{argument}"
        level = level[part]
    return f"model.blocks.{_block_name(number)}.{argument}"


SAME_INITIALIZER = {"variance_scaling": "lecun_normal"}
"""Keras's own default arguments make the one the other, from the same seed."""


SAME_BIAS_INITIALIZER = {**SAME_INITIALIZER, "glorot_normal": "lecun_normal", "glorot_uniform": "lecun_uniform"}
"""A vector has as many inputs as outputs, so that their mean (Glorot) is the number of inputs (LeCun)."""


def block_as_built(block: Block) -> Block:
    """The block whose layers compute the same, without what has no effect."""
    changes: dict[str, Any] = {"conv": _conv(block.conv)}
    if block.pooling == "none" or block.pool_size == 1:
        changes |= {"pooling": "none", "pool_size": 1}
        if block.batch_normalization == "after_pooling":
            changes["batch_normalization"] = "after_activation"
    if block.batch_normalization == "before_activation" and block.conv.activation == "linear":
        changes["batch_normalization"] = "after_activation"
    return block.model_copy(update=changes)


def dense_as_built(model: Model) -> Dense:
    """The dense layers; where there are none, neither activation nor dropout has a place."""
    if model.dense.units:
        return model.dense
    return model.dense.model_copy(update={"activation": "linear", "dropout": 0.0})


def _conv(conv: Conv) -> Conv:
    changes: dict[str, Any] = {
        "kernel_initializer": SAME_INITIALIZER.get(conv.kernel_initializer, conv.kernel_initializer),
        "bias_initializer": SAME_BIAS_INITIALIZER.get(conv.bias_initializer, conv.bias_initializer),
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
