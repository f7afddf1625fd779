"""One room decides a result and counts whole: what is edited in it runs again, and nothing outside of it decides."""

import ast
import compileall
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import pytest

from pipeline.check import fingerprints
from pipeline.config.specification import Specification
from pipeline.run.identity import DECIDING_CODE, SCORING_CODE, deciding_code, identity
from pipeline.storage import digest, project
from pipeline.storage.digest import as_json
from tests.harness.mutations import IN_THE_ROOM, OUTSIDE, Mutation, planted
from tests.harness.settings import article

HASHES = """
import json
from pipeline.check import fingerprints
from pipeline.config.load import read_params
from pipeline.run.identity import identity, scoring_identity
from pipeline.storage import project

configuration = read_params(project.PARAMS)
found = dict(fingerprints(configuration))
found["identity"] = identity(configuration, "d" * 64).name
found["scoring"] = scoring_identity("i", ["a"])
print(json.dumps(found), flush=True)
"""
AGAIN = """
import os, sys
import pipeline.check

for name in [name for name in sys.modules if name.partition(".")[0] == "pipeline"]:
    del sys.modules[name]
for line in sys.stdin:
    if os.fork() == 0:
        exec(sys.argv[1], {})
        os._exit(0)
    if os.wait()[1] != 0:
        break
"""
"""For each line that comes in, `HASHES` in a process that has imported nothing of the project, and all else."""

OUTWARD = {
    # Types, and values that are hashed as ingredients: what is built, not how it is written.
    "pipeline.config.layers": {"Layer", "layers"},
    "pipeline.config.schema": {
        "Augmentation",
        "Data",
        "Block",
        "Constraint",
        "Initializer",
        "Kind",
        "Model",
        "Network",
        "Regularizer",
        "Training",
    },
    "pipeline.config.specification": {"specification_of"},
    # What a summary says of images: others than it names are refused, and their digest is hashed.
    "pipeline.data.summary": {"REPAIR", "SUMMARY", "Summary", "load_summary"},
    "pipeline.storage": {"digest"},
    # A type, and the bytes whose digest is hashed.
    "pipeline.storage.arrays": {"Arrays", "as_npy"},
    # Words.
    "pipeline.config.messages": {"shown"},
    "pipeline.terminal.errors": {"UserError"},
}
WORDS = "pipeline.terminal.errors"
"""All that the deciding code takes from other rooms. A new name here needs a reason why it decides nothing unhashed."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(project.ROOT / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project.ROOT / "params.yaml", root)
    # By content: an edit within a second, of the same length, would not be seen by time and size.
    compileall.compile_dir(root, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return root


@pytest.fixture(scope="module")
def hashes(copy: Path) -> Iterator[Callable[[], dict[str, object]]]:
    """What a process in `copy` computes: the fingerprints of the stages, the identity of a run, that of its scoring."""
    environment = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", AGAIN, HASHES]
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def ask() -> dict[str, object]:
            asked.write("\n")
            found: dict[str, object] = json.loads(answers.readline())
            return found

        yield ask
        asked.close()


@pytest.fixture(scope="module")
def before(hashes: Callable[[], dict[str, object]]) -> dict[str, object]:
    return hashes()


@pytest.mark.parametrize("mutation", [*IN_THE_ROOM, *OUTSIDE], ids=lambda mutation: mutation.title)
def test_an_edit_moves_the_hashes_of_what_it_decides_and_no_others(
    copy: Path, hashes: Callable[[], dict[str, object]], before: dict[str, object], mutation: Mutation
) -> None:
    with planted(copy, mutation):
        after = hashes()
    assert {name for name, found in after.items() if found != before[name]} == mutation.moves


@pytest.mark.parametrize("changes", [{}, {"seed": 1}, {"model.conv.use_bias": False}, {"data.validation_images": 60}])
def test_train_depends_on_all_that_decides_an_identity_beside_the_images(changes: dict[str, object]) -> None:
    configuration = article(changes)
    ingredients = identity(configuration, "d" * 64).ingredients
    train: dict[str, Any] = json.loads(as_json(fingerprints(configuration)["train"]))
    assert train["built"] == {name: ingredients[name] for name in (*Specification.model_fields, "layers")}
    assert digest.of_value(train["code"]) == ingredients["code"]
    assert ingredients.keys() - {"data", "code", *train["built"]} <= train.keys()


def modules() -> Iterator[tuple[str, ast.Module]]:
    for place in DECIDING_CODE:
        for path in project.ROOT.glob(place):
            yield (
                path.relative_to(project.ROOT).with_suffix("").as_posix().replace("/", "."),
                ast.parse(path.read_text("utf-8")),
            )


def test_the_deciding_code_takes_from_other_rooms_only_what_is_hashed_or_words() -> None:
    own = {name.removesuffix(".__init__") for name, _ in modules()}
    taken: dict[str, set[str]] = {}
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                # It says what is missing, in a Python without our packages.
                assert {one.name for one in node.names if one.name.startswith("pipeline")} <= {WORDS}
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("pipeline"):
                for alias in node.names:
                    if node.module not in own and f"{node.module}.{alias.name}" not in own:
                        taken.setdefault(node.module, set()).add(alias.name)
    assert taken == OUTWARD


def test_every_file_of_the_room_counts() -> None:
    assert set(deciding_code()) == {
        *(path.relative_to(project.ROOT).as_posix() for path in (project.ROOT / "pipeline/network").glob("**/*.py")),
        "pipeline/__init__.py",
        "pipeline/data/idx.py",
        "pipeline/data/prepared.py",
    }
    assert all(list(project.ROOT.glob(place)) for place in SCORING_CODE)
