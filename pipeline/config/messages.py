"""From pydantic's findings to sentences: key, rule, value, what to do."""

import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.schema import FORMS, Section
from pipeline.terminal.errors import UserError

LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """`is_missing`: nothing is wrong with a value, there is none."""

    key: str
    message: str
    is_missing: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class ConfigurationError(UserError):
    """One or more keys whose values can't be accepted; `way_back` is a sentence about where they stand."""

    def __init__(self, problems: Sequence[Problem], way_back: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n       ".join([*map(str, problems), *([way_back] if way_back else [])]))


def refused(key: str, message: str) -> ConfigurationError:
    """The error for a single key."""
    return ConfigurationError([Problem(key, message)])


SectionType = TypeVar("SectionType", bound=Section)


def validated(section: type[SectionType], values: object, prefix: str = "") -> SectionType:
    """`values` as a `section`.

    Raises ConfigurationError that names every key at fault, each below `prefix`.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        raise ConfigurationError([_problem(section, finding, prefix) for finding in findings]) from None


def shown(value: object) -> str:
    """A value as a person would write it in YAML, on one line, not too long, control characters escaped."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):
        # YAML can make what JSON can't: a key that is a date, a list inside itself.
        text = str(value)
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def keys(section: type[Section]) -> list[str]:
    """Every key of a section and of the sections inside it, dotted; not those that only one of several kinds has."""
    return [key for key, _ in defaults(section)]


def defaults(section: type[Section], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key as in `keys`, and its value where it is missing (PydanticUndefined where it must not be)."""
    for name, field in section.model_fields.items():
        yield prefix + name, field.default
        inner = list(_sections(field.annotation))
        if len(inner) == 1:
            yield from defaults(inner[0], f"{prefix}{name}.")


def _problem(section: type[Section], finding: ErrorDetails, prefix: str) -> Problem:
    context = finding.get("ctx", {})
    parts, parent = _walk(section, finding["loc"])
    value = context.get("value", finding["input"])
    if "at" in context:
        parts = [*parts, *context["at"].split(".")]
    key = ".".join([prefix, *parts] if prefix else parts) or "configuration"
    match finding["type"]:
        case "extra_forbidden":
            return Problem(key, f"is no key of the configuration. {_nearest(parts, parent, section, prefix)}")
        case "missing":
            return Problem(key, "is missing. `python -m pipeline.compose` writes every key", is_missing=True)
        case "literal_error" | "union_tag_invalid":
            allowed = context.get("expected") or context["expected_tags"]
            return Problem(key, f"must be one of {allowed.replace(' or ', ', ')}, not {shown(_tag(value))}.")
        case "union_tag_not_found":
            return Problem(key, f"must be null, a name, or a mapping with a name, not {shown(value)}.")
        case kind:
            return Problem(key, f"{_RULES.get(kind, finding['msg']).format(**context)}, not {shown(value)}.")


_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "invalid_key": "as a key must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} values",
    "too_long": "must have at most {max_length} values",
    "string_pattern_mismatch": "must match {pattern}",
}


def _tag(value: object) -> object:
    """Of a regularizer, constraint or source, the name that says which one it is."""
    if isinstance(value, Mapping):
        return value.get("name", value.get("kind"))
    return value


def _nearest(parts: Sequence[str], parent: type[Section] | None, section: type[Section], prefix: str) -> str:
    here = list(parent.model_fields) if parent else []
    before = ".".join(filter(None, [prefix, *parts[:-1]]))
    elsewhere = [key for key in keys(section) if key.rpartition(".")[2] == parts[-1]]
    if len(elsewhere) == 1:
        return f"Did you mean {'.'.join(filter(None, [prefix, elsewhere[0]]))}?"
    if close := difflib.get_close_matches(parts[-1], here, n=1, cutoff=0.6):
        return f"Did you mean {before}.{close[0]}?" if before else f"Did you mean {close[0]}?"
    keys_here = f"Keys here: {', '.join(here)}."
    if parent is not None and "name" in here and typing.get_origin(parent.model_fields["name"].annotation) is Literal:
        # A mapping is merged into the one that it should replace.
        return f"{keys_here} Where it is left of another: {parts[-1]}: null"
    return keys_here


def _walk(section: type[Section], location: Sequence[int | str]) -> tuple[list[str], type[Section] | None]:
    """The parts of the key as a person writes it (without pydantic's union tags), and the section that holds it."""
    parts: list[str] = []
    current: type[Section] | None = section
    parent: type[Section] | None = section
    choices: list[type[Section]] = []
    for part in location:
        if part in FORMS:
            continue
        if choices and isinstance(part, str):
            # A union's tag, which is no part of the key.
            current = next((choice for choice in choices if _is_tagged(choice, part)), None)
            choices = []
            continue
        if part == "[key]":
            # pydantic's word for a mapping's key that is wrong in itself: the part before it.
            continue
        parts.append(str(part))
        parent = current
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        inner = list(_sections(field.annotation)) if field else []
        choices = inner if len(inner) > 1 else []
        current = inner[0] if len(inner) == 1 else None
    return parts, parent


def _is_tagged(section: type[Section], tag: str) -> bool:
    fields = section.model_fields
    discriminator = fields["name"] if "name" in fields else fields["kind"]
    return tag in typing.get_args(discriminator.annotation)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a field's type is made of."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and origin is None and issubclass(annotation, Section):
        yield annotation
    elif origin in (typing.Union, types.UnionType, typing.Annotated, list):
        for argument in typing.get_args(annotation):
            yield from _sections(argument)
