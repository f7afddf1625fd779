"""What a command takes: time, processor time, memory.

A process starts with the peak memory of the one that it was forked from. So a small one stands in between, and what it
says of its children is theirs.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BETWEEN = """\
import json, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cost = seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
print(json.dumps([*cost, done.stdout.decode(errors="replace"), done.returncode]))
"""


@dataclass(frozen=True)
class Cost:
    """Of a command and all it started: seconds, processor seconds, peak MiB of its largest process; what it printed,
    and its exit status.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    said: str = ""
    status: int = 0


def spent(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run `command` in `folder`."""
    between = sys.executable, "-c", BETWEEN
    done = subprocess.run((*between, *command), cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return Cost(*json.loads(done.stdout))
