"""From the configuration to a Keras network, layer by layer as the arithmetic lists them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.layers import Layer, layers
from pipeline.config.schema import L1, L2, Block, Constraint, MaxNorm, MinMaxNorm, Model, NonNeg, Regularizer, UnitNorm


def derive_seed(*parts: int | str) -> int:
    """A seed in 0..2³¹-1 for a named purpose, such as `derive_seed(seed, "order", epoch)`."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def build_network(
    model: Model, image_shape: Sequence[int], classes: int, *, seed: int, precision: str, learns: bool = True
) -> keras.Model:
    """Images float32 [n, height, width, channels] in 0..1 → logits float32 [n, classes].

    Initial weights and dropout come from `seed` and the layer's name alone. With `learns` false, what only training
    needs (regularizers, constraints, dropout) is left out, and all is channels_last, which takes the same weights: the
    saved network needs no code of this project, and no processor that convolves channels_first.
    Raises ConfigurationError where such a network can't exist.
    """
    builder = _Builder(model, seed=seed, precision=precision, learns=learns)
    inputs = keras.Input(tuple(image_shape), name="images")
    outputs = inputs
    for layer in layers(model, image_shape, classes):
        outputs = builder.apply(layer, outputs)
    return keras.Model(inputs, outputs, name="network")


class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D for channels_first, with the bias along the channels.

    Keras (3.15.1, `add` of backend/tensorflow/numpy.py) adds the bias along the width where that equals the channels.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, keras.ops.cast(self.bias, outputs.dtype), data_format="NCHW")
        return self.activation(outputs)


class _Builder:
    """Makes each layer; remembers only in which data format the last one left the images."""

    def __init__(self, model: Model, *, seed: int, precision: str, learns: bool) -> None:
        self.model = model
        self.seed = seed
        self.precision = precision
        self.learns = learns
        self.data_format = "channels_last"

    def apply(self, layer: Layer, inputs: keras.KerasTensor) -> keras.KerasTensor:
        if layer.kind == "conv2d" and layer.block is not None and self.learns:
            inputs = self._in_format(layer.block.conv.data_format, inputs, layer.name)
        elif layer.name == "head":
            inputs = self._in_format("channels_last", inputs, layer.name)
        if layer.kind == "dropout" and not self.learns:
            return inputs
        return self._layer(layer)(inputs)

    def _in_format(self, data_format: str, inputs: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if data_format == self.data_format:
            return inputs
        self.data_format = data_format
        axes = (3, 1, 2) if data_format == "channels_first" else (2, 3, 1)
        return keras.layers.Permute(axes, name=f"{name}_{data_format}", dtype=self.precision)(inputs)

    def _layer(self, layer: Layer) -> keras.layers.Layer:  # noqa: C901, PLR0911 - one case for each kind of layer
        common: dict[str, Any] = {"name": layer.name, "dtype": self.precision}
        spatial = common | {"data_format": self.data_format}
        model, block = self.model, layer.block or self.model
        match layer.kind:
            case "conv2d":
                conv2d = keras.layers.Conv2D if self.data_format == "channels_last" else Conv2D
                return conv2d(**spatial, **self._conv_arguments(layer.name, block))
            case "batch_normalization":
                axis = -1 if self.data_format == "channels_last" else 1
                return keras.layers.BatchNormalization(axis=axis, **common)
            case "activation":
                return keras.layers.Activation(block.conv.activation, **common)
            case "max_pooling":
                return keras.layers.MaxPooling2D(block.pool_size, **spatial)
            case "average_pooling":
                return keras.layers.AveragePooling2D(block.pool_size, **spatial)
            case "dropout":
                return keras.layers.Dropout(self._rate(layer), seed=derive_seed(self.seed, layer.name), **common)
            case "flatten":
                return keras.layers.Flatten(**spatial)
            case "global_average":
                return keras.layers.GlobalAveragePooling2D(**spatial)
            case "global_max":
                return keras.layers.GlobalMaxPooling2D(**spatial)
            case "dense":
                is_output = layer.name == "output"
                # In float32 whatever the precision: a loss over bfloat16 logits is coarse.
                kind = {"name": layer.name, "dtype": "float32" if is_output else self.precision}
                activation = "linear" if is_output else model.dense.activation
                initializer = self._initializer("glorot_uniform", layer.name)
                return keras.layers.Dense(layer.output[0], activation, kernel_initializer=initializer, **kind)
            case kind:
                raise ValueError(f"unknown kind of layer: {kind}")

    def _rate(self, layer: Layer) -> float:
        if layer.block is not None:
            return layer.block.dropout
        return self.model.head_dropout if layer.name == "head_dropout" else self.model.dense.dropout

    def _conv_arguments(self, name: str, block: Block) -> dict[str, Any]:
        conv = block.conv
        delayed = block.batch_normalization == "before_activation"
        arguments = conv.model_dump(include=set(_PLAIN_ARGUMENTS)) | {
            "activation": "linear" if delayed else conv.activation,
            "kernel_initializer": self._initializer(conv.kernel_initializer, f"{name}/kernel"),
            "bias_initializer": self._initializer(conv.bias_initializer, f"{name}/bias"),
        }
        if self.learns:
            arguments |= {
                "kernel_regularizer": _regularizer(conv.kernel_regularizer),
                "bias_regularizer": _regularizer(conv.bias_regularizer),
                "activity_regularizer": _regularizer(conv.activity_regularizer),
                "kernel_constraint": build_constraint(conv.kernel_constraint),
                "bias_constraint": build_constraint(conv.bias_constraint),
            }
        return arguments

    def _initializer(self, name: str, purpose: str) -> keras.initializers.Initializer:
        initializer = keras.initializers.get(name)
        if isinstance(initializer, keras.initializers.Zeros | keras.initializers.Ones):
            return initializer
        return type(initializer)(seed=derive_seed(self.seed, purpose))


_PLAIN_ARGUMENTS = "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "use_bias"


def _regularizer(settings: Regularizer | None) -> keras.regularizers.Regularizer | None:
    match settings:
        case None:
            return None
        case L1():
            return keras.regularizers.L1(settings.l1)
        case L2():
            return keras.regularizers.L2(settings.l2)
        case _:
            return keras.regularizers.L1L2(settings.l1, settings.l2)


class RadialConstraint(keras.constraints.Constraint):
    """Weights at the same distance from a kernel's centre are equal: each becomes their mean.

    Distance is counted in square rings, as Keras 2 did (tf.keras.constraints.RadialConstraint, which took one weight
    of each ring in place of their mean). Kernels of any height and width; weights [height, width, in, out].
    """

    def __call__(self, w: keras.KerasTensor) -> keras.KerasTensor:
        height, width, inputs, outputs = w.shape
        averaging = keras.ops.cast(_ring_means(height, width), w.dtype)
        flat = keras.ops.reshape(w, (height * width, inputs * outputs))
        return keras.ops.reshape(keras.ops.matmul(averaging, flat), (height, width, inputs, outputs))


def build_constraint(settings: Constraint | None) -> keras.constraints.Constraint | None:
    """The Keras constraint that `settings` describe."""
    match settings:
        case None:
            return None
        case MaxNorm():
            return keras.constraints.MaxNorm(settings.max_value, axis=settings.axis)
        case MinMaxNorm():
            return keras.constraints.MinMaxNorm(settings.min_value, settings.max_value, settings.rate, settings.axis)
        case NonNeg():
            return keras.constraints.NonNeg()
        case UnitNorm():
            return keras.constraints.UnitNorm(axis=settings.axis)
        case _:
            return RadialConstraint()


def _ring_means(height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The matrix [height × width, height × width] that takes each weight to the mean of its ring."""
    rows = np.abs(np.arange(height) - (height - 1) / 2)
    columns = np.abs(np.arange(width) - (width - 1) / 2)
    ring = np.maximum.outer(rows, columns).ravel()
    same = (ring[:, None] == ring[None, :]).astype(np.float32)
    means: np.ndarray[tuple[int, int], np.dtype[np.float32]] = same / same.sum(axis=1, keepdims=True)
    return means
