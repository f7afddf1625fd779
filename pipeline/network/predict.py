"""What a network says of images."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

BATCH = 256


class Predictor:
    """Images uint8 [n, height, width, channels] → probabilities float32 [n, classes]."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._compiled = tf.function(self._probabilities, reduce_retracing=True, autograph=False)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = [self._compiled(images[start : start + BATCH]).numpy() for start in range(0, len(images), BATCH)]
        return np.concatenate(batches)

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self._network(tf.cast(images, tf.float32) / 255.0, training=False))


def feature_maps(network: keras.Model, image: NDArray[np.uint8], names: Sequence[str]) -> list[NDArray[np.float32]]:
    """What leaves layers of blocks for one image uint8 [height, width, channels]: each float32, its channels last."""
    # By name: of a list with one output Keras makes the output itself.
    asked = keras.Model(network.input, {name: network.get_layer(name).output for name in names})
    maps = asked(image[None].astype(np.float32) / 255.0)
    return [_channels_last(network, name, keras.ops.cast(maps[name], "float32")) for name in names]


def _channels_last(network: keras.Model, name: str, maps: tf.Tensor) -> NDArray[np.float32]:
    # A block's layers all have the data format of its convolution.
    is_last = network.get_layer(f"{name.partition('_')[0]}_conv").data_format == "channels_last"
    first: NDArray[np.float32] = keras.ops.convert_to_numpy(maps)[0]
    return first if is_last else np.moveaxis(first, 0, -1)


def exportable(network: keras.Model, image_shape: Sequence[int]) -> keras.Model:
    """The network as others use it: raw images uint8 [n, height, width] → probabilities float32 [n, classes].

    Images with several channels are [n, height, width, channels].
    """
    height, width, channels = image_shape
    raw = (height, width) if channels == 1 else (height, width, channels)
    inputs = keras.Input(raw, dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="scaled")(inputs)
    shaped = keras.layers.Reshape(tuple(image_shape), name="with_channels")(scaled)
    outputs = keras.layers.Softmax(dtype="float32", name="probabilities")(network(shaped))
    return keras.Model(inputs, outputs, name="exported")
