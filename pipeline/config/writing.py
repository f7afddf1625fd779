"""A choice becomes what the stages read: conf/chosen.yaml and the params.yaml that it composes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.choice import Choice, as_text, composed_with
from pipeline.config.composing import as_params, values
from pipeline.config.difference import differences
from pipeline.config.reading import configured, parsed, read_yaml
from pipeline.config.schema import Configuration
from pipeline.storage import atomic, project
from pipeline.terminal.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """What a choice composes to: the configuration, the text of params.yaml, and how that differs from the present one.

    `changes` are key, present value, new value; `is_new` where there is no params.yaml yet.
    """

    choice: Choice
    configuration: Configuration
    text: str
    changes: tuple[tuple[str, str, str], ...]
    is_new: bool


def outcome(choice: Choice) -> Outcome:
    """Compose and check; nothing is written. Raises UserError."""
    found = composed_with(project.CONF, choice)
    text = as_params(found)
    # As it will be read: YAML has more than one version.
    configuration = configured(parsed(text, "params.yaml"))
    present = _present()
    changes = tuple(differences(present, values(found))) if present else ()
    return Outcome(choice, configuration, text, changes, is_new=not present)


def _present() -> Mapping[str, Any] | None:
    """What params.yaml holds; None where it is missing or torn: that it is written anew is what a person wants."""
    try:
        values = read_yaml(project.PARAMS)
    except UserError:
        return None
    return values if isinstance(values, dict) else None


def write(found: Outcome) -> None:
    """Put both files in place."""
    atomic.write_file(project.CHOSEN, as_text(found.choice))
    atomic.write_file(project.PARAMS, found.text)
