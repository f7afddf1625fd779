"""Read everything that was made here and name what is damaged, with what makes it anew. Nothing is changed.

That is DVC's cache, what dvc.lock says lies in the workspace, the prepared images, records, checkpoints, studies and
the local MLflow database. Exit status 1 where something is damaged or can't be read.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.data.prepared import load_test, load_training
from pipeline.run.checkpoint import CHECKPOINT, read_checkpoint
from pipeline.run.record import BULKY, EVALUATION, TEST_EVALUATION, TRAINING, read_evaluation, read_training
from pipeline.storage import digest, dvc_files, project
from pipeline.studies.study import read_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar, console

STORE = "mlflow.db"


@dataclass(frozen=True)
class Check:
    """One thing to read; `read` raises UserError where it is damaged."""

    kind: str
    read: Callable[[], object]


def main() -> int:
    command.arguments(__doc__, "verify").parse_args()
    checks = list(_checks())
    sound: dict[str, int] = {}
    damages: dict[str, None] = {}
    cant_be_read: dict[str, None] = {}
    with bar("things") as progress:
        task = progress.add_task("reading", total=len(checks))
        for check in checks:
            sound.setdefault(check.kind, 0)
            try:
                check.read()
                sound[check.kind] += 1
            except PermissionError as error:
                cant_be_read[f"{error.filename}: {error.strerror}"] = None
            except (UserError, OSError) as error:
                damages[str(error)] = None
            progress.advance(task)
    for kind, count in sound.items():
        console.print(f"{count:>7,} sound  {kind}")
    for damage in damages:
        console.print(f"damaged: {damage}")
    for what in cant_be_read:
        console.print(f"can't be read: {what}")
    if unread := _unread():
        console.print(f"not read: {unread}")
    return 1 if damages or cant_be_read else 0


def _checks() -> Iterator[Check]:
    yield from _dvc()
    if project.PREPARED.exists():
        yield from (Check("prepared images", partial(load, project.PREPARED)) for load in (load_training, load_test))
    for root in (project.RECORD, *sorted(project.RUNS.glob("*"))):
        yield from _parts(root)
    for work in sorted(project.CHECKPOINTS.glob("*")):
        if (work / CHECKPOINT).exists():
            yield Check("checkpoints", partial(_checkpoint, work / CHECKPOINT))
        # What MLflow was told of while it trained.
        yield from _parts(work)
    for path in sorted(project.STUDIES.glob("*/study.json")):
        yield Check("studies", partial(read_study, path.parent))
    if (project.ROOT / STORE).exists():
        yield Check("MLflow database", partial(_store, project.ROOT / STORE))


def _unread() -> str | None:
    """DVC's cache where it lies elsewhere and nothing of it could be read."""
    try:
        folder = project.cache_folder()
        if dvc_files.is_shared() and not os.access(folder, os.R_OK | os.X_OK):
            return f"DVC's cache, {folder} (`dvc cache dir`): it is not there, or not for you"
    except ValueError:
        # Told as damage.
        pass
    return None


def _parts(root: Path) -> Iterator[Check]:
    """The parts of a record that are there. One of a sweep may have come without its weights."""
    for part in (TRAINING, EVALUATION, TEST_EVALUATION):
        # git keeps metrics.json alone.
        if (root / part).exists() and {path.name for path in (root / part).iterdir()} != {"metrics.json"}:
            whole = root.parent != project.RUNS or any((root / part / name).exists() for name in BULKY)
            read = read_training if part == TRAINING else read_evaluation
            yield Check("records" if whole else "records without weights", partial(read, root / part, whole=whole))


def _cached(path: Path) -> None:
    if not digest.is_as_named(path):
        raise UserError(f"{path}: has another content than its name says. Remove it; `dvc repro` makes it anew.")


def _dvc() -> Iterator[Check]:
    """DVC's cache and what dvc.lock says of the workspace."""
    try:
        cached, outputs = dvc_files.cached(), list(dvc_files.outputs())
    except dvc_files.TornLockError as error:
        yield Check("outputs in dvc.lock", partial(_raise, UserError(f"{error}. `make repro` mends it.")))
        return
    except ValueError as error:
        yield Check("files in DVC's cache", partial(_raise, UserError(f"{error}. Mend it there.")))
        return
    where = f" in {project.cache_folder()} that dvc.lock names" if dvc_files.is_shared() else ""
    yield from (Check(f"files in DVC's cache{where}", partial(_cached, path)) for path in cached)
    # What was removed, or never made here, is no damage.
    for stage, path, md5 in outputs:
        if path.exists():
            yield Check("outputs in dvc.lock", partial(_output, stage, path, md5))


def _output(stage: str, path: Path, md5: str) -> None:
    if not dvc_files.is_content(path, md5):
        raise UserError(f"{path}: is not what {stage} wrote. `dvc repro --force {stage}` makes it anew.")


def _checkpoint(path: Path) -> None:
    try:
        read_checkpoint(path)
    except ValueError:
        raise UserError(f"{path}: is damaged. Remove it; the training then starts anew.") from None


def _store(path: Path) -> None:
    if (length := len(os.fsencode(path))) > project.LONGEST_DATABASE:
        why = f"SQLite opens no path of more than {project.LONGEST_DATABASE} characters, and this has {length}"
        raise PermissionError(errno.EACCES, f"{why}. Move the project to a shorter one", str(path))
    repair = "Move it away; `python -m pipeline.track --all` fills a new one."
    journal = path.with_name(f"{path.name}-wal")
    # SQLite makes files beside a database that it reads, where that can be done. Without, and with nothing in its
    # journal, the file is the whole of it.
    alone = not os.access(path.parent, os.W_OK) and not (journal.exists() and journal.stat().st_size)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro{'&immutable=1' * alone}", uri=True)) as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        why = f"SQLite says: {error}. Look at the rights of the file and of its folder"
        raise PermissionError(errno.EACCES, why, str(path)) from None
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: is damaged ({error}). {repair}") from None
    if found != "ok":
        raise UserError(f"{path}: is damaged ({found}). {repair}")


def _raise(error: UserError) -> None:
    raise error


if __name__ == "__main__":
    command.run(main)
