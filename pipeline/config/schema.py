"""The configuration's sections, and what their values may be. The values that a person chooses lie in conf/.

Every argument of Conv2D is here, by Keras's own names (https://keras.io/api/layers/convolution_layers/convolution2d/).
"""

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Annotated, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

LARGEST_SIZE = 4096


Rule = tuple[bool, str, str]
"""Whether it is kept, the key that is at fault where it is not, dotted, and what that must be."""


def _broken(rule: str, **context: object) -> PydanticCustomError:
    """What a validator raises; `value` (else what was given) is shown, `at` is the key of a section's value."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, **context})


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, `"3"` is not 3, `true` is not 1, NaN is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def rules(self) -> Iterator[Rule]:
        """What values that are right alone must be together."""
        yield from ()

    @model_validator(mode="after")
    def _follows_its_rules(self) -> Self:
        for is_kept, at, rule in self.rules():
            if not is_kept:
                value = attrgetter(at)(self)
                raise _broken(rule, at=at, value=getattr(value, "name", value))
        return self


def _height_width(value: object) -> object:
    """One number for both, or height × width; two equal numbers are one number, so that one setting has one form."""
    numbers = value if isinstance(value, list | tuple) else [value, value]
    if len(numbers) != 2 or not all(type(number) is int and 1 <= number <= LARGEST_SIZE for number in numbers):
        raise PydanticCustomError("size", f"must be a whole number from 1 to {LARGEST_SIZE}, or two as [height, width]")
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


Size = Annotated[int | tuple[int, int], BeforeValidator(_height_width)]
"""A height × width: `5`, or `[3, 5]`."""

Count = Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
UNSIGNED = AfterValidator(abs)
"""-0.0 is at least 0: it is 0.0, and no other setting."""

Fraction = Annotated[float, Field(ge=0, lt=1), UNSIGNED]
Penalty = Annotated[float, Field(ge=0, le=1e6), UNSIGNED]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Padding = Literal["valid", "same"]


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """The height and the width of a `Size`."""
    return size if isinstance(size, tuple) else (size, size)


_Rectifying = Literal["celu", "elu", "gelu", "leaky_relu", "mish", "relu", "relu6", "selu", "silu", "softplus"]
_Shrinking = Literal["hard_shrink", "soft_shrink", "sparse_plus", "squareplus", "tanh_shrink"]
_Bounded = Literal["hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "sigmoid", "softsign", "sparse_sigmoid"]
OverTheLastAxis = Literal["log_softmax", "softmax", "sparsemax"]
"""The activations that Keras takes over the last axis: with channels_first that is the width."""

Activation = Literal[_Rectifying, _Shrinking, _Bounded, OverTheLastAxis, "exponential", "linear", "tanh"]
"""Keras's activations that keep the number of channels and need no argument."""

_ByFans = Literal["glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform"]
BiasInitializerName = Literal[
    _ByFans, "ones", "random_normal", "random_uniform", "truncated_normal", "variance_scaling", "zeros"
]
"""Keras's initializers that fit a vector and need no argument."""

KernelInitializerName = Literal[BiasInitializerName, "orthogonal"]
"""Keras's initializers that fit a convolution's kernel and need no argument."""


def _named(value: object) -> object:
    """`l2` is short for `{name: l2}`: the regularizer or constraint with Keras's default parameters."""
    return {"name": value} if isinstance(value, str) else value


class Kind(Section):
    """One of several by its name. Where mappings are merged, null takes away what another kind has left behind."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls_of_others(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: parameter for key, parameter in value.items() if parameter is not None or key in cls.model_fields}


class L1(Kind):
    name: Literal["l1"]
    l1: Penalty = 0.01


class L2(Kind):
    name: Literal["l2"]
    l2: Penalty = 0.01


class L1L2(Kind):
    name: Literal["l1_l2"]
    l1: Penalty = 0.0
    l2: Penalty = 0.0


Regularizer = Annotated[L1 | L2 | L1L2, Field(discriminator="name"), BeforeValidator(_named)]

Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e6)]


class Constant(Kind):
    name: Literal["constant"]
    value: Finite = 0.0


class RandomNormal(Kind):
    name: Literal["random_normal", "truncated_normal"]
    mean: Finite = 0.0
    stddev: Positive = 0.05


class RandomUniform(Kind):
    name: Literal["random_uniform"]
    minval: Finite = -0.05
    maxval: Finite = 0.05

    def rules(self) -> Iterator[Rule]:
        yield self.minval < self.maxval, "minval", f"minval must be less than maxval ({self.maxval})"


class VarianceScaling(Kind):
    name: Literal["variance_scaling"]
    scale: Positive = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["truncated_normal", "untruncated_normal", "uniform"] = "truncated_normal"


class Orthogonal(Kind):
    name: Literal["orthogonal"]
    gain: Positive = 1.0


BiasArguments = Constant | RandomNormal | RandomUniform | VarianceScaling
FORMS = BY_NAME, WITH_ARGUMENTS, ONE_NUMBER, ONE_FOR_EACH = "by name", "with arguments", "one number", "one for each"
"""The forms that a value may have; in pydantic's errors they stand in the way to a key, and are no part of it."""


def _plain_name(value: object) -> object:
    """`{name: he_normal}` is `he_normal`. A constant has no name alone: that of 0 is zeros."""
    if isinstance(value, dict) and list(value) == ["name"] and value["name"] != "constant":
        return value["name"]
    return value


Named = TypeVar("Named")
Written = TypeVar("Written")
_NamedOrWritten = Annotated[
    Annotated[Named, Tag(BY_NAME)] | Annotated[Written, Field(discriminator="name"), Tag(WITH_ARGUMENTS)],
    Discriminator(lambda value: WITH_ARGUMENTS if isinstance(value, dict | Kind) else BY_NAME),
    BeforeValidator(_plain_name),
]
BiasInitializer = _NamedOrWritten[BiasInitializerName, BiasArguments]
KernelInitializer = _NamedOrWritten[KernelInitializerName, BiasArguments | Orthogonal]
Initializer = str | BiasArguments | Orthogonal

Axes = Annotated[list[Annotated[int, Field(ge=0, le=3)]], Field(min_length=1, max_length=4), AfterValidator(sorted)]


class NonNeg(Kind):
    name: Literal["NonNeg"]


class RadialConstraint(Kind):
    name: Literal["RadialConstraint"]


class _Norms(Kind):
    """A bound on the norm over `axis` of the weights: [0, 1, 2] of a kernel is a filter; a bias has only axis 0."""

    axis: Axes = Field(default=[0])

    def rules(self) -> Iterator[Rule]:
        yield len(set(self.axis)) == len(self.axis), "axis", "axis must name each axis once"


class MaxNorm(_Norms):
    name: Literal["MaxNorm"]
    max_value: Penalty = 2.0


class UnitNorm(_Norms):
    name: Literal["UnitNorm"]


class MinMaxNorm(_Norms):
    name: Literal["MinMaxNorm"]
    min_value: Penalty = 0.0
    max_value: Penalty = 1.0
    rate: Annotated[float, Field(ge=0, le=1), UNSIGNED] = 1.0

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        is_ordered = self.min_value <= self.max_value
        yield is_ordered, "min_value", f"min_value must not be larger than max_value ({self.max_value})"


Constraint = Annotated[
    MaxNorm | MinMaxNorm | NonNeg | RadialConstraint | UnitNorm, Field(discriminator="name"), BeforeValidator(_named)
]
OVER_THE_LAST_AXIS: tuple[str, ...] = get_args(OverTheLastAxis)


class Conv(Section):
    """The arguments of one Conv2D layer, or of all of them."""

    filters: Count
    kernel_size: Size
    strides: Size
    padding: Padding
    data_format: Literal["channels_last", "channels_first"]
    dilation_rate: Size
    groups: Count
    activation: Activation
    use_bias: bool
    kernel_initializer: KernelInitializer
    bias_initializer: BiasInitializer
    kernel_regularizer: Regularizer | None
    bias_regularizer: Regularizer | None
    activity_regularizer: Regularizer | None
    kernel_constraint: Constraint | None
    bias_constraint: Constraint | None

    def rules(self) -> Iterator[Rule]:
        is_over_the_width = self.activation in OVER_THE_LAST_AXIS and self.data_format == "channels_first"
        rule = "with channels_first must not be taken over the last axis, which is the width; use channels_last"
        yield not is_over_the_width, "activation", rule
        constraint = self.bias_constraint
        has_axes = isinstance(constraint, _Norms) and constraint.axis != [0]
        yield not has_axes, "bias_constraint.axis", "a bias has one axis: use [0]"
        is_radial = isinstance(constraint, RadialConstraint)
        rule = "RadialConstraint is for kernels; a bias has no radius. Use null"
        yield not is_radial, "bias_constraint", rule


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
        raise _broken("must name a host, as in http://127.0.0.1:5000")
    return address


def hide_secret(address: str) -> str:
    """An address as a message may show it, which stands in logs."""
    return re.sub(r"[?#].*", "?…", re.sub(r"//.*@", "//…@", address, flags=re.DOTALL), flags=re.DOTALL)


def _of_a_store(address: str) -> str:
    """A server without a secret, or a database of this project: params.yaml comes from others, and is committed."""
    is_server = not address.startswith("sqlite:")
    path = address.removeprefix("sqlite:///")
    rule = None
    if not re.fullmatch(r"(https?://|sqlite:///)[^\s\x00-\x1f]{1,500}", address):
        rule = (
            "must be an MLflow server (http://127.0.0.1:5000, https://…) or an SQLite database inside the project "
            "(sqlite:///mlflow.db); for PostgreSQL or another database name the MLflow server in front of it"
        )
    elif is_server and re.search("[@?#]", address):
        rule = (
            "must hold no name, no password and nothing after a ? or #: what lets you in belongs into the "
            "environment (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        )
    elif not is_server and (path.startswith("/") or ".." in path.split("/") or re.search(r"[?#%:\\]", path)):
        rule = (
            "must name a database inside the project, as in sqlite:///mlflow.db (another is asked for with "
            "MLFLOW_TRACKING_URI in the environment, which wins over all)"
        )
    if rule is not None:
        raise _broken(rule, value=hide_secret(address))
    return _with_a_host(address) if is_server else address


WebAddress = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s\x00-\x1f]{1,500}$"), AfterValidator(_with_a_host)
]
StoreAddress = Annotated[str, AfterValidator(_of_a_store)]
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


def _quoted(value: object) -> object:
    """`[0, 1, 2]` are numbers and `[yes, no]` may be truth values: one sentence, not one for each."""
    unquoted = [name for name in value if isinstance(name, int | float)] if isinstance(value, list) else []
    if len(unquoted) > 1:
        raise _broken("must be texts: quote them, ['0', '1', …]")
    return value


class Data(Section):
    name: FileName
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)]
    class_names: Annotated[list[Label], Field(min_length=2, max_length=1000), BeforeValidator(_quoted)]
    files: RawFiles
    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]
    validation_images: Annotated[int, Field(ge=0)]
    held_out: Annotated[int, Field(ge=1, le=2**31 - 1)]
    split_seed: Seed

    @property
    def training_images(self) -> int:
        """How many images the training file holds (an IDX file of labels is 8 bytes and one for each)."""
        return self.files.train_labels.bytes - 8

    def rules(self) -> Iterator[Rule]:
        some_are_left = self.validation_images < self.training_images
        yield some_are_left, "validation_images", f"must leave images to train on: less than {self.training_images}"
        yield len(set(self.class_names)) == len(self.class_names), "class_names", "must name each class once"


class Block(Section):
    """Conv2D, then what may follow it: batch normalisation, pooling, dropout. Pooling strides by its size (null)."""

    conv: Conv
    batch_normalization: Literal["none", "before_activation", "after_activation", "after_pooling"]
    pooling: Literal["none", "max", "average"]
    pool_size: Size
    pool_strides: Size | None = None
    pool_padding: Padding = "valid"
    dropout: Fraction


class Dense(Section):
    """The dense layers between the blocks and the output layer; one dropout for all of them, or one for each."""

    units: Annotated[list[Count], Field(max_length=8)]
    activation: Activation
    batch_normalization: Literal["none", "before_activation", "after_activation"] = "none"
    dropout: Annotated[
        Annotated[Fraction, Tag(ONE_NUMBER)]
        | Annotated[list[Fraction], Field(min_length=1, max_length=8), Tag(ONE_FOR_EACH)],
        Discriminator(lambda value: ONE_FOR_EACH if isinstance(value, list) else ONE_NUMBER),
    ]

    @property
    def dropouts(self) -> list[float]:
        """The dropout after each dense layer."""
        return self.dropout if isinstance(self.dropout, list) else [self.dropout] * len(self.units)

    def rules(self) -> Iterator[Rule]:
        layers = len(self.units)
        rule = f"must be one number, or one for each of the {layers} dense layers"
        yield len(self.dropouts) == layers, "dropout", rule


Head = Literal["flatten", "global_average", "global_max"]
"""What makes one row of numbers of the last block's images."""


def _without_nulls(value: object) -> object:
    """null takes away what a variant says: the changes of all blocks, or of one. A merge of mappings can't."""
    if isinstance(value, dict):
        return {name: changes for name, changes in value.items() if changes is not None}
    return {} if value is None else value


class Network(Section):
    """The blocks as they are built, each with every argument, and what comes before and after them.

    With `output` head there is no dense layer at the end: what the head makes of the last block is a number a class.
    """

    input_normalization: bool = False
    blocks: Annotated[list[Block], Field(min_length=1)]
    head: Head
    head_dropout: Fraction
    dense: Dense
    output: Literal["dense", "head"] = "dense"


class Model(Block):
    """`depth` blocks alike but for their filters; `blocks` says what differs in a single block."""

    depth: Annotated[int, Field(ge=1, le=64)]
    filter_growth: Annotated[float, Field(gt=0, le=16)]
    blocks: Annotated[dict[str, dict[str, object]], BeforeValidator(_without_nulls)]
    input_normalization: bool = False
    head: Head
    head_dropout: Fraction
    dense: Dense
    output: Literal["dense", "head"] = "dense"


class Augmentation(Section):
    horizontal_flip: bool
    shift: Annotated[int, Field(ge=0, le=4096)]
    erasing: Annotated[int, Field(ge=0, le=4096)]


class Training(Section):
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    optimizer: Literal["adam", "lion", "muon", "nadam", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    momentum: Fraction
    schedule: Literal["constant", "cosine"]
    warmup: Fraction
    weight_decay: Penalty
    label_smoothing: Fraction
    augmentation: Augmentation
    precision: Literal["float32", "mixed_bfloat16"]
    threads: Annotated[int, Field(ge=1, le=256)]

    def rules(self) -> Iterator[Rule]:
        rule = f"momentum has an effect with optimizer sgd only, not with {self.optimizer}; use 0 there"
        yield self.momentum == 0 or self.optimizer == "sgd", "momentum", rule
        rule = "warmup has an effect with schedule cosine only; use 0 with constant"
        yield self.warmup == 0 or self.schedule == "cosine", "warmup", rule


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
