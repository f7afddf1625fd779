"""The images that score a run: those of the test files, or those that were held out of the training images.

Which they are decides a score: this file is a part of the scoring's identity (`SCORING_CODE`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.config.schema import Data
from pipeline.data.prepared import Images, split
from pipeline.storage.digest import of_value
from pipeline.terminal.errors import UserError


@dataclass(frozen=True, eq=False)
class ScoringSet:
    """`digest` says which images they are; they and their classes are called what `data` calls them now."""

    kind: Literal["test", "validation"]
    images: Images
    digest: str
    dataset: str
    class_names: Sequence[str]


def test_set(images: Images, data: Data) -> ScoringSet:
    """All test images. Raises UserError where they are not what was prepared."""
    return ScoringSet("test", images, _verified(images), data.name, data.class_names)


def validation_set(images: Images, data: Data) -> ScoringSet:
    """Of the training images those that `data` holds out; their digest says out of which and how they were chosen.

    Raises UserError where these are not what was prepared, or fewer than are to be held out.
    """
    chosen = data.validation_images, data.split_seed
    digest = held_out_digest(_verified(images), *chosen)
    return ScoringSet("validation", held_out(images, *chosen), digest, data.name, data.class_names)


def held_out(images: Images, validation_images: int, split_seed: int) -> Images:
    """Of the training images those that are held out. Raises UserError where there are not so many."""
    _, indices = split(images.labels, validation_images, split_seed)
    return Images(images.images[indices], images.labels[indices])


def held_out_digest(training_digest: str, validation_images: int, split_seed: int) -> str:
    """The digest of the images that `validation_set` gives, without opening them."""
    return of_value([training_digest, validation_images, split_seed])


def _verified(images: Images) -> str:
    """The digest of the arrays at hand, computed once: whatever was done to them since they were read changes it."""
    if images.prepared not in (None, images.digest):
        raise UserError(
            f"data: the images at hand ({images.digest[:12]}) are not those that were prepared "
            f"({images.prepared[:12]}): code that reads them changes them. Score all that is prepared, as it is."
        )
    return images.digest
