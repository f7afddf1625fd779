"""What conf/ composes to."""

import difflib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config.forbidden import check_folder, refuse_resolvers
from pipeline.config.schema import Block, Configuration
from pipeline.config.validation import ConfigurationError, keys, validated
from pipeline.storage import project
from pipeline.terminal.errors import UserError

PRIMARY = "config"

COMPOSITION_ERRORS = HydraException, OmegaConfBaseException
"""What Hydra raises for a configuration that a person can mend; `told` says it."""


def composed(conf: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """What the configuration folder `conf` composes to with `overrides`, all interpolations resolved.

    Raises UserError with Hydra's own words, which name the key or the variants that there are.
    """
    check_folder(conf)
    logging.getLogger("hydra").setLevel(logging.ERROR)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base=None):
            found = compose(PRIMARY, overrides=list(overrides))
        values(found)
        OmegaConf.resolve(found)
    except (*COMPOSITION_ERRORS, YAMLError, ValueError, OSError) as error:
        raise _wrong_in_a_file(conf, error) or UserError(told(error)) from None
    return found


def values(found: DictConfig) -> dict[str, Any]:
    """A composition as plain values, references followed. Raises UserError or one of COMPOSITION_ERRORS."""
    refuse_resolvers(OmegaConf.to_container(found))
    # Its errors name the key, those of `resolve` do not.
    plain = OmegaConf.to_container(found, resolve=True)
    if not isinstance(plain, dict):
        raise UserError("conf/: must compose to a mapping")
    return {str(key): value for key, value in plain.items()}


def as_params(found: DictConfig) -> str:
    """The text of params.yaml: the bytes that DVC writes for the same composition (dvc.utils.hydra)."""
    return OmegaConf.to_yaml(found)


def _wrong_in_a_file(conf: Path, error: BaseException) -> ConfigurationError | None:
    """What is wrong in the file that Hydra could not merge, where it names no key: a list in place of a mapping."""
    file = re.match(r"In '([\w/]+)': ", str(error))
    if file is None or _key_at_fault(error):
        return None
    group = file[1].rpartition("/")[0]
    plain = OmegaConf.to_container(OmegaConf.load(conf / f"{file[1]}.yaml"))
    if not isinstance(plain, dict):
        return None
    plain.pop("defaults", None)
    present = tuple(f"{group}.{key!s}" if group else str(key) for key in plain)
    try:
        validated(Configuration, {group: plain} if group else plain)
    except ConfigurationError as wrong:
        problems = [found for found in wrong.problems if found.key.startswith(present) and not found.is_missing]
        return ConfigurationError(problems) if problems else None
    return None


def _variants(options: Sequence[str] | None) -> str:
    return f"There are: {', '.join(options)}." if options else "Look into conf/ for what there is."


def _nearest(key: str) -> str:
    """The whole key that a person may have meant."""
    last = key.rpartition(".")[2]
    ending = [known for known in keys(Configuration) if known.rpartition(".")[2] == last]
    close = ending or difflib.get_close_matches(key, list(keys(Configuration)), n=3)
    return f"Did you mean {' or '.join(close)}?" if close else "python -m pipeline.sweep --cfg job shows all keys."


def told(error: BaseException) -> str:
    """Hydra's message without the lines that only someone who writes Hydra reads."""
    if isinstance(error, MissingConfigException):
        return f"conf/{error.missing_cfg_file}: is no variant. {_variants(error.options)}"
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]
    key = _key_at_fault(error)
    if found := re.match(r"Multiple values for ([\w/]+)\.", kept[0] if kept else ""):
        return f"{found[1]}: has a variant already. Leave out the +: {found[1]}=…"
    if found := re.match(r"Could not override '([^']+)'", kept[0] if kept else ""):
        return _no_such_key(found[1], key)
    return (f"{key}: " if key else "") + ("; ".join(kept[:4]) or type(error).__name__)


def _no_such_key(typed: str, at_fault: str) -> str:
    """What to type in place of a key that nothing has."""
    if _can_be_added(typed):
        return f"{typed}: is not there yet. Write +{typed}=… to add it."
    if typed in keys(Configuration):
        return f"{at_fault or typed}: is not there yet. Write +{typed} to add to {typed}."
    if (whole := typed.rpartition(".")[0]).endswith(("_regularizer", "_constraint", "_initializer")):
        return f"{typed}: {whole} is one value here. Write it whole: {whole}={{name: …, …}}"
    return f"{typed}: is no key of the configuration. {_nearest(typed)}"


def _can_be_added(key: str) -> bool:
    """Whether a key that no variant has may be added: a group of conf/, what differs in one block."""
    inside = re.fullmatch(r"model\.blocks\.block\d+(\.(?P<key>.+))?", key)
    block = {None, "conv", *keys(Block)}
    return (project.CONF / key).is_dir() if inside is None else inside["key"] in block


def _key_at_fault(error: BaseException | None) -> str:
    """The key that OmegaConf names, which Hydra leaves out when it tells of the same error."""
    while error is not None:
        if isinstance(error, OmegaConfBaseException) and error.full_key:
            return str(error.full_key)
        error = error.__cause__
    return ""
