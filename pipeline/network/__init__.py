"""The network and its training. Importing this room imports TensorFlow, without the lines it writes to stderr."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OPTIONAL = "matplotlib", "pandas", "scipy", "sklearn"
"""What Keras imports where it is installed, for parts that are not used here: two fifths of the import's CPU time and
150 MiB."""


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages that were not imported yet fail, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's own word for that
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _import_quietly() -> None:
    """Some lines come from C++ before Python can filter them; they are shown only when the import fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            with _without(OPTIONAL):
                import tensorflow as tf  # noqa: PLC0415
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    tf.get_logger().setLevel("ERROR")


_import_quietly()
