"""A store that fails or forgets to answer: in the end it holds everything once."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

from pipeline.config.schema import Tracking
from pipeline.run.record import read_record
from pipeline.storage import project
from pipeline.studies.study import RunState, StudyRun
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.mirror import Mirror, StudyMirror, unfinished
from pipeline.tracking.store import RETRIES, Store, ensure_run, open_store
from tests.harness.spoiled import lost, spoiled
from tests.harness.studies import a_project, study, swept, write_record

TRACKING = Tracking(enabled=True, address=None, experiment="outages")
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
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def tagged(store: Store, name: str) -> list[Any]:
    return list(store.client.search_runs([store.experiment_id], f"tags.study = '{name}'"))


def test_a_run_whose_creation_was_not_answered_is_made_once(store: Store) -> None:
    forgetful = spoiled(store, create_run=lost(store.client.create_run))
    tags = {"study": next(names), "role": "study"}
    made = ensure_run(forgetful, tags, {}, "name")
    assert [run.info.run_id for run in tagged(store, tags["study"])] == [made.info.run_id]


def test_a_creation_that_fails_is_tried_three_times(store: Store) -> None:
    tried = []

    def failing(*_arguments: Any, **_options: Any) -> None:
        tried.append(1)
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        ensure_run(spoiled(store, create_run=failing), {"study": next(names)}, {}, "name")
    assert len(tried) == 3


def test_mlflow_sends_the_creation_of_a_run_no_second_time_by_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RETRIES, "5")
    seen = []

    def looking(*arguments: Any, **options: Any) -> Any:
        seen.append(MLFLOW_HTTP_REQUEST_MAX_RETRIES.get())
        return store.client.create_run(*arguments, **options)

    ensure_run(spoiled(store, create_run=looking), {"study": next(names)}, {}, "name")
    assert (seen, os.environ[RETRIES]) == ([0], "5")


def test_of_two_runs_that_should_be_one_the_empty_one_goes(store: Store) -> None:
    write_record(project.RECORD, swept())
    name, identity = next(names), read_record(project.RECORD).training.run.identity
    tags = {"study": name, "role": "run", "identity": identity}
    for start in (1, 2, 3):
        store.client.create_run(store.experiment_id, tags=tags, start_time=start)
    written = sorted(tagged(store, name), key=lambda run: run.info.start_time)[1].info.run_id
    store.client.log_metric(written, "loss/training", 1.0, timestamp=1, step=1)
    assert Mirror(store, name).bring_up(read_record(project.RECORD)) == written
    assert [run.info.run_id for run in tagged(store, name)] == [written]


def test_runs_in_which_something_is_written_are_never_deleted(store: Store) -> None:
    name = next(names)
    for _ in range(2):
        run = store.client.create_run(store.experiment_id, tags={"study": name})
        store.client.log_metric(run.info.run_id, "loss/training", 1.0)
    ensure_run(store, {"study": name}, {}, "name")
    assert len(tagged(store, name)) == 2


def test_what_arrives_late_is_not_there_twice(store: Store) -> None:
    name, root = next(names), project.RUNS / "growing"
    given_up: list[dict[str, Any]] = []

    def late(run_id: str, **written: Any) -> None:
        if "params" not in written:
            store.client.log_batch(run_id, **written)
            return
        given_up.append({"run_id": run_id} | written)
        raise ConnectionError("timed out")

    write_record(root, swept(), epochs=1, outcome="running", accuracy=None)
    with pytest.raises(StoreUnreachableError, match="does not answer"):
        Mirror(spoiled(store, log_batch=late), name).bring_up(read_record(root))
    write_record(root, swept(), epochs=2, outcome="running", accuracy=None)
    Mirror(store, name).bring_up(read_record(root))
    store.client.log_batch(**given_up[0])
    (run,) = tagged(store, name)
    assert {metric.key for metric in given_up[0]["metrics"]} == {"cost/parameters", "cost/multiply_adds"}
    for metric in run.data.metrics:
        history = store.client.get_metric_history(run.info.run_id, metric)
        assert len({point.step for point in history}) == len(history), metric


def left(number: int, outcome: Any) -> str:
    """A training that has not come to its end, where it keeps its state; returns its identity."""
    found = write_record(project.CHECKPOINTS / "new", swept({"seed": number}), outcome=outcome, accuracy=None)
    (project.CHECKPOINTS / "new").rename(project.checkpoint(found.name))
    return found.name


def test_runs_that_ended_badly_while_the_store_was_away_are_told_later(store: Store) -> None:
    name = next(names)
    identities = [left(0, "failed"), left(1, "running"), left(2, "interrupted"), left(3, "running"), "nowhere"]
    states: list[RunState] = ["failed", "waiting", "waiting", "waiting", "waiting"]
    cells = [StudyRun(one, "a", seed, state) for seed, (one, state) in enumerate(zip(identities, states, strict=True))]
    found = replace(study({"a": {"x": 1}}, cells), name=name)
    with FileLock(project.checkpoint(identities[3]) / "lock"):
        # This one is being trained now.
        for _ in range(2):
            StudyMirror(store, name).bring_up_study(found, all_runs=True)
    runs = {run.data.tags["identity"]: run for run in tagged(store, name) if run.data.tags["role"] == "run"}
    assert {identity: run.info.status for identity, run in runs.items()} == {
        identities[0]: "FAILED",
        identities[1]: "KILLED",
        identities[2]: "KILLED",
    }
    for run in runs.values():
        assert len(store.client.get_metric_history(run.info.run_id, "loss/training")) == 2


def test_a_run_that_was_killed_in_its_last_moment_is_told_as_finished() -> None:
    identity = left(0, "running")
    write_record(project.run_root(identity), swept({"seed": 0}))
    found = unfinished(identity)
    assert found is not None
    assert found.training.run.outcome == "finished"
