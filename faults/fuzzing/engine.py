"""Fuzz one target until stopped: `python -m faults.fuzzing.engine TARGET CORPUS FINDINGS`, in the fuzzing environment.

A fault is an exception, more than 10 seconds of CPU or 200 MB for one input, or what the engine itself stops at.
"""

import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

from faults.fuzzing.target import LARGEST

MOST_SECONDS = 10
MOST_MEMORY = 200_000_000
PAGE = resource.getpagesize()


def main() -> None:
    # Python's own answer would be an exception, which is a fault; the fuzzer's begins when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name, corpus, findings = sys.argv[1:]
    with atheris.instrument_imports(include=["pipeline", "ruamel.yaml"]):
        target = importlib.import_module(f"faults.fuzzing.{name}").TARGET

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        changed: bytes = target.mutated(data, lambda part: bytes(atheris.Mutate(part, most)), Random(seed))
        return changed[:most]

    words = Path(corpus).with_suffix(".words")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words()), encoding="utf-8")
    for number, seed in enumerate(target.seeds()):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)
    # The input's own time and memory are judged below; these are for what never comes back.
    limits = [
        f"-max_len={LARGEST}",
        "-timeout=300",
        "-report_slow_units=300",
        "-rss_limit_mb=2000",
        "-print_final_stats=1",
        "-detect_leaks=0",
    ]
    arguments = [sys.argv[0], *limits, f"-dict={words}", f"-artifact_prefix={findings}/", corpus]
    atheris.Setup(arguments, bounded(target.examine), custom_mutator=mutated)
    atheris.Fuzz()


def bounded(examine: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    """`examine`, which must take little time and memory as well. The process ends with the one that started it."""
    parent = os.getppid()

    def examined(data: bytes) -> None:
        if os.getppid() != parent:
            os._exit(1)
        memory, highest, began = _memory(), _highest(), time.process_time()
        examine(data)
        seconds = time.process_time() - began
        assert seconds < MOST_SECONDS, f"took {seconds:.1f} s"
        reached = _highest()
        assert reached == highest or reached - memory < MOST_MEMORY, f"took {(reached - memory) / 1e6:.0f} MB"

    return examined


def _memory() -> int:
    """Bytes in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
