"""Whether what takes hours was run on the code that is here: the fault campaign and the long tests.

A trial names the commit that it was injected into; `make test-long` ends with a stamp in results/stamps.json. Where
code that they cover does something else since, CI fails, but for the files that stamps.json names under `changed` with
the reason why nothing has to be run again: `python -m faults --check`.
"""

import ast
import json
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from faults import campaign
from faults.campaign import Row, Trial
from pipeline.storage import atomic, project

STAMPS = campaign.RESULTS / "stamps.json"
COVERED = "pipeline", "hydra_plugins", "conf", "dvc.yaml", "requirements/locked.txt"
UNHARMED = "pipeline/figures/", "pipeline/findings/", "pipeline/statistics/"
"""Rooms that compute, draw and word what lies on the disk: no fault of the campaign is injected there."""

SENTENCE = re.compile(r"[a-z,.:;] [a-z]")
SHARE = 10
"""Of each row one trial in so many, and at least one, is injected into the code that is here."""


def stamps() -> dict[str, Any]:
    """`test-long`: the commit and the day of the last run; `changed`: path → why nothing has to be run again."""
    known: dict[str, Any] = json.loads(STAMPS.read_text(encoding="utf-8"))
    return known


def stamp() -> None:
    """Write down that the long tests have passed on the code that is here."""
    now = {"commit": campaign.commit(), "day": datetime.now(UTC).date().isoformat()}
    atomic.write_file(STAMPS, json.dumps(stamps() | {"test-long": now}, indent=1, ensure_ascii=False) + "\n")


def problems(trials: Mapping[Row, list[Trial]]) -> list[str]:
    """What has to be run again, a sentence each, and reasons that have become idle."""
    known = stamps()
    last = known.get("test-long", {"commit": "", "day": "never"})
    said = []
    if (changes := unexplained(last["commit"])) != set():
        since = f"since then {', '.join(sorted(changes))} changed" if changes else "no commit that this clone knows"
        said.append(f"test-long: last run: {last['day']} {last['commit']}, {since}. Run `make test-long`.")
    for row, done in trials.items():
        if (fresh := sum(map(is_fresh, done))) < share(row):
            said.append(
                f"{row.name}: {fresh} trials held in the code that is here, {share(row)} must. "
                f"Run `python -m faults {row.name}`."
            )
    commits = {last["commit"]} | {trial.commit for done in trials.values() for trial in done}
    changed = set().union(*(changed_since(commit) or () for commit in commits))
    idle = [name for name in known["changed"] if name not in changed]
    return said + [f"{name}: has not changed; take it out of {STAMPS.name}" for name in idle]


def share(row: Row) -> int:
    """How many trials of a row must be of the code that is here."""
    return max(1, row.times // SHARE)


def is_fresh(trial: Trial) -> bool:
    """Whether a trial held, in the code that is here."""
    changes = unexplained(trial.commit)
    return trial.held and changes is not None and not [name for name in changes if not name.startswith(UNHARMED)]


def unexplained(commit: str) -> set[str] | None:
    """What has changed since a commit without a reason in stamps.json; None where nobody knows the commit."""
    changes = changed_since(commit)
    return None if changes is None else changes - stamps()["changed"].keys()


@cache
def changed_since(commit: str) -> set[str] | None:
    """The covered files that do something else than at a commit; None for one that this clone does not have.

    What was moved to another file, a sentence in other words, docstrings and comments are no change.
    """
    if _git("cat-file", "-t", commit) is None:
        return None
    names = (_git("diff", "--name-only", "--no-renames", commit, "--", *COVERED) or b"").decode().splitlines()
    before = {name: _parts(name, _git("show", f"{commit}:{name}")) for name in names}
    now = {name: _parts(name, _here(name)) for name in names}
    known, left = set().union(*before.values()), set().union(*now.values())
    return {name for name in names if now[name] - known or before[name] - left}


def _here(name: str) -> bytes | None:
    path = project.ROOT / name
    return path.read_bytes() if path.exists() else None


def _parts(name: str, content: bytes | None) -> set[str | bytes]:
    """What a file consists of: of Python its functions, methods and what else stands beside them, by their syntax."""
    if content is None or not name.endswith(".py"):
        return set() if content is None else {content}
    tree = _Plain().visit(ast.parse(content))
    parts = [part for one in tree.body for part in (one.body if isinstance(one, ast.ClassDef) else [one])]
    return {ast.dump(part) for part in parts}


class _Plain(ast.NodeTransformer):
    """Leaves out what decides nothing: docstrings, sentences for people, and where a name is imported from."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_sentence = isinstance(node.value, str) and SENTENCE.search(node.value) is not None
        return ast.Constant("a sentence") if is_sentence else node

    def visit_Import(self, _node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, _node: ast.ImportFrom) -> None:
        return None


def _git(*words: str) -> bytes | None:
    """What git says; None where it says no."""
    done = subprocess.run(("git", *words), cwd=project.ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
