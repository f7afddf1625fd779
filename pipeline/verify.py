"""Read everything that was made here and name what is damaged, with what makes it anew. Nothing is changed.

That is DVC's cache, what dvc.lock says lies in the workspace, the prepared images, records, checkpoints, studies and
the local MLflow database. Exit status 1 where something is damaged or can't be read.
"""

import contextlib
import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
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

Check = tuple[str, Callable[[], object]]
"""A kind of thing, and what reads one of them: raises UserError where it is damaged."""


def main() -> int:
    command.arguments(__doc__, "verify").parse_args()
    checks = list(_checks())
    sound = Counter({kind: 0 for kind, _ in checks})
    bad: dict[str, None] = {}
    with bar("things") as progress:
        for kind, read in progress.track(checks, description="reading"):
            try:
                read()
                sound[kind] += 1
            except PermissionError as error:
                bad[f"can't be read: {error.filename}: {error.strerror}"] = None
            except (UserError, OSError) as error:
                bad[f"damaged: {error}"] = None
    for kind, count in sound.items():
        console.print(f"{count:>7,} sound  {kind}")
    for line in bad:
        console.print(line)
    # A cache whose place DVC's configuration does not tell is damage already.
    with contextlib.suppress(UserError):
        if dvc_files.is_shared() and not os.access(folder := project.cache_folder(), os.R_OK | os.X_OK):
            console.print(f"not read: DVC's cache, {folder} (`dvc cache dir`): it is not there, or not for you")
    return 1 if bad else 0


def _checks() -> Iterator[Check]:
    yield from _dvc()
    if project.PREPARED.exists():
        yield from (("prepared images", partial(load, project.PREPARED)) for load in (load_training, load_test))
    # Beside a checkpoint lies what MLflow was told of while it trained.
    for root in (project.RECORD, *sorted(project.RUNS.glob("*")), *sorted(project.CHECKPOINTS.glob("*"))):
        yield from _parts(root)
    for path in sorted(project.CHECKPOINTS.glob(f"*/{CHECKPOINT}")):
        yield "checkpoints", partial(_checkpoint, path)
    for path in sorted(project.STUDIES.glob("*/study.json")):
        yield "studies", partial(read_study, path.parent)
    if (project.ROOT / STORE).exists():
        yield "MLflow database", partial(_store, project.ROOT / STORE)


def _dvc() -> Iterator[Check]:
    """DVC's cache and what dvc.lock says of the workspace."""
    try:
        cached, outputs = dvc_files.cached(), list(dvc_files.outputs())
    except UserError as error:
        yield "outputs in dvc.lock", partial(_require, lambda: False, told=str(error))
        return
    where = f" in {project.cache_folder()} that dvc.lock names" if dvc_files.is_shared() else ""
    for path in cached:
        told = f"{path}: has another content than its name says. Remove it; `dvc repro` makes it anew."
        yield f"files in DVC's cache{where}", partial(_require, digest.is_as_named, path, told=told)
    for stage, path, md5 in outputs:
        told = f"{path}: is not what {stage} wrote. `dvc repro --force {stage}` makes it anew."
        # What was removed, or never made here, is no damage.
        if path.exists():
            yield "outputs in dvc.lock", partial(_require, _is_content, path, md5, told=told)


def _require(is_sound: Callable[..., bool], *arguments: object, told: str) -> None:
    if not is_sound(*arguments):
        raise UserError(told)


def _is_content(path: Path, md5: str) -> bool:
    return path.is_file() and digest.of_file(path, "md5") == md5


def _parts(root: Path) -> Iterator[Check]:
    """The parts of a record that are there. One of a sweep may have come without its weights."""
    for part in (TRAINING, EVALUATION, TEST_EVALUATION):
        # git keeps metrics.json alone.
        if (root / part).exists() and {path.name for path in (root / part).iterdir()} != {"metrics.json"}:
            whole = root.parent != project.RUNS or any((root / part / name).exists() for name in BULKY)
            read = read_training if part == TRAINING else read_evaluation
            yield "records" if whole else "records without weights", partial(read, root / part, whole=whole)


def _checkpoint(path: Path) -> None:
    try:
        read_checkpoint(path)
    except ValueError:
        raise UserError(f"{path}: is damaged. Remove it; the training then starts anew.") from None


def _store(path: Path) -> None:
    if (length := len(os.fsencode(path))) > project.LONGEST_DATABASE:
        why = f"SQLite opens no path of more than {project.LONGEST_DATABASE} characters, and this has {length}"
        raise PermissionError(errno.EACCES, f"{why}. Move the project to a shorter one", str(path))
    journal = path.with_name(f"{path.name}-wal")
    # SQLite makes files beside a database that it reads, where that can be done. Without, and with nothing in its
    # journal, the file is the whole of it.
    alone = not os.access(path.parent, os.W_OK) and not (journal.exists() and journal.stat().st_size)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro{'&immutable=1' * alone}", uri=True)) as base:
            said = base.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        why = f"SQLite says: {error}. Look at the rights of the file and of its folder"
        raise PermissionError(errno.EACCES, why, str(path)) from None
    except sqlite3.DatabaseError as error:
        said = error
    if str(said) != "ok":
        raise UserError(f"{path}: is damaged ({said}). Move it away; `python -m pipeline.track --all` fills a new one.")


if __name__ == "__main__":
    command.run(main)
