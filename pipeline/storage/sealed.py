"""JSON that notices when a byte of it has changed: its last key holds the SHA-256 of all others."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.storage import digest

SEAL = "sha256"


def as_json(value: object) -> str:
    """JSON for people too: indented, ended by a line feed."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sealed(values: Mapping[str, Any]) -> str:
    """`values` as JSON with their seal."""
    return as_json({**values, SEAL: digest.of_value(dict(values))})


def unsealed(text: str) -> dict[str, Any]:
    """The values that `sealed` wrote. Raises ValueError where `text` is no such JSON or not as it was written."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.pop(SEAL, None) != digest.of_value(values):
        raise ValueError("it is not as it was written")
    return values
