"""What is shown to a person as a sentence, and not as a traceback.

`pipeline` imports it before all else: a Python without our packages, or too little memory to import them, ends a verb
before it can say so itself.
"""

import errno
import importlib.util
import sys
from types import TracebackType

NO_MEMORY = (
    "the memory of this machine, or what this process may use of it, is full. With more, the same command goes on."
)


class UserError(Exception):
    """Something that the person at the keyboard can put right.

    The message says key or path, rule, value received, and what to do. Shown without a traceback, exit status 1.
    """


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an allocation was refused at first: TensorFlow has an exception of its own, Python may forget its."""
    while error is not None:
        forgotten = isinstance(error, SystemError) and "without exception set" in str(error)
        # protobuf's, as a TypeError
        forgotten = forgotten or "out of memory" in str(error)
        refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
        if forgotten or refused or isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        error = error.__cause__ or error.__context__
    return False


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if lacks_memory(error):
        sys.stderr.write(f"error: {NO_MEMORY}\n")
    elif issubclass(kind, ImportError) and importlib.util.find_spec("hydra") is None:
        sys.stderr.write(
            f"error: {sys.executable}: lacks what this project needs ({error}). `make setup` puts it into .venv; "
            "then call ./conv2d, or `source .venv/bin/activate`\n"
        )
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell
