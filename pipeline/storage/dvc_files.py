"""What DVC keeps of this project, read without DVC: its cache, and what dvc.lock says lies in the workspace.

A file files/md5/ab/cdef… in the cache has the MD5 abcdef…; one whose name ends with .dir is a JSON list of the files
in a folder, each with its MD5. DVC trusts a cached file that is read-only without reading it.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline.storage import digest, project
from pipeline.terminal.errors import UserError


def is_shared() -> bool:
    """Whether the cache lies outside of the project, where it may serve others too."""
    return not project.cache_folder().is_relative_to(project.store_root().resolve())


def cached() -> list[Path]:
    """Every file in DVC's cache; of a shared one those that dvc.lock names. Raises UserError where one is torn."""
    files = project.cached_files()
    if not is_shared():
        return sorted(path for path in files.glob("??/*") if path.is_file())
    named = {md5 for _, _, md5 in (*_outs(), *outputs())}
    return sorted(filter(_is_file, map(_place, named)))


def place_of(md5: str) -> Path | None:
    """Where DVC's cache would have the content with this MD5; None for what is no MD5."""
    if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) is None:
        return None
    return _place(md5)


def runs() -> list[Path]:
    """Every note of DVC's cache on what a stage once made of what."""
    return [path for folder in folders_of_runs() for path in sorted(folder.iterdir()) if path.is_file()]


def folders_of_runs() -> list[Path]:
    """The folders of those notes, one for each stage with certain inputs."""
    return sorted(path for path in project.cache_folder().glob("runs/??/*") if path.is_dir())


def outputs() -> Iterator[tuple[str, Path, str]]:
    """Of every output that dvc.lock names: its stage, each of its files, and the MD5 that this should have.

    A folder whose list is not in the cache is passed over. Raises like `cached`.
    """
    for stage, path, md5 in _outs():
        if not md5.endswith(digest.DIRECTORY):
            yield stage, path, md5
            continue
        entries = _place(md5)
        if _is_file(entries) and digest.is_as_named(entries):
            for entry in json.loads(entries.read_text(encoding="utf-8")):
                yield stage, path / entry["relpath"], entry["md5"]


def _outs() -> Iterator[tuple[str, Path, str]]:
    """The outputs as dvc.lock has them: a folder is one, whose MD5 ends with .dir."""
    try:
        stages = yaml.safe_load((project.ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
        outs = [(stage, out["path"], out["md5"]) for stage, said in stages.items() for out in said.get("outs", [])]
    except FileNotFoundError:
        return
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        torn = f"{project.ROOT / 'dvc.lock'}: is torn ({type(error).__name__})"
        raise UserError(f"{torn}. `make repro` mends it.") from None
    yield from ((stage, project.ROOT / name, md5) for stage, name, md5 in outs)


def _place(md5: str) -> Path:
    return project.cached_files() / md5[:2] / md5[2:]


def _is_file(path: Path) -> bool:
    """Whether there is such a file, for us: Path.is_file raises PermissionError."""
    return os.path.isfile(path)  # noqa: PTH113
