"""A run's weights: how they are kept, and the network that has them again."""

import math
from typing import TYPE_CHECKING

from pipeline.run.record import TRAINING, WEIGHTS, TrainingPart
from pipeline.storage import project
from pipeline.storage.arrays import Arrays, digest_of, unpack
from pipeline.storage.documents import refuse_links
from pipeline.terminal.errors import UserError

if TYPE_CHECKING:
    import keras

ROOM = 1_000_000
"""Bytes that a file of weights has beside them."""


def network_weights(network: "keras.Model") -> Arrays:
    """The weights by the path of their variable, such as `block1_conv/kernel`; statistics of batches are among them."""
    return {variable.path: variable.numpy() for variable in network.weights}


def read_weights(training: TrainingPart, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """The run's weights, which are those of a network whose variables have these shapes.

    Raises UserError where they are not those that the record holds, or would take the memory of a larger network.
    """
    path = training.folder / WEIGHTS
    refuse_links(training.folder)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    most = 4 * parameters + ROOM
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        is_repro = training.folder == project.RECORD / TRAINING
        anew = "dvc repro --force train" if is_repro else f"python -m pipeline.reproduce {training.run.identity} --keep"
        missing = f"{path}: is missing: this record came without its weights"
        raise UserError(f"{missing}. `{anew}` makes them again.") from None
    if len(content) > most:
        raise UserError(f"{path}: is larger than the {parameters:,} parameters of its network.")
    try:
        arrays = unpack(content)
    except ValueError as error:
        raise UserError(f"{path}: is no file of weights ({error}).") from None
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise UserError(f"{path}: does not fit the network of its record.")
    if digest_of(arrays) != training.run.weights:
        raise UserError(f"{path}: is not what run.json says was written.")
    return arrays


def trained_network(training: TrainingPart) -> "keras.Model":
    """The network as it was trained: images float32 [n, height, width, channels] in 0..1 → logits. Raises UserError."""
    network = _build(training, learns=True)
    arrays = read_weights(training, {variable.path: tuple(variable.shape) for variable in network.weights})
    for variable in network.weights:
        variable.assign(arrays[variable.path])
    return network


def export_network(training: TrainingPart) -> "keras.Model":
    """The network as others use it: raw images uint8 → probabilities; loads without this project's code."""
    from pipeline.network.predict import exportable  # noqa: PLC0415 - imports TensorFlow, which may not be needed

    network = _build(training, learns=False)
    network.set_weights(trained_network(training).get_weights())
    return exportable(network, training.run.specification.image_shape)


def _build(training: TrainingPart, *, learns: bool) -> "keras.Model":
    from pipeline.network.build import build_network  # noqa: PLC0415 - imports TensorFlow, which may not be needed

    specification = training.run.specification
    return build_network(
        specification.model,
        specification.image_shape,
        specification.classes,
        seed=specification.seed,
        precision=specification.training.precision,
        learns=learns,
    )
