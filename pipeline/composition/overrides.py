"""Hydra's override grammar."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from pipeline.configuration.reading import DEEPEST
from pipeline.terminal.errors import UserError


def parsed_override(text: str) -> Override:
    """One override as Hydra reads it. Raises UserError."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Bytes that the locale's encoding does not know; no file could hold them as text.
        raise UserError(f"{text}: is no text in this locale. Write UTF-8, and set LC_ALL=C.UTF-8 or PYTHONUTF8=1.")
    if _depth(text) > DEEPEST:
        raise UserError(f"{text[:40]}…: holds brackets in brackets more than {DEEPEST} deep; no value is.")
    try:
        return OverridesParser.create().parse_override(text)
    except Exception as error:  # Hydra's parser raises several kinds
        raise UserError(f"{text}: is no override ({str(error).splitlines()[0]}). Write key=value.") from None


def _depth(text: str) -> int:
    """How many brackets are open at once, at most: for many, Hydra's parser takes seconds and all of Python's stack."""
    depth = deepest = 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        deepest = max(deepest, depth)
    return deepest
