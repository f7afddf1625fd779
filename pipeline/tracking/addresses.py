"""Where a store lies, what people are told of that, and where it may keep artifacts. Nothing here needs MLflow.

A store says the last itself, for each run: it could name a folder that is none of its own.
"""

import contextlib
import os
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipeline.config.load import read_section
from pipeline.config.messages import validated
from pipeline.config.schema import Tracking
from pipeline.storage import project
from pipeline.terminal.errors import UserError

if TYPE_CHECKING:
    from pipeline.studies.study import Study

RUN_ID = re.compile(r"[0-9a-f]{32}")
SQLITE = "sqlite:///"
DEFAULT = "mlflow.db"

ARTIFACTS = "mlartifacts"
"""The folder beside a database of ours in which its artifacts lie."""

LOCATIONS = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
"""Where MLflow keeps a place: table and column. It makes relative places absolute when it takes them."""

LOCAL = "", "file"
SERVED = "http", "https", "mlflow-artifacts"


class StoreUnreachableError(Exception):
    """The store did not answer as it should; the record is not concerned."""


def check_address(tracking: Tracking) -> None:
    """Raises UserError where the store that `tracking` asks for can't be ours, before anything is done for it."""
    if tracking.enabled:
        address(tracking)


def tracking_of(study: "Study | None") -> Tracking:
    """Where the sweep of `study` put it; params.yaml's without one, or where an earlier version or none tracked it."""
    if study is None or study.tracking is None:
        return read_section(project.PARAMS, Tracking)
    return validated(Tracking, study.tracking, prefix=f"{study.name}: tracking")


def address(tracking: Tracking) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the configuration's address, else SQLite inside the project.

    A database that the configuration names lies in the project, whatever the current folder is. Raises UserError where
    a link leads out of it.
    """
    if asked := os.environ.get("MLFLOW_TRACKING_URI"):
        return asked
    if tracking.address is None:
        return default_address()
    if not is_database(tracking.address):
        return tracking.address
    root = project.store_root()
    path = root / unquote(tracking.address.removeprefix(SQLITE))
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"tracking.address: {tracking.address} leads out of the project, to {path.resolve()}. Where that is "
            f"wanted, set MLFLOW_TRACKING_URI={SQLITE}{path.resolve()} in the environment."
        )
    return address_of(path)


def default_address() -> str:
    return address_of(project.store_root() / DEFAULT)


def is_database(address: str) -> bool:
    """Whether it is a file of this machine; else it is a server."""
    return address.startswith(SQLITE)


def without_secrets(address: str) -> str:
    """An address for people: a file's path, or a server without the secrets that its address may hold."""
    if is_database(address):
        return str(database_of(address))
    return urlunsplit(urlsplit(address)._replace(netloc=_host(address), query="", fragment=""))


def address_of(database: Path) -> str:
    """SQLAlchemy decodes an address, and takes what follows a question mark for options: so does `database_of`."""
    plain = str(database)
    # Slashes too: MLflow makes the folder that the address names before it is decoded, here none.
    return SQLITE + (quote(plain, safe="") if set("%?#") & set(plain) else plain)


def database_of(address: str) -> Path:
    return Path(unquote(address.removeprefix(SQLITE).partition("?")[0])).absolute()


def check_place(address: str, location: str | None) -> None:
    """Raises StoreUnreachableError where a store names a place for artifacts, its own or a run's, that is not its own.

    An experiment or a run may have been made by anybody who can write to the store.
    """
    location = location or ""
    parts = urlsplit(location)
    is_local, problem = parts.scheme in LOCAL, None
    if is_database(address):
        folder = database_of(address).parent
        if not is_local or parts.netloc or not Path(unquote(parts.path)).resolve().is_relative_to(folder.resolve()):
            problem = (
                f"in {location}, outside of {folder}, the folder of its database. Where the database was moved, move "
                "it back; else name another experiment (tracking.experiment)"
            )
    elif is_local:
        problem = f"in {location}, a folder of this machine; start it with --serve-artifacts"
    # What is served by another host would be asked for with this one's password.
    elif parts.scheme in SERVED and _host(location) not in ("", _host(address)):
        problem = f"at {location}, another server"
    if problem is not None:
        raise StoreUnreachableError(f"{without_secrets(address)}: it keeps artifacts {problem}")


def _host(address: str) -> str:
    """Host and port, without the secrets before them."""
    return urlsplit(address).netloc.rpartition("@")[2]


def follow_move(database: Path) -> None:
    """Let the places that a database of ours names lie beside it, wherever it was when it named them.

    What names a place of another kind stays as it is. Called again it changes nothing.
    """
    own = (database.parent.resolve() / ARTIFACTS).as_uri()

    def moved(location: str | None) -> str | None:
        before, folder, below = (location or "").rpartition(f"/{ARTIFACTS}")
        is_folder = bool(folder) and (not below or below.startswith("/")) and ".." not in below.split("/")
        return f"{own}{below}" if is_folder and urlsplit(before).scheme in LOCAL else location

    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.create_function("moved", 1, moved)
        for table, column in LOCATIONS.items():
            elsewhere = f"substr({column}, 1, length(?)) <> ? AND moved({column}) <> {column}"
            query = f"SELECT 1 FROM {table} WHERE {elsewhere}"  # noqa: S608 - our own words
            # Who changes nothing need not wait for who writes.
            if connection.execute(query, (own, own)).fetchone():
                connection.execute(f"UPDATE {table} SET {column} = moved({column}) WHERE {elsewhere}", (own, own))  # noqa: S608
