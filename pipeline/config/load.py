"""From the text of a file to a checked configuration.

Nested values as dotted keys.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, ScalarEvent

from pipeline.config.layers import layers
from pipeline.config.messages import ConfigurationError, SectionType, refused, shown, validated
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


def configured(values: object) -> Configuration:
    """`values` as a configuration whose network can exist.

    Raises ConfigurationError with every key that is wrong in itself, or the first that does not fit the others.
    """
    configuration = validated(Configuration, values)
    layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    height, width, _ = configuration.data.image_shape
    augmentation = configuration.training.augmentation
    for key, pixels, harm in (
        ("shift", augmentation.shift, "push a {} × {} image out of the picture"),
        ("erasing", augmentation.erasing, "leave nothing of a {} × {} image"),
    ):
        if pixels >= min(height, width):
            raise refused(
                f"training.augmentation.{key}",
                f"{shown(pixels)} pixels would {harm.format(height, width)}. Use at most {min(height, width) - 1}.",
            )
    return configuration


def read_params(path: Path) -> Configuration:
    """The configuration that a params.yaml holds.

    Raises UserError for a file that is no YAML, ConfigurationError for one that is no configuration.
    """
    with _in_file(path):
        return configured(read_yaml(path))


def read_section(path: Path, kind: type[SectionType]) -> SectionType:
    """One section of a params.yaml, for what needs no other. Raises UserError for a mistake in it, not for others.

    `dvc exp run -S` leaves what it was refused for in params.yaml.
    """
    name = next(name for name, field in Configuration.model_fields.items() if field.annotation is kind)
    with _in_file(path):
        values = read_yaml(path)
        return validated(kind, values.get(name) if isinstance(values, dict) else values, prefix=name)


@contextmanager
def _in_file(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        way_back = f"So says {path}. `python -m pipeline.compose` writes it anew from conf/."
        raise ConfigurationError(error.problems, way_back) from None


def read_yaml(path: Path) -> object:
    """A YAML file's values. Raises UserError where there is no file or no YAML."""
    try:
        with path.open("rb") as file:
            return parsed(file.read(MOST_BYTES + 1), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. `python -m pipeline.compose` writes params.yaml from conf/.") from None


def parsed(text: str | bytes, name: str) -> object:
    """The values of a YAML text, read as DVC reads them (YAML 1.2: `1e-3` is a number, `yes` is text).

    Raises UserError that calls the text `name`.
    """
    text = as_text(text, name)
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}," if error.problem_mark else ""
        raise UserError(f"{name}:{line} {error.problem or 'is no YAML'}. Mend it there.") from None
    except Exception as error:  # ruamel's own, and all that Python says of a 99th of May or a `!!bool maybe`
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}: is no YAML ({reason}). Mend it there.") from None


def as_text(content: str | bytes, name: str) -> str:
    """A YAML file's content as text in which every reader of YAML sees the same lines. Raises UserError."""
    if len(content) > MOST_BYTES:
        raise UserError(f"{name}: is larger than {MOST_BYTES:,} bytes; no configuration is.")
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is no YAML (byte {error.start:,} is no UTF-8). Mend it there.") from None
    if odd := DISPUTED.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise UserError(
            f"{name}: line {line}, holds the character U+{ord(odd[0]):04X}, which ends a line for some readers of YAML "
            "and not for others. Take it out."
        )
    return text


class _Bounded(Composer):
    """Refuses what would take memory and minutes: a few lines of aliases (*name) can stand for a billion values."""

    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.values += 1
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            problem = f"write the value itself in place of *{event.anchor}"
        elif self.values > MOST_VALUES:
            problem = f"holds more than {MOST_VALUES:,} values"
        elif self.depth >= DEEPEST:
            problem = f"is more than {DEEPEST} levels deep"
        elif isinstance(event, ScalarEvent) and len(event.value) > LONGEST:
            problem = f"has a value of more than {LONGEST:,} characters"
        else:
            return super().compose_node(parent, index)
        raise ComposerError(problem=problem, problem_mark=event.start_mark)
