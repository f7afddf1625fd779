"""Fuzz until each target has had its time: FUZZ_SECONDS of CPU for its present code, 3600 if unset.

What was found to be interesting is kept in .fuzzing/, and the next call goes on from there. A fault stops its target;
its input lies in .fuzzing/TARGET.findings, and `python -m faults.fuzzing --show FILE` does it again.
"""

import argparse
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from faults.fuzzing import sessions
from faults.fuzzing.sessions import NAMES, Session
from pipeline.storage import project
from pipeline.terminal.progress import console

FOLDER = project.ROOT / ".fuzzing"
ENGINE = FOLDER / "venv" / "bin" / "python"
INTERRUPTED = 72
"""The engine's status after a signal to stop."""

SLICE = 300
"""CPU seconds after which what a session came to is kept."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.fuzzing", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{' or '.join(NAMES)}; both when none is named")
    parser.add_argument("--show", type=Path, metavar="FILE", help="examine one input of TARGET")
    options = parser.parse_args()
    names = options.targets or NAMES
    if options.show:
        importlib.import_module(f"faults.fuzzing.{names[0]}").TARGET.examine(options.show.read_bytes())
        return 0
    budget = float(os.environ.get("FUZZ_SECONDS", "3600"))
    interrupted = Event()
    with ThreadPoolExecutor(len(names)) as pool:
        try:
            ended_well = list(pool.map(partial(fuzz, budget=budget, interrupted=interrupted), names))
        except KeyboardInterrupt:
            # What the engines came to is kept.
            interrupted.set()
            ended_well = [False]
    for name in names:
        console.print(f"{name}: {sessions.total(name)}")
    return 0 if all(ended_well) else 1


def fuzz(name: str, budget: float, interrupted: Event) -> bool:
    """Fuzz a target until its present code has had `budget` CPU seconds; False when a fault was found."""
    while (left := budget - sessions.seconds(name)) >= 1 and not interrupted.is_set():
        session = _session(name, min(left, SLICE), interrupted)
        sessions.keep(name, session)
        console.print(
            f"{name}: {session.executions:,} inputs in {session.seconds:.0f} s of CPU, {session.coverage} edges"
        )
        if session.finding:
            console.print(f"{name}: FOUND: {session.finding}")
            return False
    return True


def _session(name: str, seconds: float, interrupted: Event) -> Session:
    corpus, findings, log = (FOLDER / f"{name}.{kind}" for kind in ("corpus", "findings", "log"))
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    code = sessions.code_of(name)
    command = ("nice", "-n", "19", str(ENGINE), "-m", "faults.fuzzing.engine", name, str(corpus), str(findings))
    with log.open("wb") as output:
        engine = subprocess.Popen(command, cwd=project.ROOT, stdout=output, stderr=subprocess.STDOUT)
        usage = _waited(engine, seconds, interrupted)
    said = log.read_text(errors="replace", encoding="utf-8")
    return Session(
        code=code,
        seconds=round(usage, 1),
        executions=_last(r"number_of_executed_units: *(\d+)", said),
        coverage=_last(r"cov: (\d+)", said),
        features=_last(r"ft: (\d+)", said),
        corpus=_last(r"corp: (\d+)", said),
        peak_mb=_last(r"peak_rss_mb: *(\d+)", said),
        finding="" if engine.returncode in (0, INTERRUPTED) else _finding(said),
    )


def _waited(engine: "subprocess.Popen[bytes]", seconds: float, interrupted: Event) -> float:
    """Wait for the engine, told to stop once it has used so many CPU seconds; what it used in the end."""
    while True:
        pid, status, usage = os.wait4(engine.pid, os.WNOHANG)
        if pid:
            engine.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if interrupted.is_set() or _used(engine.pid) >= seconds:
            # Again and again: while it starts it does not listen.
            engine.send_signal(signal.SIGINT)
        time.sleep(1)


def _used(pid: int) -> float:
    """CPU seconds of a process until now (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def _finding(said: str) -> str:
    """The exception and the file that holds the input."""
    error = re.findall(r"^(?:[A-Za-z_.]*(?:Error|Exception|Exit)\b.*|==\d+== ERROR.*)$", said, flags=re.MULTILINE)
    file = re.findall(r"Test unit written to .*?([^/\s]+)$", said, flags=re.MULTILINE)
    return ", ".join([*error[:1], *file[-1:]]) or said.strip()[-300:] or "the engine said nothing"


if __name__ == "__main__":
    sys.exit(main())
