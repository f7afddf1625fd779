"""A process beside ours that imports MLflow, which takes seconds, so that ours need not."""

import os
import subprocess
from collections.abc import Sequence

from pipeline.storage import project


def started(command: Sequence[str]) -> "subprocess.Popen[str]":
    """`command`, to be told on its standard input what to do; what it says on standard output is for a person."""
    # A session of its own: Ctrl-C is for us, and we then tell it how we ended.
    return subprocess.Popen(
        command,
        cwd=project.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8:backslashreplace"},
        start_new_session=True,
    )


def dismiss(process: "subprocess.Popen[str]") -> None:
    """End it, whatever it does."""
    process.kill()
    process.communicate()
