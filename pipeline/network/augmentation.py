"""Images changed at random while they are trained on."""

import tensorflow as tf

from pipeline.config.schema import Augmentation


def augmented(images: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Images uint8 [n, height, width, channels] → the same shape and dtype, each changed by itself.

    `seed` int32 [2] decides it. What a shift leaves free and what is erased is 0 (Fashion-MNIST's background).
    """
    if settings.horizontal_flip:
        images = _flipped(images, tf.random.experimental.stateless_fold_in(seed, 1))
    if settings.shift > 0:
        images = _shifted(images, settings.shift, tf.random.experimental.stateless_fold_in(seed, 2))
    if settings.erasing > 0:
        images = _erased(images, settings.erasing, tf.random.experimental.stateless_fold_in(seed, 3))
    return images


def _flipped(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    chosen = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(chosen, tf.reverse(images, axis=[2]), images)


def _shifted(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
    offsets = tf.random.stateless_uniform([count, 2], seed, 0, 2 * most + 1, tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    padded = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(padded, columns, axis=2, batch_dims=1)


def _erased(images: tf.Tensor, side: int, seed: tf.Tensor) -> tf.Tensor:
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
