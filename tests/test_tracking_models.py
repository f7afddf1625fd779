"""The model of a run in MLflow: there is one, and it is whole, whatever the store did meanwhile."""

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModelStatus

from pipeline.config.schema import Tracking
from pipeline.release import _roll_back
from pipeline.run.record import EVALUATION, TRAINING, WEIGHTS, read_record
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from pipeline.tracking import models
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.fields import DETAILS, FILES
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.models import CHAMPION, PREVIOUS, Registry
from pipeline.tracking.store import Store, open_store
from tests.harness.spoiled import lost, spoiled
from tests.harness.studies import a_project, swept, write_record

TRACKING = Tracking(enabled=True, address=None, experiment="models")
names = (f"study_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield open_store(TRACKING)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "RECORD", tmp_path / "record")


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one small file in place of a Keras model."""

    def save(_made: Any, _run_id: str, _training: Any, _model: Any, folder: Path) -> None:
        folder.mkdir()
        (folder / "MLmodel").write_text("a model")

    monkeypatch.setattr(models, "_save", save)
    monkeypatch.setattr(models, "export_network", lambda _training: None)


def whole_model(store: Store, run_id: str) -> Any:
    """The one model of the run, which is ready, linked, written and scored."""
    (model,) = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    assert model.status == LoggedModelStatus.READY
    assert [output.model_id for output in store.client.get_run(run_id).outputs.model_outputs] == [model.model_id]
    assert [file.path for file in store.client.list_logged_model_artifacts(model.model_id)] == ["MLmodel"]
    assert {metric.key: metric.value for metric in model.metrics}["cost/parameters"] == 62_346
    return model


def brought_up(store: Store, name: str) -> str:
    return Mirror(store, name).bring_up(read_record(project.RECORD), model=True)


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize(
    "fails", ["create_logged_model", "log_model_artifacts", "log_outputs", "log_batch", "finalize_logged_model"]
)
@pytest.mark.parametrize("done", [True, False])
def test_a_model_is_there_once_and_whole_whichever_request_failed(store: Store, fails: str, done: bool) -> None:
    write_record(project.RECORD, swept())
    name = next(names)
    run_id = Mirror(store, name).bring_up(read_record(project.RECORD))

    def away(*_arguments: Any, **_options: Any) -> None:
        raise ConnectionError("away")

    failing = lost(getattr(store.client, fails)) if done else away
    with contextlib.suppress(StoreUnreachableError):
        brought_up(spoiled(store, **{fails: failing}), name)
    brought_up(store, name)
    model = whole_model(store, run_id)
    brought_up(store, name)
    assert whole_model(store, run_id).model_id == model.model_id
    for metric in ("cost/parameters", "accuracy/test", "accuracy/validation"):
        history = store.client.get_metric_history(run_id, metric)
        assert len({point.step for point in history}) == len(history)


@pytest.mark.usefixtures("saved")
def test_a_second_model_that_was_made_unseen_goes(store: Store) -> None:
    write_record(project.RECORD, swept())
    name = next(names)
    run_id = brought_up(store, name)
    kept = whole_model(store, run_id)
    store.client.create_logged_model(store.experiment_id, name="model", source_run_id=run_id)
    brought_up(store, name)
    assert whole_model(store, run_id).model_id == kept.model_id


@pytest.mark.usefixtures("saved")
def test_files_are_on_the_disk_before_the_database_says_that_they_are_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(project.RECORD, swept())
    synced: set[int] = set()

    def sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)

    def checked(method: Callable[..., Any], says: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            details = [tag.value for tag in options.get("tags", ()) if tag.key == DETAILS and FILES in tag.value]
            if says in (*arguments, *[FILES for _ in details]):
                (folder,) = (project.store_root() / "mlartifacts").glob(f"**/{arguments[0]}/artifacts")
                lacking = [str(path) for path in (folder, *folder.rglob("*")) if path.stat().st_ino not in synced]
                assert lacking == []
                asked.append(says)
            return method(*arguments, **options)

        return call

    asked: list[str] = []
    monkeypatch.setattr(os, "fsync", sync)
    spy = {
        "log_batch": checked(store.client.log_batch, FILES),
        "finalize_logged_model": checked(store.client.finalize_logged_model, LoggedModelStatus.READY),
    }
    brought_up(spoiled(store, **spy), next(names))
    assert asked == [FILES, LoggedModelStatus.READY]


@pytest.mark.usefixtures("saved")
def test_the_champion_before_comes_back_where_there_is_one(store: Store) -> None:
    registry = Registry(store, "conv2d")
    with pytest.raises(UserError, match=r"^conv2d: there is no previous version to go back to\.$"):
        _roll_back(registry)
    for weights in ("one", "other"):
        write_record(project.RECORD, swept())
        run_id, record = brought_up(store, next(names)), read_record(project.RECORD)
        training = replace(record.training, run=replace(record.training.run, weights=weights))
        assert record.evaluation is not None
        registry.crown(registry.register(training, record.evaluation, run_id))
    assert _roll_back(registry) == "version 1 of conv2d is the champion again, version 2 the previous one"
    champion, previous = registry.version_of(CHAMPION), registry.version_of(PREVIOUS)
    assert champion is not None
    assert previous is not None
    assert (champion.number, champion.weights, previous.number, previous.weights) == (1, "one", 2, "other")


def test_what_lies_in_a_record_and_is_not_named_there_stays_out_of_the_store(store: Store) -> None:
    pictures = project.RECORD / EVALUATION / "pictures"
    pictures.mkdir(parents=True)
    (pictures / "kernels.png").write_bytes(b"a picture")
    write_record(project.RECORD, swept())
    # As DVC leaves it where the power is cut while it links what lies in its cache.
    (project.RECORD / EVALUATION / ".Jpm-3FLN.tmp").touch()
    run_id = Mirror(store, next(names)).bring_up(read_record(project.RECORD))

    def below(folder: str) -> set[str]:
        return {file.path for file in store.client.list_artifacts(run_id, folder)}

    assert below("evaluation") == {
        f"evaluation/{name}" for name in ("clock.json", "evaluation.json", "metrics.json", "pictures")
    }
    assert below("evaluation/pictures") == {"evaluation/pictures/kernels.png"}
    assert below("training") == {
        f"training/{name}" for name in ("clock.json", "history.csv", "run.json", "weights.npz")
    }


def test_a_record_that_came_in_a_bundle_is_mirrored_without_what_that_leaves_out(store: Store) -> None:
    pictures = project.RECORD / EVALUATION / "pictures"
    pictures.mkdir(parents=True)
    (pictures / "kernels.png").write_bytes(b"a picture")
    write_record(project.RECORD, swept())
    (project.RECORD / TRAINING / WEIGHTS).unlink()
    shutil.rmtree(pictures)
    run_id = Mirror(store, next(names)).bring_up(read_record(project.RECORD))
    assert store.client.get_run(run_id).info.status == "FINISHED"
    files = {file.path for file in store.client.list_artifacts(run_id, "training")}
    assert files == {f"training/{name}" for name in ("clock.json", "history.csv", "run.json")}
