"""The prepared folder: arrays that NumPy reads as they are, and a summary with the SHA-256 of each.

The digests are checked at every reading: a damaged disk, or a DVC cache that trusts what is read-only, would otherwise
change results silently.

The images that score a run: those of the test files, or those that were held out of the training images.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.config.load import read_section
from pipeline.config.schema import Data, RawFiles
from pipeline.data.prepare import Summary, summarized
from pipeline.data.split import split
from pipeline.storage import digest, project
from pipeline.storage.arrays import as_npy
from pipeline.storage.digest import as_json, of_value, sealed, unsealed
from pipeline.terminal.errors import UserError

TRAINING = ("train_images.npy", "train_labels.npy")
TEST = ("test_images.npy", "test_labels.npy")
SUMMARY = "summary.json"

REPAIR = "Make it again: dvc repro --force preprocess"


@dataclass(frozen=True, eq=False)
class Images:
    """Images uint8 [n, h, w, c] and labels uint8 [n] (0 … classes - 1)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @cached_property
    def digest(self) -> str:
        """One SHA-256 for both, of the bytes that are here."""
        return digest.of_value([hashlib.sha256(as_npy(array)).hexdigest() for array in (self.images, self.labels)])


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
    summary = summarized(data, training, test, raw_digests(data), digests)
    (folder / SUMMARY).write_text(sealed(summary.model_dump(mode="json")), encoding="utf-8")
    return summary


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
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        where = ".".join(map(str, finding["loc"])) or "its JSON"
        raise UserError(f"{path}: is not what preprocess writes ({where}: {finding['msg']}). {REPAIR}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not what preprocess writes ({error}). {REPAIR}") from None


def training_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_training` gives, without opening them. Raises UserError like it."""
    return _digest(_checked_summary(folder, data), TRAINING)


def test_digest(folder: Path, data: Data) -> str:
    """The digest of the images that `load_test` gives, without opening them. Raises UserError like it."""
    return _digest(_checked_summary(folder, data), TEST)


def _load(folder: Path, names: tuple[str, str], data: Data | None) -> Images:
    digests = _checked_summary(folder, data).digests
    return Images(*(_array(folder / name, digests) for name in names))


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


def raw_digests(data: Data) -> Mapping[str, str]:
    """The SHA-256 of each raw file, decompressed, by its part: train_images, train_labels, test_images, test_labels."""
    return {part: getattr(data.files, part).sha256 for part in RawFiles.model_fields}


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


@dataclass(frozen=True, eq=False)
class ScoringSet:
    """`digest` says which images they are; they and their classes are called what `data` calls them now."""

    kind: Literal["test", "validation"]
    images: Images
    digest: str
    dataset: str
    class_names: Sequence[str]


def test_set(images: Images, data: Data) -> ScoringSet:
    """All test images."""
    return ScoringSet("test", images, images.digest, data.name, data.class_names)


def validation_set(images: Images, data: Data) -> ScoringSet:
    """Of the training images those that `data` holds out; their digest says out of which and how they were chosen.

    Raises UserError where fewer training images are there than are to be held out.
    """
    kept_back = held_out(images, data.validation_images, data.split_seed)
    digest = held_out_digest(images.digest, data.validation_images, data.split_seed)
    return ScoringSet("validation", kept_back, digest, data.name, data.class_names)


def held_out(images: Images, validation_images: int, split_seed: int) -> Images:
    """Of the training images those that are held out. Raises UserError where there are not so many."""
    _, kept_back = split(images.labels, validation_images, split_seed)
    return Images(images.images[kept_back], images.labels[kept_back])


def held_out_digest(training_digest: str, validation_images: int, split_seed: int) -> str:
    """The digest of the images that `validation_set` gives, without opening them."""
    return of_value([training_digest, validation_images, split_seed])
