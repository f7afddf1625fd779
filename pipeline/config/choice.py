"""The choice against the defaults, kept in conf/chosen.yaml so that a later composition does not lose it."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from pipeline.config.composing import COMPOSITION_ERRORS, composed, told
from pipeline.config.forbidden import check_override, loaded
from pipeline.config.keys import leaves
from pipeline.config.overrides import parsed_override
from pipeline.terminal.errors import UserError

HEAD = """\
# @package _global_
# What was chosen against the defaults; written by `python -m pipeline.compose`.
"""


NOTE = "# Note: "


@dataclass(frozen=True)
class Choice:
    """Variants by group (`{model: deep}`) and single values by dotted key (`{training.epochs: 3}`).

    `note` is what must be known about it, on one line: that test images selected it.
    """

    variants: Mapping[str, str]
    values: Mapping[str, Any]
    note: str = ""

    def overrides(self) -> list[str]:
        """The choice as a person would type it, for messages."""
        return [f"{key}={value}" for key, value in {**self.variants, **self.values}.items()]


def read_choice(path: Path) -> Choice:
    """The choice that conf/chosen.yaml holds.

    Raises UserError for a file that is not as `as_text` writes it.
    """
    try:
        plain: Any = loaded(path, str(path))
        note = next((line for line in path.read_text("utf-8").splitlines() if line.startswith(NOTE)), "")
        defaults = plain.pop("defaults")
        variants = {group.removeprefix("override /"): name for entry in defaults for group, name in entry.items()}
    except (UserError, OSError, AttributeError, TypeError, ValueError, KeyError):
        raise UserError(
            f"{path}: is not as compose writes it. `python -m pipeline.compose --reset` writes it anew."
        ) from None
    return Choice(variants, dict(leaves(plain)), note.removeprefix(NOTE))


def chosen(before: Choice, overrides: Sequence[str], groups: Sequence[str]) -> Choice:
    """The choice `before` with `overrides` on top. A variant that is chosen anew drops earlier values of its section.

    Raises UserError for an override that can't be kept: a sweep, a deletion, an element of a list, a bad word.
    """
    variants, values = dict(before.variants), dict(before.values)
    parsed = [_parsed(override) for override in overrides]
    for override in parsed:
        key = override.key_or_group
        if key in groups:
            variants[key] = str(override.value())
            values = {name: value for name, value in values.items() if not name.startswith(f"{key}.")}
    for override in parsed:
        key = override.key_or_group
        if key not in groups:
            values = {name: value for name, value in values.items() if not _overlap(name, key)}
            values |= dict(leaves(_plain(override), key))
    another = any(override.key_or_group == "model" for override in parsed)
    return Choice(variants, values, "" if another else before.note)


def as_text(choice: Choice) -> str:
    """The text of conf/chosen.yaml."""
    kept = OmegaConf.create({"defaults": [{f"override /{group}": name} for group, name in choice.variants.items()]})
    for key, value in choice.values.items():
        OmegaConf.update(kept, key, value, force_add=True)
    note = f"{NOTE}{choice.note}\n" if choice.note else ""
    return HEAD + note + OmegaConf.to_yaml(kept)


def composed_with(conf: Path, choice: Choice) -> DictConfig:
    """What `conf` composes to with `choice` in place of the one it holds; `conf` itself stays as it is.

    Raises UserError.
    """
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder) / "conf"
        shutil.copytree(conf, tried, symlinks=True)  # a link is refused there
        (tried / "chosen.yaml").write_text(as_text(choice), encoding="utf-8")
        return composed(tried)


def _parsed(text: str) -> Override:
    override = parsed_override(text)
    check_override(override)
    if override.is_sweep_override():
        raise UserError(f"{text}: holds several values; compose chooses one. For several use a sweep.")
    if override.is_delete():
        raise UserError(f"{text}: a deletion can't be kept. Set the key to null or to another value.")
    if override.is_hydra_override() or override.package is not None:
        raise UserError(f"{text}: sets Hydra itself, not a key of the configuration. Leave it out.")
    if any(part.isdigit() for part in override.key_or_group.split(".")):
        raise UserError(f"{text}: an element of a list can't be kept. Write the whole list: key=[…].")
    return override


def _plain(override: Override) -> Any:
    try:
        value = OmegaConf.create({"value": override.value()})
        return OmegaConf.to_container(value)["value"]  # type: ignore[index, call-overload]
    except COMPOSITION_ERRORS as error:
        raise UserError(f"{override.input_line}: has a value that can't be kept ({told(error)}).") from None


def _overlap(one: str, other: str) -> bool:
    """Whether one dotted key is the other or lies inside it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
