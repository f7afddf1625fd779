"""The article's script as a user would write it: plain Keras, `fit` and `evaluate`, reading the prepared arrays.

python benchmarks/article.py [--epochs 10]
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

PREPARED = Path(__file__).resolve().parents[1] / "data" / "prepared"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    x_train, x_test = (
        np.load(PREPARED / f"{part}_images.npy", allow_pickle=False).astype("float32") / 255
        for part in ("train", "test")
    )
    y_train, y_test = (np.load(PREPARED / f"{part}_labels.npy", allow_pickle=False) for part in ("train", "test"))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, (5, 5), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (5, 5), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    model.fit(x_train, y_train, epochs=epochs, batch_size=32, verbose=2)
    print(f"fit: {time.perf_counter() - started:.1f} s")
    print(f"test accuracy: {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")


if __name__ == "__main__":
    main()
