"""A Python without the project's packages: a sentence in place of a traceback. Imported before all else."""

import importlib.util
import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, ImportError):
        sys.stderr.write(
            f"error: {sys.executable}: lacks what this project needs ({error}). `make setup` puts it into .venv; "
            "then call ./conv2d, or `source .venv/bin/activate`\n"
        )
    else:
        sys.__excepthook__(kind, error, trace)


if importlib.util.find_spec("hydra") is None:
    # A person's own Python: every verb would end in a traceback.
    sys.excepthook = _tell
