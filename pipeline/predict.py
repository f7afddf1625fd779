"""What a trained network says of pictures: the classes of each with their probabilities.

python -m pipeline.predict photo.png folder/            the network of `dvc repro`
python -m pipeline.predict photo.png --run 5d0a09…      a run of a sweep
python -m pipeline.predict photo.png --model models:/conv2d@champion    a released model, out of MLflow

A picture of another size than the network's is fitted: an even background is cut away around what is shown, the rest
scaled, and inverted where its background is light and those of the training images are dark, or the reverse. `--as-is`
only scales. A picture that can't be read is named, and the others go on.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from pipeline.config.load import read_section
from pipeline.config.schema import Tracking
from pipeline.data.photo import Photo, find_pictures, fit_photo, have_light_backgrounds
from pipeline.data.prepared import load_test
from pipeline.run.record import TrainingPart, find_record, read_training
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console

BATCH = 256

Answer = tuple[Photo, NDArray[np.float32]]
"""A picture and the probabilities float32 [classes] of its classes."""

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """Raw images uint8 [n, h, w, c] → probabilities float32 [n, classes], for images of `shape`."""

    predict: Predict
    shape: tuple[int, int, int]
    class_names: Sequence[str]


def main() -> int:
    arguments = _parser().parse_args()
    paths = find_pictures([Path(name) for name in arguments.pictures])
    network = _load(arguments.run, arguments.model)
    light = None if arguments.as_is else _light_backgrounds(network.shape)
    unread: list[str] = []
    with bar("pictures") as progress:
        task = progress.add_task("reading", total=len(paths))
        rows: list[Answer] = []
        photos = _fitted(paths, network.shape, light, arguments.as_is, unread)
        while some := list(islice(photos, BATCH)):
            rows += zip(some, network.predict(np.stack([photo.pixels for photo in some])), strict=True)
            progress.advance(task, len(some))
    FORMS[arguments.form](rows, network.class_names)
    for reason in unread:
        print(f"error: {command.printable(reason)}", file=sys.stderr)
    return 1 if unread else 0


def _fitted(
    paths: Iterable[Path], shape: tuple[int, int, int], light: bool | None, as_is: bool, unread: list[str]
) -> Iterator[Photo]:
    """The pictures that can be read; `unread` gains why others can't."""
    for path in paths:
        try:
            yield fit_photo(path, shape, light=light, as_is=as_is)
        except UserError as error:
            unread.append(str(error))


def _light_backgrounds(shape: tuple[int, int, int]) -> bool | None:
    """Whether the prepared images have light backgrounds; None where there are none like the network's."""
    try:
        images = load_test(project.PREPARED).images
    except UserError:
        return None
    return have_light_backgrounds(images) if images.shape[1:] == shape else None


def _load(run: str | None, model: str | None) -> Network:
    """The network that is asked for. Raises UserError where there is none."""
    if model is not None:
        return _released(model)
    record = find_record(run)
    return _network(record.training, record.evaluation.class_names if record.evaluation is not None else ())


def _released(model: str) -> Network:
    """A model out of MLflow's registry. Raises UserError where it can't be had."""
    from pipeline.tracking.download import download_released  # noqa: PLC0415 - mlflow takes seconds to load

    with tempfile.TemporaryDirectory() as folder:
        place, names = download_released(read_section(project.PARAMS, Tracking), model, Path(folder))
        return _network(read_training(place, repair="Release it again: python -m pipeline.release"), names)


def _network(training: TrainingPart, names: Sequence[str]) -> Network:
    """The trained network of a record; without names of classes these are numbers. Raises UserError."""
    from pipeline.network.predict import Predictor  # noqa: PLC0415 - TensorFlow takes seconds to load
    from pipeline.run.weights import trained_network  # noqa: PLC0415

    specification = training.run.specification
    height, width, channels = specification.image_shape
    numbers = [str(number) for number in range(specification.classes)]
    return Network(Predictor(trained_network(training)), (height, width, channels), names or numbers)


def _print_table(answers: Sequence[Answer], names: Sequence[str]) -> None:
    # A name that is too long goes on in the next line: its end is what tells it from others.
    table = Table(Column("picture", overflow="fold"), "class", "probability", "next", "probability", "fitted")
    for photo, probabilities in answers:
        first, second = np.argsort(-probabilities, kind="stable")[:2].tolist()
        chances = (f"{probabilities[number]:.1%}" for number in (first, second))
        table.add_row(
            command.printable(str(photo.path)), names[first], next(chances), names[second], next(chances), photo.fitted
        )
    console.print(table)


def _print_json(answers: Sequence[Answer], names: Sequence[str]) -> None:
    said = [
        {
            "picture": str(photo.path),
            "class": names[int(probabilities.argmax())],
            "probabilities": dict(zip(names, map(float, probabilities), strict=True)),
            "fitted": photo.fitted,
        }
        for photo, probabilities in answers
    ]
    print(json.dumps(said, indent=1, ensure_ascii=False))


def _print_csv(answers: Sequence[Answer], names: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["picture", "class", "fitted", *names])
    for photo, probabilities in answers:
        said = (f"{probability:.6f}" for probability in probabilities)
        writer.writerow([photo.path, names[int(probabilities.argmax())], photo.fitted, *said])


FORMS: dict[str, Callable[[Sequence[Answer], Sequence[str]], None]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}


def _parser() -> argparse.ArgumentParser:
    parser = command.arguments(__doc__, "predict")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="pictures, or folders with pictures")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="ID", help="a run of a sweep, by its identity; else that of `dvc repro`")
    which.add_argument("--model", metavar="URI", help="a model of MLflow, as in models:/conv2d@champion")
    parser.add_argument("--as-is", action="store_true", help="scale only: cut nothing away, invert nothing")
    form = parser.add_mutually_exclusive_group()
    for name in ("json", "csv"):
        form.add_argument(
            f"--{name}", dest="form", action="store_const", const=name, default="table", help=f"as {name.upper()}"
        )
    return parser


if __name__ == "__main__":
    command.run(main)
