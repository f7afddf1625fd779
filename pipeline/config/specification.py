"""What a run is built from: all of a configuration that decides its weights, resolved, and nothing else.

A run's identity is a hash of these values and its network is built out of them: what is hashed is what is built.

What a network is built from: an argument that can have no effect stands at one value, however it was written.

So two ways to write one network are one setting, with one identity; each rule here names what makes it so.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import Field, JsonValue

from pipeline.config.layers import Layer, layers
from pipeline.config.messages import validated
from pipeline.config.schema import (
    L1,
    L1L2,
    L2,
    Block,
    Configuration,
    Conv,
    Count,
    Dense,
    Fraction,
    Head,
    Model,
    RadialConstraint,
    Regularizer,
    Section,
    Seed,
    Training,
    height_width,
)

SAME_INITIALIZER = {"variance_scaling": "lecun_normal"}
"""Keras's own default arguments make the one the other, from the same seed."""

SAME_BIAS_INITIALIZER = SAME_INITIALIZER | {
    "glorot_normal": "lecun_normal",
    "glorot_uniform": "lecun_uniform",
}
"""A vector has as many inputs as outputs, so that their mean (Glorot) is the number of inputs (LeCun)."""


def block_as_built(block: Block) -> Block:
    """The block whose layers compute the same, without what has no effect."""
    changes: dict[str, Any] = {"conv": _conv(block.conv)}
    if block.pooling == "none" or block.pool_size == 1:
        changes |= {"pooling": "none", "pool_size": 1}
        if block.batch_normalization == "after_pooling":
            changes["batch_normalization"] = "after_activation"
    if block.batch_normalization == "before_activation" and block.conv.activation == "linear":
        changes["batch_normalization"] = "after_activation"
    return block.model_copy(update=changes)


def dense_as_built(model: Model) -> Dense:
    """The dense layers; where there are none, neither activation nor dropout has a place."""
    if model.dense.units:
        return model.dense
    return model.dense.model_copy(update={"activation": "linear", "dropout": 0.0})


def _conv(conv: Conv) -> Conv:
    changes: dict[str, Any] = {
        "kernel_initializer": SAME_INITIALIZER.get(conv.kernel_initializer, conv.kernel_initializer),
        "bias_initializer": SAME_BIAS_INITIALIZER.get(conv.bias_initializer, conv.bias_initializer),
        "kernel_regularizer": _regularizer(conv.kernel_regularizer),
        "bias_regularizer": _regularizer(conv.bias_regularizer),
        "activity_regularizer": _regularizer(conv.activity_regularizer),
    }
    if not conv.use_bias:
        changes |= {"bias_initializer": "zeros", "bias_regularizer": None, "bias_constraint": None}
    kernel = height_width(conv.kernel_size)
    if max(height_width(conv.strides)) == 1:  # Conv2D refuses other strides together with dilation
        rates = zip(kernel, height_width(conv.dilation_rate), strict=True)
        height, width = (1 if size == 1 else rate for size, rate in rates)
        changes["dilation_rate"] = height if height == width else (height, width)
    if kernel == (1, 1):
        # Nothing to pad, and each weight is a ring of its own.
        changes["padding"] = "valid"
        if isinstance(conv.kernel_constraint, RadialConstraint):
            changes["kernel_constraint"] = None
    return conv.model_copy(update=changes)


def _regularizer(regularizer: Regularizer | None) -> Regularizer | None:
    """With factor 0 none; of two factors only the one that is more than 0."""
    match regularizer:
        case L1(l1=0) | L2(l2=0) | L1L2(l1=0, l2=0):
            return None
        case L1L2(l1=0, l2=factor):
            return L2(name="l2", l2=factor)
        case L1L2(l1=factor, l2=0):
            return L1(name="l1", l1=factor)
        case _:
            return regularizer


class Network(Section):
    """The blocks as they are built, each with every argument, and what follows them."""

    blocks: Annotated[list[Block], Field(min_length=1)]
    head: Head
    head_dropout: Fraction
    dense: Dense

    def as_model(self) -> Model:
        """The model that has these blocks and no others."""
        values = self.model_dump(mode="json")
        written_out = {f"block{number}": block for number, block in enumerate(values.pop("blocks"), start=1)}
        base = {**written_out["block1"], "depth": len(written_out), "filter_growth": 1, "blocks": written_out}
        return validated(Model, base | values, prefix="model")


class Specification(Section):
    """`split_seed` is None with nothing held out, where it decides nothing."""

    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)]
    classes: Count
    validation_images: Annotated[int, Field(ge=0)]
    split_seed: Seed | None
    model: Network
    training: Training
    seed: Seed

    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network. Raises ConfigurationError where it can't exist."""
        return layers(self.model.as_model(), self.image_shape, self.classes)


def specified(configuration: Configuration) -> Specification:
    """What `configuration` builds. Two ways to write the same run give the same.

    Raises ConfigurationError for a network that can't exist.
    """
    data, model = configuration.data, configuration.model
    # As they are built on images of this size: not all that a person writes has an effect there.
    found = layers(model, data.image_shape, len(data.class_names))
    return Specification(
        image_shape=data.image_shape,
        classes=len(data.class_names),
        validation_images=data.validation_images,
        split_seed=data.split_seed if data.validation_images > 0 else None,
        model=Network(
            blocks=[layer.block for layer in found if layer.kind == "conv2d" and layer.block is not None],
            head=cast(Head, next(layer.kind for layer in found if layer.name == "head")),
            head_dropout=model.head_dropout,
            dense=dense_as_built(model),
        ),
        training=configuration.training,
        seed=configuration.seed,
    )


def specification_of(ingredients: Mapping[str, JsonValue]) -> Specification:
    """The specification in the ingredients of an identity. Raises ConfigurationError for one of another version."""
    found = {name: ingredients[name] for name in Specification.model_fields if name in ingredients}
    return validated(Specification, found)
