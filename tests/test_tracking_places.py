"""A store that names a place for artifacts that is none of its own is neither written to nor read from."""

import sqlite3
from pathlib import Path

import pytest

from pipeline.record.study import update_study
from pipeline.record.whole import read_record
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from pipeline.tracking.fetching import fetched_training
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.places import problem_with
from pipeline.tracking.reports import attach
from pipeline.tracking.store import StoreUnreachableError, open_store
from pipeline.tracking.study_mirror import StudyMirror
from tests.settings import article
from tests.studies import a_project, study, swept, write_record


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder beside a project with a store, a record and a study."""
    a_project(monkeypatch, tmp_path / "project")
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/project/mlflow.db")
    write_record(project.RUNS / "one", swept())
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


def changed(statement: str, value: str) -> None:
    with sqlite3.connect(project.ROOT / "mlflow.db") as database:
        assert database.execute(statement, (value,)).rowcount > 0
    database.close()


@pytest.mark.parametrize("location", ["file://{}", "{}", "file:///etc", "{}/../outside", "s3://bucket/a", "http://a/b"])
def test_an_experiment_whose_artifacts_lie_elsewhere_is_refused(outside: Path, location: str) -> None:
    assert open_store(article().tracking).experiment_id
    changed("UPDATE experiments SET artifact_location = ? WHERE name = 'conv2d'", location.format(outside))
    with pytest.raises(StoreUnreachableError, match=r"outside of .*, the folder of its database"):
        open_store(article().tracking)


def test_a_run_whose_artifacts_lie_elsewhere_is_neither_written_to_nor_read_from(outside: Path) -> None:
    record = read_record(project.RUNS / "one")
    run = Mirror(open_store(article().tracking)).bring_up(record, "kernels")
    update_study(project.study("kernels"), lambda _: study({"a": {}}))
    parent = StudyMirror(open_store(article().tracking), "kernels").parent()
    assert parent != run
    changed("UPDATE runs SET artifact_uri = ?", f"file://{outside}")
    (outside / "training").mkdir()
    for name in ("run.json", "history.csv", "environment.json"):
        (outside / "training" / name).write_text("secret")
    before = sorted(outside.rglob("*"))
    store = open_store(article().tracking)
    with pytest.raises(StoreUnreachableError, match="outside of"):
        Mirror(store).bring_up(record, "kernels")
    with pytest.raises(StoreUnreachableError, match="outside of"):
        StudyMirror(store, "kernels").parent()
    with pytest.raises(StoreUnreachableError, match="outside of"):
        attach(article().tracking, "kernels", project.RUNS / "one")
    with pytest.raises(UserError, match="outside of"):
        fetched_training(article().tracking, run, outside.parent / "fetched")
    assert sorted(outside.rglob("*")) == before
    assert not (outside.parent / "fetched").exists()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("mlflow-artifacts:/1", None),
        ("mlflow-artifacts://team:5000/1", None),
        ("https://me:word@team:5000/api/artifacts", None),
        ("s3://bucket/conv2d", None),
        ("mlflow-artifacts://elsewhere:5000/1", "another server"),
        ("http://team:5001/1", "another server"),
        ("http://team:5000@elsewhere/1", "another server"),
        ("file:///home/me", "a folder of this machine"),
        ("/home/me", "a folder of this machine"),
        ("./mlruns", "a folder of this machine"),
        ("", "a folder of this machine"),
    ],
)
def test_a_servers_artifacts_are_served_by_it_or_by_a_cloud(location: str, said: str | None) -> None:
    found = problem_with(location, folder=None, server="team:5000")
    assert (found is None) if said is None else said in (found or "")


def test_versions_that_are_none_do_not_get_into_a_models_requirements(outside: Path) -> None:
    from pipeline.tracking.models import _save  # noqa: PLC0415 - imports what only a model needs

    record = read_record(project.RUNS / "one").training
    record.environment["versions"] = {"keras": "3\n--index-url elsewhere", "numpy": "2", "tensorflow": "2"}

    class Network:
        input_shape = (None, 28, 28, 1)
        output_shape = (None, 10)

    with pytest.raises(UserError, match="made with versions that are none"):
        _save(None, "0" * 32, record, Network(), outside / "model")
    assert outside.exists()
