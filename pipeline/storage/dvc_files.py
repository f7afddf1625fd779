"""What DVC keeps of this project, read without DVC: its cache, and what dvc.lock says lies in the workspace.

A file in .dvc/cache/files/md5/ab/cdef… has the MD5 abcdef…; one whose name ends with .dir is a JSON list of the files
in a folder, each with its MD5. DVC trusts a cached file that is read-only without reading it.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline.storage import project

FILES = Path("files", "md5")
RUNS = Path("runs")
DIRECTORY = ".dir"


def cached() -> list[Path]:
    """Every file in DVC's cache of contents."""
    return sorted(path for path in (project.DVC_CACHE / FILES).glob("??/*") if path.is_file())


def runs() -> list[Path]:
    """Every note of DVC's cache on what a stage once made of what."""
    return [path for folder in folders_of_runs() for path in sorted(folder.iterdir()) if path.is_file()]


def folders_of_runs() -> list[Path]:
    """The folders of those notes, one for each stage with certain inputs."""
    return sorted(path for path in (project.DVC_CACHE / RUNS).glob("??/*") if path.is_dir())


def is_as_named(path: Path) -> bool:
    """Whether a cached file has the MD5 that its name says."""
    return _md5(path) == (path.parent.name + path.name).removesuffix(DIRECTORY)


def outputs() -> Iterator[tuple[str, Path, str]]:
    """Of every output that dvc.lock names: its stage, each of its files, and the MD5 that this should have.

    A folder whose list is not in the cache is passed over. Raises ValueError where dvc.lock is torn.
    """
    try:
        stages = yaml.safe_load((project.ROOT / "dvc.lock").read_text())["stages"]
        outs = [(stage, out["path"], out["md5"]) for stage, said in stages.items() for out in said.get("outs", [])]
    except FileNotFoundError:
        return
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is torn ({type(error).__name__})") from None
    for stage, name, md5 in outs:
        path = project.ROOT / name
        if not md5.endswith(DIRECTORY):
            yield stage, path, md5
            continue
        entries = project.DVC_CACHE / FILES / md5[:2] / md5[2:]
        if entries.exists() and is_as_named(entries):
            for entry in json.loads(entries.read_text()):
                yield stage, path / entry["relpath"], entry["md5"]


def is_content(path: Path, md5: str) -> bool:
    """Whether the file is there and has this MD5."""
    return path.is_file() and _md5(path) == md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
