"""Which run it is: a hash over all that decides its result and nothing else."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from pydantic import JsonValue

from pipeline.configuration.arithmetic import blocks
from pipeline.configuration.built import dense_as_built
from pipeline.configuration.schema import Configuration, Model
from pipeline.record.fingerprint import fingerprint
from pipeline.storage import digest, project

DECIDING_CODE = (
    "pipeline.network.training",
    "pipeline.network.building",
    "pipeline.network.threads",
    "pipeline.images.split",
)
SCORING_CODE = (
    "pipeline.scoring.metrics",
    "pipeline.scoring.tables",
    "pipeline.network.prediction",
)
DECIDING_PACKAGES = "keras", "numpy", "tensorflow"
IDENTITY_DIGITS = 16

REPRO_STUDY = "dvc repro"
"""The study of the runs that `dvc repro` makes."""


@dataclass(frozen=True)
class Identity:
    """`name` is the hash of `ingredients`."""

    name: str
    ingredients: dict[str, JsonValue]


def identity(configuration: Configuration, data_digest: str) -> Identity:
    """The identity of the run that `configuration` describes on the training images with `data_digest`."""
    held_out = configuration.data.validation_images
    ingredients: dict[str, JsonValue] = {
        "data": data_digest,
        "validation_images": held_out,
        # With nothing held out the split's seed decides nothing.
        "split_seed": configuration.data.split_seed if held_out > 0 else None,
        "model": network_settings(configuration.model),
        "training": configuration.training.model_dump(mode="json"),
        "seed": configuration.seed,
        "code": digest.of_value(dict(deciding_code())),
        "versions": dict(versions()),
    }
    return Identity(digest.of_value(ingredients)[:IDENTITY_DIGITS], ingredients)


def network_settings(model: Model) -> dict[str, JsonValue]:
    """The network block by block: two ways to write the same network give the same settings."""
    return {
        "blocks": [block.model_dump(mode="json") for block in blocks(model)],
        **model.model_dump(mode="json", include={"head", "head_dropout"}),
        "dense": dense_as_built(model).model_dump(mode="json"),
    }


def scoring_identity(images_digest: str) -> str:
    """Which scoring it is: the images and the code that decides what is said of them."""
    return digest.of_value([images_digest, dict(_scoring_code())])


@cache
def _scoring_code() -> Mapping[str, str]:
    return _fingerprint(SCORING_CODE)


@cache
def deciding_code() -> Mapping[str, str]:
    """The fingerprint of the modules that decide a training's result, read once in a process."""
    return _fingerprint(DECIDING_CODE)


def _fingerprint(modules: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for module in modules:
        found |= fingerprint(project.ROOT, module)
    return dict(sorted(found.items()))


def versions() -> dict[str, str]:
    """The versions that decide a result. Read without importing the packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in DECIDING_PACKAGES}
