"""The store lies in its project, whatever the project's path is made of."""

import os
import sqlite3
from pathlib import Path

import pytest

from pipeline.config.schema import Tracking
from pipeline.tracking.store import LONGEST_PATH, StoreUnreachableError, address, open_store, shown

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
    assert shown(address(TRACKING)) == str(root / "mlflow.db")
    run = store.client.create_run(store.experiment_id)
    (tmp_path / "told").write_text("told")
    store.client.log_artifact(run.info.run_id, str(tmp_path / "told"))
    (kept,) = root.glob("mlartifacts/**/told")
    assert kept.read_text() == "told"
    with sqlite3.connect(root / "mlflow.db") as database:
        assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(run.info.run_id,)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "told"])


@pytest.mark.parametrize("too_much", [0, 1, 140])
def test_a_path_that_sqlite_does_not_open_is_said_to_be_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_much: int
) -> None:
    root = tmp_path / ("x" * 200)
    rest = LONGEST_PATH + too_much - len(os.fsencode(root / "y" / "mlflow.db")) + 1
    root = root / ("y" * (rest // 2)) / ("z" * (rest - rest // 2 - 1))
    root.mkdir(parents=True)
    assert len(os.fsencode(root / "mlflow.db")) == LONGEST_PATH + too_much
    monkeypatch.setenv("DVC_ROOT", str(root))
    if too_much == 0:
        assert open_store(TRACKING).experiment_id
        return
    with pytest.raises(StoreUnreachableError) as told:
        open_store(TRACKING)
    assert f"is a path of {LONGEST_PATH + too_much} characters" in str(told.value)
    assert [path.name for path in root.iterdir()] == [".store.lock"]
