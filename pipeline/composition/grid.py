"""From the overrides of many jobs to the values each composes to."""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, open_dict

from pipeline.composition.composing import values
from pipeline.composition.overrides import parsed_override

SEED = "seed="


def composed_grid(
    loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each job what sets it apart as one line, and the values it composes to, without Hydra's own section.

    Jobs that differ in their seed only are composed once. Raises UserError for a reference that can't be followed.
    """
    shared = set[str]() if len(jobs) == 1 else set.intersection(*(set(job) for job in jobs))
    settings: dict[tuple[str, ...], DictConfig] = {}
    for job in jobs:
        setting = tuple(word for word in job if not word.startswith(SEED))
        if setting not in settings:
            found = loader.load_sweep_config(config, list(setting))
            with open_dict(found):
                found.pop("hydra")
            settings[setting] = found
        composed = settings[setting].copy()
        for word in job:
            if word.startswith(SEED):
                composed.seed = parsed_override(word).value()
        own = [word for word in job if word not in shared and not word.startswith(SEED)]
        asked = [word for word in job if not word.startswith((SEED, "study.", "+study="))]
        yield " ".join(own or asked), values(composed)
