"""The validation images of a run."""

from pipeline.configuration.schema import Data
from pipeline.images.prepared import Images
from pipeline.images.split import split
from pipeline.storage import digest


def held_out(images: Images, data: Data) -> Images:
    """Of the training images those that `data` holds out; their digest says out of which and how they were chosen.

    Raises UserError where fewer training images are there than are to be held out.
    """
    _, kept_back = split(images.labels, data.validation_images, data.split_seed)
    return Images(images.images[kept_back], images.labels[kept_back], held_out_digest(images.digest, data))


def held_out_digest(training_digest: str, data: Data) -> str:
    """The digest of the images that `held_out` gives, without opening them."""
    return digest.of_value([training_digest, data.validation_images, data.split_seed])
