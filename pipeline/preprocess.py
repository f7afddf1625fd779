"""Decode and check the raw files in data/raw, and write them to data/prepared as arrays.

Beside the arrays lie summary.json (counts, pixel mean and standard deviation, duplicates, digests) and examples.png.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.load import read_section
from pipeline.config.schema import Data, RawFile
from pipeline.data.idx import COLOUR_IMAGES, GREY_IMAGES, LABELS, decode_idx
from pipeline.data.prepare import Labelled, check_images, check_labels, warnings, write_prepared
from pipeline.data.summary import Summary
from pipeline.storage import lock, project
from pipeline.storage.atomic import write_folder
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

EXAMPLES = "examples.png"


def main() -> int:
    command.arguments(__doc__, "preprocess").parse_args()
    data = read_section(project.PARAMS, Data)
    with lock.stage():
        summary = preprocess(data, project.RAW, project.PREPARED)
    _tell(summary)
    return 0


def preprocess(data: Data, raw: Path, target: Path) -> Summary:
    """Make the folder `target` of the four files in `raw`. Raises UserError for files that are not as `data` says."""
    from pipeline.figures.examples import draw_examples  # noqa: PLC0415 - matplotlib, once there is something to draw

    training = _labelled(data, raw, data.files.train_images, data.files.train_labels)
    test = _labelled(data, raw, data.files.test_images, data.files.test_labels)
    with write_folder(target) as folder:
        summary = write_prepared(folder, data, training, test)
        (folder / EXAMPLES).write_bytes(draw_examples(*training, data.class_names))
    return summary


def _labelled(data: Data, raw: Path, images_file: RawFile, labels_file: RawFile) -> Labelled:
    """Images and labels, checked."""
    channels = data.image_shape[2]
    images = _decoded(raw, images_file, GREY_IMAGES if channels == 1 else COLOUR_IMAGES)
    images = check_images(images, data.image_shape, str(raw / images_file.name))
    labels = _decoded(raw, labels_file, LABELS)
    check_labels(labels, len(images), data.class_names, str(raw / labels_file.name))
    return images, labels


def _decoded(raw: Path, file: RawFile, dimensions: tuple[int, ...]) -> NDArray[np.uint8]:
    path = raw / file.name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. Run: dvc repro fetch") from None
    array = decode_idx(content, path, dimensions)
    # DVC takes a read-only file in its cache to be unchanged.
    if (present := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise UserError(
            f"{path}: its SHA-256 must be {file.sha256} as data.files says, found {present}. "
            "Fetch it again: dvc repro --force fetch"
        )
    return array


def _tell(summary: Summary) -> None:
    from pipeline.figures.style import note  # noqa: PLC0415 - matplotlib

    height, width, channels = summary.image_shape
    console.print(
        f"{summary.training.images:,} training and {summary.test.images:,} test images of "
        f"{height} × {width} × {channels} in {len(summary.class_names)} classes; "
        f"pixel mean {summary.pixel_mean:.4f}, standard deviation {summary.pixel_deviation:.4f}"
    )
    for warning in (*warnings(summary), *filter(None, [note(summary.class_names)])):
        console.print(f"warning: {warning}")


if __name__ == "__main__":
    command.run(main)
