"""Documents that may come from others: JSON with a seal, of the types that are expected, read in little memory.

No name leads out of its folder, and no link out of the project.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from pipeline.storage import project
from pipeline.storage.digest import is_as_named, unsealed
from pipeline.terminal.errors import UserError

MOST_BYTES = 40_000_000
"""A study of ten thousand settings has 30 MB, a history of a hundred thousand epochs 10."""

Kind = TypeVar("Kind")


def read_document(path: Path, kind: type[Kind], layout: int | None, repair: str) -> Kind:
    """The document at `path` as a dataclass or a model of pydantic, each field of its own type.

    `layout` is the version that it must say it has (None: it says none), `repair` a sentence on what makes it anew.
    Raises UserError where it is missing, of another layout, or not as it was written.
    """
    with reading(path, repair):
        text = read_text(path)
        if layout is not None and (written := json.loads(text)["layout"]) != layout:
            raise UserError(f"{path}: layout {written}, but this version reads layout {layout}. {repair}")
        values = unsealed(text)
        if layout is not None:
            del values["layout"]
        # Again as JSON, in which a list may be a tuple.
        content = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return cast(Kind, _typed(lambda: _adapter(cast(Any, kind)).validate_json(content)))


@contextmanager
def reading(path: Path, repair: str) -> Iterator[None]:
    """Raises UserError where what the block reads of `path` is missing, or not as it was written."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. {repair}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({reason(error)}). {repair}") from None


def reason(error: Exception) -> str:
    """What an exception says, in a line."""
    return f"it has no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]


def read_text(path: Path) -> str:
    """The text of a file. Raises FileNotFoundError, and ValueError for what no document is."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_BYTES:,} bytes")
    return content.decode()


def validate(kind: type[Kind], values: object) -> Kind:
    """`values` as the type `kind`. Raises ValueError that names the first field that is of another."""
    return cast(Kind, _typed(lambda: _adapter(cast(Any, kind)).validate_python(values)))


def leads_out(name: str) -> bool:
    """Whether the name of a file within a folder is the way to another."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name


def refuse_links(folder: Path) -> None:
    """Raises UserError where `folder`, or a file in it, is a link to what lies outside of the project.

    With `cache.type symlink` DVC's outs are links into its cache, wherever that lies: a file there is taken for what
    its name, which is its digest, says.
    """
    inside = project.store_root().resolve()
    below = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
    for path in itertools.chain([folder], below):
        if not path.is_symlink() or (target := path.resolve()).is_relative_to(inside):
            continue
        if not (target.is_relative_to(project.cached_files()) and target.is_file()):
            raise UserError(f"{path}: is a link that leads out of the project. Put the file itself there.")
        if not is_as_named(target):
            raise UserError(f"{target}: has another content than its name says. Remove it; `dvc repro` makes it anew.")


def _typed(call: Callable[[], object]) -> Any:
    try:
        return call()
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
