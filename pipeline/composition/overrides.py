"""Hydra's override grammar."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from pipeline.terminal.errors import UserError


def parsed_override(text: str) -> Override:
    """One override as Hydra reads it. Raises UserError."""
    try:
        return OverridesParser.create().parse_override(text)
    except Exception as error:  # Hydra's parser raises several kinds
        raise UserError(f"{text}: is no override ({str(error).splitlines()[0]}). Write key=value.") from None
