"""Remove what the pipeline made. What took long goes only when you say so, or with --all.

Cheap to make again: images as they were fetched and prepared, fingerprints, plots. What took long: records, checkpoints
and studies, MLflow's store, DVC's cache. What git keeps (params.yaml, dvc.lock, metrics.json) and what you put into
data/by_hand stays. Needs no .venv.
"""

import contextlib
import fcntl
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

CHEAP = "data/prepared", "data/raw", "dvc_plots", "fingerprints"
COSTLY = (
    *("checkpoints", "mlartifacts", "mlflow.db", "mlflow.db-shm", "mlflow.db-wal"),
    *("record", "runs", "studies", ".dvc/cache", ".dvc/tmp/exps"),
)
KEPT = project.RECORD / "evaluation" / "metrics.json"
LOCKS = (
    *(".stage.lock", ".sweep.lock", ".store.lock", ".dvc/tmp/lock"),
    *("checkpoints/*/lock", "record/.*.lock", "runs/*/.*lock", "studies/*/.lock"),
)
TRAININGS = "record", "runs/*", "checkpoints/*"


def main() -> int:
    parser = command.arguments(__doc__, "clean")
    parser.add_argument("--all", action="store_true", help="remove what took long too, without a question")
    everything = parser.parse_args().all
    with contextlib.ExitStack() as held:
        for path in sorted(path for pattern in LOCKS for path in project.ROOT.glob(pattern)):
            _hold(path, held)
        total = sum(map(_remove, CHEAP))
        costly = [name for name in COSTLY if _files(project.ROOT / name)]
        if costly and (everything or _is_wanted(costly)):
            total += sum(map(_remove, costly))
    print(f"{total / 1e6:10,.1f} MB  removed")
    return 0


def _hold(path: Path, held: contextlib.ExitStack) -> None:
    """Keep who would write from beginning. Raises UserError where somebody writes already."""
    # A file that can't be opened, and a file system without locks, tell nothing.
    with contextlib.suppress(OSError):
        file = held.enter_context(path.open("rb"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path}: is held by a sweep, a stage or dvc that still runs. Nothing was removed; end it, or wait "
                "for it."
            ) from None


def _is_wanted(costly: Sequence[str]) -> bool:
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
    with contextlib.suppress(EOFError):
        return input("Remove it? It can't be had back. [y/N] ").strip().lower() in ("y", "yes")
    return False


def _trainings() -> set[tuple[float, ...]]:
    """Of every training that any record knows, earlier ones of `dvc repro` too: its epochs' seconds as measured."""
    trainings = set()
    for path in (path for root in TRAININGS for path in project.ROOT.glob(f"{root}/clock/*.training.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            epochs = json.loads(path.read_bytes())["epochs"]
            trainings.add(tuple(float(epoch["seconds"]) for epoch in epochs))
    return trainings - {()}


def _remove(name: str) -> int:
    """Remove a file, or all below a folder, but what is kept; says and returns how many bytes that was.

    A link to a folder stays, and what it leads to is emptied: somebody has chosen where these things lie.
    """
    path = project.ROOT / name
    files = _files(path)
    size = sum(file.lstat().st_size for file in files)
    for file in files:
        if file == path:
            path.resolve().unlink()
        file.unlink(missing_ok=True)
    # The deepest first; those that hold what is kept stay.
    for folder in sorted((path, *path.rglob("*")), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    if size > 0:
        print(f"{size / 1e6:10,.1f} MB  {name}")
    return size


def _files(path: Path) -> list[Path]:
    """All files of a file or folder, which may be a link, but what is kept; a link within is one file."""
    below = path.rglob("*") if path.is_dir() else [path] if path.exists() else []
    return [file for file in below if (file.is_symlink() or file.is_file()) and file != KEPT]


if __name__ == "__main__":
    command.run(main)
