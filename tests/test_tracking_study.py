"""A study in MLflow: one parent run with its grid and table, its runs as children; kept up to the records."""

import base64
import itertools
import json
import shutil
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import track
from pipeline.config.schema import Tracking
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import read_record
from pipeline.storage import project
from pipeline.studies.run_study import _tracked
from pipeline.studies.study import RunState, Study, StudyRun, update_study
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError, tracking_of
from pipeline.tracking.download import get_runs
from pipeline.tracking.fields import all_tags
from pipeline.tracking.mirror import Mirror, StudyMirror
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.study_fields import page, study_views
from tests.harness import studies
from tests.harness.studies import a_project, study, swept, write_record

SETTINGS: dict[str, dict[str, Any]] = {
    "a": {"model.conv.kernel_size": 3, "model.pooling": "max"},
    "b": {"model.conv.kernel_size": [3, 5], "model.pooling": "max"},
}
names = (f"study_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One SQLite store for all tests: to make its tables takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield open_store(Tracking(enabled=True, address="sqlite:///mlflow.db", experiment="studies"))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def recorded(number: int, **changes: Any) -> str:
    """A record in runs/; returns its identity."""
    found = write_record(project.RUNS / "new", swept({"seed": number}), **changes)
    (project.RUNS / "new").replace(project.run_root(found.name))
    return found.name


def with_runs(*identities: str, name: str | None = None, state: RunState = "finished") -> Study:
    cells = [StudyRun(one, "a", seed, state, None, 0.9, 0.25, 3.0, "s") for seed, one in enumerate(identities)]
    return replace(study(SETTINGS, cells), name=name or next(names))


def bring_up(store: Store, found: Study) -> None:
    StudyMirror(store, found.name).bring_up_study(found)


def runs(store: Store, found: Study, role: str) -> list[Any]:
    wanted = f"tags.study = '{found.name}' and tags.role = '{role}'"
    return list(store.client.search_runs([store.experiment_id], wanted))


def parent(store: Store, found: Study) -> Any:
    (run,) = runs(store, found, "study")
    return run


def csv(store: Store, found: Study) -> str:
    path = store.client.download_artifacts(parent(store, found).info.run_id, "settings.csv")
    return Path(path).read_text()


class Writes:
    """A client that keeps what it writes and what it asks of single runs, and fails where it is told to."""

    def __init__(self, client: Any, fails: str = "") -> None:
        self._client = client
        self._fails = fails
        self.done: list[str] = []
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name == self._fails:
            raise ConnectionError("the store is away")
        if name.startswith(("log", "set", "create", "update", "delete")):
            self.done.append(name)
        if name in ("get_metric_history", "list_artifacts"):
            self.asked.append(name)
        return getattr(self._client, name)


def test_a_study_has_one_parent_however_often_and_by_whom_it_is_brought_up(store: Store) -> None:
    found = with_runs()
    first = StudyMirror(store, found.name)
    assert first.parent() == first.parent() == StudyMirror(store, found.name).parent()
    bring_up(store, found)
    bring_up(store, replace(found, state="finished"))
    assert parent(store, found).info.run_id == first.parent()
    assert parent(store, found).info.run_name == found.name


def test_a_parent_holds_the_grid_the_state_and_the_table(store: Store) -> None:
    found = replace(with_runs(recorded(0)), baseline={"model.conv.kernel_size": [3, 5]})
    bring_up(store, found)
    tags = all_tags(parent(store, found).data.tags)
    assert tags["swept"] == "kernel_size 3, [3, 5]; seed 0"
    assert [tag for tag in tags if tag.startswith("grid.")] == ["grid.model.conv.kernel_size"]
    assert (tags["outcome"], tags["scored_on"], tags["margin"]) == ("running", "validation", "0.5")
    assert tags["baseline"] == "model.conv.kernel_size [3, 5]"
    assert "| 3 | 90.00 % (1) |" in " ".join(tags["mlflow.note.content"].replace("&emsp;", " ").split())
    assert csv(store, found).splitlines()[1].startswith("3,1,0,0,0,0.9,")


@pytest.mark.parametrize(
    ("state", "status"),
    [("running", "RUNNING"), ("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")],
)
def test_the_status_of_a_parent_is_how_the_study_stands_and_it_can_go_on(store: Store, state: Any, status: str) -> None:
    found = replace(with_runs(), state=state)
    bring_up(store, found)
    run = parent(store, found)
    assert run.info.status == status
    assert (run.info.end_time is None) is (status == "RUNNING")
    bring_up(store, replace(found, state="running"))
    assert parent(store, found).info.status == "RUNNING"


def test_the_table_is_kept_up_to_date(store: Store) -> None:
    found = with_runs(recorded(0), "later")
    waiting = replace(found.cells[1], state="waiting", accuracy=None, seconds=None)
    bring_up(store, replace(found, cells=(found.cells[0], waiting)))
    assert "1 of 2 runs finished" in parent(store, found).data.tags["mlflow.note.content"]
    bring_up(store, replace(found, cells=(found.cells[0], replace(waiting, state="failed"))))
    assert "1 failed" in parent(store, found).data.tags["mlflow.note.content"]
    ended = replace(waiting, identity=recorded(1), state="finished", accuracy=0.8)
    bring_up(store, replace(found, cells=(found.cells[0], ended)))
    assert "85.00 ± 7.07 % (2)" in parent(store, found).data.tags["mlflow.note.content"]
    assert csv(store, found).splitlines()[1].startswith("3,2,0,0,0,0.85")


def test_the_table_has_every_digit_after_a_new_scoring_too(store: Store) -> None:
    found = with_runs(recorded(0))
    bring_up(store, found)
    bring_up(store, replace(found, cells=(replace(found.cells[0], accuracy=0.90001),)))
    assert ",0.90001," in csv(store, found)


def test_a_key_that_is_swept_no_more_leaves_the_grid(store: Store) -> None:
    found = with_runs()
    bring_up(store, found)
    assert "grid.model.conv.kernel_size" in all_tags(parent(store, found).data.tags)
    bring_up(store, replace(found, settings={"a": found.settings["a"]}))
    tags = all_tags(parent(store, found).data.tags)
    assert not [tag for tag in tags if tag.startswith("grid.")]
    assert tags["swept"] == "seed "


def test_finished_and_diverged_runs_are_brought_up_as_children_once(store: Store) -> None:
    identities = [recorded(0), recorded(1, outcome="diverged")]
    found = with_runs(*identities, "waiting", "failed")
    states: list[RunState] = ["finished", "diverged", "waiting", "failed"]
    cells = tuple(replace(cell, state=state) for cell, state in zip(found.cells, states, strict=True))
    for _ in range(2):
        bring_up(store, replace(found, cells=cells))
    children = runs(store, found, "run")
    assert sorted(run.data.tags["identity"] for run in children) == sorted(identities)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent(store, found).info.run_id}
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {run.data.tags["outcome"] for run in children} == {"finished", "diverged"}
    for run in children:
        steps = [point.step for point in store.client.get_metric_history(run.info.run_id, "loss/training")]
        assert steps == [1, 2]
        assert run.data.params["model.conv.kernel_size"] == "5"
        assert run.data.metrics["cost/parameters"] == 62_346


def test_a_run_of_two_studies_is_a_child_of_both(store: Store) -> None:
    identity = recorded(0)
    first, second = with_runs(identity), with_runs(identity)
    bring_up(store, first)
    bring_up(store, second)
    for found in (first, second):
        (child,) = runs(store, found, "run")
        assert child.data.tags["identity"] == identity
        assert child.data.tags["mlflow.parentRunId"] == parent(store, found).info.run_id


def test_a_continued_study_keeps_its_parent_and_its_children(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # The store names the newest first: these began after their parent.
    monkeypatch.setattr(studies, "START", 4_000_000_000_000)
    first, second = recorded(0), recorded(1)
    found = with_runs(first)
    bring_up(store, replace(found, state="finished"))
    before = parent(store, found), runs(store, found, "run")[0]
    bring_up(store, with_runs(first, second, name=found.name))
    assert parent(store, found).info.run_id == before[0].info.run_id
    children = {run.data.tags["identity"]: run for run in runs(store, found, "run")}
    assert set(children) == {first, second}
    assert children[first].info.run_id == before[1].info.run_id


def test_an_up_to_date_study_writes_nothing(store: Store) -> None:
    found = replace(with_runs(recorded(0), recorded(1, outcome="diverged")), state="finished")
    bring_up(store, found)
    writes: Any = Writes(store.client)
    bring_up(replace(store, client=writes), found)
    assert (writes.done, writes.asked) == ([], [])


def test_a_run_that_was_left_running_in_the_store_is_brought_to_its_end(store: Store) -> None:
    found = with_runs(recorded(0))
    write_record(project.CHECKPOINTS, swept(), epochs=1, outcome="running", accuracy=None)
    StudyMirror(store, found.name).bring_up(read_record(project.CHECKPOINTS))
    assert [run.info.status for run in runs(store, found, "run")] == ["RUNNING"]
    bring_up(store, found)
    assert [run.info.status for run in runs(store, found, "run")] == ["FINISHED"]


def test_more_runs_than_one_answer_holds_are_known(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_runs(*(recorded(number, epochs=1) for number in range(3)))
    bring_up(store, found)
    search = store.client.search_runs

    def small_pages(*arguments: Any, **options: Any) -> Any:
        return search(*arguments, **options | {"max_results": 1})

    monkeypatch.setattr(store.client, "search_runs", small_pages)
    assert StudyMirror(store, found.name)._whole(parent(store, found).info.run_id) == {
        cell.identity: "s" for cell in found.cells
    }


@pytest.mark.parametrize("fails", ["create_run", "log_batch", "log_text", "set_terminated", "search_runs"])
def test_what_an_outage_in_the_middle_left_out_is_brought_up_by_the_next_call(store: Store, fails: str) -> None:
    found = replace(with_runs(recorded(0)), state="finished")
    away: Any = Writes(store.client, fails)
    with pytest.raises(StoreUnreachableError, match="the store is away"):
        bring_up(replace(store, client=away), found)
    bring_up(store, found)
    (child,) = runs(store, found, "run")
    assert (child.info.status, parent(store, found).info.status) == ("FINISHED", "FINISHED")
    assert len(store.client.get_metric_history(child.info.run_id, "loss/training")) == 2
    assert "1 of 1 runs finished" in parent(store, found).data.tags["mlflow.note.content"]
    assert csv(store, found).splitlines()[1].startswith("3,1,")


def test_a_record_that_is_gone_does_not_keep_the_others_out_of_the_store(store: Store) -> None:
    found = with_runs("removed by hand", recorded(0))
    try:
        bring_up(store, found)
    except Exception as error:
        assert "removed by hand" in str(error)  # noqa: PT017 - it may be told, once the others are there
    assert [run.data.tags["identity"] for run in runs(store, found, "run")] == [found.cells[1].identity]


def test_a_run_that_was_scored_anew_while_the_store_was_away_is_brought_up(store: Store) -> None:
    found = with_runs(recorded(0))
    bring_up(store, found)
    root = project.run_root(found.cells[0].identity)
    write_record(root, swept(), accuracy=0.8, scoring="new")
    bring_up(store, replace(found, cells=(replace(found.cells[0], accuracy=0.8, scoring="new"),)))
    (child,) = runs(store, found, "run")
    assert "80.00%" in child.data.tags["mlflow.note.content"]


def test_a_study_on_test_images_has_their_scores(store: Store) -> None:
    identity = recorded(0, part="evaluation_test")
    found = replace(with_runs(identity), images="test")
    bring_up(store, found)
    (child,) = runs(store, found, "run")
    assert child.data.metrics["accuracy/test"] == 0.9
    assert child.data.tags["scored_on"] == "test"


def test_a_parent_that_was_deleted_is_made_anew_with_all_its_children(store: Store) -> None:
    found = with_runs(recorded(0))
    bring_up(store, found)
    store.client.delete_run(parent(store, found).info.run_id)
    bring_up(store, found)
    (child,) = runs(store, found, "run")
    assert child.data.tags["mlflow.parentRunId"] == parent(store, found).info.run_id


def test_runs_are_called_by_what_sets_them_apart_also_when_their_study_has_grown(store: Store) -> None:
    identities = [recorded(0), recorded(1)]
    found = with_runs(*identities)
    bring_up(store, replace(found, settings={"a": found.settings["a"]}))
    names = sorted(run.info.run_name for run in runs(store, found, "run"))
    assert names == ["the one setting, seed 0", "the one setting, seed 1"]
    bring_up(store, found)
    grown = runs(store, found, "run")
    assert sorted(run.info.run_name for run in grown) == ["3 × 3 kernels, seed 0", "3 × 3 kernels, seed 1"]
    assert {run.data.tags["setting"] for run in grown} == {"3 × 3 kernels"}


def test_the_best_mean_is_there_once_the_study_has_ended_and_follows_it(store: Store) -> None:
    found = with_runs(recorded(0))
    for state in ("running", "interrupted"):
        bring_up(store, replace(found, state=state))
        assert parent(store, found).data.metrics == {}
    for _ in range(2):
        bring_up(store, replace(found, state="finished"))
    (cell,) = found.cells
    bring_up(store, replace(found, state="finished", cells=(cell, replace(cell, identity=recorded(1), accuracy=0.8))))
    history = store.client.get_metric_history(parent(store, found).info.run_id, "accuracy/best_mean")
    assert [(point.step, point.value) for point in history] == [(1, 0.9), (2, 0.85)]


def test_the_report_and_a_verdict_come_first_and_stay_when_the_study_goes_on(store: Store, tmp_path: Path) -> None:
    found = with_runs(recorded(0))
    mirror = StudyMirror(store, found.name)
    assert "has no run of this study yet" in mirror.announce(found, "5 × 5 is best.", None)
    bring_up(store, found)
    (tmp_path / "report" / "pictures").mkdir(parents=True)
    (tmp_path / "report" / "pictures" / "differences.svg").write_bytes(b"a picture")
    said = mirror.announce(found, "5 × 5 is best.", tmp_path / "report")
    run = parent(store, found)
    assert said == f"MLflow run {run.info.run_id} shows the verdict and the report"
    links, verdict = run.data.tags["mlflow.note.content"].splitlines()[:2]
    way = f"[The report](#/experiments/{store.experiment_id}/runs/{run.info.run_id}/artifacts/report/report.html"
    assert links.startswith(f"{way}?workflowType=machine_learning) · ")
    assert verdict == "**5 × 5 is best. (1 run compared)**"
    artifacts = {artifact.path for artifact in store.client.list_artifacts(run.info.run_id)}
    assert artifacts == {"settings.csv", "differences.svg", "report"}
    bring_up(store, replace(found, cells=(found.cells[0], replace(found.cells[0], identity=recorded(1)))))
    assert parent(store, found).data.tags["mlflow.note.content"].splitlines()[:2] == [links, verdict]
    assert mirror.announce(found, "Promoted.", None).endswith("shows the verdict")
    assert parent(store, found).data.tags["verdict"] == "Promoted. (1 run compared)"
    assert way in parent(store, found).data.tags["mlflow.note.content"]


def test_a_study_has_its_views_in_the_experiment_which_says_what_it_is(store: Store) -> None:
    found = with_runs()
    bring_up(store, found)
    tags = store.client.get_experiment(store.experiment_id).tags
    assert {f"mlflow.sharedViewState.{key}" for key in ("studies", *study_views(found.name))} <= tags.keys()
    assert tags["mlflow.note.content"].startswith("Trainings of Conv2D networks.")
    note = parent(store, found).data.tags["mlflow.note.content"]
    assert all(f"({page(store.experiment_id, view)})" in note for view in study_views(found.name))
    # What a person wrote stays.
    store.client.set_experiment_tag(store.experiment_id, "mlflow.note.content", "ours")
    bring_up(store, found)
    assert store.client.get_experiment(store.experiment_id).tags["mlflow.note.content"] == "ours"


def test_what_the_view_of_the_rules_searches_for_are_their_studies(store: Store) -> None:
    bring_up(store, with_runs())
    others = store.client.get_experiment(store.experiment_id).tags
    found = with_runs(name="rules_padding")
    bring_up(store, found)
    tags = store.client.get_experiment(store.experiment_id).tags
    (rules,) = [json.loads(tag) for name, tag in tags.items() if name.endswith("ViewState.rules")]
    assert not any(name.endswith("ViewState.rules") for name in others)
    state = json.loads(zlib.decompress(base64.b64decode(rules["state"].removeprefix("deflate;"))))
    listed = store.client.search_runs([store.experiment_id], state["searchFilter"])
    assert [run.data.tags["study"] for run in listed] == ["rules_padding"]


def test_runs_of_an_earlier_version_get_the_present_names_and_are_compared_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = with_runs(recorded(0))
    mirror = StudyMirror(store, found.name)
    tags = {"study": found.name, "role": "run", "identity": found.cells[0].identity, "outcome": "finished"}
    tags |= {"scoring": "s", "mlflow.parentRunId": mirror.parent(), "git.commit": "c"}
    old = store.client.create_run(store.experiment_id, tags=tags, run_name="5×5").info.run_id
    for name, value in (("validation/accuracy", 0.25), ("network/parameters", 1.0), ("training/learning_rate", 0.1)):
        store.client.log_metric(old, name, value, step=1)
    store.client.set_terminated(old)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address)
    tracking = Tracking(enabled=True, address=None, experiment="studies")
    (stored,), _ = get_runs(tracking, [old])
    assert stored.metrics == {"accuracy/validation": 0.25, "cost/parameters": 1.0, "schedule/learning_rate": 0.1}
    assert stored.tags["git.commit"] == "c"
    bring_up(store, found)
    (run,) = runs(store, found, "run")
    assert (run.info.run_id, run.info.run_name) == (old, "3 × 3 kernels, seed 0")
    assert run.data.metrics["accuracy/validation"] == 0.25
    assert get_runs(tracking, [old])[0][0].metrics["cost/parameters"] == 62_346


def test_a_run_of_dvc_exp_says_which(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_record(project.run_root(recorded(0)))
    monkeypatch.setenv("DVC_EXP_NAME", "small-one")
    run = store.client.get_run(Mirror(store, REPRO_STUDY).bring_up(record))
    assert run.data.tags["dvc.exp"] == "small-one"
    bring_up(store, found := with_runs(record.training.run.identity))
    assert "dvc.exp" not in runs(store, found, "run")[0].data.tags


def test_members_have_a_study_of_one_name_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_runs(recorded(0))
    for member in ("ada", "grace", "ada"):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", member)
        bring_up(store, found)
    assert StudyMirror(store, found.name).announce(found, "5 × 5 is best.", None).endswith("shows the verdict")
    parents = {run.data.tags["mlflow.user"]: run for run in runs(store, found, "study")}
    children = {run.data.tags["mlflow.user"]: run for run in runs(store, found, "run")}
    assert len(runs(store, found, "study")) == len(runs(store, found, "run")) == 2
    assert {name: run.data.tags["mlflow.parentRunId"] for name, run in children.items()} == {
        name: run.info.run_id for name, run in parents.items()
    }
    assert {name: "verdict" in run.data.tags for name, run in parents.items()} == {"ada": True, "grace": False}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada@example.org")
    assert study_views("kernels")[0] == "study.kernels.ada_example.org.runs"
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    assert study_views("kernels")[0] == "study.kernels.runs"


def test_a_study_of_a_store_that_had_no_accounts_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_runs(recorded(0))
    bring_up(store, found)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    bring_up(store, found)
    assert len(runs(store, found, "study")) == len(runs(store, found, "run")) == 1


def test_a_study_is_tracked_where_its_sweep_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "PARAMS", tmp_path / "params.yaml")
    local = Tracking(enabled=True, address=None, experiment="conv2d")
    server = local.model_copy(update={"address": "https://team:5000"})
    (tmp_path / "params.yaml").write_text(json.dumps({"tracking": local.model_dump()}))
    found = with_runs()
    assert tracking_of(found) == local
    assert tracking_of(_tracked(found, server)) == server
    # What was not tracked this time is where it was before.
    untracked = server.model_copy(update={"enabled": False})
    assert tracking_of(_tracked(_tracked(found, server), untracked)) == server
    with pytest.raises(UserError, match=r"tracking\.address: must be an MLflow server"):
        tracking_of(replace(found, tracking=server.model_dump() | {"address": "ftp://team"}))


def test_track_goes_where_the_sweep_of_a_study_put_it_and_takes_what_ended_badly_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(project, "PARAMS", tmp_path / "params.yaml")
    off = Tracking(enabled=False, address=None, experiment="conv2d")
    (tmp_path / "params.yaml").write_text(json.dumps({"tracking": off.model_dump()}))
    own = Tracking(enabled=True, address="sqlite:///sweeps.db", experiment="sweeps")
    broken, work = recorded(0), project.CHECKPOINTS / "new"
    failed = write_record(work, swept({"seed": 1}), outcome="failed", accuracy=None)
    (project.run_root(broken) / "training" / "history.csv").write_text("x")
    work.rename(project.checkpoint(failed.name))
    found = _tracked(with_runs(broken, failed.name), own)
    cells = found.cells[0], replace(found.cells[1], state="failed")
    update_study(project.study(found.name), lambda _: replace(found, cells=cells))
    monkeypatch.setattr(sys, "argv", ["track", found.name])
    with pytest.raises(UserError, match=r"history\.csv"):
        track.main()
    (run,) = runs(open_store(own), found, "run")
    assert (run.data.tags["identity"], run.info.status) == (failed.name, "FAILED")
    shutil.rmtree(project.run_root(broken))
    assert recorded(0) == broken
    assert track.main() == 0
    assert f"in {tmp_path}/sweeps.db hold what study {found.name} holds" in capsys.readouterr().out
    assert not (tmp_path / "mlflow.db").exists()


def test_one_run_is_brought_up_while_it_grows(store: Store) -> None:
    found = with_runs()
    mirror = StudyMirror(store, found.name)
    for epochs, outcome in ((0, "running"), (1, "running"), (1, "running"), (3, "running"), (3, "finished")):
        shape: Any = {"epochs": epochs, "outcome": outcome, "accuracy": 0.9 if outcome == "finished" else None}
        write_record(project.RUNS / "growing", swept(), **shape)
        mirror.bring_up(read_record(project.RUNS / "growing"))
        (child,) = runs(store, found, "run")
        history = store.client.get_metric_history(child.info.run_id, "accuracy/validation")
        assert [point.step for point in history] == list(range(1, epochs + 1))
        assert child.info.status == ("FINISHED" if outcome == "finished" else "RUNNING")
        assert child.data.tags["mlflow.parentRunId"] == mirror.parent()


def test_what_the_store_holds_is_asked_once_however_many_runs_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = StudyMirror(store, with_runs().name)
    asked: list[str] = []
    whole = mirror._whole

    def counted(parent: str) -> dict[str, str]:
        asked.append(parent)
        return whole(parent)

    monkeypatch.setattr(mirror, "_whole", counted)
    identities = [recorded(number, epochs=1) for number in range(3)]
    for count in range(4):
        mirror.bring_up_study(with_runs(*identities[:count], name=mirror._study))
    assert len(asked) == 1
    assert len(runs(store, with_runs(name=mirror._study), "run")) == 3
