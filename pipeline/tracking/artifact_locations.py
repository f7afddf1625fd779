"""Where a database that the configuration names may lie, and where a store may keep artifacts.

A store says the latter itself, for each run: it could name a folder that is none of its own. Nothing here needs MLflow.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.config.schema import Tracking
from pipeline.storage import project
from pipeline.terminal.errors import UserError

SQLITE = "sqlite:///"

ARTIFACTS = "mlartifacts"
"""The folder beside a database of ours in which its artifacts lie."""

LOCATIONS = (
    ("experiments", "experiment_id", "artifact_location"),
    ("runs", "run_uuid", "artifact_uri"),
    ("logged_models", "model_id", "artifact_location"),
)
"""Where MLflow keeps a place: table, its key, the column. It makes relative places absolute when it takes them."""

LOCAL = "", "file"
SERVED = "http", "https", "mlflow-artifacts"


def check_address(tracking: Tracking) -> None:
    """Raises UserError where the store that `tracking` asks for can't be ours, before anything is done for it."""
    if tracking.enabled:
        named_database(tracking)


def named_database(tracking: Tracking) -> Path | None:
    """The database of this project that the configuration names; None where it names none, or is overruled.

    Raises UserError where a link leads out of the project.
    """
    if os.environ.get("MLFLOW_TRACKING_URI") or not (tracking.address or "").startswith(SQLITE):
        return None
    root = project.store_root()
    path = root / unquote(str(tracking.address).removeprefix(SQLITE))
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"tracking.address: {tracking.address} leads out of the project, to {path.resolve()}. Where that is "
            f"wanted, set MLFLOW_TRACKING_URI={SQLITE}{path.resolve()} in the environment."
        )
    return path


def problem_with(location: str, *, folder: Path | None, server: str) -> str | None:
    """Why artifacts must neither be written to nor read from `location`; None where they may.

    `folder` is that of the store's database, None where the store is a server: then `server` is its host and port.
    """
    parts = urlsplit(location)
    if folder is not None:
        place = Path(unquote(parts.path))
        if parts.scheme in LOCAL and not parts.netloc and place.resolve().is_relative_to(folder.resolve()):
            return None
        other = "Where the database was moved, move it back; else name another experiment (tracking.experiment)"
        return f"it keeps artifacts in {location}, outside of {folder}, the folder of its database. {other}"
    if parts.scheme in LOCAL:
        return f"it keeps artifacts in {location}, a folder of this machine; start it with --serve-artifacts"
    # What is served by another host would be asked for with this one's password.
    if parts.scheme in SERVED and parts.netloc.rpartition("@")[2] not in ("", server):
        return f"it keeps artifacts at {location}, another server"
    return None


def follow_move(database: Path) -> None:
    """Let the places that a database of ours names lie beside it, wherever it was when it named them.

    What names a place of another kind stays as it is. Called again it changes nothing.
    """
    own = (database.parent.resolve() / ARTIFACTS).as_uri()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, key, column in LOCATIONS:
            elsewhere = f"instr({column}, ?) > 0 AND substr({column}, 1, length(?)) <> ?"
            rows = connection.execute(
                f"SELECT {key}, {column} FROM {table} WHERE {elsewhere}",  # noqa: S608 - our own words
                (ARTIFACTS, own, own),
            ).fetchall()
            moved = [(f"{own}{below}", row) for row, place in rows if (below := _below_artifacts(place)) is not None]
            connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", moved)  # noqa: S608


def _below_artifacts(location: str) -> str | None:
    """What follows the folder of artifacts in a place of this machine; None where it has no such folder."""
    before, found, below = location.rpartition(f"/{ARTIFACTS}")
    is_folder = bool(found) and (not below or below.startswith("/")) and ".." not in below.split("/")
    return below if is_folder and urlsplit(before).scheme in LOCAL else None
