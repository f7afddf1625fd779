"""The mirror worker: what it is told of on its standard input is in the store when the input has ended."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.schema import Tracking
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import TRAINING, read_training, write_training
from pipeline.storage import project
from pipeline.studies.study import Study, StudyRun, update_study
from pipeline.tracking import mirror_worker
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.mirror_process import settings
from pipeline.tracking.mirror_worker import follow
from pipeline.tracking.store import Store, open_store
from tests.harness.studies import a_project, study, swept, write_record

Step = str | Callable[[], object]
TRACKING = Tracking(enabled=True, address=None, experiment="following")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("pipeline.tracking.mirror_worker.BETWEEN_ATTEMPTS", 0.0)
        # The process of the tests keeps its priority.
        patch.setattr(os, "nice", lambda _: 0)
        yield open_store(TRACKING)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


@pytest.fixture
def store(shared: Store, request: pytest.FixtureRequest) -> Store:
    """An experiment for each test, in one store."""
    found = open_store(TRACKING.model_copy(update={"experiment": request.node.name}))
    assert found.address == shared.address
    return found


def told(store: Store, *steps: Step, name: str = "kernels") -> str | None:
    """Follow these lines, and between them let happen what happens; each is taken before the next comes."""
    experiment = store.client.get_experiment(store.experiment_id).name
    first = settings(TRACKING.model_copy(update={"experiment": experiment}), name)
    taken = threading.Semaphore(0)
    newest = mirror_worker._newest

    def one_by_one(named: Any) -> Any:
        taken.release()
        return newest(named)

    def lines() -> Iterator[str]:
        yield first
        for step in steps:
            taken.acquire(timeout=3)
            if callable(step):
                step()
                taken.release()
            else:
                yield step
        taken.acquire(timeout=3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.tracking.mirror_worker._newest", one_by_one)
        return within(10, lambda: follow(lines())[0])


def within(seconds: float, call: Callable[[], str | None]) -> str | None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"has not ended after {seconds:.0f} s, or raised"
    return found[0]


def record(root: Path, part: str = "evaluation") -> str:
    return json.dumps({"record": str(root), "part": part})


def message(found: Study) -> str:
    return json.dumps({"study": str(project.study(found.name))})


def written(*identities: str, state: Any = "running") -> Study:
    cells = [StudyRun(one, "a", seed, "finished", None, 0.9, 0.25, 3.0) for seed, one in enumerate(identities)]
    found = replace(study({"a": {"x": 1}}, cells), state=state)
    return update_study(project.study(found.name), lambda _: found)


def growing(epochs: int, outcome: Any = "running", seed: int = 0) -> Path:
    """A record where a run keeps its state while it trains."""
    new = project.CHECKPOINTS / "new"
    found = write_record(new, swept({"seed": seed}), epochs=epochs, outcome=outcome, accuracy=None)
    shutil.copytree(new, project.checkpoint(found.name), dirs_exist_ok=True)
    shutil.rmtree(new)
    return project.checkpoint(found.name)


def finished(seed: int = 0) -> Path:
    found = write_record(project.RUNS / "new", swept({"seed": seed}))
    (project.RUNS / "new").replace(project.run_root(found.name))
    return project.run_root(found.name)


def statuses(store: Store, role: str) -> list[str]:
    found = store.client.search_runs([store.experiment_id], f"tags.role = '{role}'")
    return sorted(run.info.status for run in found)


def steps(store: Store, metric: str = "loss/training") -> list[int]:
    (run,) = store.client.search_runs([store.experiment_id], "tags.role = 'run'")
    return [point.step for point in store.client.get_metric_history(run.info.run_id, metric)]


def test_a_run_that_grows_and_ends_is_in_the_store_once(store: Store) -> None:
    work = growing(1)
    found = written()
    root = finished()
    assert (
        told(store, message(found), record(work), record(work), lambda: growing(2), record(work), record(root)) is None
    )
    assert statuses(store, "run") == ["FINISHED"]
    assert steps(store) == [1, 2]


def test_a_training_that_begins_anew_is_not_there_twice(store: Store) -> None:
    work = growing(2)

    def anew(epochs: int) -> None:
        write_record(work, swept({"seed": 0}), epochs=epochs, outcome="running", accuracy=None, seconds=9)

    assert told(store, record(work), lambda: anew(0), record(work), lambda: anew(3), record(work)) is None
    assert steps(store, "timing/epoch_seconds") == [1, 2, 3]


def other_bits(root: Path, epochs: int) -> None:
    """The record at `root`, as it grows on another class of processor."""
    write_record(root, swept({"seed": 0}), epochs=epochs, outcome="running", accuracy=None, seconds=9)
    part = read_training(root / TRAINING)
    history = [replace(epoch, loss=epoch.loss * 1.000001) for epoch in part.history]
    write_training(root / TRAINING, part.run, history)


@pytest.mark.parametrize("name", ["kernels", REPRO_STUDY])
def test_a_training_that_begins_anew_with_other_bits_is_a_curve_of_its_own(store: Store, name: str) -> None:
    work = growing(2)
    growths: list[Step] = []
    for epochs in range(4):
        growths += [partial(other_bits, work, epochs), record(work)]
    assert told(store, record(work), *growths, name=name) is None
    for _ in range(2):
        found = store.client.search_runs([store.experiment_id], "tags.identity LIKE '%'")
        runs = {run.data.tags["role"]: run for run in found}
        assert len(found) == len(runs) == 2
        assert values(store, runs["superseded"]) == [1.0, 0.5]
        assert values(store, runs["run"]) == pytest.approx([1.000001, 0.5000005, 0.333333667], rel=1e-8)
        assert {run.info.status for run in found} == {"KILLED"}
        assert runs["superseded"].data.tags["reason"].startswith("superseded: the training began anew")
        # Told again nothing changes.
        assert told(store, record(work), name=name) is None


def test_a_run_goes_on_in_the_curve_that_it_agrees_with(store: Store) -> None:
    work = growing(2)
    there_and_back: list[Step] = [lambda: other_bits(work, 2), record(work), lambda: growing(3), record(work)]
    assert told(store, record(work), *there_and_back) is None
    found = store.client.search_runs([store.experiment_id], "tags.identity LIKE '%'")
    runs = {run.data.tags["role"]: run for run in found}
    assert len(found) == len(runs) == 2
    assert values(store, runs["run"]) == [1.0, 0.5, pytest.approx(1 / 3)]
    assert values(store, runs["superseded"]) == pytest.approx([1.000001, 0.5000005], rel=1e-9)


def test_a_run_that_diverged_agrees_with_itself(store: Store) -> None:
    work = growing(2)
    part = read_training(work / TRAINING)
    history = [part.history[0], replace(part.history[1], loss=float("nan"), validation_loss=float("inf"))]
    write_training(work / TRAINING, part.run, history)
    for _ in range(2):
        assert told(store, record(work)) is None
    (run,) = store.client.search_runs([store.experiment_id], "tags.identity LIKE '%'")
    assert len(values(store, run)) == 2


def values(store: Store, run: Any) -> list[float]:
    """The curve of the training loss."""
    return [point.value for point in store.client.get_metric_history(run.info.run_id, "loss/training")]


def test_what_says_running_when_the_input_ends_was_killed(store: Store) -> None:
    assert told(store, message(written()), record(growing(1)), record(growing(1, seed=1))) is None
    assert statuses(store, "study") == ["KILLED"]
    assert statuses(store, "run") == ["KILLED", "KILLED"]
    (reason,) = {
        run.data.tags["reason"] for run in store.client.search_runs([store.experiment_id], "tags.role = 'run'")
    }
    assert reason == "killed"


def test_what_has_ended_otherwise_keeps_its_end(store: Store) -> None:
    work = growing(1)
    ends: list[Step] = [lambda: growing(1, "failed"), lambda: written(state="failed")]
    assert told(store, message(written()), record(work), *ends, record(work), message(written(state="failed"))) is None
    assert statuses(store, "run") == ["FAILED"]
    assert statuses(store, "study") == ["FAILED"]


def test_a_run_that_was_moved_to_where_it_stays_is_not_left_running(store: Store) -> None:
    # The worker has put the record into runs/; the sweep was killed before it could tell.
    work = growing(2)

    def moved() -> None:
        finished()
        work.rename(work.with_name("gone"))

    assert told(store, message(written()), record(work), moved) is None
    assert statuses(store, "run") in (["FINISHED"], ["KILLED"])


def test_a_run_that_is_scored_was_not_killed_though_a_dvc_repro_of_it_is_at_work_where_it_grew(store: Store) -> None:
    work = growing(1)
    assert told(store, message(written()), record(work), finished, record(work)) is None
    assert statuses(store, "run") == ["FINISHED"]


def test_a_record_that_was_read_while_it_was_moved_is_read_where_it_stays_not_where_a_dvc_repro_grows(
    store: Store,
) -> None:
    work = growing(1)
    (work / "training" / "run.json").write_text("{")
    assert told(store, message(written()), record(work), record(finished()), lambda: growing(1)) is None
    assert statuses(store, "run") == ["FINISHED"]


def test_what_a_model_takes_is_imported_before_the_record_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    imported, in_time = threading.Event(), list[bool]()
    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr("pipeline.tracking.mirror_worker.import_for_models", imported.set)

    def lines(*, model: bool) -> Iterator[str]:
        yield settings(TRACKING, REPRO_STUDY, model=model)
        in_time.append(imported.wait(10 if model else 0.1))

    assert follow(lines(model=False)) == follow(lines(model=True)) == (None, None)
    assert in_time == [False, True]


def test_a_run_of_dvc_repro_has_no_parent(store: Store) -> None:
    assert told(store, record(finished()), name=REPRO_STUDY) is None
    assert statuses(store, "run") == ["FINISHED"]
    assert statuses(store, "study") == []
    (run,) = store.client.search_runs([store.experiment_id])
    assert "mlflow.parentRunId" not in run.data.tags


@contextmanager
def away(times: int) -> Iterator[list[int]]:
    """The store does not answer the first attempts to open it."""
    opened = [0]

    def open_later(tracking: Tracking) -> Store:
        opened[0] += 1
        if opened[0] <= times:
            raise StoreUnreachableError("the store: does not answer")
        return open_store(tracking)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.tracking.mirror_worker.open_store", open_later)
        yield opened


def test_a_store_that_is_away_at_first_gets_everything_once_when_it_answers(store: Store) -> None:
    first, second, third = finished(0), finished(1), growing(1, seed=2)
    found = written(first.name, second.name, state="finished")
    lines: list[Step] = [
        message(found),
        record(first),
        record(third),
        lambda: growing(2, seed=2),
        record(third),
        record(second),
    ]
    with away(4) as opened:
        assert told(store, *lines) is None
    assert opened == [5]
    assert statuses(store, "study") == ["FINISHED"]
    assert statuses(store, "run") == ["FINISHED", "FINISHED", "KILLED"]
    for run in store.client.search_runs([store.experiment_id], "tags.role = 'run'"):
        points = store.client.get_metric_history(run.info.run_id, "loss/training")
        assert [point.step for point in points] == [1, 2]


def test_a_store_that_never_answers_is_said_and_waited_for_no_longer(store: Store) -> None:
    with away(100):
        assert told(store, record(finished()), record(growing(1, seed=1))) == "the store: does not answer"
    assert statuses(store, "run") == []


def test_a_store_that_fails_at_the_end_is_tried_again_a_few_times(store: Store) -> None:
    with away(3) as opened:
        assert told(store, record(finished())) is None
    assert opened == [4]
    assert statuses(store, "run") == ["FINISHED"]


def test_a_store_that_fails_in_between_is_opened_anew_and_gets_the_rest(store: Store) -> None:
    opened: list[Store] = []

    class Failing:
        def __init__(self, client: Any) -> None:
            self._client = client
            self.left = 4

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("log", "set")):
                self.left -= 1
                if self.left < 0:
                    raise ConnectionError("gone")
            return getattr(self._client, name)

    def flaky(tracking: Tracking) -> Store:
        found = open_store(tracking)
        client: Any = Failing(found.client)
        opened.append(replace(found, client=client) if len(opened) < 3 else found)
        return opened[-1]

    roots = [finished(seed) for seed in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.tracking.mirror_worker.open_store", flaky)
        found = written(*(root.name for root in roots), state="finished")
        assert told(store, message(found), record(roots[0]), record(roots[1]), message(found)) is None
    assert len(opened) > 1
    assert statuses(store, "run") == ["FINISHED", "FINISHED"]
    assert statuses(store, "study") == ["FINISHED"]


def test_a_record_or_a_study_that_can_not_be_read_is_said_and_the_rest_goes_on(store: Store) -> None:
    broken, good = finished(0), finished(1)
    (broken / "training" / "history.csv").write_text("x")
    assert "history.csv" in str(told(store, record(good), record(broken)))
    assert statuses(store, "run") == ["FINISHED"]
    found = written()
    (project.study(found.name) / "study.json").write_text("{")
    assert "is damaged" in str(told(store, message(found)))


def test_a_record_that_was_removed_while_it_was_read_is_no_problem(store: Store) -> None:
    work = growing(1)
    (work / "training" / "history.csv").write_text("half of it")
    assert told(store, record(work), lambda: shutil.rmtree(work), record(finished())) is None
    assert statuses(store, "run") == ["FINISHED"]


def test_a_record_that_is_not_there_any_more_is_passed_over(store: Store) -> None:
    assert told(store, record(project.RUNS / "nowhere")) is None
    assert statuses(store, "run") == []


def test_a_line_that_was_cut_when_its_writer_was_killed_ends_nothing_but_itself(store: Store) -> None:
    assert isinstance(told(store, record(finished()), record(finished(1))[:20]), str | None)
    assert statuses(store, "run") == ["FINISHED"]


def test_an_input_that_ends_at_once_is_no_error(store: Store) -> None:
    assert told(store) is None
    assert statuses(store, "study") == []
    assert within(5, lambda: follow(iter([]))[0]) is None
