"""An allocation is refused in a training, a sweep and its workers, or the mirror; then the same command again."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults import stored, sweeps
from faults.bench import Bench, bench
from faults.campaign import Injection, Row
from faults.memory import Memory, library, reason_not_to
from faults.reference import litter, results
from faults.rows.killed_writing import IMPORTS, SETTING
from faults.writing_states import runs, store
from pipeline.run.record import EVALUATION, TRAINING, read_evaluation, read_training

STUDY = "memory"
SWEEP = "sweep", "-m", f"study.name={STUDY}", "data.validation_images=100", "seed=range(2)"
ABORTED = {-signal.SIGABRT: "SIGABRT", -signal.SIGSEGV: "SIGSEGV", -signal.SIGBUS: "SIGBUS", -signal.SIGILL: "SIGILL"}
"""How a library written in C++ ends a process that gets no memory; nothing of ours is asked."""

LONGEST = 300.0
"""Seconds after which a command is taken to hang."""


@dataclass(frozen=True)
class Case:
    """A verb that starts in `state`; what is then done `again` leaves what `found` finds without a fault."""

    verb: tuple[str, ...]
    state: str
    again: tuple[tuple[str, ...], ...]
    found: Callable[[Path], dict[str, str]]
    swept: bool = False


CASES = {
    "train": Case(("train",), "prepared", (("train",), ("evaluate",), ("track",)), results),
    "sweep": Case(SWEEP, "prepared", (SWEEP, ("track", STUDY)), runs, swept=True),
    "mirror": Case(("track",), "scored", (("track",),), results),
}
TURNS = "train", "sweep", "mirror", "train", "sweep"
BENCHES: dict[Path, Bench] = {}


def prepare(shared: Path) -> None:
    """The states from which verbs start, how often each allocates, and what it leaves."""
    at = BENCHES[shared] = bench(shared / "bench", library(shared), (*SETTING, "tracking=local"), IMPORTS)
    for verb in ("fetch", "preprocess"):
        at.done(verb)
    at.keep(shared / "prepared")
    counts = {}
    for name, case in CASES.items():
        at.becomes(shared / case.state)
        memory = Memory(library(shared), at.path)
        status, said = _ran(at, case.verb, memory.counting())
        assert status == 0, said
        counts[name] = memory.count()
        if name == "train":
            at.done("evaluate")
            _remove_store(at.path)
            at.keep(shared / "scored")
        (shared / f"{name}.json").write_text(json.dumps(case.found(at.path)), "utf-8")
    (shared / "counts.json").write_text(json.dumps(counts), "utf-8")


def trial(injection: Injection) -> str:
    name = TURNS[injection.number % len(TURNS)]
    case, at = CASES[name], BENCHES[injection.shared]
    count = json.loads((injection.shared / "counts.json").read_text("utf-8"))[name]
    place, lasting = injection.random.randint(1, count), injection.random.random() < 0.5
    at.becomes(injection.shared / case.state)
    memory = Memory(library(injection.shared), at.path)
    status, said = _ran(at, case.verb, memory.refusing(place, lasting=lasting))
    refused = memory.refused()
    size = "which it did not come to" if refused is None else f"{refused:,} bytes"
    injection.says(f"{name}: allocation {place} refused{', and all later ones' if lasting else ''}, {size}")
    outcome = _outcome(status, said)
    _check_parts(at.path)
    for part in (sweeps.FORKED, "mirror_worker"):
        sweeps.assert_leave(at.project, part)
    for verb in case.again:
        at.done(*verb)
    wanted, found = json.loads((injection.shared / f"{name}.json").read_text("utf-8")), case.found(at.path)
    assert found == wanted, sorted(file for file in found | wanted if found.get(file) != wanted.get(file))
    assert litter(at.path) == [], litter(at.path)
    check = partial(stored.check_sweep, study=STUDY) if case.swept else stored.check_repro
    check(store(at.path, injection.folder), at.path)
    return f"{name}: {outcome}"


def _outcome(status: int, said: str) -> str:
    """In a few words how a command ended. Raises AssertionError where a person is not told."""
    if any(f"Python runtime state: {state}initialized" in said for state in ("pre", "core ")):
        return "Python itself did not start"
    assert "Traceback" not in said, said
    if status == 0:
        return "told, its result is whole" if "tracking: " in said else "went on"
    if status in ABORTED:
        return f"{ABORTED[status]} by a library"
    assert status == 1, f"status {status}\n{said}"
    assert "error: " in said or "failed" in said, said
    return "a failed run" if "error: " not in said else "told"


def _check_parts(path: Path) -> None:
    """Each part under its final name is whole."""
    for part in (*path.glob("record/*"), *path.glob("runs/[0-9a-f]*/*")):
        if part.name == TRAINING:
            read_training(part)
        elif part.name == EVALUATION:
            read_evaluation(part)


def _ran(at: Bench, verb: tuple[str, ...], variables: dict[str, str]) -> tuple[int, str]:
    """Status and output of a verb in a process of its own: its imports need memory too."""
    process = at.project.start("python", "-m", f"pipeline.{verb[0]}", *verb[1:], **variables)
    try:
        said = process.communicate(timeout=LONGEST)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"{verb}: hung\n{process.communicate()[0][-2000:]}") from None
    return process.returncode, said


def _remove_store(path: Path) -> None:
    shutil.rmtree(path / "mlartifacts", ignore_errors=True)
    for file in path.glob("mlflow.db*"):
        file.unlink()


ROW = Row(
    name="refused_memory",
    fault="an allocation of 16 KiB or more is refused at a random moment of a training, a sweep with its workers, or "
    "the mirror: once, or all from there on, in all processes",
    must_hold="a sentence, a run that is `failed`, or the end of the process by a library that gets no memory; no "
    "traceback, nothing torn; the same command ends in the same bytes, and MLflow holds each value and file once",
    times=200,
    short=2,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=reason_not_to,
)
