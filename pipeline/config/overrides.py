"""Hydra's override grammar, and what of it a sweep takes."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, ValueType

from pipeline.config.load import DEEPEST
from pipeline.terminal.errors import UserError

SPLIT = "data.validation_images", "data.split_seed"
"""What of the images may differ between the runs of a sweep."""

PREPARED_ONCE = (
    "all runs of a sweep train on the images that are prepared. Choose one with compose, run `dvc repro preprocess`, "
    f"then sweep. {' and '.join(SPLIT)} can be swept."
)


def parsed_override(text: str) -> Override:
    """One override as Hydra reads it. Raises UserError."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Bytes that the locale's encoding does not know; no file could hold them as text.
        raise UserError(f"{text}: is no text in this locale. Write UTF-8, and set LC_ALL=C.UTF-8 or PYTHONUTF8=1.")
    if _depth(text) > DEEPEST:
        raise UserError(f"{text[:40]}…: holds brackets in brackets more than {DEEPEST} deep; no value is.")
    try:
        override = OverridesParser.create().parse_override(text)
    except Exception as error:  # Hydra's parser raises several kinds
        raise UserError(f"{text}: is no override ({str(error).splitlines()[0]}). Write key=value.") from None
    value = override.value()
    if isinstance(value, RangeSweep) and value.step == 0:
        raise UserError(f"{text}: is a range whose step is 0. Leave the step out, or use another.")
    return override


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


def _check_values(override: Override) -> None:
    value, text = override.value(), override.input_line
    if isinstance(value, IntervalSweep):
        raise UserError(f"{text}: names no values. A sweep takes a list (0.001,0.01) or a range(start,stop,step).")
    if isinstance(value, RangeSweep) and next(iter(value.range()), None) is None:
        raise UserError(f"{text}: is an empty range: there is nothing to run. range(3) is 0, 1, 2.")
    # Which variants there are is known once Hydra has read conf/.
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP and override.config_loader is not None:
        names = override.config_loader.get_group_options(override.key_or_group)
        if not names:
            raise UserError(f"{text}: {override.key_or_group} has no variants that glob could match. Name the values.")
        if not list(override.sweep_string_iterator()):
            raise UserError(f"{text}: matches no variant. There are: {', '.join(names)}.")


def _depth(text: str) -> int:
    """How many brackets are open at once, at most: for many, Hydra's parser takes seconds and all of Python's stack."""
    depth = deepest = 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        deepest = max(deepest, depth)
    return deepest
