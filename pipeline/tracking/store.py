"""The MLflow store: where it is, made ready once, quiet; what must be done there once; why it could not be reached."""

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import alembic.config
import mlflow

from pipeline.config.schema import Tracking
from pipeline.storage import atomic, lock, project
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import (
    ARTIFACTS,
    StoreUnreachableError,
    address,
    address_of,
    check_place,
    database_of,
    default_address,
    follow_move,
    is_database,
    without_secrets,
)
from pipeline.tracking.fields import ACCOUNT, DESCRIPTION, account
from pipeline.tracking.study_fields import experiment_tags

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

# mlflow reads some of these once. A server that is busy may ask to come again in an hour.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
for variable, value in (
    (RETRIES, "1"),
    ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
    ("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false"),
    ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
):
    os.environ.setdefault(variable, value)
# It would decide which run is written to.
os.environ.pop("MLFLOW_RUN_ID", None)
for logger in ("mlflow", "alembic"):
    logging.getLogger(logger).setLevel(logging.ERROR)
# It shows a traceback of what it raises, which is told in a sentence.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


class _Config(alembic.config.Config):
    """What MLflow hands to alembic: the path of its package too, in which a lone `%` would begin a reference."""

    def set_main_option(self, name: str, value: str) -> None:
        super().set_main_option(name, value.replace("%", "%%") if Path(value).is_dir() else value)


# MLflow takes it from there when it opens a database.
alembic.config.Config = _Config  # type: ignore[misc]

MLFLOWS = {"experiments.experiment_id", *(f"{table}.run_uuid" for table in ("runs", "metrics", "params", "tags"))}
"""Columns of every store of MLflow, whatever its version; another program's tables may be called so too."""

DATABASES = "postgresql", "mysql", "mssql"
"""Of a server: what MLflow itself would open beside SQLite."""

VERSION = "alembic_version.version_num"
"""Where MLflow, as other programs, keeps the version of its tables."""

MARKS = {"application_id", "user_version"}
"""By which a program calls a database its own (https://sqlite.org/pragma.html); MLflow sets neither."""

LONGEST_MAKING = 15.0
"""Seconds in which an MLflow has made its tables, on a slow machine too."""

COLUMNS = """
SELECT held.name || '.' || columns.name FROM sqlite_master AS held, pragma_table_info(held.name) AS columns
WHERE held.type = 'table' UNION ALL SELECT type || ' ' || name FROM sqlite_master
"""

_others: set[tuple[Path, int]] = set()
"""Other programs' databases, by path and inode."""

PAGE, MOST_PAGES = 1000, 100
"""Runs in one answer, by MLflow's limit, and answers: a server may say for ever that there are more."""

AWAY = "move it away; `python -m pipeline.track --all` fills another"
ANOTHER = "name another; `python -m pipeline.track --all` fills it"
"""In place of AWAY where somebody named the file: it may be anything, a README too."""

REASONS = {
    r"too many (\d+) error responses": r"answers with errors (status \1)",
    "filesystem tracking backend": "is a folder of files, which MLflow no longer opens: `mlflow migrate-filestore` "
    "makes a database of it; name that (sqlite:///…) or a server",
    "error code 401": "asks for an account, or does not know this one: set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD in the environment",
    "error code 403": "does not permit this to the account of MLFLOW_TRACKING_USERNAME: whoever looks after the server "
    "can (docs/team.md)",
    "timestamps before 1980|ushort format requires": "takes no models of this date: set the clock of this machine (zip "
    "files know 1980 to 2107)",
    "Max retries exceeded|timed out": "does not answer",
    "not in a valid JSON format|Response body: '<": "answers, but not as an MLflow server does",
    "is not a database": f"is no database: {AWAY}",
    "disk image is malformed": f"is a damaged database: {AWAY}",
    "_alembic_tmp_": f"is a database that was left half made: {AWAY}",
    "out-of-date database schema": f"is a database of another version of MLflow: {AWAY}, or run `mlflow db upgrade`",
    "Can't locate revision": f"is a database of a later version of MLflow: {AWAY}",
    "disk is full": "lies on a disk that is full: make room",
    "disk I/O error": "lies on a disk that reports an error",
    "database is locked": "is locked by another program; end that program",
    "readonly database": "can't be written: look at the rights of the file and its folder",
    "unable to open database file": "can't be opened: look at the rights of the file and its folder",
}
"""What is said of an exception whose words match."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Store:
    client: mlflow.MlflowClient
    experiment_id: str
    address: str


def open_store(tracking: Tracking) -> Store:
    """The store and its experiment, made when they are missing. Raises StoreUnreachableError."""
    where = address(tracking)
    with reaching(where), writing():
        if is_database(where):
            _prepare_database(where)
        elif urlsplit(where).scheme.partition("+")[0] in DATABASES:
            # An experiment that is made without a server keeps its files on this machine, for everybody.
            raise StoreUnreachableError(
                f"{without_secrets(where)}: is a database: name the MLflow server in front of it (http://…)"
            )
        mlflow.set_tracking_uri(where)
        client = mlflow.MlflowClient(where)

        def find() -> Any:
            return client.get_experiment_by_name(tracking.experiment)

        def make() -> Any:
            # A server says itself where artifacts lie.
            artifacts = (database_of(where).parent / ARTIFACTS).as_uri() if is_database(where) else None
            # The UI then shows training runs, not conversations with a language model.
            tags = {"mlflow.experimentKind": "custom_model_development", **experiment_tags()}
            client.create_experiment(tracking.experiment, artifact_location=artifacts, tags=tags)
            return find()

        experiment = ensure(find, make)
        if experiment.lifecycle_stage != "active":
            raise StoreUnreachableError(
                f"{without_secrets(where)}: its experiment {tracking.experiment} was deleted in MLflow. "
                f"`MLFLOW_TRACKING_URI={where if is_database(where) else without_secrets(where)} "
                f"mlflow experiments restore --experiment-id {experiment.experiment_id}` "
                "brings it back, or name another in tracking.experiment"
            )
        check_place(where, experiment.artifact_location)
        return Store(client, str(experiment.experiment_id), where)


def write_experiment_tags(store: Store, wanted: Mapping[str, str]) -> dict[str, str]:
    """Write the `wanted` tags that the experiment does not have, or has otherwise; a person may have described it.

    Returns all that it has. Raises StoreUnreachableError.
    """
    with reaching(store.address):
        stored: dict[str, str] = store.client.get_experiment(store.experiment_id).tags
        for name, text in wanted.items():
            if stored.get(name) != text and not (name == DESCRIPTION and name in stored):
                store.client.set_experiment_tag(store.experiment_id, name, text)
        return {**wanted, **stored}


def settle(store: Store, location: str | None) -> None:
    """Wait until artifacts at a local `location` are on the disk: MLflow does not, a power cut would empty them."""
    path = Path(unquote(urlsplit(location or "").path))
    if is_database(store.address):
        atomic.sync_folder(path, database_of(store.address).parent)


@contextlib.contextmanager
def reaching(where: str) -> Iterator[None]:
    """Whatever goes wrong between here and the store is one exception: StoreUnreachableError."""
    try:
        yield
    except (StoreUnreachableError, UserError):
        raise
    # mlflow lets exceptions of requests, SQLAlchemy and the file system through.
    except Exception as error:
        said = reason(error) if where == default_address() else reason(error).replace(AWAY, ANOTHER)
        raise StoreUnreachableError(f"{without_secrets(where)}: {said}") from error


def reason(error: Exception) -> str:
    """One line, without the text of a page or a statement of SQL."""
    text = str(error).strip()
    for words, meaning in REASONS.items():
        if match := re.search(words, text):
            return match.expand(meaning)
    if isinstance(error, OSError) and error.filename is not None:
        return f"can't be used ({error.filename}: {error.strerror})"
    line = (text.splitlines() or [type(error).__name__])[0]
    start = line[:300]
    # Not within a word, where there are several.
    return line if line == start else f"{start.rpartition(' ')[0] or start} …"


def ensure(find: Callable[[], Result], make: Callable[[], Result]) -> Result:
    """What `find` finds, else what `make` makes: for requests that must not be done twice.

    What an earlier request did and could not tell is found by the next search; nothing is done without one.
    """
    before, attempts = os.environ[RETRIES], 3
    while not (result := find()):
        attempts -= 1
        # mlflow repeats a request that was not answered: one that makes something would make two.
        os.environ[RETRIES] = "0"
        try:
            return make()
        except Exception:
            # It may have been done all the same.
            if not attempts:
                raise
        finally:
            os.environ[RETRIES] = before
    return result


def ensure_run(
    store: Store,
    tags: Mapping[str, str],
    more: Mapping[str, str],
    name: str,
    started: int | None = None,
    fits: Callable[[Any], bool] = lambda _run: True,
) -> Any:
    """The MLflow run with these tags that `fits`; made with `more` tags, name and start (ms), where there is none.

    Of several the one in which most is written, the same for everybody who asks; empty ones are deleted: a request
    that was given up may still arrive, and make a second one, in which nobody writes. On a server with accounts
    another's is none of ours: two who write to one run at once would write it twice.
    """
    wanted = " and ".join(f"tags.{tag} = '{text}'" for tag, text in tags.items())

    def find() -> list[Any]:
        runs = store.client.search_runs([store.experiment_id], wanted)
        return [run for run in runs if is_own(run) and fits(run)]

    def make() -> list[Any]:
        own = {ACCOUNT: account()} if account() else {}
        return [store.client.create_run(store.experiment_id, started, tags={**tags, **more, **own}, run_name=name)]

    def written(run: Any) -> int:
        # `outcome` is among the first that is written of a record or a study.
        return len(run.data.metrics) + ("outcome" in run.data.tags)

    with writing():
        runs = sorted(ensure(find, make), key=lambda run: (-written(run), run.info.start_time or 0, run.info.run_id))
        for other in runs[1:]:
            if not written(other):
                store.client.delete_run(other.info.run_id)
    check_place(store.address, runs[0].info.artifact_uri)
    return runs[0]


def is_own(run: Any) -> bool:
    """Whether a run was made under this account, or under none."""
    return bool(run.data.tags.get(ACCOUNT, account()) == account())


def search_runs(store: Store, wanted: str) -> Iterator[Any]:
    """Every run that the filter selects, the oldest first. Raises StoreUnreachableError where they have no end."""
    token: str | None = None
    for _ in range(MOST_PAGES):
        page = store.client.search_runs(
            [store.experiment_id], wanted, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        if not (token := page.token):
            return
    raise StoreUnreachableError(f"{without_secrets(store.address)}: has more than {PAGE * MOST_PAGES:,} such runs")


def writing() -> contextlib.AbstractContextManager[None]:
    """One process at a time makes databases, experiments and runs."""
    return lock.only_one(project.store_root() / ".store.lock")


def _prepare_database(where: str) -> None:
    """Make the tables while nobody else does: a fresh database opened by several at once breaks for good."""
    path = database_of(where)
    if (length := len(os.fsencode(path))) > project.LONGEST_DATABASE:
        most = f"SQLite opens none of more than {project.LONGEST_DATABASE}"
        raise StoreUnreachableError(
            f"{path}: is a path of {length} characters, {most}. Move the project to a shorter one"
        )
    if not path.exists():
        atomic.write_file(path, _fresh_database())
    _check_own(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        # Readers do not wait for the writer (https://sqlite.org/wal.html).
        database.execute("PRAGMA journal_mode=WAL")
    _open_database(where)
    if path.parent.resolve().is_relative_to(project.store_root().resolve()):
        # Another's database may be reached under several paths.
        follow_move(path)


def _check_own(path: Path) -> None:
    """Raises StoreUnreachableError for another program's database: MLflow would put 66 tables of its own into it.

    One that another MLflow makes in this moment, or brings to its version, has some of its tables: it gets time, while
    it changes. That it is another's is remembered: an asker that waited each time would be given up.
    """
    file = path, path.stat().st_ino
    deadline = time.monotonic() + LONGEST_MAKING
    while (names := _names(path)) and not names >= MLFLOWS | {VERSION}:
        is_begun = bool(names & MLFLOWS) and (VERSION in names or not names & MARKS)
        changes = time.time() - _changed(path) < LONGEST_MAKING
        if file in _others or not is_begun or not changes or time.monotonic() > deadline:
            _others.add(file)
            raise StoreUnreachableError(
                f"{path}: is a database of another program; nothing was written to it. Name another"
            )
        time.sleep(0.2)


def _names(path: Path) -> set[str]:
    """What a database holds: tables' columns (`runs.run_uuid`), all else (`view v`), and those of MARKS it has."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute(COLUMNS).fetchall()
        marks = {mark for mark in MARKS if database.execute(f"PRAGMA {mark}").fetchone() != (0,)}
    return marks.union(name for (name,) in rows)


def _changed(path: Path) -> float:
    """When a database was last written, in seconds since the epoch."""
    files = path, path.with_name(f"{path.name}-wal")
    return max(file.stat().st_mtime for file in files if file.exists())


@cache
def _fresh_database() -> bytes:
    """A database with its tables, made elsewhere: one that a kill leaves half made breaks for good."""
    with tempfile.TemporaryDirectory(prefix="store-") as folder:
        path = Path(folder) / "mlflow.db"
        _open_database(address_of(path))
        with contextlib.closing(sqlite3.connect(path)) as database:
            return database.serialize()


def _open_database(where: str) -> None:
    """Let MLflow bring the tables up to its version."""
    # Its migrations configure logging anew.
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    logging.disable(logging.WARNING)
    try:
        mlflow.MlflowClient(where).search_experiments(max_results=1)
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        root.handlers[:] = handlers
