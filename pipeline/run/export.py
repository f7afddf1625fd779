"""A record's network, rebuilt from its configuration and the weights whose digest it holds."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.specification import specification_of
from pipeline.run.record import WEIGHTS, TrainingPart
from pipeline.run.weights import weights_of
from pipeline.storage import atomic
from pipeline.terminal.errors import UserError

if TYPE_CHECKING:
    import keras


def trained_network(training: TrainingPart) -> "keras.Model":
    """The network as it was trained: images float32 [n, height, width, channels] in 0..1 → logits. Raises UserError."""
    network = _built(training, learns=True)
    content = weights_of(training, network.count_params())
    with tempfile.TemporaryDirectory() as folder:
        # Keras reads a file: this one holds what was checked, whatever happens to the other meanwhile.
        path = Path(folder) / WEIGHTS
        with atomic.naming(path):
            path.write_bytes(content)
        try:
            network.load_weights(path)
        except Exception as error:  # Keras and HDF5 raise several kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{training.weights}: does not fit the network of its record ({reason}).") from None
    return network


def exported(training: TrainingPart) -> "keras.Model":
    """The network as others use it: raw images uint8 → probabilities; loads without this project's code."""
    from pipeline.network.predict import exportable  # noqa: PLC0415 - imports TensorFlow, which may not be needed

    network = _built(training, learns=False)
    network.set_weights(trained_network(training).get_weights())
    return exportable(network, specification_of(training.run.ingredients).image_shape)


def _built(training: TrainingPart, *, learns: bool) -> "keras.Model":
    from pipeline.network.build import build_network  # noqa: PLC0415 - imports TensorFlow, which may not be needed

    specification = specification_of(training.run.ingredients)
    return build_network(
        specification.model.as_model(),
        specification.image_shape,
        specification.classes,
        seed=specification.seed,
        precision=specification.training.precision,
        learns=learns,
    )
