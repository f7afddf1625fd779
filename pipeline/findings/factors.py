"""What the settings of a comparison differ in: its factors, their levels, and a label for each setting."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from pipeline.statistics.factors import Level
from pipeline.studies.study_summary import (
    NOT_SET,
    argument_in_words,
    differing,
    one_line,
    short_names,
    shown,
    title,
)

Values = Mapping[str, JsonValue]
"""A setting: dotted keys and their values."""


@dataclass(frozen=True)
class Factor:
    """A swept argument: its dotted `keys` (several where they always change together) and its `levels` in order."""

    name: str
    keys: tuple[str, ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Grid:
    """`factors`, the one that changes slowest first; by setting its `levels` (one a factor), `labels` for people.

    `order` are the numbers of the settings, sorted by the levels: the rows of tables and pictures.
    """

    factors: tuple[Factor, ...]
    levels: tuple[tuple[Level, ...], ...]
    labels: tuple[str, ...]
    order: tuple[int, ...]


def grid(settings: Sequence[Values]) -> Grid:
    """The grid of `settings`, which are in the order in which they were declared."""
    keys = differing(settings)
    columns = {key: _column([values.get(key, NOT_SET) for values in settings]) for key in keys}
    groups = sorted(_together(columns), key=lambda group: _changes(columns[group[0]]))
    names = short_names(keys)
    factors, levels = [], []
    for group in groups:
        column = columns[group[0]]
        if len(group) > 1:
            cells = zip(*(columns[key] for key in group), strict=True)
            column = [" & ".join(shown_level(level) for level in cell if level != NOT_SET) for cell in cells]
        factors.append(Factor(" & ".join(one_line(names[key]) for key in group), tuple(group), _in_order(column)))
        levels.append(column)
    laid = tuple(zip(*levels, strict=True)) if levels else ((),) * len(settings)
    places = [tuple(factor.levels.index(level) for factor, level in zip(factors, cell, strict=True)) for cell in laid]
    ordered = [key for group in groups for key in group]
    return Grid(
        factors=tuple(factors),
        levels=laid,
        labels=tuple(title(values, {key: names[key] for key in ordered}) for values in settings),
        order=tuple(sorted(range(len(settings)), key=lambda number: places[number])),
    )


def shown_level(level: Level) -> str:
    """A level as a person would type it, on one line."""
    return one_line(shown(list(level) if isinstance(level, tuple) else level))


def cell_label(factors: Sequence[Factor], cell: Sequence[Level]) -> str:
    """What a setting at these levels, one a factor, is called: `5 × 5 kernels, 64 filters`."""
    values: list[Any] = [list(level) if isinstance(level, tuple) else level for level in cell]
    return ", ".join(
        argument_in_words(factor.keys[0] if len(factor.keys) == 1 else "", factor.name, value)
        for factor, value in zip(factors, values, strict=True)
    )


def _column(values: Sequence[JsonValue]) -> list[Level]:
    """The levels of one key; as text where two that differ would count as equal (1 and true)."""
    levels = [_level(value) for value in values]
    texts = [json.dumps(value) for value in values]
    return levels if len(set(levels)) == len(set(texts)) else list(texts)


def _level(value: Any) -> Level:
    if isinstance(value, list) and all(type(one) is int for one in value):
        return tuple(value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _together(columns: Mapping[str, Sequence[Level]]) -> list[list[str]]:
    """Keys in groups: those of a group always change together, and so are one factor."""
    groups: list[list[str]] = []
    for key, column in columns.items():
        for group in groups:
            pairs = set(zip(columns[group[0]], column, strict=True))
            if len(pairs) == len(set(column)) == len(set(columns[group[0]])):
                group.append(key)
                break
        else:
            groups.append([key])
    return groups


def _changes(column: Sequence[Level]) -> int:
    return sum(before != after for before, after in itertools.pairwise(column))


def _in_order(column: Sequence[Level]) -> tuple[Level, ...]:
    """Each level once: numbers by size, others as they were declared."""
    levels = tuple(dict.fromkeys(column))
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    return tuple(sorted(numbers)) if len(numbers) == len(levels) else levels
