"""The verbs: `python -m pipeline VERB …`; without a verb what there is."""

import ast
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

STAGES = ("check", "fetch", "preprocess", "train", "evaluate")
"""What `dvc repro` calls, in this order."""


def main() -> int:
    verbs = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        _print_all("Verbs (each with --help):", [verb for verb in verbs if verb not in STAGES])
        _print_all("Stages, which `dvc repro` calls:", STAGES)
        return 0
    verb, *arguments = sys.argv[1:]
    if verb not in verbs:
        near = difflib.get_close_matches(verb, verbs, n=1)
        advice = f"Did you mean {near[0]}?" if near else "`python -m pipeline` lists them."
        raise UserError(f"{verb}: is no verb. {advice}")
    return _become(verb, arguments)


def _become(verb: str, arguments: Sequence[str]) -> NoReturn:
    """Go on as the verb: from another folder too, and without that folder's files (-P)."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(project.ROOT), os.environ.get("PYTHONPATH"))))
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"pipeline.{verb}", *arguments])  # noqa: S606


def _print_all(title: str, verbs: Iterable[str]) -> None:
    print(title)
    for verb in verbs:
        print(f"  {verb:<15}{_first_sentence(verb)}")


def _first_sentence(verb: str) -> str:
    """What a verb's docstring begins with, read without importing it."""
    module = ast.parse((Path(__file__).parent / f"{verb}.py").read_text("utf-8"))
    text = " ".join((ast.get_docstring(module) or "").split())
    return text.partition(". ")[0].removesuffix(".")


if __name__ == "__main__":
    command.run(main)
