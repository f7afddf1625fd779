"""A store that names a place for artifacts that is none of its own is neither written to nor read from."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from pipeline.run.record import read_record
from pipeline.storage import project
from pipeline.studies.study import update_study
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError, check_place
from pipeline.tracking.download import download_training
from pipeline.tracking.mirror import Mirror, StudyMirror
from pipeline.tracking.models import Registry
from pipeline.tracking.store import open_store
from tests.harness.settings import article
from tests.harness.studies import a_project, study, swept, write_record


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
    run = Mirror(open_store(article().tracking), "kernels").bring_up(record)
    update_study(project.study("kernels"), lambda _: study({"a": {}}))
    parent = StudyMirror(open_store(article().tracking), "kernels").parent()
    assert parent != run
    changed("UPDATE runs SET artifact_uri = ?", f"file://{outside}")
    (outside / "training").mkdir()
    for name in ("run.json", "history.csv", "clock.json"):
        (outside / "training" / name).write_text("secret")
    before = sorted(outside.rglob("*"))
    store = open_store(article().tracking)
    with pytest.raises(StoreUnreachableError, match="outside of"):
        Mirror(store, "kernels").bring_up(record)
    with pytest.raises(StoreUnreachableError, match="outside of"):
        StudyMirror(store, "kernels").parent()
    with pytest.raises(StoreUnreachableError, match="outside of"):
        StudyMirror(store, "kernels").announce(study({"a": {}}), "a verdict", project.RUNS / "one")
    with pytest.raises(UserError, match="outside of"):
        download_training(article().tracking, run, outside.parent / "fetched")
    assert sorted(outside.rglob("*")) == before
    assert not (outside.parent / "fetched").exists()


def test_no_card_is_left_with_a_released_version_whose_run_lies_elsewhere(outside: Path) -> None:
    record, store = read_record(project.RUNS / "one"), open_store(article().tracking)
    assert record.evaluation is not None
    run = Mirror(store, "kernels").bring_up(record)
    store.client.create_registered_model("conv2d")
    tags = {"weights": str(record.training.run.weights)}
    store.client.create_model_version("conv2d", f"runs:/{run}/model", run_id=run, tags=tags)
    version = Registry(store, "conv2d").register(record.training, record.evaluation, run)
    assert version.number == 1
    Registry(store, "conv2d").attach(version, "a card", {"card.md": "a card", "card.html": "a page"})
    assert len(list(project.ROOT.rglob("card/card.*"))) == 2
    changed("UPDATE runs SET artifact_uri = ?", f"file://{outside}")
    with pytest.raises(StoreUnreachableError, match="outside of"):
        Registry(open_store(article().tracking), "conv2d").attach(version, "a card", {"card.md": "a card"})
    assert not list(outside.iterdir())


def every_place(database: Path) -> list[str]:
    """What the experiment, the runs and the models of a store name as their places."""
    with contextlib.closing(sqlite3.connect(database)) as opened:
        query = (
            "SELECT artifact_location FROM experiments WHERE name = 'conv2d' UNION ALL "
            "SELECT artifact_uri FROM runs UNION ALL SELECT artifact_location FROM logged_models"
        )
        return [place for (place,) in opened.execute(query)]


@pytest.mark.parametrize("act", ["moved", "copied"])
def test_a_store_in_the_project_follows_it(
    outside: Path, monkeypatch: pytest.MonkeyPatch, act: str, tmp_path: Path
) -> None:
    record = read_record(project.RUNS / "one")
    store = open_store(article().tracking)
    run = Mirror(store, "kernels").bring_up(record)
    model = store.client.create_logged_model(store.experiment_id, name="model", source_run_id=run).model_id
    (tmp_path / "weights").write_text("w")
    store.client.log_model_artifacts(model, str(tmp_path / "weights"))
    assert len(every_place(project.ROOT / "mlflow.db")) == 3
    place = tmp_path / "mlartifacts" / "another plac%e"
    place.parent.mkdir()
    (shutil.move if act == "moved" else shutil.copytree)(outside.parent / "project", place)
    monkeypatch.setattr(project, "ROOT", place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    for _ in range(2):
        client = open_store(article().tracking).client
        places = every_place(place / "mlflow.db")
        assert len(places) == 3
        assert all(name.startswith((place / "mlartifacts").as_uri()) for name in places)
    assert {artifact.path for artifact in client.list_artifacts(run)} >= {"training", "evaluation"}
    assert Mirror(open_store(article().tracking), "kernels").bring_up(read_record(place / "runs" / "one")) == run
    assert client.get_logged_model(model).artifact_location == f"{places[0]}/models/{model}/artifacts"
    if act == "copied":
        originals = every_place(outside.parent / "project" / "mlflow.db")
        assert all("another" not in name for name in originals)


def test_a_store_that_is_not_the_projects_keeps_its_places(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(article().tracking)
    shutil.copytree(outside.parent / "project", outside / "another")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{outside}/another/mlflow.db")
    with pytest.raises(StoreUnreachableError, match="move it back") as told:
        open_store(article().tracking)
    assert "remove" not in str(told.value)


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
    refused = contextlib.nullcontext() if said is None else pytest.raises(StoreUnreachableError, match=said)
    with refused:
        check_place("https://me:word@team:5000/", location)


def test_versions_that_are_none_do_not_get_into_a_models_requirements(outside: Path) -> None:
    from pipeline.tracking.models import _save  # noqa: PLC0415 - imports what only a model needs

    record = read_record(project.RUNS / "one").training
    record.run.ingredients["versions"] = {"keras": "3\n--index-url elsewhere", "numpy": "2", "tensorflow": "2"}

    class Network:
        input_shape = (None, 28, 28, 1)
        output_shape = (None, 10)

    with pytest.raises(UserError, match="made with versions that are none"):
        _save(None, "0" * 32, record, Network(), outside / "model")
    assert outside.exists()
