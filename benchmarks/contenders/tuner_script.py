"""A grid of kernel sizes and filters with KerasTuner, as its guide shows it: each setting with two seeds.

python benchmarks/contenders/tuner_script.py data/prepared FOLDER [--epochs 4] [--images 50000] [--batch-size 64]

Trains on the first images and scores the rest. FOLDER takes what KerasTuner writes.
"""

import argparse
from pathlib import Path

import keras
import keras_tuner
import numpy as np

SEEDS = 2


def network(choices: keras_tuner.HyperParameters) -> keras.Model:
    size = choices.Choice("kernel_size", [3, 5, 7])
    filters = choices.Choice("filters", [16, 32, 64])
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(filters, size, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(2 * filters, size, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    images = np.load(options.prepared / "train_images.npy", allow_pickle=False).astype("float32") / 255
    labels = np.load(options.prepared / "train_labels.npy", allow_pickle=False)
    tuner = keras_tuner.GridSearch(
        network, objective="val_accuracy", executions_per_trial=SEEDS, directory=options.folder, project_name="grid"
    )
    tuner.search(
        images[: options.images],
        labels[: options.images],
        validation_data=(images[50_000:], labels[50_000:]),
        epochs=options.epochs,
        batch_size=options.batch_size,
        verbose=0,
    )
    print(f"{len(tuner.oracle.trials)} settings")


if __name__ == "__main__":
    main()
