"""Remove what the pipeline made. What took long goes only when you say so, or with --all.

Cheap to make again: images as they were fetched and prepared, fingerprints, plots. What took long: records, checkpoints
and studies, MLflow's store, DVC's cache. What git keeps (params.yaml, dvc.lock, metrics.json) and what you put into
data/by_hand stays. Needs no .venv.
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

CHEAP = ("data/prepared", "data/raw", "dvc_plots", "fingerprints")
COSTLY = (
    "checkpoints",
    "mlartifacts",
    "mlflow.db",
    "mlflow.db-shm",
    "mlflow.db-wal",
    "record",
    "runs",
    "studies",
    ".dvc/cache",
    ".dvc/tmp/exps",
)
KEPT = (project.RECORD / "evaluation" / "metrics.json",)
LOCKS = (
    ".stage.lock",
    ".sweep.lock",
    ".store.lock",
    ".dvc/tmp/lock",
    "checkpoints/*/lock",
    "record/.*.lock",
    "runs/*/.*lock",
    "studies/*/.lock",
)

TIMES = "clock/*.training.json"
MOST_BYTES = 10_000_000
"""Of what a clock said of a training: a hundred thousand epochs have less."""


def main() -> int:
    parser = command.arguments(__doc__, "clean")
    parser.add_argument("--all", action="store_true", help="remove what took long too, without a question")
    everything = parser.parse_args().all
    with ExitStack() as held:
        for path in sorted(found for pattern in LOCKS for found in project.ROOT.glob(pattern)):
            _hold(path, held)
        total = sum(map(_remove, CHEAP))
        costly = [name for name in COSTLY if _files(project.ROOT / name)]
        if costly and (everything or _wanted(costly)):
            total += sum(map(_remove, costly))
    print(f"{total / 1e6:10,.1f} MB  removed")
    return 0


def _hold(path: Path, held: ExitStack) -> None:
    """Keep who would write from beginning. Raises UserError where somebody writes already."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{path}: is held by a sweep, a stage or dvc that still runs. Nothing was removed; end it, or wait for it."
        ) from None
    except OSError:
        # A file system without locks.
        return


def _wanted(costly: Sequence[str]) -> bool:
    """Say what took long, and ask whether it shall go; without a terminal nobody can be asked."""
    megabytes = sum(file.lstat().st_size for name in costly for file in _files(project.ROOT / name)) / 1e6
    seconds = [sum(epochs) for epochs in _trainings()]
    runs = f"{len(seconds)} run{'' if len(seconds) == 1 else 's'}"
    print(f"What took long: {runs}, trained for {sum(seconds):,.0f} s; {megabytes:,.1f} MB:")
    for name in costly:
        path = project.ROOT / name
        print(f"    {name}" + (f" (a link to {path.resolve()})" if path.is_symlink() else ""))
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        print("It stays. To remove it too: make clean ALL=1 (python -m pipeline.clean --all)")
        return False
    try:
        return input("Remove it? It can't be had back. [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _trainings() -> set[tuple[float, ...]]:
    """Of every training that any record knows, earlier ones of `dvc repro` too: its epochs' seconds as measured."""
    roots = project.RECORD, *project.RUNS.glob("*"), *project.CHECKPOINTS.glob("*")
    trainings = set()
    for path in (path for root in roots for path in root.glob(TIMES)):
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES)
            trainings.add(tuple(float(epoch["seconds"]) for epoch in json.loads(content)["epochs"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return trainings - {()}


def _remove(name: str) -> int:
    """Remove a file, or all below a folder, but what is kept; says and returns how many bytes that was.

    A link to a folder stays, and what it leads to is emptied: somebody has chosen where these things lie.
    """
    path = project.ROOT / name
    size = sum(file.lstat().st_size for file in _files(path))
    if path.is_dir():
        _empty(path)
        if not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    elif path.exists():
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    if size > 0:
        print(f"{size / 1e6:10,.1f} MB  {name}")
    return size


def _empty(folder: Path) -> None:
    """Remove what is in a folder, but what is kept and the folders that lead there."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir():
            if path not in KEPT:
                path.unlink()
        elif any(kept.is_relative_to(path) for kept in KEPT):
            _empty(path)
        else:
            shutil.rmtree(path)


def _files(path: Path) -> list[Path]:
    """All files of a file or folder, which may be a link, but those that are kept; a link within is one file."""
    below = path.rglob("*") if path.is_dir() else [path] if path.exists() else []
    return [file for file in below if (file.is_symlink() or file.is_file()) and file not in KEPT]


if __name__ == "__main__":
    command.run(main)
