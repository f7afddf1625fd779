"""From the configuration to a Keras network, layer by layer as the arithmetic lists them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.layers import Layer, layers
from pipeline.config.schema import Block, Constraint, Initializer, Kind, Model, Network, Regularizer


def derive_seed(*parts: int | str) -> int:
    """A seed in 0..2³¹-1 for a named purpose, such as `derive_seed(seed, "order", epoch)`."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def build_network(
    model: Model | Network, image_shape: Sequence[int], classes: int, *, seed: int, precision: str, learns: bool = True
) -> keras.Model:
    """Images float32 [n, height, width, channels] in 0..1 → logits float32 [n, classes].

    Initial weights and dropout come from `seed` and the layer's name alone. With `learns` false, what only training
    needs (regularizers, constraints, dropout) is left out, and all is channels_last, which takes the same weights: the
    saved network needs no code of this project, and no processor that convolves channels_first.
    Raises ConfigurationError where such a network can't exist.
    """
    every = layers(model, image_shape, classes)
    builder = _Builder(model, every[-1].name, seed=seed, precision=precision, learns=learns)
    inputs = keras.Input(tuple(image_shape), name="images")
    outputs = inputs
    for layer in every:
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

    def __init__(self, model: Model | Network, last: str, *, seed: int, precision: str, learns: bool) -> None:
        self.dense = model.dense
        self.rates = {f"dense{number}_dropout": rate for number, rate in enumerate(model.dense.dropouts, start=1)}
        self.rates["head_dropout"] = model.head_dropout
        self.last = last
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
        # The last in float32 whatever the precision: a loss over bfloat16 logits is coarse.
        common = {"name": layer.name, "dtype": "float32" if layer.name == self.last else self.precision}
        made = self._general(layer, common) if layer.block is None else self._of_block(layer, layer.block, common)
        return made(inputs)

    def _in_format(self, data_format: str, inputs: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if data_format == self.data_format:
            return inputs
        self.data_format = data_format
        axes = (3, 1, 2) if data_format == "channels_first" else (2, 3, 1)
        return keras.layers.Permute(axes, name=f"{name}_{data_format}", dtype=self.precision)(inputs)

    def _of_block(self, layer: Layer, block: Block, common: Mapping[str, str]) -> keras.layers.Layer:
        spatial = {**common, "data_format": self.data_format}
        is_first = self.data_format == "channels_first"
        match layer.kind:
            case "conv2d":
                return (Conv2D if is_first else keras.layers.Conv2D)(
                    **spatial, **self._conv_arguments(layer.name, block)
                )
            case "batch_normalization":
                return keras.layers.BatchNormalization(axis=1 if is_first else -1, **common)
            case "activation":
                return keras.layers.Activation(block.conv.activation, **common)
            case "dropout":
                return self._dropout(block.dropout, common)
            case kind:
                return POOLINGS[kind](block.pool_size, block.pool_strides, block.pool_padding, **spatial)

    def _general(self, layer: Layer, common: Mapping[str, str]) -> keras.layers.Layer:
        match layer.kind:
            case "batch_normalization":
                return keras.layers.BatchNormalization(**common)
            case "activation":
                return keras.layers.Activation(self.dense.activation, **common)
            case "dropout":
                return self._dropout(self.rates[layer.name], common)
            case "dense":
                is_activated = layer.name != self.last and self.dense.batch_normalization != "before_activation"
                activation = self.dense.activation if is_activated else "linear"
                initializer = self._initializer("glorot_uniform", layer.name)
                return keras.layers.Dense(layer.output[0], activation, kernel_initializer=initializer, **common)
            case kind:
                return HEADS[kind](**common, data_format="channels_last")

    def _dropout(self, rate: float, common: Mapping[str, str]) -> keras.layers.Layer:
        return keras.layers.Dropout(rate, seed=derive_seed(self.seed, common["name"]), **common)

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

    def _initializer(self, settings: Initializer, purpose: str) -> keras.initializers.Initializer:
        name, arguments = (settings, {}) if isinstance(settings, str) else (settings.name, _arguments(settings))
        if name == "constant":
            return keras.initializers.Constant(**arguments)
        if name not in ("ones", "zeros"):
            arguments["seed"] = derive_seed(self.seed, purpose)
        return type(keras.initializers.get(name))(**arguments)


POOLINGS = {"max_pooling": keras.layers.MaxPooling2D, "average_pooling": keras.layers.AveragePooling2D}
HEADS = {
    "flatten": keras.layers.Flatten,
    "global_average": keras.layers.GlobalAveragePooling2D,
    "global_max": keras.layers.GlobalMaxPooling2D,
}
_PLAIN_ARGUMENTS = "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "use_bias"


def _arguments(kind: Kind) -> dict[str, Any]:
    """The parameters of a kind, which are called as Keras calls them."""
    return kind.model_dump(exclude={"name"})


def _regularizer(settings: Regularizer | None) -> keras.regularizers.Regularizer | None:
    # Our classes have the names of Keras's.
    return None if settings is None else getattr(keras.regularizers, type(settings).__name__)(**_arguments(settings))


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
    if settings is None:
        return None
    if settings.name == "RadialConstraint":
        return RadialConstraint()
    return getattr(keras.constraints, type(settings).__name__)(**_arguments(settings))


def _ring_means(height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The matrix [height × width, height × width] that takes each weight to the mean of its ring."""
    rows = np.abs(np.arange(height) - (height - 1) / 2)
    columns = np.abs(np.arange(width) - (width - 1) / 2)
    ring = np.maximum.outer(rows, columns).ravel()
    same = (ring[:, None] == ring[None, :]).astype(np.float32)
    means: np.ndarray[tuple[int, int], np.dtype[np.float32]] = same / same.sum(axis=1, keepdims=True)
    return means
