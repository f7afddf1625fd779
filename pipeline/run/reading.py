"""Records and studies may come from others: files are read in little memory, names stay inside, types are checked."""

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar, cast

from pydantic import StringConstraints, TypeAdapter, ValidationError

from pipeline.storage import dvc_files, project
from pipeline.terminal.errors import UserError

MOST_BYTES = 40_000_000
"""A study of ten thousand settings has 30 MB, a history of a hundred thousand epochs 10."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,109}$")]
"""What a folder is called by: no way leads out of it."""

ScoredOn = Annotated[str, StringConstraints(pattern=r"^(test|validation)$")]
"""Which images a run was scored on."""

Kind = TypeVar("Kind")


def text_of(path: Path) -> str:
    """The text of a file. Raises FileNotFoundError, and ValueError for what no file of a record is."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_BYTES:,} bytes")
    return content.decode()


def checked(kind: type[Kind], values: object) -> Kind:
    """`values` as a dataclass, each field of its own type. Raises ValueError that names the first that is not."""
    try:
        found: Kind = _adapter(cast(Any, kind)).validate_python(values)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}") from None
    return found


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
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() or (target := path.resolve()).is_relative_to(inside):
            continue
        if not _is_cached(target):
            raise UserError(f"{path}: is a link that leads out of the project. Put the file itself there.")
        if not dvc_files.is_as_named(target):
            raise UserError(f"{target}: has another content than its name says. Remove it; `dvc repro` makes it anew.")


def _is_cached(target: Path) -> bool:
    try:
        return dvc_files.is_cached(target)
    except ValueError as error:
        raise UserError(f"{error}. Mend it there.") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
