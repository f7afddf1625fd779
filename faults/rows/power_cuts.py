"""Power cuts at every write: what was not synced is lost, cut off or out of order; then the same command again."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import power, stored
from faults.bench import Bench, bench
from faults.campaign import Injection, Row
from faults.disk import UNFINISHED, reason_not_to
from faults.power import KINDS, Act, Journal, Tree
from faults.reference import PATIENCE, litter, results
from faults.rows.killed_writing import IMPORTS, SETTING
from faults.writing_states import runs
from pipeline.storage import digest

STUDY = "power"
SWEEP = "sweep", "-m", "hydra/launcher=basic", f"study.name={STUDY}", "data.validation_images=100"
REPRO = ("repair",), ("dvc", "repro"), ("summary",)
"""What `make repro` does."""

UNTOUCHED = ".git", ".venv", ".tools", "pipeline", "hydra_plugins", "requirements", "Makefile"
"""Of the project's folder: code, which nothing here writes."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "ours": ("data/", "record/", "checkpoints/", "runs/", "studies/", "reports/", "fingerprints/", "conf/", "params"),
    "DVC's": (".dvc/", "dvc.lock", ".gitignore"),
    "MLflow's": ("mlflow.db", ".mlflow.db", "mlartifacts"),
}
TURNS = "ours", "MLflow's", "ours", "DVC's", "ours"
"""Whose writes a trial cuts, in turn, where the command has such writes."""

BOOT = ".dvc/tmp/boot"
"""Where pipeline.repair keeps which start of the machine it has seen."""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """Commands that the power cut hits; they are run again, and `found` must be what it is without a cut.

    `before` are the commands that lead to their start from what the first case leaves, `track` brings MLflow up.
    """

    commands: tuple[Command, ...]
    found: Callable[[Path], dict[str, str]]
    track: Command = ("track",)
    before: tuple[Command, ...] = ()
    edits: tuple[tuple[str, object], ...] = ()
    store: bool = True


@dataclass(frozen=True)
class Recorded:
    """What was there before a case's commands, what they did, and what they and MLflow then hold."""

    start: Tree
    acts: list[Act]
    found: dict[str, str]
    held: list[dict[str, Any]]


def _reports(path: Path) -> dict[str, str]:
    return digest.of_folder(path / "reports")


FIRST = "first repro"
SWEPT = *SWEEP, "seed=range(2)"
CASES: dict[str, Case] = {
    FIRST: Case(REPRO, results),
    "sweep": Case(((*SWEEP, "seed=range(3)"),), runs, ("track", STUDY), before=(SWEPT,)),
    "second repro": Case(REPRO, results, edits=(("seed", 1),)),
    "track": Case((("track",),), results, store=False),
    "compare": Case((("compare", STUDY),), _reports, ("track", STUDY), before=(SWEPT,)),
}
BENCHES: dict[Path, Bench] = {}
LEFT: dict[Path, Tree] = {}
RECORDED: dict[tuple[Path, str], Recorded] = {}


def prepare(shared: Path) -> None:
    """A project, and the first case in it."""
    at = BENCHES[shared] = bench(shared / "project", power.library(shared), (*SETTING, "tracking=local"), IMPORTS)
    at.project.patience = PATIENCE
    _record(at, shared, FIRST)
    LEFT[shared] = power.read_tree(at.path, UNTOUCHED)


def _recorded(at: Bench, shared: Path, name: str) -> Recorded:
    """A case without a cut, done when it is first asked for."""
    if (shared, name) not in RECORDED:
        case = CASES[name]
        power.write_tree(LEFT[shared], at.path, UNTOUCHED)
        at.project.edit_params(dict(case.edits))
        for command in case.before:
            at.done(*command)
        if not case.store:
            _remove_store(at.path)
        _record(at, shared, name)
    return RECORDED[shared, name]


def _record(at: Bench, shared: Path, name: str) -> None:
    case, start = CASES[name], power.read_tree(at.path, UNTOUCHED)
    journal = Journal(power.library(shared), at.path)
    for status, output in _ran(at, case.commands, **journal.writing()):
        assert status == 0, output
    acts, end = power.acts(start, power.changes(journal.file))
    _assert_whole(end, power.read_tree(at.path, UNTOUCHED))
    found = case.found(at.path)
    assert found
    at.done(*case.track)
    RECORDED[shared, name] = Recorded(start, acts, found, stored.held(at.path))


def _assert_whole(journaled: Tree, now: Tree) -> None:
    """Nothing was written past the journal."""
    one, other = (
        {path: bytes(node.data) for path, node in tree.files() if not path.startswith(".git")}
        for tree in (journaled, now)
    )
    assert one == other, sorted(path for path in one | other if one.get(path) != other.get(path))


def trial(injection: Injection) -> str:
    name, kind = list(CASES)[injection.number % len(CASES)], KINDS[injection.number // len(CASES) % len(KINDS)]
    case, at = CASES[name], BENCHES[injection.shared]
    recorded = _recorded(at, injection.shared, name)
    # Also when all has been said to be done.
    ended = injection.number % 7 == 6
    cut = (
        len(recorded.acts)
        if ended
        else _place(injection, recorded.acts, TURNS[injection.number // len(CASES) % len(TURNS)])
    )
    change = recorded.acts[cut - 1].change
    place = UNFINISHED.sub(r"\1\2", change.path)
    injection.says(
        f"{name}: cut after change {cut} of {len(recorded.acts)}, {change.operation.name} of {place}; {kind}"
    )
    left = power.after_a_cut(recorded.start, recorded.acts[:cut], kind, injection.random)
    power.write_tree(left, at.path, UNTOUCHED)
    # The machine was started again.
    (at.path / BOOT).unlink(missing_ok=True)
    said = _ran(at, case.commands)
    outcome = "the same command"
    if said[-1][0] != 0 or case.found(at.path) != recorded.found:
        outcome = "what verify names, then the same command"
        _as_told(injection, at, said, case.commands)
    found = case.found(at.path)
    assert found == recorded.found, _difference(found, recorded.found)
    assert litter(at.path) == [], litter(at.path)
    at.done(*case.track)
    held = stored.held(at.path)
    assert held == recorded.held, stored.told_apart(held, recorded.held)
    return f"{name}: {outcome}"


def _place(injection: Injection, acts: list[Act], family: str) -> int:
    """After how many changes the power is cut: the last of them is one of a family's."""
    everyone = [(number, act.change.path) for number, act in enumerate(acts, 1)]
    places = [number for number, path in everyone if path.startswith(FAMILIES[family])]
    known = tuple(start for starts in FAMILIES.values() for start in starts)
    return injection.random.choice(places or [number for number, path in everyone if path.startswith(known)])


def _ran(at: Bench, commands: tuple[Command, ...], **variables: str) -> list[tuple[int, str]]:
    """Status and output of each command, up to the first that fails."""
    found = []
    variables |= {"TMPDIR": str(at.path / "temporary"), "DVC_SITE_CACHE_DIR": str(at.path / ".dvc" / "tmp" / "site")}
    (at.path / "temporary").mkdir(exist_ok=True)
    for command in commands:
        found.append(_dvc(at, command, variables) if command[0] == "dvc" else at.verb(*command, **variables))
        if found[-1][0] != 0:
            break
    return found


def _dvc(at: Bench, command: Command, variables: dict[str, str]) -> tuple[int, str]:
    output = at.project.run("sh", "-c", f'{shlex.join(command)}; echo "left with $?"', status=0, **variables)
    output, _, status = output.rstrip().rpartition("left with ")
    return int(status), output


def _as_told(injection: Injection, at: Bench, said: list[tuple[int, str]], commands: tuple[Command, ...]) -> None:
    """Do what `verify` names, and the commands once more."""
    status, verified = at.verb("verify")
    damages = [line for line in verified.splitlines() if line.startswith("damaged: ")]
    assert status == 1, f"{said[-1][1]}\nand verify names nothing"
    assert damages, verified
    injection.says(f"verify: {damages[0].replace(str(at.path), '<project>')} ({len(damages)} in all)")
    stages: dict[str, None] = {}
    for line in damages:
        path = Path(line.removeprefix("damaged: ").partition(": ")[0])
        if "Remove it" in line:
            path.unlink(missing_ok=True)
        elif "Move it away" in line:
            _remove_store(at.path)
        elif "dvc repro --force " in line:
            stages[line.partition("dvc repro --force ")[2].partition("`")[0]] = None
        else:
            assert "sweep" in line or "make repro" in line, line
    for stage in stages:
        assert _dvc(at, ("dvc", "repro", "--force", stage), {})[0] == 0
    again = _ran(at, commands)
    assert again[-1][0] == 0, f"{said[-1][1]}\n{verified}\n{again[-1][1]}"


def _remove_store(path: Path) -> None:
    shutil.rmtree(path / "mlartifacts", ignore_errors=True)
    for file in path.glob("mlflow.db*"):
        file.unlink()


def _difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    return f"other than without a cut: {sorted(n for n in found | wanted if found.get(n) != wanted.get(n))}"


ROW = Row(
    name="power_cuts",
    fault="the power is cut at a write of `make repro`, a sweep, `compare` or `track`, of ours, DVC's or MLflow's: "
    "what was not synced is lost, cut off, zeros or there, names in order or not (the model: faults/power.py)",
    must_hold="records, runs and reports end in the same bytes after the same command, or after what `verify` names; "
    "MLflow holds the same runs, each value and file once",
    times=300,
    short=2,
    trial=trial,
    prepare=prepare,
    jobs=1,
    needs=reason_not_to,
)
