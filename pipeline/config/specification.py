"""What a run is built from: all of a configuration that decides its weights, resolved, and nothing else.

A run's identity is a hash of these values and its network is built out of them: what is hashed is what is built.
"""

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import Field, JsonValue

from pipeline.config.layers import Layer, dense_as_built, layers
from pipeline.config.messages import validated
from pipeline.config.schema import Configuration, Count, Head, Kind, Network, Section, Seed, Training


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
        return layers(self.model, self.image_shape, self.classes)


def specify(configuration: Configuration) -> Specification:
    """What `configuration` builds. Two ways to write the same run give the same.

    Raises ConfigurationError for a network that can't exist.
    """
    data, model = configuration.data, configuration.model
    classes = len(data.class_names)
    every = layers(model, data.image_shape, classes)
    return Specification(
        image_shape=data.image_shape,
        classes=classes,
        validation_images=data.validation_images,
        split_seed=data.split_seed if data.validation_images > 0 else None,
        model=Network(
            input_normalization=model.input_normalization,
            blocks=[layer.block for layer in every if layer.kind == "conv2d" and layer.block is not None],
            head=cast(Head, next(layer.kind for layer in every if layer.name == "head")),
            head_dropout=model.head_dropout,
            dense=dense_as_built(model),
            output=model.output,
        ),
        training=configuration.training,
        seed=configuration.seed,
    )


def specification_of(ingredients: Mapping[str, JsonValue]) -> Specification:
    """The specification in the ingredients of an identity. Raises ConfigurationError for one of another version."""
    values = {name: ingredients[name] for name in Specification.model_fields if name in ingredients}
    return validated(Specification, values)


def hashed(section: Section) -> dict[str, JsonValue]:
    """The values of a section as they are hashed: without keys that came after the first records and are off.

    Those are the keys that have a default, but for the parameters of a kind, which have Keras's.
    """
    values = section.model_dump(mode="json")
    if isinstance(section, Kind):
        return values
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value == field.default:
            del values[name]
        elif isinstance(value, Section):
            values[name] = hashed(value)
        elif isinstance(value, list):
            values[name] = [hashed(one) if isinstance(one, Section) else one for one in value]
    return values
