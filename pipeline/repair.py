"""Remove what a kill left of DVC's files: a torn dvc.lock, and a list of locks that is torn or names a dead dvc.

`make repro` calls this first. Without dvc.lock the next `dvc repro` takes what is finished out of its cache. That is
read once after the machine was started: a power cut may have left files in it that are empty or cut off. Without git,
as in a downloaded archive, DVC is told that there is none: it would refuse to do anything.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline.storage import atomic, digest, dvc_files, project
from pipeline.terminal import command

BOOT = Path("/proc/sys/kernel/random/boot_id")

PATIENCE = 1.0
"""Seconds after which a torn file is torn for good: a living DVC writes it in milliseconds."""


def main() -> int:
    command.arguments(__doc__, "repair").parse_args()
    for path, is_whole in ((project.ROOT / "dvc.lock", is_lockfile), (project.DVC_LOCKS, is_list_of_locks)):
        if not _is_torn(path, is_whole):
            continue
        time.sleep(PATIENCE)
        if _is_torn(path, is_whole):
            path.unlink(missing_ok=True)
            print(f"{path.name}: was torn by a kill while DVC wrote it; removed, DVC makes it anew")
    _remove_locks_of_the_dead(project.DVC_LOCKS)
    _check_cache()
    _tell_of_git(project.ROOT)
    return 0


def boot() -> str:
    """Which start of the machine this is."""
    return BOOT.read_text("utf-8").strip() if BOOT.exists() else f"{psutil.boot_time():.0f}"


def _is_torn(path: Path, is_whole: Callable[[str], bool]) -> bool:
    return path.exists() and not is_whole(path.read_text(errors="replace", encoding="utf-8"))


def is_lockfile(text: str) -> bool:
    """Whether DVC takes this dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # noqa: PLC0415 - a quarter of a second
    from voluptuous import Invalid  # noqa: PLC0415

    with contextlib.suppress(yaml.YAMLError, Invalid):
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
        return True
    return False


def is_list_of_locks(text: str) -> bool:
    """Whether DVC takes this list of who reads and writes what."""
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(text), dict)
    return False


def _remove_locks_of_the_dead(locks: Path) -> None:
    """Remove the list where it names only who is dead, and does so even now, when no dvc can write to it."""
    if not _names_only_dead(locks):
        return
    from dvc.lock import make_lock  # noqa: PLC0415 - a third of a second
    from dvc.rwlock import RWLOCK_LOCK  # noqa: PLC0415

    with make_lock(str(locks.with_name(RWLOCK_LOCK))):
        if _names_only_dead(locks):
            locks.unlink()
            print(f"{locks.name}: named a dvc that was killed; removed, DVC makes it anew")


def _names_only_dead(locks: Path) -> bool:
    """Whether the list names who writes (one a path) or reads (several a path), and none of these lives."""
    kinds = json.loads(locks.read_text(encoding="utf-8")) if locks.exists() else {}
    entries = [*kinds.get("write", {}).values(), *(one for some in kinds.get("read", {}).values() for one in some)]
    return bool(entries) and not any(map(_is_living, entries))


def _is_living(entry: Mapping[str, Any]) -> bool:
    """Whether the dvc of an entry (`pid`, `cmd`) runs: the number alone may be a zombie's, or a later process's."""
    try:
        words = psutil.Process(entry["pid"]).cmdline()
    except psutil.Error as error:
        return isinstance(error, psutil.AccessDenied)
    return any(Path(word).name == "dvc" or word == entry["cmd"].partition(" ")[0] for word in words)


def _tell_of_git(root: Path) -> None:
    """Set DVC's `core.no_scm` where `root` lies in no git repository, for this folder alone, and take it back later."""
    has_git = any((folder / ".git").exists() for folder in (root, *root.parents))
    local = root / ".dvc" / "config.local"
    if not local.parent.is_dir() or has_git != (local.exists() and "no_scm" in local.read_text("utf-8")):
        return
    from dvc.config import Config  # noqa: PLC0415 - a quarter of a second

    with Config(str(local.parent), validate=False).edit("local") as values:
        if has_git:
            del values["core"]["no_scm"]
        else:
            values.setdefault("core", {})["no_scm"] = True
    said = "DVC uses it" if has_git else "DVC works without; `dvc exp` and `dvc metrics diff` need one (git init)"
    print(f"{root}: {'is' if has_git else 'is not'} in a git repository: {said}")


def _check_cache() -> None:
    """Remove what has another content than its name says, once after each start of the machine.

    DVC waits for no disk when it fills its cache, and takes out of it what is read-only without reading it.
    """
    seen = project.DVC_LOCKS.with_name("boot")
    if not project.cache_folder().exists() or (seen.exists() and seen.read_text("utf-8") == boot()):
        return
    torn = [path for path in dvc_files.cached() if not digest.is_as_named(path)]
    torn += [path for path in dvc_files.runs() if not _is_run(path)]
    for path in torn:
        path.unlink()
        print(f"{path}: was not whole in DVC's cache, as after a power cut; removed, DVC makes it anew")
    for folder in dvc_files.folders_of_runs():
        # DVC takes the first of the notes in a folder, and fails where there is none.
        if not any(folder.iterdir()):
            folder.rmdir()
    atomic.write_file(seen, boot())


def _is_run(path: Path) -> bool:
    """Whether a note in DVC's cache of what a stage made has the content that its name says.

    One that is cut off may still be YAML: DVC then fails at what is missing, or restores a part. Its name is the hash
    of all that it says but for sizes and numbers of files (dvc.stage.cache).
    """
    from dvc.utils import dict_sha256  # noqa: PLC0415 - a second

    with contextlib.suppress(yaml.YAMLError):
        said = yaml.safe_load(path.read_bytes())
        return isinstance(said, dict) and bool(dict_sha256(said, exclude=["size", "nfiles"]) == path.name)
    return False


if __name__ == "__main__":
    command.run(main)
