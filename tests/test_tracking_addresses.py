"""A store that is no store, or never answers: told in a line, soon, and left as it is."""

import contextlib
import json
import os
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from pipeline.config.messages import validated
from pipeline.config.schema import Tracking
from pipeline.storage import atomic
from pipeline.terminal.errors import UserError
from pipeline.tracking import addresses, download, store
from pipeline.tracking.addresses import StoreUnreachableError, address, check_address
from pipeline.tracking.download import download_training, open_soon
from pipeline.tracking.mirror_process import settings
from pipeline.tracking.mirror_worker import follow
from pipeline.tracking.store import open_store, reaching, reason

TRACKING = Tracking(enabled=True, address=None, experiment="broken")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_database_on_a_machine_whose_cores_are_busy_has_longer_than_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_slowly(_: Tracking) -> Any:
        time.sleep(0.6)
        return "the store"

    monkeypatch.setattr(download, "ANSWERS_WITHIN", 0.2)
    monkeypatch.setattr(download, "open_store", open_slowly)
    store: Any = open_soon(TRACKING)
    assert store == "the store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreUnreachableError, match="did not do its part"):
        open_soon(TRACKING)


def test_waiting_for_a_store_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_soon(TRACKING).experiment_id == open_store(TRACKING).experiment_id
    monkeypatch.setattr(download, "ANSWERS_WITHIN", 0.1)
    monkeypatch.setattr(download, "open_store", lambda _: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="did not do its part within 1 s"):
        open_soon(TRACKING)
    assert time.monotonic() - started < 2


def test_a_database_appears_with_all_its_tables_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write_file = atomic.write_file

    def watched(path: Path, content: bytes) -> None:
        seen.append([file.name for file in tmp_path.glob("mlflow.db*")])
        write_file(path, content)

    monkeypatch.setattr(atomic, "write_file", watched)
    open_store(TRACKING)
    assert seen == [[]]
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT name FROM experiments").fetchall() == [("Default",), ("broken",)]
    open_store(TRACKING)
    assert len(seen) == 1


def test_a_database_that_refuses_is_told_in_a_sentence_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(TRACKING)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("DROP TABLE runs")
    with pytest.raises(StoreUnreachableError, match=r"mlflow\.db: "), reaching(store.address):
        store.client.create_run(store.experiment_id)
    assert caplog.records == []


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr("pipeline.tracking.download.ANSWERS_WITHIN", 0.5)
        yield address


def test_reproduce_does_not_wait_for_a_store_that_never_answers(silent: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=f"is no record here, and {silent}: did not do its part"):
        download_training(TRACKING, "0" * 32, tmp_path)
    assert time.monotonic() - started < 5


@contextlib.contextmanager
def answering(status: str, kind: str, body: bytes) -> Iterator[str]:
    """A server that says the same to everybody, and to come again in an hour."""
    headers = f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Retry-After: 3600", "Connection: close"
    head = "\r\n".join((f"HTTP/1.1 {status}", *headers, "", ""))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        connection.recv(65536)
                        connection.sendall(head.encode() + body)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        ("200 OK", "text/html", b"<html>Sign in</html>", "answers, but not as an MLflow server does"),
        ("404 Not Found", "text/html", b"<html>No</html>", "answers, but not as an MLflow server does"),
        ("500 Internal Server Error", "text/plain", b"oh", "answers with errors (status 500)"),
        ("503 Service Unavailable", "text/plain", b"oh", "answers with errors (status 503)"),
    ],
)
def test_what_is_no_mlflow_server_is_told_in_a_line_and_at_once(
    monkeypatch: pytest.MonkeyPatch, status: str, kind: str, body: bytes, said: str
) -> None:
    started = time.monotonic()
    with answering(status, kind, body) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(StoreUnreachableError) as told:
            open_store(TRACKING)
    assert str(told.value) == f"{address}: {said}"
    assert time.monotonic() - started < 5


def half(path: Path) -> None:
    """The first half of a database that was in use."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (name TEXT)")
        for table in ("runs", "metrics", "params", "tags"):
            database.execute(f"CREATE TABLE {table} (name TEXT)")
        database.executemany("INSERT INTO experiments VALUES (?)", [("x" * 500,)] * 200)
        database.commit()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text("not a database, but long enough to be read as one\n" * 40), "is no database"),
        (half, "is a damaged database"),
        (lambda path: path.mkdir(), "can't be opened"),
    ],
)
def test_a_broken_database_is_named_with_what_to_do_and_stays_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "mlflow.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreUnreachableError) as told:
        open_store(TRACKING)
    assert str(told.value).startswith(f"{path}: {said}")
    assert path.is_dir() or "move it away; `python -m pipeline.track --all` fills another" in str(told.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def tables(*names: str, column: str = "name") -> tuple[str, ...]:
    """Statements that make them."""
    return tuple(f"CREATE TABLE {name} ({column} TEXT)" for name in names)


FIVE = "experiments", "runs", "metrics", "params", "tags"


@pytest.mark.parametrize("by", ["address", "variable"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text("[core]\n" * 200), "is no database: "),
        (half, "is a damaged database: "),
    ],
)
def test_nobody_is_told_to_move_away_what_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], object], said: str, by: str
) -> None:
    path = tmp_path / "config"
    spoil(path)
    before = path.read_bytes()
    if by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(StoreUnreachableError) as told:
        open_store(TRACKING if by == "variable" else TRACKING.model_copy(update={"address": "sqlite:///config"}))
    assert str(told.value) == f"{path}: {said}name another; `python -m pipeline.track --all` fills it"
    assert path.read_bytes() == before


@pytest.mark.parametrize("by", ["address", "variable"])
@pytest.mark.parametrize(
    "made",
    [
        tables("users"),
        tables("alembic_version", "users"),
        tables("experiments", "users"),
        tables("runs"),
        tables(*FIVE),
        (*tables(*FIVE), "CREATE TABLE alembic_version (version_num)"),
        tables(*FIVE, column="run_uuid"),
        ("CREATE TABLE runs (run_uuid TEXT)", "PRAGMA user_version = 7"),
        ("CREATE VIEW v AS SELECT 1", "PRAGMA user_version = 7"),
        ("CREATE VIEW v AS SELECT 1",),
        ("PRAGMA user_version = 7",),
        ("PRAGMA application_id = 7",),
        (*tables(*FIVE), "PRAGMA user_version = 7"),
    ],
)
def test_a_database_of_another_program_gets_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[str, ...], by: str
) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in made:
            database.execute(statement)
    os.utime(path, (0, 0))
    before = path.read_bytes()
    tracking = TRACKING.model_copy(update={"address": "sqlite:///other.db"})
    if by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        tracking = TRACKING
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=r"other\.db: is a database of another program"):
        open_store(tracking)
    assert time.monotonic() - began < store.LONGEST_MAKING / 2
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir() if not found.name.startswith(".")] == ["other.db"]


def test_a_named_database_lies_in_the_project_whatever_the_current_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    tracking = TRACKING.model_copy(update={"address": "sqlite:///stores/mlflow.db"})
    assert address(tracking) == f"sqlite:///{tmp_path}/project/stores/mlflow.db"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "stores").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"^tracking\.address: sqlite:///stores/mlflow\.db leads out of the project"):
        address(tracking)
    with pytest.raises(UserError, match=r"leads out of the project"):
        check_address(tracking)
    check_address(tracking.model_copy(update={"enabled": False}))
    first = settings(tracking, "kernels")
    problem, _ = follow([first, json.dumps({"record": str(tmp_path), "part": "evaluation"})])
    assert problem is not None
    assert problem.startswith("tracking.address: sqlite:///stores/mlflow.db leads out of the project, to ")
    assert problem.endswith("in the environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere/mlflow.db")
    check_address(tracking)
    assert address(tracking) == f"sqlite:///{tmp_path}/elsewhere/mlflow.db"


@pytest.mark.parametrize(
    "named",
    [
        "https://me:sesame@team:5000/a",
        "https://sesame@team:5000/a",
        "https://me:open/sesame@team",
        "http://team/?token=sesame",
        "http://team?password=sesame",
        "http://team/#sesame",
        "http://[::1?token=sesame",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_told(named: str) -> None:
    with pytest.raises(UserError) as refused:
        validated(Tracking, {**TRACKING.model_dump(), "address": named})
    assert "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN" in str(refused.value)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "named",
    ["postgresql://me:sesame@host/runs", "mysql://host/runs?password=sesame", "./mlruns", "file:///mlruns", "http://"],
)
def test_what_is_no_address_of_a_store_is_told_what_one_is(named: str) -> None:
    with pytest.raises(UserError) as refused:
        validated(Tracking, {**TRACKING.model_dump(), "address": named})
    said = str(refused.value)
    assert said.startswith("address: must be an MLflow server (http://127.0.0.1:5000, https://…) or an SQLite database")
    assert "for PostgreSQL or another database name the MLflow server in front of it" in said
    assert "sesame" not in said


def test_a_server_of_the_environment_is_shown_without_its_secrets() -> None:
    assert addresses.without_secrets("https://me:sesame@team:5000/a?token=sesame#sesame") == "https://team:5000/a"


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert open_store(TRACKING).experiment_id


def test_a_database_that_another_program_keeps_locked_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(StoreUnreachableError, match=r"mlflow\.db: is locked by another program"):
            open_store(TRACKING)
        assert time.monotonic() - started < 12


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "/x/.store.lock"),
            "can't be used (/x/.store.lock: Permission denied)",
        ),
        (sqlite3.OperationalError("attempt to write a readonly database"), "can't be written: look at the rights"),
        (ValueError("ZIP does not support timestamps before 1980"), "takes no models of this date: set the clock"),
        (struct.error("ushort format requires 0 <= number <= 65535"), "takes no models of this date: set the clock"),
        (sqlite3.OperationalError("unable to open database file"), "can't be opened: look at the rights"),
        (ConnectionError("HTTPConnectionPool: Max retries exceeded with url: /"), "does not answer"),
        (
            RuntimeError("(autoflush)\n(sqlite3.OperationalError) database or disk is full"),
            "lies on a disk that is full",
        ),
        (RuntimeError("table _alembic_tmp_params already exists"), "is a database that was left half made: move it"),
        (RuntimeError("(sqlite3.OperationalError) disk I/O error"), "lies on a disk that reports an error"),
        (ValueError("first\nsecond"), "first"),
        (ValueError(""), "ValueError"),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_every_reason_is_one_short_line(error: Exception, said: str) -> None:
    assert reason(error).startswith(said)
    assert len(reason(error).splitlines()) == 1


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(StoreUnreachableError, match=r"can't be used \(.*file"):
        open_store(TRACKING)


RUN = "0" * 32


class Hostile(BaseHTTPRequestHandler):
    """An MLflow server that says of everything that it is a folder of folders, and sends each file for ever."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.endswith("experiments/get-by-name"):
            place = {"artifact_location": "mlflow-artifacts:/1", "lifecycle_stage": "active"}
            self.answer({"experiment": {"experiment_id": "1", "name": "broken"} | place})
        elif path.endswith("runs/get"):
            place = {"artifact_uri": f"mlflow-artifacts:/1/{RUN}/artifacts", "lifecycle_stage": "active"}
            self.answer({"run": {"info": {"run_id": RUN, "experiment_id": "1", "status": "FINISHED"} | place}})
        elif path.endswith("mlflow-artifacts/artifacts"):
            self.answer({"files": [{"path": str(number), "is_dir": number % 2 == 0} for number in range(1000)]})
        else:
            self.asked.append(path)
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b"x" * 100_000)

    def answer(self, values: dict[str, object]) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_of_an_endless_record_from_a_server_only_the_beginning_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.download.MOST_BYTES", 1_000_000)
    place = tmp_path / "fetched"
    place.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(UserError, match=r"has no training/run\.json of it \(.*File too large"):
            download_training(TRACKING, RUN, place)
        server.shutdown()
    asked = {path for path in Hostile.asked if "mlflow-artifacts" in path}
    assert {path.rpartition("/artifacts/")[2] for path in asked} == {"training/run.json"}
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) <= 1_000_000
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)  # the limit is gone


@pytest.mark.parametrize("kind", ["a folder", "too much in all"])
def test_a_record_in_a_store_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("pipeline.tracking.download.MOST_BYTES", 1_000_000)
    store = open_store(TRACKING)
    run = store.client.create_run(store.experiment_id).info.run_id
    own = tmp_path / "own" / "run.json" if kind == "a folder" else tmp_path / "own"
    own.mkdir(parents=True)
    for name in ("run.json", "history.csv", "clock.json"):
        (own / name).write_bytes(b"x" * 600_000)
    store.client.log_artifacts(run, str(tmp_path / "own"), "training")
    place = tmp_path / "fetched"
    place.mkdir()
    said = {
        "a folder": r"run\.json of it \(a folder in place of a file",
        "too much in all": r"history\.csv .*File too large",
    }
    with pytest.raises(UserError, match=rf"has no training/{said[kind]}"):
        download_training(TRACKING, run, place)
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) <= 1_000_000


def test_the_files_of_a_record_are_fetched_as_they_are(tmp_path: Path) -> None:
    store = open_store(TRACKING)
    run = store.client.create_run(store.experiment_id).info.run_id
    for name in ("run.json", "history.csv", "clock.json"):
        store.client.log_text(run, name, f"training/{name}")
    place = tmp_path / "fetched"
    place.mkdir()
    assert {path.name: path.read_text() for path in download_training(TRACKING, run, place).iterdir()} == {
        name: name for name in ("run.json", "history.csv", "clock.json")
    }


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("./mlruns", "is a folder of files, which MLflow no longer opens: `mlflow migrate-filestore`"),
        ("file:///nowhere/mlruns", "is a folder of files, which MLflow no longer opens"),
        ("postgresql://host/runs", "is a database: name the MLflow server in front of it"),
        ("postgresql+psycopg2://host/runs", "is a database: name the MLflow server in front of it"),
    ],
)
def test_a_store_of_another_kind_is_called_what_it_is(named: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    with pytest.raises(StoreUnreachableError) as refused:
        open_store(TRACKING)
    assert said in str(refused.value)
    assert not str(refused.value).endswith("See htt")


@pytest.mark.parametrize(
    ("status", "said"), [(401, "asks for an account, or does not know this one"), (403, "does not permit this")]
)
def test_a_server_that_refuses_an_account_is_told_with_what_to_do(status: int, said: str) -> None:
    error = Exception(f"API request to endpoint /runs failed with error code {status} != 200. Response body: 'no'")
    assert reason(error).startswith(said)
    assert "MLFLOW_TRACKING_USERNAME" in reason(error)


def test_an_experiment_that_was_deleted_is_said_to_be_with_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    store = open_store(TRACKING)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(
        StoreUnreachableError, match=rf"was deleted in MLflow\. .*--experiment-id {store.experiment_id}`"
    ):
        open_store(TRACKING)
    store.client.restore_experiment(store.experiment_id)
    assert open_store(TRACKING).experiment_id == store.experiment_id


def test_a_database_that_another_mlflow_makes_in_this_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    every = store.MLFLOWS | {store.VERSION}
    states = iter([{"experiments.experiment_id"}, store.MLFLOWS, {"runs.run_uuid", store.VERSION}, every])
    monkeypatch.setattr(store, "_names", lambda _path: next(states))
    store._check_own(path)
    assert next(states, None) is None


@pytest.mark.parametrize("ever", [False, True])
def test_one_that_does_not_become_mlflows_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ever: bool
) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (run_uuid TEXT)")
    monkeypatch.setattr(store, "LONGEST_MAKING", 0.5)
    if ever:
        # Its program goes on writing.
        monkeypatch.setattr(store, "_changed", lambda _path: time.time())
    for sleep in (time.sleep, _wait_again):
        monkeypatch.setattr("time.sleep", sleep)
        with pytest.raises(StoreUnreachableError, match="is a database of another program"):
            store._check_own(path)


def _wait_again(_seconds: float) -> None:
    raise AssertionError("the verdict is remembered, and nothing is waited for")


def test_a_clock_that_is_too_large_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.download.MOST_BYTES", 1_000_000)
    store = open_store(TRACKING)
    run = store.client.create_run(store.experiment_id).info.run_id
    own, place = tmp_path / "own", tmp_path / "fetched"
    for folder in (own, place):
        folder.mkdir()
    for name, size in (("run.json", 10), ("history.csv", 10), ("clock.json", 1_100_000)):
        (own / name).write_bytes(b"x" * size)
    store.client.log_artifacts(run, str(own), "training")
    fetched = download_training(TRACKING, run, place)
    assert sorted(path.name for path in fetched.iterdir()) == ["history.csv", "run.json"]
