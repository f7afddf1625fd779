"""What no composition may do, typed or in a file of conf/: read the machine, steer Hydra, grow without end.

Hydra makes objects, folders and processes from its own section, and reads the environment where `${oc.env:…}` says so.
conf/config.yaml and conf/sweep.yaml belong to the code; all else in conf/ is looked at before Hydra sees it. A key that
no configuration has is refused when the values are validated.
"""

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, ValueType
from omegaconf import OmegaConf

from pipeline.config.load import DEEPEST, DISPUTED, ForbiddenError, leaves, read_bounded, read_bytes
from pipeline.config.messages import keys
from pipeline.config.schema import Configuration, hide_secret
from pipeline.terminal.errors import UserError

MOST_RUNS = 10_000
"""Runs of one sweep: each is composed, checked and kept in memory before the first starts."""

SPLIT = "data.validation_images", "data.split_seed"
"""What of the images may differ between the runs of a sweep."""

PREPARED_ONCE = (
    "all runs of a sweep train on the images that are prepared. Choose one with compose, run `dvc repro preprocess`, "
    f"then sweep. {' and '.join(SPLIT)} can be swept."
)

SIZES = "kernel_size", "strides", "dilation_rate", "pool_size", "pool_strides"

OWN = "config.yaml", "sweep.yaml"

HYDRA = re.compile(r"hydra(?=$|[./@=])")
TAKEN = re.compile(r"hydra/launcher|hydra\.launcher\.[a-z][a-z_]*(\.[a-z][a-z_]*)*|hydra\.verbose")
"""What of Hydra may be set: which launcher, and its arguments."""

STEERING = re.compile(r"@|(^|[\s/.])hydra([\s/]|$)|(^|[\s/])\.\.([\s/]|$)")
"""In a defaults list: a package, a group of Hydra's, a way out of conf/."""

CODE = re.compile(r"(^|\.)_(target|partial|args|convert|recursive)_(\.|$)")
"""In a key: Hydra would call what `_target_` names."""


def parse_override(text: str) -> Override:
    """One override as Hydra reads it. Raises UserError."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Bytes that the locale's encoding does not know; no file could hold them as text.
        raise UserError(f"{text}: is no text in this locale. Write UTF-8, and set LC_ALL=C.UTF-8 or PYTHONUTF8=1.")
    # Of many open brackets Hydra's parser makes seconds, and all of Python's stack.
    if max(itertools.accumulate((mark in "[{(") - (mark in "]})") for mark in text), default=0) > DEEPEST:
        raise UserError(f"{text[:40]}…: holds brackets in brackets more than {DEEPEST} deep; no value is.")
    try:
        override = OverridesParser.create().parse_override(text)
    except Exception as error:  # Hydra's parser raises several kinds
        reason = str(error).splitlines()[0]
        raise UserError(_meant(text) or f"{text}: is no override ({reason}). Write key=value.") from None
    value = override.value()
    if isinstance(value, RangeSweep) and value.step == 0:
        raise UserError(f"{text}: is a range whose step is 0. Leave the step out, or use another.")
    return override


def _meant(text: str) -> str | None:
    """What is said of a word that Hydra's grammar does not take, where that can be told."""
    key, _, value = text.partition("=")
    key = _whole_key(key)
    if "://" in value:
        return (
            f"{hide_secret(text)}: is no override. An address holds no name, no password and nothing after a ? or #; "
            f"what Hydra's grammar does not know needs quotes within quotes: \"{key}='http://…'\""
        )
    numbers = re.findall(r"[\d.]+", value)
    size = f"{key}=[{','.join(numbers)}]"
    if re.fullmatch(r"\([^()]*\)", value) and numbers:
        return f"{text}: is no override. Write {size}."
    if value.count("[") > value.count("]"):
        example = size if len(numbers) > 1 else f"{key}=[3,3]"
        return f"{text}: is no override: a bracket is not closed. Write it without blanks, or in quotes: '{example}'"
    return None


def option_instead(option: str, words: Sequence[str]) -> str | None:
    """What is said of `--epochs 3` among `words`; None for an option that names no key."""
    name, _, value = option.lstrip("-").replace("-", "_").partition("=")
    if not _keys_ending_in(name):
        return None
    following = [*words[words.index(option) + 1 :], "…"][0]
    return f"{option}: is no option. A value is set without dashes: {_whole_key(name)}={value or following}"


def _keys_ending_in(typed: str) -> list[str]:
    return [key for key in keys(Configuration) if f".{key}".endswith(f".{typed}")]


def _whole_key(typed: str) -> str:
    """The key of the configuration that `typed` is the end of, where there is one; else what was typed."""
    ending = _keys_ending_in(typed)
    return ending[0] if len(ending) == 1 else typed


def check_override(override: Override) -> None:
    """Raises ForbiddenError for what an override may not set, UserError for a mapping that would change nothing."""
    key, text = override.key_or_group, str(override.input_line)
    if odd := DISPUTED.search(text):
        raise ForbiddenError(
            f"{key}: holds the character U+{ord(odd[0]):04X}, which ends a line for some readers of YAML. Take it out."
        )
    if override.package is not None or (HYDRA.match(key) and not TAKEN.fullmatch(key)):
        raise ForbiddenError(f"{text}: sets Hydra itself, not a key of the configuration. Leave it out.")
    value = override.value()
    for one in value.list if isinstance(value, ChoiceSweep) else [value]:
        for name, inner in leaves(one, key):
            if inner == {}:
                merged = "changes nothing: a mapping is merged into what is there."
                raise UserError(f"{name}: {{}} {merged} {name}=null takes that away.")
        refuse_code(one, key)
        if "." not in key and ".." in str(one).split("/"):
            raise ForbiddenError(f"{key}: must name a variant in conf/{key}, not {one}.")
    refuse_code(text, key)


def check_swept(overrides: Sequence[Override]) -> None:
    """Raises UserError for a key that a sweep can't vary, and for one that would have no value."""
    for override in overrides:
        if not override.is_sweep_override():
            continue
        key = override.key_or_group
        section = key.partition(".")[0]
        if section in ("study", "tracking"):
            raise UserError(f"{key}: is the same for all runs of a sweep; only what is trained can be swept.")
        if section == "data" and key not in SPLIT:
            raise UserError(f"{key}: can't be swept: {PREPARED_ONCE}")
        _check_values(override)


def check_once(overrides: Sequence[Override]) -> None:
    """Raises UserError where a key is swept and set once more: Hydra would take the last and drop the others."""
    keys = [override.key_or_group for override in overrides]
    for override in overrides:
        if override.is_sweep_override() and keys.count(override.key_or_group) > 1:
            raise UserError(f"{override.key_or_group}: is set more than once. Name all its values in one: key=1,2,3.")


def check_folder(conf: Path) -> None:
    """Raises ForbiddenError for a file of conf/ that does more than state values, UserError for one that is no YAML.

    Every file is looked at, as Hydra would load it: which of them it will is known only when it has.
    """
    if (conf / "hydra").exists():
        raise ForbiddenError(f"{conf / 'hydra'}: sets Hydra itself; conf/ holds no such group. Take it out.")
    broken: UserError | None = None
    for path in sorted(conf.rglob("*")):
        name = f"{conf.name}/{path.relative_to(conf)}"
        if path.is_symlink():  # which Hydra follows, out of the project too
            raise ForbiddenError(f"{name}: is a link; conf/ holds its files itself. Put a copy there.")
        if not path.name.endswith(".yaml") or not path.is_file():
            continue
        try:
            _check_file(read_bytes(path), name, is_own=path.parent == conf and path.name in OWN)
        except ForbiddenError:
            raise
        except UserError as error:
            # Hydra can't load it either; what it can load may still hold what is worse.
            broken = broken or error
    if broken is not None:
        raise broken


def load_file(path: Path, name: str) -> Any:
    """The very values that Hydra loads from a file of conf/, references as they stand.

    Another reader may take for a comment what is none for Hydra's (PyYAML). Raises ForbiddenError for what can't be
    looked at, UserError for what is no YAML; both call the file `name`.
    """
    return _loaded(read_bytes(path), name)


def _loaded(content: bytes, name: str) -> Any:
    return read_bounded(
        content,
        name,
        events=lambda text: yaml.parse(text, Loader=yaml.SafeLoader),
        load=lambda text: OmegaConf.to_container(OmegaConf.load(io.StringIO(text))),
    )


def refuse_code(value: Any, key: str = "") -> None:
    """Raises ForbiddenError where a value reads more of the machine than other keys, or names code."""
    for name, text in _texts(value, key):
        rest = text
        # References may stand inside each other; what is left over is none.
        while (fewer := re.sub(r"\$\{[^${}:]*\}", "", rest)) != rest:
            rest = fewer
        if machine := re.search(r"\$\{[^}:]*:?", rest):
            raise ForbiddenError(
                f"{name}: may refer to other keys only, not {machine.group()}…}}. Write the value itself."
            )
        if CODE.search(name):
            raise ForbiddenError(f"{name}: names code; a configuration holds values only. Leave it out.")


@lru_cache(maxsize=256)
def _check_file(content: bytes, name: str, *, is_own: bool) -> None:
    """What `check_folder` raises for one file; what passed once passes at once, as long as no byte of it is another.

    Where it is not the code's own, ForbiddenError for a package or a defaults list that reaches Hydra or out of conf/,
    and for a value that would.
    """
    plain = _loaded(content, name)
    if is_own:
        return
    values: Mapping[str, Any] = plain if isinstance(plain, Mapping) else {}
    words = [line.strip() for line in content.decode().splitlines() if re.match(r"\s*#.*@.*hydra", line)]
    defaults = _texts(values.get("defaults"), "defaults")
    words += [f"{key}: {text}" for key, text in defaults if STEERING.search(f"{key} {text}")]
    if words:
        raise ForbiddenError(f"{name}: {words[0]} sets Hydra itself or a package, or leads out of conf/. Leave it out.")
    swept: object = None
    match values.get("hydra"):
        case None:
            pass
        case {"sweeper": {"params": swept, **more}, **others} if not (more or others):
            pass
        case _:
            raise ForbiddenError(f"{name}: hydra: may hold sweeper.params only, what a study sweeps.")
    try:
        for key, value in swept.items() if isinstance(swept, Mapping) else ():
            check_override(parse_override(f"{key}={value}"))
        refuse_code(plain)
    except UserError as error:
        raise ForbiddenError(f"{name}: {error}") from None


def _check_values(override: Override) -> None:
    value, text = override.value(), override.input_line
    if isinstance(value, IntervalSweep) and not (value.start or 0) < (value.end or 0):
        raise UserError(f"{text}: is an empty interval. Write the lower end first.")
    if isinstance(value, ChoiceSweep) and override.key_or_group.rpartition(".")[2] in SIZES:
        texts = [str(one) for one in value.list]
        if twice := next((one for one in texts if texts.count(one) > 1), None):
            raise UserError(f"{text}: names {twice} twice. {as_size(override)}")
    if isinstance(value, RangeSweep) and next(iter(value.range()), None) is None:
        raise UserError(f"{text}: is an empty range: there is nothing to run. range(3) is 0, 1, 2.")
    # Which variants there are is known once Hydra has read conf/.
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP and override.config_loader is not None:
        names = override.config_loader.get_group_options(override.key_or_group)
        if not names:
            raise UserError(f"{text}: {override.key_or_group} has no variants that glob could match. Name the values.")
        if not list(override.sweep_string_iterator()):
            raise UserError(f"{text}: matches no variant. There are: {', '.join(names)}.")


def as_size(override: Override) -> str:
    """How to write a height and a width, for someone who wrote `3,3`; nothing for what is no size."""
    key, value = override.key_or_group, override.value()
    if key.rpartition(".")[2] not in SIZES or not isinstance(value, ChoiceSweep) or len(value.list) != 2:
        return ""
    return f"For height × width write {_whole_key(key)}=[{value.list[0]},{value.list[1]}]."


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Dotted key and text of all that `value` holds, keys included."""
    if isinstance(value, Mapping | list):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)
