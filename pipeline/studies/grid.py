"""From the overrides of many jobs to the values each composes to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from pipeline.config.composing import values
from pipeline.config.overrides import parsed_override
from pipeline.studies.study import Point

SEED = "seed="
NO_SETTING = "hydra/", "study", "tracking"
"""Groups whose variants are no part of a setting."""


def composed_grid(loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]) -> Iterator[Point]:
    """For each job what sets it apart as one line, and the values it composes to, without Hydra's own section.

    Jobs that differ in their seed only are composed once. Raises UserError for a reference that can't be followed.
    """
    shared = set[str]() if len(jobs) == 1 else set.intersection(*(set(job) for job in jobs))
    settings: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
    for job in jobs:
        setting = tuple(word for word in job if not word.startswith(SEED))
        if setting not in settings:
            found = loader.load_sweep_config(config, list(setting))
            variants = _variants(found.hydra.runtime.choices)
            with open_dict(found):
                found.pop("hydra")
            settings[setting] = found, variants
        unseeded, variants = settings[setting]
        composed = unseeded.copy()
        for word in job:
            if word.startswith(SEED):
                composed.seed = parsed_override(word).value()
        own = [word for word in job if word not in shared and not word.startswith(SEED)]
        asked = [word for word in job if not word.startswith((SEED, "study.", "+study="))]
        yield Point(" ".join(own or asked), values(composed), variants, _changed(setting, variants))


def present_point(composed: dict[str, Any]) -> Point:
    """The job that another launcher of Hydra's does now, as the point of a grid."""
    hydra = HydraConfig.get()
    variants = _variants(hydra.runtime.choices)
    return Point(" ".join(hydra.overrides.task), composed, variants, _changed(hydra.overrides.task, variants))


def _variants(choices: Mapping[Any, Any]) -> dict[str, str]:
    return {str(group): str(name) for group, name in choices.items() if name and not group.startswith(NO_SETTING)}


def _changed(words: Sequence[str], variants: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that `words` set, beside the groups whose variant they choose and what is no part of a setting."""
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    return tuple(key for key in keys if key not in variants and not key.startswith((*NO_SETTING, "seed")))
