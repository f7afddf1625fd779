"""Where things lie, whatever the current folder is."""

import os
from functools import cache
from pathlib import Path

from pipeline.terminal.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

CONF = ROOT / "conf"
CHOSEN = CONF / "chosen.yaml"
PARAMS = ROOT / "params.yaml"

RAW = ROOT / "data" / "raw"
BY_HAND = ROOT / "data" / "by_hand"
IMPORTED = ROOT / "data" / "imported"
PREPARED = ROOT / "data" / "prepared"

FINGERPRINTS = ROOT / "fingerprints"
RECORD = ROOT / "record"
CHECKPOINTS = ROOT / "checkpoints"

DVC_LOCKS = ROOT / ".dvc" / "tmp" / "rwlock"
DVC = ROOT / ".dvc"
STAGE_LOCK = ROOT / ".stage.lock"
SWEEP_LOCK = ROOT / ".sweep.lock"

RUNS = ROOT / "runs"
STUDIES = ROOT / "studies"
REPORTS = ROOT / "reports"
BUNDLE = "records.jsonl.gz"

LONGEST_DATABASE = 504
"""Bytes of a database's path that SQLite opens: of 512 it keeps 8 for the `-journal` beside it (os_unix.c, pager.c)."""


def checkpoint(identity: str) -> Path:
    """Where a run keeps its state while it trains: outside of what DVC removes."""
    return CHECKPOINTS / identity


def run_root(identity: str) -> Path:
    """Where a sweep keeps the record of a run, whichever studies it belongs to."""
    return RUNS / identity


def study(name: str) -> Path:
    """Where a study keeps what came of it."""
    return STUDIES / name


def bundle(study: str) -> Path:
    """Where a study's records lie in one file, beside its report."""
    return REPORTS / study / BUNDLE


def store_root() -> Path:
    """The folder of the MLflow store: in DVC's temporary experiment folders, that of the project they came from.

    DVC sets DVC_ROOT for every stage it runs (dvc.stage.run) and keeps it at the parent project for experiments that
    run elsewhere (dvc.repo.experiments.queue).
    """
    return Path(os.environ.get("DVC_ROOT", ROOT))


def cache_folder() -> Path:
    """Where DVC's cache lies: `dvc cache dir` puts it anywhere, for the project, a user or a machine.

    Raises UserError where DVC's configuration can't be read.
    """
    return _configured_cache(DVC)


def cached_files() -> Path:
    """Where the contents in DVC's cache lie, by their MD5. Raises UserError like `cache_folder`."""
    return cache_folder() / "files" / "md5"


@cache
def _configured_cache(dvc: Path) -> Path:
    from dvc.config import Config, ConfigError  # noqa: PLC0415 - 0.2 s, and only some need it

    try:
        elsewhere = Config(str(dvc))["cache"].get("dir")
    except (ConfigError, OSError) as error:
        raise UserError(f"DVC's configuration in {dvc} can't be read ({error}). Mend it there.") from None
    return Path(elsewhere or dvc / "cache").resolve()


def variants(group: str) -> list[str]:
    """The variants of a group of conf/, those in its folders too: `rules/padding`."""
    return sorted(path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml"))
