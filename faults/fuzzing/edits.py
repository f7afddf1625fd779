"""A valid configuration, edited as bytes say."""

import copy
import operator
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from typing import Any

from faults.fuzzing.target import Choices
from pipeline.config.load import read_yaml
from pipeline.config.messages import keys
from pipeline.config.schema import Configuration
from pipeline.storage import project

Place = tuple[str | int, ...]

NAMED: list[Any] = [
    None,
    "l2",
    "UnitNorm",
    {"name": "l1_l2", "l1": 0.1},
    {"name": "MaxNorm", "axis": [0, 1, 2]},
    {"name": "MinMaxNorm", "min_value": 0.5, "rate": 1.0},
    {"name": "MinMaxNorm", "min_value": 2.0, "max_value": 1.0},
    {"name": "MaxNorm", "axis": [0, 0]},
    "NonNeg",
    "RadialConstraint",
]
"""Regularizers and constraints."""


@cache
def valid() -> Any:
    return read_yaml(project.PARAMS)


def edited(choices: Choices) -> Any:
    """A valid configuration after one to four edits."""
    values = copy.deepcopy(valid())
    for _ in range(1 + choices.number(4)):
        *section, key = choices.of(list(places(values)))
        _edit(_found(values, section), key, choices, values)
    return values


def _edit(level: Any, key: str | int, choices: Choices, values: Any) -> None:
    match choices.number(16):
        case 0:
            del level[key]
        case 1 if isinstance(level, dict):
            level[choices.of(names())] = _value(choices, values)
        case 2 if isinstance(level[key], dict):
            level[key][choices.of(names())] = _value(choices, values)
        case 3 if isinstance(level[key], list):
            level[key].append(_value(choices, values))
        case 4 if isinstance(level, dict):
            level[choices.text()] = level.pop(key)
        case 5 | 6:
            level[key] = _value(choices, values)
        case _:
            level[key] = _like(level[key], choices)


def _like(present: Any, choices: Choices) -> Any:  # noqa: PLR0911, a list of kinds
    """Another value of the same kind, so that most edits are accepted, or refused by what they mean."""
    match present:
        case bool():
            return not present
        case int():
            small = [choices.number(7), choices.number(7)]
            return choices.of([small[0], small[0] + 1, choices.number(70), small, 8 * small[0]])
        case float():
            return choices.number(1001) / 1000
        case str():
            return choices.of([word for words in _enums() if present in words for word in words] or ["x"])
        case None:
            return choices.of(NAMED)
        case dict():
            return {f"block{1 + choices.number(3)}": _block(choices) for _ in range(choices.number(3))}
        case _:
            return [_like(0, choices) for _ in range(choices.number(4))]


def _block(choices: Choices) -> dict[str, Any]:
    """What differs in a block."""
    model = valid()["model"]
    argument = choices.of(list(model["conv"]))
    own = choices.of(["pooling", "pool_size", "dropout", "batch_normalization"])
    changes = {"conv": {argument: _like(model["conv"][argument], choices)}, own: _like(model[own], choices)}
    return {key: changes[key] for key in choices.of([("conv",), (own,), ("conv", own)])}


def _value(choices: Choices, values: Any, deep: int = 0) -> Any:  # noqa: PLR0911, a list of kinds
    """A constant, a small number, a text, a part of the configuration, or a few of these."""
    match choices.number(8):
        case 0:
            return choices.number(70)
        case 1:
            return choices.number(1001) / 1000
        case 2:
            return choices.text()
        case 3:
            return copy.deepcopy(_found(values, choices.of(list(places(values)))))
        case 4 if deep < 3:
            return [_value(choices, values, deep + 1) for _ in range(choices.number(5))]
        case 5 if deep < 3:
            return {choices.of(names()): _value(choices, values, deep + 1) for _ in range(choices.number(5))}
        case _:
            return copy.deepcopy(choices.of(constants()))


def _found(values: Any, path: Sequence[str | int]) -> Any:
    return reduce(operator.getitem, path, values)


def places(values: Any, before: Place = ()) -> Iterator[Place]:
    """Where something lies, from the outside in."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inner:
        yield (*before, key)
        yield from places(value, (*before, key))


@cache
def names() -> list[str]:
    """Every key there is, those of a block, and some that are none."""
    known = {part for key in keys(Configuration) for part in key.split(".")} | set(_of_schema("properties"))
    return [*sorted(known), "block1", "block2", "block3", "block64", "block0", "block01", "", "a.b", "\n", "_target_"]


@cache
def constants() -> list[Any]:
    """Every word and bound of the schema, what lies beside it, and values that break programs."""
    numbers = [0, 1, 3, 5, 28, 29]
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"):
        for found in _of_schema(bound):
            numbers += [found - 1, found, found + 1]
    words = [word for found in _of_schema("enum") for word in found] + _of_schema("const")
    odd: list[Any] = [
        None,
        True,
        False,
        "",
        "3",
        "x" * 600,
        "\ud800",
        "\x00",
        "é\u202e",
        [],
        {},
        [3, 5],
        [5, 5],
        [0, 1, 2],
        [1],
    ]
    large = [2**31, 2**63, 2**64, 10**30, 1e308, -1e308, 5e-324, -0.0, float("inf"), float("nan"), 16**900]
    return [*sorted(set(numbers)), *sorted(set(words)), *odd, *large]


@cache
def _enums() -> list[list[str]]:
    """The words that may stand for each other."""
    return [found for found in _of_schema("enum") if all(isinstance(word, str) for word in found)]


def _of_schema(word: str) -> list[Any]:
    """What stands under a word of JSON Schema, anywhere in that of the configuration."""
    found: list[Any] = []
    waiting: list[Any] = [Configuration.model_json_schema()]
    while waiting:
        level = waiting.pop()
        if isinstance(level, dict):
            if word in level:
                found += [level[word]] if not isinstance(level[word], dict) else list(level[word])
            waiting += level.values()
        elif isinstance(level, list):
            waiting += level
    return found
