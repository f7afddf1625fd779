"""The configuration's sections. The values a person chooses lie in conf/; here is what they may be."""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config.conv2d import Conv
from pipeline.config.fields import Activation, Count, Fraction, Penalty, Section, Seed, Size

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]{1,99}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]


def _with_a_host(address: str) -> str:
    """An address that names a host, and a port that can be one: `http://[::1` is none, which urlsplit says late."""
    try:
        parts = urlsplit(address)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise PydanticCustomError("web_address", "must name a host, as in http://127.0.0.1:5000")
    return address


def _of_a_store(address: str) -> str:
    """A server without a password, or a database of this project: params.yaml comes from others, and is committed."""
    if not address.startswith("sqlite:"):
        if "@" in urlsplit(_with_a_host(address)).netloc:
            raise PydanticCustomError(
                "store_password",
                "must hold no name and no password, which belong into the environment "
                "(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)",
                {"value": urlsplit(address)._replace(netloc="…").geturl()},
            )
        return address
    path = address.removeprefix("sqlite:///")
    if path.startswith("/") or ".." in path.split("/") or re.search(r"[?#%:\\]", path):
        raise PydanticCustomError(
            "store_outside",
            "must name a database inside the project, as in sqlite:///mlflow.db (another is asked for with "
            "MLFLOW_TRACKING_URI in the environment, which wins over all)",
        )
    return address


WebAddress = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s\x00-\x1f]{1,500}$"), AfterValidator(_with_a_host)
]
StoreAddress = Annotated[
    str, StringConstraints(pattern=r"^(https?://|sqlite:///)[^\s\x00-\x1f]{1,500}$"), AfterValidator(_of_a_store)
]
Folder = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,500}$")]


class RawFile(Section):
    """One IDX file, by the size and the SHA-256 of its decompressed bytes."""

    name: FileName
    bytes: Annotated[int, Field(ge=9, le=2**33)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class RawFiles(Section):
    train_images: RawFile
    train_labels: RawFile
    test_images: RawFile
    test_labels: RawFile


class FolderSource(Section):
    """A folder that holds the files, gzipped (`<name>.gz`) or not; relative to the project."""

    kind: Literal["folder"]
    path: Folder


class WebSource(Section):
    """An address under which `<name>.gz` lies."""

    kind: Literal["web"]
    address: WebAddress


class DebianSource(Section):
    """A Debian package that holds `<name>.gz`; downloaded and unpacked, never installed."""

    kind: Literal["debian"]
    package: PackageName


Source = Annotated[FolderSource | WebSource | DebianSource, Field(discriminator="kind")]


def _quoted(value: object) -> Any:
    """`[0, 1, 2]` are numbers and `[yes, no]` may be truth values: one sentence, not one for each."""
    unquoted = [name for name in value if isinstance(name, int | float)] if isinstance(value, list) else []
    if len(unquoted) > 1:
        raise PydanticCustomError("unquoted", "must be texts: quote them, ['0', '1', …]")
    return value


class Data(Section):
    name: FileName
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)]
    class_names: Annotated[list[Label], Field(min_length=2, max_length=1000), BeforeValidator(_quoted)]
    files: RawFiles
    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]
    validation_images: Annotated[int, Field(ge=0)]
    split_seed: Seed

    @property
    def training_images(self) -> int:
        """How many images the training file holds (an IDX file of labels is 8 bytes and one for each)."""
        return self.files.train_labels.bytes - 8

    @model_validator(mode="after")
    def _some_left_to_train(self) -> Self:
        if self.validation_images >= self.training_images:
            raise PydanticCustomError(
                "validation_images",
                "must leave images to train on: less than {images}",
                {"at": "validation_images", "value": self.validation_images, "images": self.training_images},
            )
        if len(set(self.class_names)) < len(self.class_names):
            raise PydanticCustomError(
                "class_names", "must name each class once", {"at": "class_names", "value": self.class_names}
            )
        return self


class Block(Section):
    """Conv2D, then what may follow it: batch normalisation, pooling, dropout."""

    conv: Conv
    batch_normalization: Literal["none", "before_activation", "after_activation", "after_pooling"]
    pooling: Literal["none", "max", "average"]
    pool_size: Size
    dropout: Fraction


class Dense(Section):
    """The dense layers between the blocks and the output layer."""

    units: Annotated[list[Count], Field(max_length=8)]
    activation: Activation
    dropout: Fraction


Head = Literal["flatten", "global_average", "global_max"]
"""What makes one row of numbers of the last block's images."""


def _without_nulls(value: object) -> Any:
    """null takes away what a variant says: the changes of all blocks, or of one. A merge of mappings can't."""
    if isinstance(value, dict):
        return {name: changes for name, changes in value.items() if changes is not None}
    return {} if value is None else value


class Model(Block):
    """`depth` blocks alike but for their filters; `blocks` says what differs in a single block."""

    depth: Annotated[int, Field(ge=1, le=64)]
    filter_growth: Annotated[float, Field(gt=0, le=16)]
    blocks: Annotated[dict[str, dict[str, Any]], BeforeValidator(_without_nulls)]
    head: Head
    head_dropout: Fraction
    dense: Dense


class Augmentation(Section):
    horizontal_flip: bool
    shift: Annotated[int, Field(ge=0, le=4096)]
    erasing: Annotated[int, Field(ge=0, le=4096)]


class Training(Section):
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    optimizer: Literal["adam", "lion", "nadam", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    momentum: Fraction
    schedule: Literal["constant", "cosine"]
    warmup: Fraction
    weight_decay: Penalty
    label_smoothing: Fraction
    augmentation: Augmentation
    precision: Literal["float32", "mixed_bfloat16"]
    threads: Annotated[int, Field(ge=1, le=256)]

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if self.momentum > 0 and self.optimizer != "sgd":
            raise PydanticCustomError(
                "momentum",
                "momentum has an effect with optimizer sgd only, not with {optimizer}; use 0 there",
                {"at": "momentum", "value": self.momentum, "optimizer": self.optimizer},
            )
        if self.warmup > 0 and self.schedule == "constant":
            raise PydanticCustomError(
                "warmup",
                "warmup has an effect with schedule cosine only; use 0 with constant",
                {"at": "warmup", "value": self.warmup},
            )
        return self


class Tracking(Section):
    """Where runs are recorded beside the files; no part of a run's identity."""

    enabled: bool
    address: StoreAddress | None
    experiment: Label


class Configuration(Section):
    seed: Seed
    data: Data
    model: Model
    training: Training
    tracking: Tracking
