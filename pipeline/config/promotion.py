"""A setting of a study becomes the choice: its network and its training, nothing else."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from pipeline.config.choice import Choice, composed_with
from pipeline.config.composing import values
from pipeline.config.keys import leaves
from pipeline.storage import project
from pipeline.terminal.errors import UserError

PROMOTED = "model.", "training."
OWN = ("training.threads",)
"""What fits the machine, not the question: a sweep runs many runs of one thread, `dvc repro` one run on all."""


def promoted(before: Choice, setting: Mapping[str, JsonValue], note: str = "") -> Choice:
    """The choice `before` with the network and the training of `setting` (dotted keys → values) in place of its own.

    `note` is kept with it. Which images, the seed, threads and tracking stay as they were chosen. Raises UserError
    where conf/ sets what the setting does not have.
    """
    kept = Choice(
        {group: name for group, name in before.variants.items() if f"{group}." not in PROMOTED},
        {key: value for key, value in before.values.items() if not _is_promoted(key)},
    )
    wanted = {key: value for key, value in setting.items() if _is_promoted(key)}
    composed = {key: value for key, value in leaves(values(composed_with(project.CONF, kept))) if _is_promoted(key)}
    for key, value in composed.items():
        inside = any(other.startswith(f"{key}.") for other in wanted)
        if key not in wanted and not inside and value not in (None, {}):
            raise UserError(f"{key}: is set in conf/, but no setting of the study has it. Take it out of conf/ first.")
    differing = {key: value for key, value in wanted.items() if _differs(composed, key, value)}
    return Choice(kept.variants, {**kept.values, **differing}, note)


def _is_promoted(key: str) -> bool:
    return key.startswith(PROMOTED) and key not in OWN


def _differs(composed: Mapping[str, Any], key: str, value: JsonValue) -> bool:
    return key not in composed or composed[key] != value
