"""Remove what the pipeline made: prepared data, records, checkpoints, MLflow's store, DVC's cache. Says how much.

What git keeps (params.yaml, dvc.lock, metrics.json) and what you put into data/by_hand stays.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.storage import project
from pipeline.terminal import command

MADE = (
    "checkpoints",
    "data/prepared",
    "data/raw",
    "dvc_plots",
    "fingerprints",
    "mlartifacts",
    "mlflow.db",
    "mlflow.db-shm",
    "mlflow.db-wal",
    "record",
    "runs",
    "studies",
    ".dvc/cache",
    ".dvc/tmp",
)
KEPT = (project.RECORD / "evaluation" / "metrics.json",)


def main() -> int:
    command.arguments(__doc__, "clean").parse_args()
    total = 0
    for name in MADE:
        size = _removed(project.ROOT / name)
        total += size
        if size > 0:
            print(f"{size / 1e6:10,.1f} MB  {name}")
    print(f"{total / 1e6:10,.1f} MB  removed")
    return 0


def _removed(path: Path) -> int:
    """Remove a file or all below a folder but what is kept; returns the bytes that were removed."""
    files = [file for file in _files(path) if file not in KEPT]
    size = sum(file.lstat().st_size for file in files)
    if path.is_dir() and not any(kept.is_relative_to(path) for kept in KEPT):
        shutil.rmtree(path)
        return size
    for file in files:
        file.unlink()
    for folder in sorted(path.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return size


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (file for file in path.rglob("*") if file.is_symlink() or file.is_file())
    elif path.exists() or path.is_symlink():
        yield path


if __name__ == "__main__":
    command.run(main)
