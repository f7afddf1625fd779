"""What a process that trains one network after another must give back."""

import gc

import keras


def release() -> None:
    """Forget all networks that nobody holds any more, and what Keras kept of them."""
    keras.backend.clear_session()
    gc.collect()
