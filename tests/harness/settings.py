"""The article's configuration, as the defaults of conf/ compose it, with changes."""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from pipeline.config.compose import Choice, compose_with, values
from pipeline.config.load import configure
from pipeline.config.schema import Configuration
from pipeline.storage import project


def article_values(changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Plain values; `changes` are by dotted key, numbers reach into lists: `{"data.image_shape.0": 12}`."""
    changed = copy.deepcopy(_article())
    for key, value in (changes or {}).items():
        put(changed, key, value)
    return changed


def article(changes: Mapping[str, object] | None = None) -> Configuration:
    """The checked configuration."""
    return configure(article_values(changes))


def put(values: Any, key: str, value: object) -> None:
    """Set what lies at the dotted key; mappings on the way are made."""
    *way, last = key.split(".")
    for part in way:
        values = values[int(part)] if isinstance(values, list) else values.setdefault(part, {})
    values[int(last) if isinstance(values, list) else last] = value


def taken(values: Any, key: str) -> Any:
    """What lies at the dotted key."""
    for part in key.split("."):
        values = values[int(part)] if isinstance(values, list) else values[part]
    return values


@cache
def _article() -> dict[str, Any]:
    return values(compose_with(project.CONF, Choice({}, {})))
