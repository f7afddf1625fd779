"""What a process that trains one network after another must give back."""

import gc

import keras
from tensorflow.python.framework import ops


def settle() -> None:
    """Once all is imported: what is there now stays, and `release` need not look at it again."""
    gc.collect()
    gc.freeze()


def release() -> None:
    """Forget all networks that nobody holds any more, and what Keras and TensorFlow kept of them."""
    # With each graph that it builds Keras's optimizer leaves a function in this registry, and the graph with it
    # (`ReplicaContext.all_reduce`): 9 MB a training of a small network. No graph is differentiated again here.
    registry = ops.gradient_registry._registry  # there is no public way
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]
    keras.backend.clear_session()
    gc.collect()
