"""What is shown to a person as a sentence, and not as a traceback.

`pipeline` imports it before all else: a Python without our packages, or too little memory to import them, ends a verb
before it can say so itself.
"""

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


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, MemoryError):
        sys.stderr.write(f"error: {NO_MEMORY}\n")
    elif issubclass(kind, ImportError) and importlib.util.find_spec("hydra") is None:
        sys.stderr.write(
            f"error: {sys.executable}: lacks what this project needs ({error}). `make setup` puts it into .venv; "
            "then call ./conv2d, or `source .venv/bin/activate`\n"
        )
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell
