"""From pydantic's findings to sentences: key, rule, value, what to do."""

import difflib
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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

MOST_MISSING = 3
"""More keys than these that a section lacks are not forgotten one by one: its base was not named."""


def validated(section: type[SectionType], values: object, prefix: str = "") -> SectionType:
    """`values` as a `section`. Raises ConfigurationError that names every key at fault, each below `prefix`."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = [_problem(section, finding, prefix) for finding in error.errors(include_url=False)]
        raise ConfigurationError(list(_summarized(problems))) from None


def _summarized(problems: Sequence[Problem]) -> Iterator[Problem]:
    """The problems, but of a section that lacks many keys one for all of these."""
    lacking: dict[str, list[str]] = {}
    for problem in problems:
        if problem.is_missing:
            lacking.setdefault(problem.key.partition(".")[0], []).append(problem.key)
    for problem in problems:
        name = problem.key.partition(".")[0]
        missing = lacking.get(name, [])
        if not problem.is_missing or len(missing) <= MOST_MISSING:
            yield problem
        elif problem.key == missing[0]:
            way = "A variant begins with `defaults: [article]` and says what differs"
            message = f"lacks {len(missing)} keys, {problem.key} and others. {way}; `python -m pipeline.compose` "
            yield Problem(name, f"{message}writes every key", is_missing=True)


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


def counted(number: int, noun: str, most: int | None = None) -> str:
    """`1 filter`, `2 filters`, `64 of 4,096 filters` where no more than `most` are shown."""
    some = f"{most} of " if most is not None and most < number else ""
    return f"{some}{number:,} {noun}" if number == 1 else f"{some}{number:,} {noun}s"


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
    key = _dotted(prefix, parts) or "configuration"
    match finding["type"]:
        case "extra_forbidden":
            return Problem(key, f"is no key of the configuration. {_nearest(parts, parent, section, prefix)}")
        case "missing":
            way_out = "Write it." if prefix else "`python -m pipeline.compose` writes every key"
            return Problem(key, f"is missing. {way_out}", is_missing=True)
        case "literal_error" | "union_tag_invalid":
            allowed = re.findall("'(.*?)'", context.get("expected") or context["expected_tags"])
            if meant := _meant(_tag(value), allowed):
                return Problem(key, f"{shown(_tag(value))} is not known here. Did you mean {meant}?")
            return Problem(key, f"must be one of {', '.join(allowed)}, not {shown(_tag(value))}.")
        case kind:
            rule = _RULES.get(kind, finding["msg"]).format(**context)
            return Problem(key, f"{rule}, not {shown(value)}.{_way(kind, key, value)}")


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
    "union_tag_not_found": "must be null, a name, or a mapping with a name",
    "too_short": "must have at least {min_length} values",
    "too_long": "must have at most {max_length} values",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} character",
    "string_too_long": "must have at most {max_length} characters",
}

OTHER_NAMES = {
    "avg": "average",
    "swish": "silu",
    "adamw": "adam with training.weight_decay=0.004, which is decoupled as AdamW's",
    "constant": "{name: constant, value: 0.1}",
}
"""What people write for a value that has another name here."""


def _meant(value: object, allowed: Sequence[str]) -> str | None:
    """The allowed value that was meant: by another name, in other letters, or misspelt."""
    if not isinstance(value, str):
        return None
    plain = {re.sub("[^a-z0-9]", "", name.lower()): name for name in allowed}
    word = re.sub("[^a-z0-9]", "", value.lower())
    other = OTHER_NAMES.get(word)
    if other is not None and (other.startswith("{") or other.split()[0] in allowed):
        return other
    close = difflib.get_close_matches(word, plain, n=1, cutoff=0.75)
    return plain[close[0]] if close else None


def _way(kind: str, key: str, value: object) -> str:
    """What to write in place of a value of another form, where that can be told: a sentence after a blank, or none."""
    way = ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "size" if isinstance(value, str) and (numbers := re.findall(r"\d+", value)):
            way = f"Write {numbers[0]}." if len(numbers) == 1 else f"Write [{numbers[0]}, {numbers[1]}]."
        case "list_type" if is_number:
            way = f"Write [{value}]."
        case "int_type" if isinstance(value, list) and len(value) > 1 and key.startswith("model.conv."):
            own, tried = key.replace("model.", "+model.blocks.block2."), ",".join(map(str, value))
            way = f"In block 2 another: {key}={value[0]} {own}={value[1]}; one after another, in a sweep: {key}={tried}"
        case "union_tag_not_found" | "model_attributes_type" if key.endswith("_regularizer"):
            factors = {"l2": value} if is_number else value
            if isinstance(factors, dict) and factors and factors.keys() <= {"l1", "l2"}:
                written = ", ".join(f"{name}: {factor}" for name, factor in sorted(factors.items()))
                way = f"Write {{name: {'_'.join(sorted(factors))}, {written}}}."
        case "less_than" if key == "training.warmup" and isinstance(value, int | float):
            way = f"It is a share of all steps: {value} of {shown(10 * value)} epochs are 0.1."
        case "invalid_key" | "string_type" if key.startswith("model.blocks.") and isinstance(value, int):
            way = f"Write block{value}."
    return f" {way}" if way else ""


def _tag(value: object) -> object:
    """Of a regularizer, constraint or source, the name that says which one it is."""
    if isinstance(value, Mapping):
        return value.get("name", value.get("kind"))
    return value


def nearest_key(section: type[Section], key: str) -> str:
    """The keys of `section` that may be meant by `key`, which it does not have, or those that stand beside it."""
    parts = key.split(".")
    return _nearest(parts, _walk(section, parts)[1], section, prefix="")


def _nearest(parts: Sequence[str], parent: type[Section] | None, section: type[Section], prefix: str) -> str:
    elsewhere = [_dotted(prefix, [key]) for key in keys(section) if key.rpartition(".")[2] == parts[-1]]
    meant = f"Did you mean {' or '.join(elsewhere)}?"
    if len(elsewhere) == 1:
        return meant
    if parent is None:
        return meant if elsewhere else "python -m pipeline.sweep --cfg job shows all keys."
    here = list(parent.model_fields)
    if close := difflib.get_close_matches(parts[-1], here, n=1, cutoff=0.6):
        return f"Did you mean {_dotted(prefix, [*parts[:-1], *close])}?"
    keys_here = f"{f'{meant} ' if elsewhere else ''}Keys here: {', '.join(here)}."
    if "name" in here and (names := _names(parent)):
        # A mapping is merged into the one that it should replace.
        return f"{keys_here} Where it is left of another: {{name: {names[0]}, {parts[-1]}: null}}"
    return keys_here


def _dotted(prefix: str, parts: Sequence[str]) -> str:
    return ".".join([prefix, *parts] if prefix else parts)


def _walk(section: type[Section], location: Sequence[int | str]) -> tuple[list[str], type[Section] | None]:
    """The parts of the key as a person writes it (without pydantic's words), and the section that holds it."""
    parts: list[str] = []
    inside: list[type[Section]] = [section]
    parent: type[Section] | None = section
    is_name = False
    for part in location:
        if part in (*FORMS, "[key]"):
            continue
        if len(inside) > 1 and isinstance(part, str):  # which of a union's
            inside = [one for one in inside if part in _names(one)]
            continue
        parts.append(str(part))
        parent = inside[0] if len(inside) == 1 else None
        if isinstance(part, int) or is_name or parent is None:
            is_name = False
            continue
        field = parent.model_fields.get(part)
        kind = field.annotation if field else None
        # In a mapping the next part is a name that a person gave.
        is_name = typing.get_origin(kind) is dict
        inside = list(_sections(typing.get_args(kind)[1] if is_name else kind))
    return parts, parent


def _names(section: type[Section]) -> tuple[str, ...]:
    """The names by which a union tells the section; none where it is none of a union."""
    fields = section.model_fields
    field = fields.get("name", fields.get("kind"))
    return typing.get_args(field.annotation) if field else ()


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, list):
        for argument in typing.get_args(annotation):
            yield from _sections(argument)
