"""What a run is built from: all of a configuration that decides its weights, resolved, and nothing else.

A run's identity is a hash of these values and its network is built out of them: what is hashed is what is built.
"""

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import Field, JsonValue

from pipeline.config.layers import Layer, dense_as_built, layers
from pipeline.config.messages import validated
from pipeline.config.schema import (
    Block,
    Configuration,
    Count,
    Dense,
    Fraction,
    Head,
    Model,
    Section,
    Seed,
    Training,
)


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


def specify(configuration: Configuration) -> Specification:
    """What `configuration` builds. Two ways to write the same run give the same.

    Raises ConfigurationError for a network that can't exist.
    """
    data, model = configuration.data, configuration.model
    # As they are built on images of this size: not all that a person writes has an effect there.
    built = layers(model, data.image_shape, len(data.class_names))
    return Specification(
        image_shape=data.image_shape,
        classes=len(data.class_names),
        validation_images=data.validation_images,
        split_seed=data.split_seed if data.validation_images > 0 else None,
        model=Network(
            blocks=[layer.block for layer in built if layer.kind == "conv2d" and layer.block is not None],
            head=cast(Head, next(layer.kind for layer in built if layer.name == "head")),
            head_dropout=model.head_dropout,
            dense=dense_as_built(model),
        ),
        training=configuration.training,
        seed=configuration.seed,
    )


def specification_of(ingredients: Mapping[str, JsonValue]) -> Specification:
    """The specification in the ingredients of an identity. Raises ConfigurationError for one of another version."""
    values = {name: ingredients[name] for name in Specification.model_fields if name in ingredients}
    return validated(Specification, values)
