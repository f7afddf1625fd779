"""What summary.json says of the prepared images: of which raw files they are, and the SHA-256 of each prepared file."""

from pathlib import Path

from pipeline.config.load import read_section
from pipeline.config.schema import Data, RawFiles, Section
from pipeline.storage import project
from pipeline.storage.documents import read_document
from pipeline.terminal.errors import UserError

SUMMARY = "summary.json"
REPAIR = "Make it again: dvc repro --force preprocess"


class Duplicates(Section):
    """How many images are exact copies: of an earlier one of the same set; test images of a training image."""

    training: int
    test: int
    across: int


class SetSummary(Section):
    """Of the training or the test images: how many, how many of each class, largest class over smallest."""

    images: int
    classes: dict[str, int]
    imbalance: float


class Summary(Section):
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


def load_summary(folder: Path, data: Data | None = None) -> Summary:
    """What `write_prepared` wrote about the images in `folder`.

    Raises UserError where it is missing or no such summary, or the images are those of other files or of another shape
    than `data`: a switch of branches, or `dvc exp run -S data=…`, leaves such images behind.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: the prepared images are missing. Run: dvc repro preprocess")
    summary = read_document(folder / SUMMARY, Summary, None, REPAIR)
    if data is not None and (differing := _differing(summary, data)):
        raise UserError(
            f"{folder}: what is prepared is {summary.name} ({differing}), not {data.name}, which the configuration "
            f"names. {_way_to(data)}"
        )
    return summary


def raw_digests(data: Data) -> dict[str, str]:
    """The SHA-256 of each raw file, decompressed, by its part: train_images, train_labels, test_images, test_labels."""
    return {part: getattr(data.files, part).sha256 for part in RawFiles.model_fields}


def _differing(summary: Summary, data: Data) -> str:
    """In what the prepared images are not those of `data`; nothing where they are."""
    if list(summary.image_shape) != data.image_shape:
        return f"images of {' × '.join(map(str, summary.image_shape))}"
    others = [part for part, sha256 in raw_digests(data).items() if summary.files.get(part) != sha256]
    return f"other {' and '.join(part.replace('_', ' ') for part in others)}" if others else ""


def _way_to(data: Data) -> str:
    """What prepares the images of `data`: the stages read params.yaml, which may name others than a sweep."""
    try:
        present = read_section(project.PARAMS, Data)
    except UserError:
        present = None
    if present is not None and (present.files, present.image_shape) == (data.files, data.image_shape):
        return "Run: dvc repro preprocess"
    return f"Choose {data.name} with `python -m pipeline.compose data=…`, then run: dvc repro preprocess"
