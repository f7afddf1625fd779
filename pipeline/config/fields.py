"""The kinds of value that a configuration is made of."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

LARGEST_SIZE = 4096


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, `"3"` is not 3, `true` is not 1, NaN is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _height_width(value: object) -> Any:
    """One number for both, or height × width; two equal numbers are one number, so that one setting has one form."""
    numbers = value if isinstance(value, list | tuple) else [value]
    whole = all(type(number) is int and 1 <= number <= LARGEST_SIZE for number in numbers)
    if len(numbers) not in (1, 2) or not whole or (isinstance(value, list | tuple) and len(numbers) == 1):
        raise PydanticCustomError(
            "size", "must be a whole number from 1 to {largest}, or two as [height, width]", {"largest": LARGEST_SIZE}
        )
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


Size = Annotated[int | tuple[int, int], BeforeValidator(_height_width)]
"""A height × width: `5`, or `[3, 5]`."""

Count = Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
UNSIGNED = AfterValidator(abs)
"""-0.0 is at least 0: it is 0.0, and no other setting."""

Fraction = Annotated[float, Field(ge=0, lt=1), UNSIGNED]
Penalty = Annotated[float, Field(ge=0, le=1e6), UNSIGNED]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """The height and the width of a `Size`."""
    return size if isinstance(size, tuple) else (size, size)


Activation = Literal[
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh",
    "tanh_shrink",
]
"""Keras's activations that keep the number of channels and need no argument."""

BiasInitializer = Literal[
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]
"""Keras's initializers that fit a vector and need no argument."""

KernelInitializer = Literal[BiasInitializer, "orthogonal"]
"""Keras's initializers that fit a convolution's kernel and need no argument."""
