"""From the text of a file to a checked configuration."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.layers import layers
from pipeline.config.messages import ConfigurationError, SectionType, refused, validated
from pipeline.config.schema import Configuration
from pipeline.terminal.errors import UserError


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that is no mapping; an empty mapping counts as a value."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value


MOST_BYTES = 200_000
MOST_VALUES = 5_000
DEEPEST = 32
LONGEST = 1000
"""A configuration has 3 kB, some hundred values (a thousand class names at most) of 500 characters, and 7 levels. What
these let through is read in a second.
"""

DISPUTED = re.compile("[\x85\u2028\u2029]")
"""Ends of lines in YAML 1.1, as Hydra reads it, and DVC in C; part of a comment in YAML 1.2."""


class ForbiddenError(UserError):
    """Something that no configuration may do."""


def configure(values: object) -> Configuration:
    """`values` as a configuration whose network can exist.

    Raises ConfigurationError with every key that is wrong in itself, or the first that does not fit the others.
    """
    configuration = validated(Configuration, values)
    layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    height, width, _ = configuration.data.image_shape
    size, most = f"{height} × {width} image", min(height, width) - 1
    for key, harm in ("shift", f"push a {size} out of the picture"), ("erasing", f"leave nothing of a {size}"):
        pixels = getattr(configuration.training.augmentation, key)
        if pixels > most:
            raise refused(f"training.augmentation.{key}", f"{pixels} pixels would {harm}. Use at most {most}.")
    return configuration


def read_params(path: Path) -> Configuration:
    """The configuration that a params.yaml holds.

    Raises UserError for a file that is no YAML, ConfigurationError for one that is no configuration.
    """
    return _checked(path, configure)


def read_section(path: Path, kind: type[SectionType]) -> SectionType:
    """One section of a params.yaml, for what needs no other. Raises UserError for a mistake in it, not for others.

    `dvc exp run -S` leaves what it was refused for in params.yaml.
    """
    name = next(name for name, field in Configuration.model_fields.items() if field.annotation is kind)
    return _checked(
        path, lambda values: validated(kind, values.get(name) if isinstance(values, dict) else values, prefix=name)
    )


def _checked(path: Path, check: Callable[[object], SectionType]) -> SectionType:
    try:
        return check(read_yaml(path))
    except ConfigurationError as error:
        way_back = f"So says {path}. `python -m pipeline.compose` writes it anew from conf/."
        raise ConfigurationError(error.problems, way_back) from None


def read_yaml(path: Path, way: str = "`python -m pipeline.compose` writes params.yaml from conf/.") -> object:
    """A YAML file's values. Raises UserError where there is no file or nothing in it (with the `way` out), no YAML."""
    try:
        values = parsed(read_bytes(path), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. {way}") from None
    if values is None:
        raise UserError(f"{path}: is empty. {way}")
    return values


def read_bytes(path: Path) -> bytes:
    """A file's content, or the beginning of one that is too large for `read_bounded`."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def parsed(text: str | bytes, name: str) -> object:
    """The values of a YAML text, read as DVC reads them (YAML 1.2: `1e-3` is a number, `yes` is text).

    Raises UserError that calls the text `name`.
    """
    yaml = YAML(typ="safe", pure=True)
    return read_bounded(text, name, events=yaml.parse, load=yaml.load)


def read_bounded(
    content: str | bytes, name: str, *, events: Callable[[str], Iterable[Any]], load: Callable[[str], object]
) -> object:
    """What `load` makes of a YAML text whose `events`, by the same reader, are within bounds.

    Raises ForbiddenError for what can't be looked at, UserError for what is no YAML; both call the text `name`.
    """
    text = _as_text(content, name)
    try:
        _check_bounds(events(text), name)
        return load(text)
    except UserError:
        raise
    except Exception as error:  # the readers' own, and all that Python says of a 99th of May or a `!!bool maybe`
        if mark := getattr(error, "problem_mark", None):
            problem = getattr(error, "problem", None) or "is no YAML"
            if "while parsing a flow" in str(getattr(error, "context", "")):
                opened = getattr(error, "context_mark", mark).line + 1
                problem = f"{problem}: a bracket that is opened in line {opened} is not closed"
            raise UserError(f"{name}: line {mark.line + 1}, {problem}. Mend it there.") from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}: is no YAML ({reason}). Mend it there.") from None


def _as_text(content: str | bytes, name: str) -> str:
    """The content as text in which every reader of YAML sees the same lines."""
    if len(content) > MOST_BYTES:
        raise ForbiddenError(f"{name}: is larger than {MOST_BYTES:,} bytes; no configuration is.")
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        raise ForbiddenError(f"{name}: is no YAML (byte {error.start:,} is no UTF-8). Mend it there.") from None
    if odd := DISPUTED.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise ForbiddenError(
            f"{name}: line {line}, holds the character U+{ord(odd[0]):04X}, which ends a line for some readers of YAML "
            "and not for others. Take it out."
        )
    return text


def _check_bounds(events: Iterable[Any], name: str) -> None:
    """Raises ForbiddenError for what would take memory and minutes, before anything is built.

    A few lines of aliases (*name) can stand for a billion values. PyYAML and ruamel.yaml name their events alike.
    """
    depth = values = 0
    for event in events:
        kind = type(event).__name__
        starts = kind in ("MappingStartEvent", "SequenceStartEvent")
        depth += starts - (kind in ("MappingEndEvent", "SequenceEndEvent"))
        values += starts or kind in ("AliasEvent", "ScalarEvent")
        if kind == "AliasEvent":
            problem = f"write the value itself in place of *{event.anchor}"
        elif values > MOST_VALUES:
            problem = f"holds more than {MOST_VALUES:,} values"
        elif depth > DEEPEST:
            problem = f"is more than {DEEPEST} levels deep"
        elif kind == "ScalarEvent" and len(event.value) > LONGEST:
            problem = f"has a value of more than {LONGEST:,} characters"
        else:
            continue
        raise ForbiddenError(f"{name}: line {event.start_mark.line + 1}, {problem}. Mend it there.")
