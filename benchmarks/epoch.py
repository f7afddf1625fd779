"""Seconds of an epoch of a configuration, in a process of its own, and the machine's own limit beside it.

python -m benchmarks.epoch [--images 60000] [--epochs 3] [--peak] [OVERRIDE …]

Prints JSON: wall and CPU seconds of each epoch after the first (which builds the graph), multiply-adds of a training
step for one image; with --peak floating-point operations a second of a large matrix product between the epochs, and,
of one more epoch, for each operation of each layer its part of the time and, of convolutions, of that peak.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping

import numpy as np

from benchmarks.operations import seconds_of_operations
from pipeline.config.compose import Choice, choose, compose_with, values
from pipeline.config.layers import layers
from pipeline.config.load import configure
from pipeline.config.schema import Configuration
from pipeline.storage import project

GROUPS = "data", "model", "tracking", "training"
SIDE = 2048
"""Of the matrices whose product shows the machine's peak."""

PRODUCTS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--peak", action="store_true")
    parser.add_argument("override", nargs="*")
    options = parser.parse_args()
    found = compose_with(project.CONF, choose(Choice({}, {}), options.override, GROUPS))
    configuration = configure(values(found))
    print(json.dumps(measured(configuration, options.images, options.epochs, with_peak=options.peak)))


def measured(configuration: Configuration, images: int, epochs: int, *, with_peak: bool) -> dict[str, object]:
    """What this module prints."""
    from pipeline.network.build import build_network  # noqa: PLC0415 - TensorFlow
    from pipeline.network.fit import Trainer, use_threads  # noqa: PLC0415

    training = configuration.training
    use_threads(training.threads)
    shape, classes = configuration.data.image_shape, len(configuration.data.class_names)
    network = build_network(configuration.model, shape, classes, seed=0, precision=training.precision)
    pixels = np.load(project.PREPARED / "train_images.npy", mmap_mode="r", allow_pickle=False)[:images]
    labels = np.load(project.PREPARED / "train_labels.npy", mmap_mode="r", allow_pickle=False)[:images]
    trainer = Trainer(network, training, np.asarray(pixels), np.asarray(labels), 0)
    peaks: list[float] = []
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    for epoch in range(1, epochs + 1):
        if with_peak:
            peaks.append(_peak(training.precision))
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.run_epoch(epoch, lambda _steps: None)
        seconds.append(time.perf_counter() - wall)
        cpu_seconds.append(time.process_time() - cpu)
    found = {
        "seconds": seconds[1:],
        "cpu_seconds": cpu_seconds[1:],
        "multiply_adds": training_multiply_adds(configuration),
        "images": len(labels),
    }
    if with_peak:
        peak = statistics.median(peaks)
        taken = seconds_of_operations(lambda: trainer.run_epoch(epochs + 1, lambda _steps: None))
        found |= {"peak": peak, "operations": parts(taken, configuration, len(labels), peak)}
    return found


def parts(
    taken: Mapping[str, float], configuration: Configuration, images: int, peak: float
) -> dict[str, dict[str, float]]:
    """Of each operation, from its seconds: `time`, its part of all; `peak`, that of the peak at which it computes."""
    shape, classes = configuration.data.image_shape, len(configuration.data.class_names)
    costs = {layer.name: layer.multiply_adds for layer in layers(configuration.model, shape, classes)}
    whole = sum(taken.values())
    found: dict[str, dict[str, float]] = {}
    for name, seconds in taken.items():
        found[name] = {"time": seconds / whole}
        layer, _, operation = name.partition(" ")
        if "Conv2D" in operation:
            found[name]["peak"] = 2 * costs[layer] * images / seconds / peak
    return found


def training_multiply_adds(configuration: Configuration) -> int:
    """Of one image in one step: forward, gradients of weights, and gradients of inputs but those of the first layer."""
    shape, classes = configuration.data.image_shape, len(configuration.data.class_names)
    costs = [layer.multiply_adds for layer in layers(configuration.model, shape, classes) if layer.multiply_adds]
    return 3 * sum(costs) - costs[0]


def _peak(precision: str) -> float:
    """Floating-point operations a second of a matrix product."""
    import tensorflow as tf  # noqa: PLC0415

    kind = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    one = tf.cast(tf.random.stateless_normal((SIDE, SIDE), (0, 0)), kind)
    product = tf.function(lambda other: tf.reduce_sum(tf.matmul(other, other)), autograph=False)
    product(one).numpy()
    started = time.perf_counter()
    for _ in range(PRODUCTS):
        product(one).numpy()
    return PRODUCTS * 2 * SIDE**3 / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
