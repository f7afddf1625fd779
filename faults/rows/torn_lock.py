"""DVC's own weak moment: dvc.lock and its list of locks are written in place, so that a kill leaves a part of them."""

from pathlib import Path

from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, made, results
from tests.harness.project import stages_run

COMMAND = "make", "repro"
LOCKFILE = "dvc.lock"
LOCKS = ".dvc/tmp/rwlock"


def prepare(shared: Path) -> None:
    made(shared / "whole", *QUICK, "tracking=off").run(*COMMAND)


def trial(injection: Injection) -> str:
    project = copied(injection.shared / "whole", injection.folder / "project")
    name = injection.random.choice((LOCKFILE, LOCKFILE, LOCKFILE, LOCKS))
    path = project.path / name
    content = (
        (injection.shared / "whole" / LOCKFILE).read_text(encoding="utf-8")
        if name == LOCKFILE
        else '{"read": {}, "write": {}}'
    )
    # The first moment of a rewriting leaves nothing at all.
    length = injection.random.choice((0, injection.random.randrange(1, len(content))))
    injection.says(f"{name} cut off after {length} of {len(content)} characters")
    path.write_text(content[:length], encoding="utf-8")
    again = project.run(*COMMAND)
    assert results(project.path) == results(injection.shared / "whole")
    assert "train" not in stages_run(again), "trained again"
    if name == LOCKFILE:
        assert path.read_text(encoding="utf-8") == content
    return "repaired, told" if "torn by a kill" in again else "DVC went on by itself"


ROW = Row(
    name="torn_lock",
    fault="dvc.lock, or DVC's list of locks, cut off somewhere, as a kill leaves it while DVC rewrites it in place",
    must_hold="`make repro` mends it and says so; nothing is trained again; the same dvc.lock comes back",
    times=40,
    short=1,
    trial=trial,
    prepare=prepare,
)
