"""Programs that mount file systems: for themselves alone, until they end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage import project


def in_mounts_of_its_own(program: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program of the project's Python with `place` as its argument; it may mount what it likes.

    Where the system lets nobody mount the test is skipped: the program then prints "no mount: " and why, and ends.
    """
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    command = [*own, sys.executable, "-c", program, str(place)]
    try:
        done = subprocess.run(command, cwd=project.ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if done.stdout.startswith("no mount") or done.stderr.startswith("unshare"):
        pytest.skip(f"nothing can be mounted here: {done.stdout}{done.stderr}")
    return done
