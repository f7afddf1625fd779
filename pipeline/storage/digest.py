"""SHA-256 of files, folders and values.

JSON that notices when a byte of it has changed: its last key holds the SHA-256 of all others.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue


def of_file(path: Path, kind: str = "sha256") -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits, or another kind: DVC names what it keeps by its md5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def of_bytes(content: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def of_folder(folder: Path) -> dict[str, str]:
    """Path within the folder → SHA-256 of that file, sorted by path."""
    return {path.relative_to(folder).as_posix(): of_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def of_value(value: JsonValue) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no white space, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


DIRECTORY = ".dir"
"""Ends the name of a file in DVC's cache that lists those of a folder."""


def is_as_named(path: Path) -> bool:
    """Whether a file in DVC's cache has the MD5 that its name says."""
    return of_file(path, "md5") == (path.parent.name + path.name).removesuffix(DIRECTORY)


SEAL = "sha256"


def as_json(value: object) -> str:
    """JSON for people too: indented, ended by a line feed."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sealed(values: Mapping[str, Any]) -> str:
    """`values` as JSON with their seal."""
    return as_json({**values, SEAL: of_value(dict(values))})


def unsealed(text: str) -> dict[str, Any]:
    """The values that `sealed` wrote. Raises ValueError where `text` is no such JSON or not as it was written."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.pop(SEAL, None) != of_value(values):
        raise ValueError("it is not as it was written")
    return values
