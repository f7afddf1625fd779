"""The threads of a run, which decide its bits."""

import tensorflow as tf

from pipeline.terminal.errors import UserError


def use_threads(threads: int) -> None:
    """Compute with so many threads, and with deterministic kernels, from now on in this process.

    Raises UserError when this process has already computed with another number: TensorFlow sets it once.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # One operation at a time: `threads` is then all that computes.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        present = tf.config.threading.get_intra_op_parallelism_threads()
        raise UserError(
            f"training.threads: {threads} can't follow {present} in one process. Start another process for it."
        ) from None
    tf.config.experimental.enable_op_determinism()
