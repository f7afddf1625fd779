"""What ends a verb before it can say so itself: a Python without our packages, and too little memory to import them."""

import importlib.util
import sys
from types import TracebackType

NO_MEMORY = (
    "the memory of this machine, or what this process may use of it, is full. With more, the same command goes on."
)


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


# It is imported before all else; every verb would end in a traceback.
sys.excepthook = _tell
