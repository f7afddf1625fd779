"""The prepared folder: arrays that NumPy reads as they are, and a summary with the SHA-256 of each.

The digests are checked at every reading: a damaged disk, or a DVC cache that trusts what is read-only, would otherwise
change results silently.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.config.load import read_section
from pipeline.config.schema import Data, RawFiles
from pipeline.storage import digest, project
from pipeline.storage.arrays import as_npy
from pipeline.storage.digest import as_json, unsealed
from pipeline.terminal.errors import UserError

TRAINING = ("train_images.npy", "train_labels.npy")
TEST = ("test_images.npy", "test_labels.npy")
SUMMARY = "summary.json"

REPAIR = "Make it again: dvc repro --force preprocess"


@dataclass(frozen=True, eq=False)
class Images:
    """Images uint8 [n, h, w, c] and labels uint8 [n] (0 … classes - 1).

    `prepared` is the digest that the summary of the prepared images gives; None for those that come from elsewhere.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    prepared: str | None = None

    @cached_property
    def digest(self) -> str:
        """One SHA-256 for both, of the bytes that are here."""
        return digest.of_value([hashlib.sha256(as_npy(array)).hexdigest() for array in (self.images, self.labels)])


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Duplicates(_Strict):
    """How many images are exact copies: of an earlier one of the same set; test images of a training image."""

    training: int
    test: int
    across: int


class SetSummary(_Strict):
    """Of the training or the test images: how many, how many of each class, largest class over smallest."""

    images: int
    classes: dict[str, int]
    imbalance: float


class Summary(_Strict):
    """Pixel mean and standard deviation are those of all training pixels, 0 to 1.

    `files` holds the SHA-256 of the raw files that the images were decoded from, `digests` that of each prepared file.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    training: SetSummary
    test: SetSummary
    pixel_mean: float
    pixel_deviation: float
    duplicates: Duplicates
    files: dict[str, str]
    digests: dict[str, str]


def load_training(folder: Path, data: Data | None = None) -> Images:
    """The training images; the test files are not opened.

    Raises UserError when a byte is not as it was written, or where these are not the images of `data`.
    """
    return _load(folder, TRAINING, data)


def load_test(folder: Path, data: Data | None = None) -> Images:
    """The test images; the training files are not opened. Raises UserError like `load_training`."""
    return _load(folder, TEST, data)


def load_summary(folder: Path) -> Summary:
    """What `write_prepared` wrote about the images. Raises UserError when it is missing or is no such summary."""
    path = folder / SUMMARY
    try:
        return Summary.model_validate_json(as_json(unsealed(_bytes(path).decode())))
    except ValueError as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            finding = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, finding['loc'])) or 'its JSON'}: {finding['msg']}"
        raise UserError(f"{path}: is not what preprocess writes ({reason}). {REPAIR}") from None


def training_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_training` gives, without opening them. Raises UserError like it."""
    return _digest(_checked_summary(folder, data), TRAINING)


def test_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_test` gives, without opening them. Raises UserError like it."""
    return _digest(_checked_summary(folder, data), TEST)


def _load(folder: Path, names: tuple[str, str], data: Data | None) -> Images:
    summary = _checked_summary(folder, data)
    images, labels = (_array(folder / name, summary.digests) for name in names)
    return Images(images, labels, _digest(summary, names))


def _digest(summary: Summary, names: tuple[str, str]) -> str:
    return digest.of_value([summary.digests[name] for name in names])


def _checked_summary(folder: Path, data: Data | None) -> Summary:
    """The summary of the images. Raises UserError where they are those of other files or of another shape than `data`.

    A switch of branches, or `dvc exp run -S data=…`, leaves such images behind.
    """
    summary = load_summary(folder)
    if data is None:
        return summary
    if summary.files != raw_digests(data) or list(summary.image_shape) != data.image_shape:
        raise UserError(
            f"{folder}: what is prepared is {summary.name} ({_differing(summary, data)}), not {data.name}, which the "
            f"configuration names. {_way_to(data)}"
        )
    return summary


def _way_to(data: Data) -> str:
    """What prepares the images of `data`: the stages read params.yaml, which may name others than a sweep."""
    try:
        present = read_section(project.PARAMS, Data)
    except UserError:
        present = None
    if present is not None and (present.files, present.image_shape) == (data.files, data.image_shape):
        return "Run: dvc repro preprocess"
    return f"Choose {data.name} with `python -m pipeline.compose data=…`, then run: dvc repro preprocess"


def _differing(summary: Summary, data: Data) -> str:
    """In what the prepared images are others."""
    if list(summary.image_shape) != data.image_shape:
        return f"images of {' × '.join(map(str, summary.image_shape))}"
    wanted = raw_digests(data)
    return f"other {' and '.join(name.replace('_', ' ') for name in wanted if summary.files.get(name) != wanted[name])}"


def raw_digests(data: Data) -> dict[str, str]:
    """The SHA-256 of each raw file, decompressed, by its part: train_images, train_labels, test_images, test_labels."""
    return {part: getattr(data.files, part).sha256 for part in RawFiles.model_fields}


def _array(path: Path, digests: dict[str, str]) -> NDArray[np.uint8]:
    """The array of a file, out of the same bytes whose SHA-256 is checked."""
    data = _bytes(path)
    expected = digests.get(path.name)
    if expected is None:
        raise UserError(f"{path.parent / SUMMARY}: has no digest of {path.name}. {REPAIR}")
    if (present := hashlib.sha256(data).hexdigest()) != expected:
        raise UserError(
            f"{path}: was changed after preprocess wrote it: its SHA-256 is {present}, not {expected}. {REPAIR}"
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
