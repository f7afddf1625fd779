"""The prepared folder: arrays that NumPy reads as they are, and a summary with the SHA-256 of each.

The digests are checked at every reading: a damaged disk, or a DVC cache that trusts what is read-only, would otherwise
change results silently.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.configuration.schema import Data
from pipeline.images.summary import Summary, summarized
from pipeline.storage import digest
from pipeline.storage.arrays import as_npy
from pipeline.storage.sealed import as_json, sealed, unsealed
from pipeline.terminal.errors import UserError

TRAINING = ("train_images.npy", "train_labels.npy")
TEST = ("test_images.npy", "test_labels.npy")
SUMMARY = "summary.json"

REPAIR = "Make it again: dvc repro --force preprocess"


@dataclass(frozen=True, eq=False)
class Images:
    """Images uint8 [n, h, w, c], labels uint8 [n] (0 … classes - 1), and one SHA-256 for both."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    digest: str


def write_prepared(
    folder: Path,
    data: Data,
    training: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> Summary:
    """Write the arrays (images uint8 [n, h, w, c], labels uint8 [n]) and their summary into an empty folder.

    The same arrays give the same bytes.
    """
    digests = {}
    for name, array in zip((*TRAINING, *TEST), (*training, *test), strict=True):
        (folder / name).write_bytes(as_npy(array))
        digests[name] = digest.of_file(folder / name)
    summary = summarized(data.name, data.class_names, training, test, digests)
    (folder / SUMMARY).write_text(sealed(summary.model_dump(mode="json")), encoding="utf-8")
    return summary


def load_training(folder: Path) -> Images:
    """The training images; the test files are not opened. Raises UserError when a byte is not as it was written."""
    return _load(folder, *TRAINING)


def load_test(folder: Path) -> Images:
    """The test images; the training files are not opened. Raises UserError when a byte is not as it was written."""
    return _load(folder, *TEST)


def load_summary(folder: Path) -> Summary:
    """What `write_prepared` wrote about the images. Raises UserError when it is missing or is no such summary."""
    path = folder / SUMMARY
    try:
        return Summary.model_validate_json(as_json(unsealed(_bytes(path).decode())))
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        where = ".".join(map(str, finding["loc"])) or "its JSON"
        raise UserError(f"{path}: is not what preprocess writes ({where}: {finding['msg']}). {REPAIR}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not what preprocess writes ({error}). {REPAIR}") from None


def training_digest(folder: Path) -> str:
    """The digest that `load_training` gives, without opening the images. Raises UserError like it."""
    return _digest(load_summary(folder).digests, TRAINING)


def test_digest(folder: Path) -> str:
    """The digest that `load_test` gives, without opening the images. Raises UserError like it."""
    return _digest(load_summary(folder).digests, TEST)


def _load(folder: Path, images_name: str, labels_name: str) -> Images:
    digests = load_summary(folder).digests
    images = _array(folder / images_name, digests)
    labels = _array(folder / labels_name, digests)
    return Images(images, labels, _digest(digests, (images_name, labels_name)))


def _digest(digests: dict[str, str], names: tuple[str, str]) -> str:
    return digest.of_value([digests[name] for name in names])


def _array(path: Path, digests: dict[str, str]) -> NDArray[np.uint8]:
    """The array of a file, out of the same bytes whose SHA-256 is checked."""
    data = _bytes(path)
    expected = digests.get(path.name)
    if expected is None:
        raise UserError(f"{path.parent / SUMMARY}: has no digest of {path.name}. {REPAIR}")
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise UserError(
            f"{path}: was changed after preprocess wrote it: its SHA-256 is {found}, not {expected}. {REPAIR}"
        )
    array: NDArray[np.uint8] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.parent.is_dir():
            raise UserError(f"{path}: is missing. {REPAIR}") from None
        raise UserError(f"{path.parent}: the prepared images are missing. Run: dvc repro preprocess") from None
