"""SIGKILL in the middle of writing: before a call, or when half of its bytes are on the disk; then the same again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults import stored
from faults.bench import Bench, Benches, bench
from faults.campaign import Injection, Row
from faults.disk import Disk, library, reason_not_to
from faults.reference import litter, results
from faults.writing_states import FOLLOW, SWEEP, make_states, messages, runs, store
from pipeline.run.checkpoint import read_checkpoint
from pipeline.run.record import EVALUATION, TRAINING, read_evaluation, read_training

SETTING = (
    "model=small",
    "training=smoke",
    "training.epochs=2",
    "training.batch_size=64",
    "training.threads=1",
    "model.conv.filters=2",
    "model.head_dropout=0.2",
)
IMPORTS = (
    "hydra",
    "pipeline.config.compose",
    "pipeline.run.train_run",
    "pipeline.run.evaluate_run",
    "pipeline.figures.run_figures",
    "pipeline.tracking.store",
    "pipeline.tracking.mirror",
    "mlflow.keras",
)
STORE = "mlflow.db*", ".mlflow.db*", "mlartifacts*"


@dataclass(frozen=True)
class Case:
    """A verb that starts in `state` and is killed while it writes to `only`; what is then done `again`."""

    verb: tuple[str, ...]
    state: str
    only: tuple[str, ...]
    again: tuple[tuple[str, ...], ...]


TRAIN, EVALUATE, TRACK = ("train",), ("evaluate",), ("track",)
SWEPT = *SWEEP, "seed=1"
CHECKPOINT = (Case(TRAIN, "chosen", ("checkpoints*",), (TRAIN, EVALUATE)),)
RECORD = (
    Case(TRAIN, "trained", ("record*",), (TRAIN, EVALUATE)),
    Case(EVALUATE, "unscored", ("record*",), (EVALUATE,)),
    Case(SWEPT, "chosen", ("runs*", "studies*"), (SWEPT,)),
)
MIRROR = (
    Case(TRACK, "scored", STORE, (TRACK,)),
    Case(FOLLOW, "trained", STORE, (TRAIN, EVALUATE, TRACK)),
    Case(TRACK, "scored", STORE, (TRACK,)),
    Case(TRACK, "no store", STORE, (TRACK,)),
)
BENCHES: dict[Path, Benches] = {}


def prepare(shared: Path, cases: tuple[Case, ...]) -> None:
    """The states from which verbs start, how often each writes, and what an uninterrupted run leaves."""
    mirrored = cases is MIRROR
    setting = (*SETTING, f"tracking={'local' if mirrored else 'off'}")
    for number in range(_jobs(cases)):
        BENCHES.setdefault(shared, Benches()).add(bench(shared / f"bench{number}", library(shared), setting, IMPORTS))
    with BENCHES[shared].one() as first:
        make_states(first, shared, mirrored=mirrored)
        counts = []
        for case in cases:
            first.becomes(shared / case.state)
            disk = _disk(case, first, shared)
            status, output = first.verb(*case.verb, source=messages(first), **disk.counting())
            assert status == 0, output
            counts.append(len(disk.calls()))
    (shared / "counts.json").write_text(json.dumps(counts), encoding="utf-8")


def trial(injection: Injection, cases: tuple[Case, ...], check: Callable[[Path, dict[str, str]], str]) -> str:
    number = injection.number % len(cases)
    case, writes = cases[number], json.loads((injection.shared / "counts.json").read_text(encoding="utf-8"))[number]
    place, action = injection.random.randint(1, writes), injection.random.choice(("kill", "kill_half"))
    with BENCHES[injection.shared].one() as at:
        at.becomes(injection.shared / case.state)
        disk = _disk(case, at, injection.shared)
        status, output = at.verb(*case.verb, source=messages(at), **disk.killing(place, action))
        calls = disk.calls()
        hit = calls[place - 1] if len(calls) >= place else None
        where = f"{hit.call} of {hit.place}" if hit else "which it did not come to"
        injection.says(f"{' '.join(case.verb[:2])} from {case.state}: {action} at writing call {place}, {where}")
        assert status == (-9 if hit else 0), f"status {status}\n{output}"
        found = check(at.path, json.loads((injection.shared / "seeds.json").read_text(encoding="utf-8")))
        for verb in case.again:
            at.done(*verb)
        _check_end(at.path, injection.shared, swept=case.again == (SWEPT,))
        if cases is MIRROR:
            stored.check_repro(store(at.path, injection.folder), at.path)
    return found if hit else "not reached"


def check_checkpoint(path: Path, seeds: dict[str, str]) -> str:
    """The checkpoint is one that was whole, and the growing record too."""
    _check_record(path, seeds)
    epochs = 0
    for work in (path / "checkpoints").glob("*"):
        checkpoint = read_checkpoint(work / "state")
        epochs = 0 if checkpoint is None else len(checkpoint.history)
        if (work / TRAINING).exists():
            assert read_training(work / TRAINING).run.epochs in (epochs, epochs - 1)
    return f"{epochs} epochs kept"


def check_record(path: Path, seeds: dict[str, str]) -> str:
    """Each part under its final name is whole."""
    for part in path.glob("runs/[0-9a-f]*/*"):
        if part.name in (TRAINING, EVALUATION):
            _read(part)
    return _check_record(path, seeds)


def check_mirror(path: Path, seeds: dict[str, str]) -> str:
    """The record is not concerned."""
    _check_record(path, seeds)
    return "the record is whole"


def _check_record(path: Path, seeds: dict[str, str]) -> str:
    found = [seeds[_read(path / "record" / part)] for part in (TRAINING, EVALUATION)]
    return f"{found[0]} training, {found[1]} evaluation"


def _read(part: Path) -> str:
    """The identity of the run whose part it is. Raises UserError where it is not whole."""
    return read_training(part).run.identity if part.name == TRAINING else read_evaluation(part).identity


def _check_end(path: Path, shared: Path, *, swept: bool) -> None:
    """As after an uninterrupted run, and nothing besides."""
    wanted = json.loads((shared / ("runs.json" if swept else "results.json")).read_text(encoding="utf-8"))
    found = runs(path) if swept else results(path)
    assert found == wanted, sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
    assert litter(path) == [], litter(path)
    assert list(path.glob("checkpoints/*/state")) == []


def _disk(case: Case, at: Bench, shared: Path) -> Disk:
    return Disk(library(shared), at.path, case.only, removals=True)


def _jobs(cases: tuple[Case, ...]) -> int:
    # MLflow's store names the folder in which it was made: its states can't be moved to a second project.
    return 1 if cases is MIRROR else 2


def _row(name: str, fault: str, cases: tuple[Case, ...], check: Callable[[Path, dict[str, str]], str]) -> Row:
    return Row(
        name=name,
        fault=fault,
        must_hold="the previous good state is found, nothing half-written under a final name; the same command ends as "
        "if nothing had been" + (", MLflow holds each point once and every file whole" if cases is MIRROR else ""),
        times=50,
        short=len(cases),
        trial=partial(trial, cases=cases, check=check),
        prepare=partial(prepare, cases=cases),
        jobs=_jobs(cases),
        needs=reason_not_to,
    )


KILLED_CHECKPOINT = _row(
    "killed_checkpoint",
    "SIGKILL inside the writing of a checkpoint or the growing record",
    CHECKPOINT,
    check_checkpoint,
)
KILLED_RECORD = _row("killed_record", "SIGKILL inside the writing of a record or a study", RECORD, check_record)
KILLED_MIRROR = _row("killed_mirror", "SIGKILL inside the writing of MLflow's store", MIRROR, check_mirror)
