"""The article's script as a user would write it: plain Keras, `fit` and `evaluate`, reading the prepared arrays.

python benchmarks/contenders/keras_script.py data/prepared [--epochs 10] [--images 60000] [--kernel-size 5]
    [--filters 32] [--batch-size 32] [--seed 0]
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--kernel-size", type=int, default=5)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    x_train, x_test = (
        np.load(options.prepared / f"{part}_images.npy", allow_pickle=False).astype("float32") / 255
        for part in ("train", "test")
    )
    y_train, y_test = (
        np.load(options.prepared / f"{part}_labels.npy", allow_pickle=False) for part in ("train", "test")
    )
    x_train, y_train = x_train[: options.images], y_train[: options.images]
    size = options.kernel_size
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(options.filters, (size, size), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(2 * options.filters, (size, size), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    model.fit(x_train, y_train, epochs=options.epochs, batch_size=options.batch_size, verbose=2)
    print(f"fit: {time.perf_counter() - started:.3f} s")
    print(f"test accuracy: {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")


if __name__ == "__main__":
    main()
