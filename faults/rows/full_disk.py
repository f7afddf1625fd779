"""Every write of the project's own writers fails, once and for good; then there is room again."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.bench import Bench, Benches, bench
from faults.campaign import Injection, Row
from faults.disk import Call, Disk, library, reason_not_to
from faults.reference import litter
from pipeline.run.checkpoint import read_checkpoint
from pipeline.run.record import CLOCK
from pipeline.storage import digest
from pipeline.storage.digest import unsealed

SETTING = (
    "model=small",
    "training=smoke",
    "training.epochs=1",
    "training.batch_size=128",
    "training.threads=1",
    "model.conv.filters=2",
    "tracking=off",
)
IMPORTS = (
    "hydra",
    "pipeline.config.compose",
    "pipeline.run.train_run",
    "pipeline.run.evaluate_run",
    "pipeline.figures.run_figures",
)
SWEEP = "sweep", "-m", "hydra/launcher=basic", "study.name=disk", "data.validation_images=100"
CLOCKED = "study.json", "state"
WHOLE = "data/raw", "data/prepared", "record/training", "record/evaluation"
"""Folders that are replaced as a whole."""

JOBS = 2


@dataclass(frozen=True)
class Case:
    """A verb, run in the state `state`; what it writes to `only` fails, from the first call on a path with `after`."""

    name: str
    verb: tuple[str, ...]
    state: str
    only: tuple[str, ...]
    after: str = ""


CASES = (
    Case("check", ("check",), "changed", ("fingerprints*", ".stage.lock")),
    Case("fetch", ("fetch",), "whole", ("data*",)),
    Case("preprocess", ("preprocess",), "whole", ("data*",)),
    Case("compose", ("compose", "training.epochs=2"), "whole", ("conf/*", "*params.yaml*")),
    Case("train", ("train",), "trained", ("record*", "checkpoints*")),
    Case("epoch", ("train",), "changed", ("checkpoints*",), after="/state"),
    Case("evaluate", ("evaluate",), "unscored", ("record*",)),
    Case("sweep", (*SWEEP, "seed=2"), "swept", ("runs*", "studies*")),
)
BENCHES: dict[Path, Benches] = {}


def prepare(shared: Path) -> None:
    """The states from which verbs start, what each writes, and what it leaves when nothing fails."""
    shared_library = library(shared)
    for number in range(JOBS):
        BENCHES.setdefault(shared, Benches()).add(bench(shared / f"bench{number}", shared_library, SETTING, IMPORTS))
    with BENCHES[shared].one() as first:
        _make_states(first, shared)
        plan = [asdict(found) | {"case": case.name} for case in CASES for found in _counted(first, case, shared)]
    (shared / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert len(plan) <= ROW.times, f"{len(plan)} writes: the row's `times` must be as many"


def _make_states(at: Bench, shared: Path) -> None:
    """`whole`: all done for seed 0. `changed`: seed 1 is chosen. `trained`: its epochs are done, its record is not."""
    for verb in (("check",), ("fetch",), ("preprocess",), ("train",), ("evaluate",), (*SWEEP, "seed=0")):
        at.done(*verb)
    at.keep(shared / "whole")
    at.project.edit_params({"seed": 1})
    (at.path / "fingerprints" / "train.json").write_text("{}\n", encoding="utf-8")
    at.keep(shared / "changed")
    at.done("train")
    at.keep(shared / "unscored")
    checkpoint = shared / "unscored" / "checkpoints"
    at.becomes(shared / "changed")
    _copy(checkpoint, at.path / "checkpoints")
    at.keep(shared / "trained")
    at.becomes(shared / "whole")
    at.done(*SWEEP, "seed=1")
    at.keep(shared / "swept")


def _counted(at: Bench, case: Case, shared: Path) -> list[Call]:
    """The writing calls of a case; keeps what it leaves."""
    at.becomes(shared / case.state)
    disk = Disk(library(shared), at.path, case.only)
    status, output = at.verb(*case.verb, **disk.counting())
    assert status == 0, output
    (shared / f"{case.name}.json").write_text(json.dumps(_files(at.path)), encoding="utf-8")
    calls = disk.calls()
    first = next(number for number, call in enumerate(calls) if case.after in call.path)
    return calls[first:]


def trial(injection: Injection) -> str:
    plan = json.loads((injection.shared / "plan.json").read_text(encoding="utf-8"))
    if injection.number >= len(plan):
        return "no such write"
    entry = plan[injection.number]
    name = entry.pop("case")
    case, call = next(case for case in CASES if case.name == name), Call(**entry)
    errors = ["ENOSPC", "EIO"] if injection.number % 2 else ["EIO", "ENOSPC"]
    injection.says(
        f"{case.name}: call {call.number}, {call.call} of {call.place}: {errors[0]} once, {errors[1]} for good"
    )
    with BENCHES[injection.shared].one() as at:
        disk = Disk(library(injection.shared), at.path, case.only)
        final = json.loads((injection.shared / f"{case.name}.json").read_text(encoding="utf-8"))
        told = []
        for error, lasting in zip(errors, (False, True), strict=True):
            at.becomes(injection.shared / case.state)
            before = _files(at.path)
            status, output = at.verb(*case.verb, **disk.failing(call.number, error, lasting=lasting))
            _check_told(status, output, at.path, disk.calls()[call.number - 1 :])
            _check_files(at.path, before, final, ended=status == 0)
            told.append(status != 0)
        at.done(*case.verb)
        _check_files(at.path, {}, final, ended=True)
    return f"{case.name}: {'told' if all(told) else 'told once it lasts' if any(told) else 'done all the same'}"


PARTIAL = re.compile(r"\.([^/]+)\.[0-9a-f]+\.partial")


def _check_told(status: int, output: str, root: Path, hit: list[Call]) -> None:
    """A failure names the path that was hit first, or a folder in which it lies.

    Where that was the end of a lock, which may go wrong, the next.
    """
    assert "Traceback" not in output, output
    if status == 0:
        return
    assert status == 1, f"status {status}\n{output}"
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    named = line.removeprefix("error: ").removeprefix(f"{root}/").partition(":")[0]
    # What is being written lies beside its place, which is what a person is told.
    written = (PARTIAL.sub(r"\1", call.place) for call in (hit if hit[0].call == "close" else hit[:1]))
    places = set(written)
    assert any(place.startswith(named) or named.startswith(place) for place in places), f"{line}\nin place of {places}"


def _check_files(root: Path, before: dict[str, str], final: dict[str, str], *, ended: bool) -> None:
    """Each file holds what it held or what it shall hold; folders as a whole; nothing is half-written."""
    assert litter(root) == [], litter(root)
    now = _files(root)
    for name in before.keys() & final.keys() - now.keys():
        raise AssertionError(f"{name} is gone")
    for name, found in now.items():
        wanted = {final.get(name)} if ended else {final.get(name), before.get(name)}
        assert found in wanted or name.startswith("checkpoints/"), f"{name} is neither the old nor the new"
    if ended:
        assert not final.keys() - now.keys(), f"missing: {sorted(final.keys() - now.keys())}"
    for folder in WHOLE:
        names = [name for name in now if name.startswith(f"{folder}/")]
        olds, news = (all(now[name] == state.get(name) for name in names) for state in (before, final))
        assert olds or news, f"{folder} is half old, half new"


def _files(root: Path) -> dict[str, str]:
    """Path → digest of each result; of what a clock decides only that it is whole."""
    found = {}
    for part in ("data", "record", "checkpoints", "runs", "studies", "fingerprints", "conf"):
        for name, sha256 in digest.of_folder(root / part).items():
            path = root / part / name
            if path.name in ("lock", ".lock") or path.suffix == ".lock" or ".hydra" in path.parts:
                continue
            found[f"{part}/{name}"] = _is_whole(path) if path.name in CLOCKED or CLOCK in path.parts else sha256
    return found | {"params.yaml": digest.of_file(root / "params.yaml")}


def _is_whole(path: Path) -> str:
    if path.name == "state":
        read_checkpoint(path)
    else:
        unsealed(path.read_text(encoding="utf-8"))
    return "whole"


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and path.name != "lock":
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


ROW = Row(
    name="full_disk",
    fault="a write of the project's own writers fails with ENOSPC or EIO, half done: once, and from there on for good",
    must_hold="non-zero exit, the path named, no earlier file harmed; a rerun with room leaves what is right",
    times=332,
    short=3,
    trial=trial,
    prepare=prepare,
    jobs=JOBS,
    needs=reason_not_to,
)
