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

from pipeline.configuration.schema import Configuration
from pipeline.configuration.validation import keys
from pipeline.terminal.errors import UserError

PRIMARY = "config"

COMPOSITION_ERRORS = HydraException, OmegaConfBaseException
"""What Hydra raises for a configuration that a person can mend; `told` says it."""


def composed(conf: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """What the configuration folder `conf` composes to with `overrides`, all interpolations resolved.

    Raises UserError with Hydra's own words, which name the key or the variants that there are.
    """
    logging.getLogger("hydra").setLevel(logging.ERROR)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base=None):
            found = compose(PRIMARY, overrides=list(overrides))
        values(found)
        OmegaConf.resolve(found)
    except (*COMPOSITION_ERRORS, YAMLError, ValueError, OSError) as error:
        raise UserError(told(error)) from None
    return found


def values(found: DictConfig) -> dict[str, Any]:
    """A composition as plain values, references followed. Raises UserError or one of COMPOSITION_ERRORS."""
    _refuse_resolvers(OmegaConf.to_container(found))
    # Its errors name the key, those of `resolve` do not.
    plain = OmegaConf.to_container(found, resolve=True)
    if not isinstance(plain, dict):
        raise UserError("conf/: must compose to a mapping")
    return {str(key): value for key, value in plain.items()}


def as_params(found: DictConfig) -> str:
    """The text of params.yaml: the bytes that DVC writes for the same composition (dvc.utils.hydra)."""
    return OmegaConf.to_yaml(found)


def _refuse_resolvers(value: Any, key: str = "") -> None:
    """Keys may refer to each other; a configuration does not read the environment or anything else of the machine."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_resolvers(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_resolvers(inner, f"{key}.{number}")
    elif isinstance(value, str) and (found := re.search(r"\$\{[^}]*:", value)):
        raise UserError(f"{key}: may refer to other keys only, not {found.group()}…}}. Write the value itself.")


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
    if found := re.match(r"Could not override '([^']+)'", kept[0] if kept else ""):
        return f"{found[1]}: is no key of the configuration. {_nearest(found[1])}"
    key = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) and error.full_key else ""
    return key + ("; ".join(kept[:4]) or type(error).__name__)
