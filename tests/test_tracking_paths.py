"""The store lies in its project, whatever the project's path is made of."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from pipeline import ui
from pipeline.config.schema import Tracking
from pipeline.storage.project import LONGEST_DATABASE
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError, address, without_secrets
from pipeline.tracking.store import open_store

TRACKING = Tracking(enabled=True, address=None, experiment="paths")


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("name", ["what?", "100%", "a%20b", "#1", "a b", "é ü", "mode=ro?&x#%3F%", "plain"])
def test_a_store_is_made_in_its_project_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = tmp_path / name
    root.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    store = open_store(TRACKING)
    assert without_secrets(address(TRACKING)) == str(root / "mlflow.db")
    run = store.client.create_run(store.experiment_id)
    (tmp_path / "told").write_text("told")
    store.client.log_artifact(run.info.run_id, str(tmp_path / "told"))
    (kept,) = root.glob("mlartifacts/**/told")
    assert kept.read_text() == "told"
    with sqlite3.connect(root / "mlflow.db") as database:
        assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(run.info.run_id,)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "told"])


@pytest.mark.parametrize(
    "name", ["%(here)s", *(pytest.param(name, marks=pytest.mark.long) for name in ("a%20b", "100%"))]
)
def test_a_store_is_made_where_mlflow_itself_lies_below_a_percent_sign(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    (root / "mlflow").symlink_to(Path(mlflow.__file__).parent)
    program = f"""
import mlflow
from pipeline.config.schema import Tracking
from pipeline.tracking.store import open_store
assert mlflow.__file__.startswith({str(root)!r})
store = open_store(Tracking(enabled=True, address=None, experiment="percent"))
store.client.create_registered_model("model")
print(store.client.create_run(store.experiment_id).info.run_id)
"""
    environment = os.environ | {"DVC_ROOT": str(root), "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(root / "mlflow.db") as database:
        assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(done.stdout.strip(),)]


def test_the_ui_says_that_mlflows_server_does_not_run_below_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(mlflow, "__file__", "/home/a%20b/mlflow/__init__.py")
    monkeypatch.setattr(sys, "argv", ["ui"])
    monkeypatch.setattr(command, "check_free", lambda *_: pytest.fail("was about to start"))
    with pytest.raises(UserError, match=r"^/home/a%20b/mlflow: has a % in its path.* Move the project"):
        ui.main()


@pytest.mark.parametrize("too_much", [0, 1, 140])
def test_a_path_that_sqlite_does_not_open_is_said_to_be_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_much: int
) -> None:
    root = tmp_path / ("x" * 200)
    rest = LONGEST_DATABASE + too_much - len(os.fsencode(root / "y" / "mlflow.db")) + 1
    root = root / ("y" * (rest // 2)) / ("z" * (rest - rest // 2 - 1))
    root.mkdir(parents=True)
    assert len(os.fsencode(root / "mlflow.db")) == LONGEST_DATABASE + too_much
    monkeypatch.setenv("DVC_ROOT", str(root))
    if too_much == 0:
        assert open_store(TRACKING).experiment_id
        return
    with pytest.raises(StoreUnreachableError) as told:
        open_store(TRACKING)
    assert f"is a path of {LONGEST_DATABASE + too_much} characters" in str(told.value)
    assert [path.name for path in root.iterdir()] == [".store.lock"]
