"""Every argument of Conv2D, by Keras's own names (https://keras.io/api/layers/convolution_layers/convolution2d/)."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config.fields import (
    UNSIGNED,
    Activation,
    BiasInitializer,
    Count,
    KernelInitializer,
    Penalty,
    Section,
    Size,
)


def _named(value: object) -> Any:
    """`l2` is short for `{name: l2}`: the regularizer or constraint with Keras's default parameters."""
    return {"name": value} if isinstance(value, str) else value


class _Kind(Section):
    """One of several by its name. Where mappings are merged, null takes away what another kind has left behind."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls_of_others(cls, value: object) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: parameter for key, parameter in value.items() if parameter is not None or key in cls.model_fields}


class L1(_Kind):
    name: Literal["l1"]
    l1: Penalty = 0.01


class L2(_Kind):
    name: Literal["l2"]
    l2: Penalty = 0.01


class L1L2(_Kind):
    name: Literal["l1_l2"]
    l1: Penalty = 0.0
    l2: Penalty = 0.0


Regularizer = Annotated[L1 | L2 | L1L2, Field(discriminator="name"), BeforeValidator(_named)]

KernelAxis = Annotated[int, Field(ge=0, le=3)]
Axes = Annotated[list[KernelAxis], Field(min_length=1, max_length=4), AfterValidator(sorted)]
Norm = Annotated[float, Field(ge=0, le=1e6), UNSIGNED]


class NonNeg(_Kind):
    name: Literal["NonNeg"]


class RadialConstraint(_Kind):
    name: Literal["RadialConstraint"]


class _Norms(_Kind):
    """A bound on the norm over `axis` of the weights: [0, 1, 2] of a kernel is a filter; a bias has only axis 0."""

    axis: Axes = Field(default=[0])

    @model_validator(mode="after")
    def _each_axis_once(self) -> Self:
        if len(set(self.axis)) < len(self.axis):
            raise PydanticCustomError("axis", "axis must name each axis once", {"at": "axis", "value": self.axis})
        return self


class MaxNorm(_Norms):
    name: Literal["MaxNorm"]
    max_value: Norm = 2.0


class UnitNorm(_Norms):
    name: Literal["UnitNorm"]


class MinMaxNorm(_Norms):
    name: Literal["MinMaxNorm"]
    min_value: Norm = 0.0
    max_value: Norm = 1.0
    rate: Annotated[float, Field(ge=0, le=1), UNSIGNED] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_value > self.max_value:
            raise PydanticCustomError(
                "order",
                "min_value must not be larger than max_value ({largest})",
                {"at": "min_value", "value": self.min_value, "largest": self.max_value},
            )
        return self


Constraint = Annotated[
    MaxNorm | MinMaxNorm | NonNeg | RadialConstraint | UnitNorm, Field(discriminator="name"), BeforeValidator(_named)
]


OVER_THE_LAST_AXIS = "log_softmax", "softmax", "sparsemax"
"""The activations that Keras takes over the last axis: with channels_first that is the width."""


class Conv(Section):
    """The arguments of one Conv2D layer, or of all of them."""

    filters: Count
    kernel_size: Size
    strides: Size
    padding: Literal["valid", "same"]
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

    @model_validator(mode="after")
    def _activation_is_over_the_channels(self) -> Self:
        if self.activation in OVER_THE_LAST_AXIS and self.data_format == "channels_first":
            raise PydanticCustomError(
                "last_axis",
                "with channels_first must not be taken over the last axis, which is the width; use channels_last",
                {"at": "activation", "value": self.activation},
            )
        return self

    @model_validator(mode="after")
    def _bias_has_one_axis(self) -> Self:
        constraint = self.bias_constraint
        if isinstance(constraint, _Norms) and constraint.axis != [0]:
            raise PydanticCustomError(
                "axis", "a bias has one axis: use [0]", {"at": "bias_constraint.axis", "value": constraint.axis}
            )
        if isinstance(constraint, RadialConstraint):
            raise PydanticCustomError(
                "axis",
                "RadialConstraint is for kernels; a bias has no radius. Use null",
                {"at": "bias_constraint", "value": constraint.name},
            )
        return self
