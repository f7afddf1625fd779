"""What no composition may do, wherever it comes from: read the machine, steer Hydra, grow without end.

Hydra makes objects, folders and processes from its own section, and reads the environment where `${oc.env:…}` says so.
conf/config.yaml and conf/sweep.yaml belong to the code; all else in conf/ is looked at before Hydra sees it.
"""

import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

from pipeline.config.load import DEEPEST, DISPUTED, LONGEST, MOST_BYTES, MOST_VALUES, as_text
from pipeline.config.overrides import parsed_override
from pipeline.terminal.errors import UserError

MOST_RUNS = 10_000
"""Runs of one sweep: each is composed, checked and kept in memory before the first starts."""

OWN = "config.yaml", "sweep.yaml"

HYDRA = re.compile(r"hydra(?=$|[./@=])")
TAKEN = re.compile(r"hydra/launcher|hydra\.launcher\.[a-z][a-z_]*(\.[a-z][a-z_]*)*|hydra\.verbose")
"""What of Hydra may be set: which launcher, and its arguments."""


class ForbiddenError(UserError):
    """Something that no configuration may do."""


def refuse_resolvers(value: Any, key: str = "") -> None:
    """Keys may refer to each other; a configuration does not read the environment or anything else of the machine."""
    for name, text in _texts(value, key):
        _refuse_resolver(name, text)


def check_override(override: Override) -> None:
    """Raises ForbiddenError for what an override may not set."""
    key, text = override.key_or_group, str(override.input_line)
    if odd := DISPUTED.search(text):
        raise ForbiddenError(
            f"{key}: holds the character U+{ord(odd[0]):04X}, which ends a line for some readers of YAML. Take it out."
        )
    if override.package is not None or (HYDRA.match(key) and not TAKEN.fullmatch(key)):
        raise ForbiddenError(f"{text}: sets Hydra itself, not a key of the configuration. Leave it out.")
    value = override.value()
    for one in value.list if isinstance(value, ChoiceSweep) else [value]:
        _refuse_empty(one, key)
        for name, found in _texts(one, key):
            _refuse_resolver(name, found)
            _refuse_target(name)
            if "." not in key and _leads_out(found):
                raise ForbiddenError(f"{key}: must name a variant in conf/{key}, not {found}.")
    _refuse_resolver(key, text)


def check_size(overrides: Sequence[Override]) -> None:
    """Raises UserError where a sweep has more runs than it can hold."""
    runs = 1
    for override in overrides:
        runs *= _length(override.value())
    if runs > MOST_RUNS:
        raise UserError(f"this sweep has {runs:,} runs; a sweep has at most {MOST_RUNS:,}. Split it.")


def check_folder(conf: Path) -> None:
    """Raises ForbiddenError for a file of conf/ that does more than state values, UserError for one that is no YAML.

    Every file is looked at, as Hydra would load it: which of them it will is known only when it has.
    """
    if (conf / "hydra").exists():
        raise ForbiddenError(f"{conf / 'hydra'}: sets Hydra itself; conf/ holds no such group. Take it out.")
    broken: UserError | None = None
    for path in _files(conf):
        name = f"{conf.name}/{path.relative_to(conf)}"
        try:
            found = loaded(path, name)
        except ForbiddenError:
            raise
        except UserError as error:
            # Hydra can't load it either; what it can load may still hold what is worse.
            broken = broken or error
            continue
        if path.parent != conf or path.name not in OWN:
            _check_file(name, found)
            _check_head(name, path)
    if broken is not None:
        raise broken


def loaded(path: Path, name: str) -> Any:
    """The very values that Hydra loads from a file of conf/, references as they stand.

    Another reader may take for a comment what is none for Hydra's (PyYAML). Raises ForbiddenError for what can't be
    looked at, UserError for what is no YAML; both call the file `name`.
    """
    text = _text(path, name)
    try:
        _check_bounds(text, name)
        return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{name}:{_line(error.problem_mark)} {error.problem or 'is no YAML'}. Mend it there.") from None
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, AttributeError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{name}: is no YAML that Hydra reads ({reason}). Mend it there.") from None


def declared_sweep(conf: Path, study: str) -> list[Override]:
    """The overrides that a file in conf/study sweeps."""
    path = conf / "study" / f"{study}.yaml"
    found = loaded(path, path.name) if path.is_file() else None
    hydra = found.get("hydra") if isinstance(found, Mapping) else None
    return list(_params(hydra)) if isinstance(hydra, Mapping) else []


def _files(conf: Path) -> Iterator[Path]:
    """Every file of conf/ that Hydra could load. Links are refused: Hydra follows them, out of the project too."""
    for folder, folders, names in os.walk(conf):
        folders.sort()
        for path in (Path(folder) / name for name in sorted([*folders, *names])):
            if path.is_symlink():
                name = f"{conf.name}/{path.relative_to(conf)}"
                raise ForbiddenError(f"{name}: is a link; conf/ holds its files itself. Put a copy there.")
            if path.name.endswith(".yaml") and path.is_file():
                yield path


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return as_text(file.read(MOST_BYTES + 1), name)
    except UserError as error:
        raise ForbiddenError(str(error)) from None


def _check_bounds(text: str, name: str) -> None:
    """Raises ForbiddenError for what would take memory and minutes: an alias can stand for a billion values.

    The parser's events alone are read, before anything is built.
    """
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        values += isinstance(event, NodeEvent)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            problem = f"write the value itself in place of *{event.anchor}"
        elif values > MOST_VALUES:
            problem = f"holds more than {MOST_VALUES:,} values"
        elif depth > DEEPEST:
            problem = f"is more than {DEEPEST} levels deep"
        elif isinstance(event, ScalarEvent) and len(event.value) > LONGEST:
            problem = f"has a value of more than {LONGEST:,} characters"
        else:
            continue
        raise ForbiddenError(f"{name}:{_line(event.start_mark)} {problem}. Mend it there.")


def _line(mark: Any) -> str:
    return f" line {mark.line + 1}," if mark else ""


def _check_file(name: str, found: Any) -> None:
    if isinstance(found, Mapping):
        _check_hydra(name, found.get("hydra"))
        _check_defaults(name, found.get("defaults"))
    try:
        for key, text in _texts(found, ""):
            _refuse_target(key)
            _refuse_resolver(key, text)
    except ForbiddenError as error:
        raise ForbiddenError(f"{name}: {error}") from None


def _check_head(name: str, path: Path) -> None:
    for line in _text(path, name).splitlines():
        if re.match(r"\s*#.*@.*hydra", line):
            raise ForbiddenError(f"{name}: {line.strip()} sets Hydra itself. Leave it out.")


def _check_hydra(name: str, section: Any) -> None:
    """A study may say what it sweeps, and no more."""
    if section is None:
        return
    sweeper = section.get("sweeper") if isinstance(section, Mapping) else None
    if not isinstance(sweeper, Mapping) or set(section) != {"sweeper"} or set(sweeper) != {"params"}:
        raise ForbiddenError(f"{name}: hydra: may hold sweeper.params only, what a study sweeps.")
    try:
        for override in _params(section):
            check_override(override)
    except UserError as error:
        raise ForbiddenError(f"{name}: hydra.sweeper.params: {error}") from None


def _params(section: Mapping[str, Any]) -> Iterator[Override]:
    params = (section.get("sweeper") or {}).get("params")
    if params is not None and not isinstance(params, Mapping):
        raise UserError("hydra.sweeper.params: must be a mapping of keys to values.")
    yield from (parsed_override(f"{key}={value}") for key, value in (params or {}).items())


def _check_defaults(name: str, defaults: Any) -> None:
    for entry, text in _texts(defaults, "defaults"):
        _refuse_resolver(f"{name}: {entry}", text)
        if _leads_out(text):
            raise ForbiddenError(f"{name}: {entry}: must name a file in conf/, not {text}.")
    for entry in defaults if isinstance(defaults, list) else ():
        for word in entry if isinstance(entry, Mapping) else [entry]:
            if isinstance(word, str) and re.search(r"@|(^|\s|/)hydra(/|$)", word):
                raise ForbiddenError(f"{name}: defaults: {word} sets Hydra itself or a package. Leave it out.")


def _refuse_resolver(key: str, text: str) -> None:
    """References to keys may stand inside each other; what is left over is none."""
    rest = text
    while (fewer := re.sub(r"\$\{[^${}:]*\}", "", rest)) != rest:
        rest = fewer
    if found := re.search(r"\$\{[^}:]*:?", rest):
        raise ForbiddenError(f"{key}: may refer to other keys only, not {found.group()}…}}. Write the value itself.")


def _refuse_target(key: str) -> None:
    """`_target_` names code that Hydra would run."""
    if re.search(r"(^|\.)_(target|partial|args|convert|recursive)_(\.|$)", key):
        raise ForbiddenError(f"{key}: names code; a configuration holds values only. Leave it out.")


def _refuse_empty(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        if not value:
            raise UserError(
                f"{key}: {{}} changes nothing: a mapping is merged into what is there. {key}=null takes that away."
            )
        for name, inner in value.items():
            _refuse_empty(inner, f"{key}.{name}")


def _leads_out(name: str) -> bool:
    return ".." in name.split("/")


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Dotted key and text of all that `value` holds, keys included."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{number}")
    else:
        yield key, str(value)


def _length(value: Any) -> int:
    """How many values a sweep has."""
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        try:
            return max(0, math.ceil((value.stop - value.start) / value.step))
        except (OverflowError, TypeError, ValueError, ZeroDivisionError):
            return MOST_RUNS + 1
    return 1
