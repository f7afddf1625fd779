"""Where two configurations differ."""

from collections.abc import Iterator
from typing import Any

from pipeline.config.validation import shown

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
