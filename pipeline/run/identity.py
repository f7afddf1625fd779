"""Which run it is: a hash over all that decides its result, its code too, and nothing else."""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import JsonValue

from pipeline.config.schema import Configuration
from pipeline.config.specification import Specification, hashed, specify
from pipeline.run.environment import device, versions
from pipeline.storage import digest, project

DECIDING_CODE = "pipeline/__init__.py", "pipeline/network/*.py", "pipeline/data/prepared.py", "pipeline/data/idx.py"
"""The room that decides a training's result, whole, with the environment and how images are decoded, read and split.
What it takes from other rooms are types, and values that are hashed themselves (tests/test_run_identity.py)."""

SCORING_CODE = (
    "pipeline/run/evaluate_run.py",
    "pipeline/run/metrics.py",
    "pipeline/run/weights.py",
    "pipeline/network/predict.py",
    "pipeline/data/prepared.py",
    "pipeline/data/scoring.py",
)
"""The code that decides which images score which network, and which scores are written."""

IDENTITY_DIGITS = 16

REPRO_STUDY = "dvc repro"
"""The study of the runs that `dvc repro` makes."""


@dataclass(frozen=True)
class Identity:
    """`name` is the hash of `ingredients`."""

    name: str
    ingredients: dict[str, JsonValue]


def identity(configuration: Configuration, data_digest: str) -> Identity:
    """The identity of the run that `configuration` describes on the training images with `data_digest`."""
    specification = specify(configuration)
    ingredients: dict[str, JsonValue] = {
        "data": data_digest,
        **hashed(specification),
        "layers": layer_list(specification),
        "device": device(),
        "code": digest.of_value(dict(deciding_code())),
        "versions": {**versions()},
    }
    return Identity(name_of(ingredients), ingredients)


def name_of(ingredients: Mapping[str, JsonValue]) -> str:
    """The hash of the ingredients. A value that means nothing is done does not count: see `_without_off`."""
    return digest.of_value(_without_off(dict(ingredients)))[:IDENTITY_DIGITS]


def layer_list(specification: Specification) -> list[JsonValue]:
    """The layers in their order, each with the digest of its block's arguments.

    The network is built along this list: a change in the arithmetic that makes it is a change of what is built.
    """
    return [
        [
            layer.name,
            layer.kind,
            list(layer.output),
            None if layer.block is None else digest.of_value(hashed(layer.block))[:IDENTITY_DIGITS],
        ]
        for layer in specification.layers()
    ]


def fingerprint(root: Path, places: Sequence[str]) -> dict[str, str]:
    """Path below `root` → SHA-256 of its syntax tree, for every file that a pattern in `places` names, sorted.

    Docstrings, comments, layout and the words of an exception are no part of it. Raises FileNotFoundError for a
    pattern that names no file: code that was moved away would decide unseen.
    """
    found: dict[str, str] = {}
    for place in places:
        paths = sorted(root.glob(place))
        if not paths:
            raise FileNotFoundError(f"{root / place}: there is no such code")
        for path in paths:
            tree = _Wordless().visit(ast.parse(path.read_bytes()))
            found[path.relative_to(root).as_posix()] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return dict(sorted(found.items()))


class _Wordless(ast.NodeTransformer):
    """Leaves out docstrings, and of `raise Error("…")` what it says: neither can change a weight."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)


def _without_off(value: JsonValue) -> JsonValue:
    """Without the keys whose value is none, 0 or false: a key that comes later, off by default, changes no identity."""
    if not isinstance(value, dict):
        return [_without_off(one) for one in value] if isinstance(value, list) else value
    return {key: _without_off(one) for key, one in value.items() if one and one != "none"}


def scoring_identity(images_digest: str, class_names: Sequence[str]) -> str:
    """Which scoring it is: the images, what their classes are called, and the code that decides what is said."""
    return digest.of_value([images_digest, list(class_names), dict(scoring_code())])


@cache
def scoring_code() -> Mapping[str, str]:
    """The fingerprint of the code that decides which scores are written, read once in a process."""
    return fingerprint(project.ROOT, SCORING_CODE)


@cache
def deciding_code() -> Mapping[str, str]:
    """The fingerprint of the code that decides a training's result, read once in a process."""
    return fingerprint(project.ROOT, DECIDING_CODE)
