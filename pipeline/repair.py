"""Remove what a kill left of the files that DVC writes in place: a torn dvc.lock, a torn list of its own locks.

`make repro` calls this first. Without dvc.lock the next `dvc repro` takes what is finished out of its cache.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from pipeline.storage import project
from pipeline.terminal import command

PATIENCE = 1.0
"""Seconds after which a torn file is torn for good: a living DVC writes it in milliseconds."""


def main() -> int:
    command.arguments(__doc__, "repair").parse_args()
    for path, is_whole in ((project.ROOT / "dvc.lock", is_lockfile), (project.DVC_LOCKS, is_list_of_locks)):
        if _torn(path, is_whole):
            path.unlink(missing_ok=True)
            print(f"{path.name}: was torn by a kill while DVC wrote it; removed, DVC makes it anew")
    return 0


def is_lockfile(text: str) -> bool:
    """Whether DVC takes this dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # noqa: PLC0415 - a quarter of a second
    from voluptuous import Invalid  # noqa: PLC0415

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def is_list_of_locks(text: str) -> bool:
    """Whether DVC takes this list of who reads and writes what."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _torn(path: Path, is_whole: Callable[[str], bool]) -> bool:
    def torn() -> bool:
        return path.exists() and not is_whole(path.read_text(errors="replace"))

    if not torn():
        return False
    time.sleep(PATIENCE)
    return torn()


if __name__ == "__main__":
    command.run(main)
