"""From a choice to params.yaml: what conf/ composes to, and what was chosen against its defaults.

The choice is kept in conf/chosen.yaml, so that a later composition does not lose it.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import JsonValue
from yaml import YAMLError

from pipeline.config.guard import as_size, check_folder, check_override, load_file, parse_override, refuse_code
from pipeline.config.load import configure, leaves, parsed, read_yaml
from pipeline.config.messages import ConfigurationError, defaults, keys, nearest_key, shown, validated
from pipeline.config.schema import Block, Configuration
from pipeline.storage import atomic, project
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


def read_choice(path: Path) -> Choice:
    """The choice that conf/chosen.yaml holds. Raises UserError for a file that is not as `as_text` writes it."""
    try:
        plain: Any = load_file(path, str(path))
        note = next((line for line in path.read_text("utf-8").splitlines() if line.startswith(NOTE)), "")
        defaults = plain.pop("defaults")
        variants = {group.removeprefix("override /"): name for entry in defaults for group, name in entry.items()}
    except (UserError, OSError, AttributeError, TypeError, ValueError, KeyError):
        raise UserError(
            f"{path}: is not as compose writes it. `python -m pipeline.compose --reset` writes it anew."
        ) from None
    return Choice(variants, dict(leaves(plain)), note.removeprefix(NOTE))


def choose(before: Choice, overrides: Sequence[str], groups: Sequence[str]) -> Choice:
    """The choice `before` with `overrides` on top. A variant that is chosen anew drops earlier values of its section.

    Raises UserError for an override that can't be kept: a sweep, a deletion, an element of a list, a bad word.
    """
    parsed = [_parsed(override) for override in overrides]
    chosen = {override.key_or_group: str(override.value()) for override in parsed if override.key_or_group in groups}
    values = {name: value for name, value in before.values.items() if name.partition(".")[0] not in chosen}
    for override in parsed:
        key = override.key_or_group
        if key not in groups:
            values = {name: value for name, value in values.items() if not _overlap(name, key)}
            values |= dict(leaves(_plain(override), key))
    return Choice({**before.variants, **chosen}, values, "" if "model" in chosen else before.note)


def as_text(choice: Choice) -> str:
    """The text of conf/chosen.yaml."""
    kept = OmegaConf.create({"defaults": [{f"override /{group}": name} for group, name in choice.variants.items()]})
    for key, value in choice.values.items():
        OmegaConf.update(kept, key, value, force_add=True)
    note = f"{NOTE}{choice.note}\n" if choice.note else ""
    return HEAD + note + OmegaConf.to_yaml(kept)


def compose_with(conf: Path, choice: Choice, overrides: Sequence[str] = ()) -> DictConfig:
    """What `conf`, left as it is, composes to with `choice` in place of its own and `overrides`. Raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder) / "conf"
        shutil.copytree(conf, tried, symlinks=True)  # a link is refused there
        (tried / "chosen.yaml").write_text(as_text(choice), encoding="utf-8")
        return compose_folder(tried, overrides)


COMPOSITION_ERRORS = HydraException, OmegaConfBaseException
"""What Hydra raises for a configuration that a person can mend; `explain` says it."""


def compose_folder(conf: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """What the configuration folder `conf` composes to with `overrides`, all interpolations resolved.

    Raises UserError with Hydra's own words, which name the key or the variants that there are.
    """
    check_folder(conf)
    logging.getLogger("hydra").setLevel(logging.ERROR)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base=None):
            found = compose("config", overrides=list(overrides))
        values(found)
        OmegaConf.resolve(found)
    except (*COMPOSITION_ERRORS, YAMLError, ValueError, OSError) as error:
        raise _wrong_in_a_file(conf, error) or UserError(explain(error)) from None
    return found


def values(found: DictConfig) -> dict[str, Any]:
    """A composition as plain values, references followed. Raises UserError or one of COMPOSITION_ERRORS."""
    refuse_code(OmegaConf.to_container(found))
    # Its errors name the key, those of `resolve` do not.
    plain: Any = OmegaConf.to_container(found, resolve=True)
    return {str(key): value for key, value in plain.items()}


def explain(error: BaseException) -> str:
    """Hydra's message without the lines that only someone who writes Hydra reads."""
    if isinstance(error, MissingConfigException):
        # Hydra lists those of one folder.
        group = str(error.missing_cfg_file).partition("/")[0]
        names = project.variants(group)
        there = f"There are: {', '.join(names)}." if names else "Look into conf/ for what there is."
        if group == "data":
            there += " `python -m pipeline.import_images` brings in others."
        return f"conf/{error.missing_cfg_file}: is no variant. {there}"
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]
    key = _key_at_fault(error)
    if found := re.match(r"\s*Multiple values for ([\w/]+)\.", str(error)):
        return f"{found[1]}: has a variant already. Leave out the +: {found[1]}=…"
    if found := re.match(r"\s*Could not override '([^']+)'", str(error)):
        return _no_such_key(found[1], key)
    return (f"{key}: " if key else "") + ("; ".join(kept[:4]) or type(error).__name__)


def as_params(found: DictConfig) -> str:
    """The text of params.yaml: the bytes that DVC writes for the same composition (dvc.utils.hydra)."""
    return OmegaConf.to_yaml(found)


@dataclass(frozen=True)
class Outcome:
    """What a choice composes to: the configuration, the text of params.yaml, and how that differs from the present one.

    `changes` are key, present value, new value; None where there is no params.yaml that could be compared.
    """

    choice: Choice
    configuration: Configuration
    text: str
    changes: Sequence[tuple[str, str, str]] | None

    def tell(self) -> bool:
        """Print what changes, a line a key. Whether params.yaml does not hold all this already."""
        for key, old, new in self.changes or ():
            print(f"{key}: {old} → {new}")
        return self.changes is None or bool(self.changes)


def outcome(choice: Choice) -> Outcome:
    """Compose and check; nothing is written. Raises UserError."""
    found = compose_with(project.CONF, choice)
    text = as_params(found)
    # As it will be read: YAML has more than one version.
    configuration = configure(parsed(text, "params.yaml"))
    try:
        present = read_yaml(project.PARAMS)
    except UserError:
        # Missing or torn: that it is written anew is what a person wants.
        present = None
    changes = list(differences(present, values(found))) if isinstance(present, dict) and present else None
    return Outcome(choice, configuration, text, changes)


def write(found: Outcome) -> None:
    """Put both files in place."""
    atomic.write_file(project.CHOSEN, as_text(found.choice))
    atomic.write_file(project.PARAMS, found.text)


MISSING = "(absent)"


def differences(before: Any, after: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted key, value before, value after, wherever the two differ; lists are compared whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            name = f"{prefix}.{key}" if prefix else str(key)
            if key not in before:
                yield name, MISSING, shown(after[key])
            elif key not in after:
                yield name, shown(before[key]), MISSING
            else:
                yield from differences(before[key], after[key], name)
    elif before != after or type(before) is not type(after):
        yield prefix, shown(before), shown(after)


PROMOTED = "model.", "training."
OWN = "training.threads"
"""What fits the machine, not the question: a sweep runs many runs of one thread, `dvc repro` one run on all."""


def promote_setting(before: Choice, setting: Mapping[str, JsonValue], note: str = "") -> Choice:
    """The choice `before` with the network and the training of `setting` (dotted keys → values) in place of its own.

    `note` is kept with it. Which images, the seed, threads and tracking stay as they were chosen. Raises UserError
    where conf/ sets what the setting does not have.
    """
    variants = {group: name for group, name in before.variants.items() if f"{group}." not in PROMOTED}
    own = {key: value for key, value in before.values.items() if not _is_promoted(key)}
    wanted = {key: value for key, value in setting.items() if _is_promoted(key)}
    present = dict(leaves(values(compose_with(project.CONF, Choice(variants, own)))))
    off = dict(defaults(Configuration))
    for key, value in present.items():
        has = key in wanted or any(other.startswith(f"{key}.") for other in wanted)
        # A study may be older than a key.
        if _is_promoted(key) and not has and value not in (None, {}, off.get(key)):
            raise UserError(f"{key}: is set in conf/, but no setting of the study has it. Take it out of conf/ first.")
    differing = {key: value for key, value in wanted.items() if key not in present or present[key] != value}
    return Choice(variants, {**own, **differing}, note)


def _is_promoted(key: str) -> bool:
    return key.startswith(PROMOTED) and key != OWN


def _parsed(text: str) -> Override:
    override = parse_override(text)
    check_override(override)
    if override.is_sweep_override():
        several = "holds several values; compose chooses one. For several use a sweep."
        raise UserError(f"{text}: {several} {as_size(override)}".rstrip())
    if override.is_delete():
        raise UserError(f"{text}: a deletion can't be kept. Set the key to null or to another value.")
    if override.is_hydra_override():
        raise UserError(f"{text}: sets Hydra itself, not a key of the configuration. Leave it out.")
    if text != (named := re.sub(r"(\.blocks\.)(\d+)", r"\1block\2", text)):
        raise UserError(f"{text}: names no block. Write {named}")
    if any(part.isdigit() for part in override.key_or_group.split(".")):
        raise UserError(f"{text}: an element of a list can't be kept. Write the whole list: key=[…].")
    return override


def _plain(override: Override) -> Any:
    try:
        plain: Any = OmegaConf.to_container(OmegaConf.create({"value": override.value()}))
    except COMPOSITION_ERRORS as error:
        raise UserError(f"{override.input_line}: has a value that can't be kept ({explain(error)}).") from None
    return plain["value"]


def _overlap(one: str, other: str) -> bool:
    """Whether one dotted key is the other or lies inside it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _wrong_in_a_file(conf: Path, error: BaseException) -> ConfigurationError | None:
    """What is wrong in the file that Hydra could not merge, where it names no key: a list in place of a mapping."""
    file = re.match(rf"In '(?:({'|'.join(Configuration.model_fields)})/)?(\w+)': ", str(error))
    if file is None or _key_at_fault(error):
        return None
    plain: Any = load_file(conf / (file[1] or "") / f"{file[2]}.yaml", file[0])
    if isinstance(plain, dict):
        plain.pop("defaults", None)
    try:
        validated(Configuration, {file[1]: plain} if file[1] else plain)
    except ConfigurationError as wrong:
        if problems := [problem for problem in wrong.problems if not problem.is_missing]:
            return ConfigurationError(problems)
    return None


def _no_such_key(typed: str, at_fault: str) -> str:
    """What to type in place of a key that nothing has."""
    block = re.fullmatch(r"model\.blocks\.block\d+(?:\.(.+))?", typed)
    # What differs in one block, or a group of conf/.
    if block[1] in (None, *keys(Block)) if block else (project.CONF / typed).is_dir():
        return f"{typed}: is not there yet. Write +{typed}=… to add it."
    if typed in keys(Configuration):
        return f"{at_fault or typed}: is not there yet. Write +{typed} to add to {typed}."
    if (whole := typed.rpartition(".")[0]).endswith(("_regularizer", "_constraint", "_initializer")):
        return f"{typed}: {whole} is one value here. Write it whole: {whole}={{name: …, …}}"
    return f"{typed}: is no key of the configuration. {nearest_key(Configuration, typed)}"


def _key_at_fault(error: BaseException | None) -> str:
    """The key that OmegaConf names, which Hydra leaves out when it tells of the same error."""
    while error is not None:
        if isinstance(error, OmegaConfBaseException) and error.full_key:
            return str(error.full_key)
        error = error.__cause__
    return ""
