"""What a project has made stays its own: when the folder is moved, when the database is lost."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.mlflow_store import as_it_is, contents, runs
from tests.harness.project import Project, finished_project, stages_run

SMALL_SWEEP = ("sweep", "-m", "data.validation_images=100", "model.conv.filters=2,4", "seed=0", "study.name=filters")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two repros of different settings, an experiment of DVC and a study."""
    found = finished_project(tmp_path_factory.mktemp("lasting") / "project")
    found.edit_params({"seed": 1})
    found.run("dvc", "repro")
    found.run("dvc", "exp", "run", "-S", "seed=2")
    found.verb(*SMALL_SWEEP)
    return found


@pytest.fixture
def copied(used: Project, tmp_path: Path) -> Iterator[Project]:
    shutil.copytree(used.path, tmp_path / "a copy", symlinks=True)
    yield Project(tmp_path / "a copy")
    shutil.rmtree(tmp_path / "a copy")


def _lose_store(project: Project) -> None:
    for path in project.path.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(project.path / "mlartifacts")


def test_a_moved_project_goes_on_from_a_folder_below_and_fills_a_lost_database_again(tmp_path: Path) -> None:
    moved = finished_project(tmp_path / "moved")
    below = Project(moved.path / "conf" / "model", {"PYTHONPATH": str(moved.path)})
    # As it stood before it was copied.
    (before,) = contents(moved).values()
    assert stages_run(moved.run("dvc", "repro")) == ["check"]
    for verb in ("track", "verify", "summary"):
        said = below.run("python", "-m", "pipeline", verb)
        assert "Traceback" not in said
        assert "damaged" not in said
    after = contents(moved)
    assert [value["points"] for value in after.values()] == [before["points"]]
    _lose_store(moved)
    assert "holds 1 run" in below.run("python", "-m", "pipeline", "track", "--all")
    assert contents(moved) == after
    (run,) = runs(as_it_is(moved))
    assert run.info.artifact_uri.startswith((moved.path / "mlartifacts").as_uri())


@pytest.mark.long
def test_a_lost_database_is_filled_again_with_the_same_runs(copied: Project) -> None:
    copied.verb("track")
    before = contents(copied)
    assert sum(name.startswith("dvc repro") for name in before) == 3
    assert sum(name.startswith("filters") for name in before) == 3
    _lose_store(copied)
    assert "holds 3 runs of `dvc repro`" in copied.verb("track", "--all")
    after = contents(copied)
    assert after == before
    copied.verb("track", "--all")
    assert contents(copied) == after


@pytest.mark.long
def test_without_dvcs_notes_of_stages_git_tells_which_runs_there_were(copied: Project) -> None:
    _lose_store(copied)
    shutil.rmtree(copied.path / ".dvc" / "cache" / "runs")
    # Where the cache was fetched from a remote it has no metrics.json, which git keeps.
    metrics = copied.run("git", "show", "HEAD:dvc.lock").split("record/evaluation/metrics.json\n")[1].split("md5: ")[1]
    (copied.path / ".dvc" / "cache" / "files" / "md5" / metrics[:2] / metrics[2:32]).unlink()
    assert "holds 2 runs" in copied.verb("track", "--all")
    assert {run.data.params["seed"] for run in runs(as_it_is(copied)) if run.data.tags["study"] == "dvc repro"} == {
        "0",
        "2",
    }


@pytest.mark.long
def test_what_the_cache_has_no_more_or_damaged_is_counted_and_no_other_run_is_kept_out(copied: Project) -> None:
    _lose_store(copied)
    weights = sorted(copied.path.glob(".dvc/cache/files/md5/??/*"), key=lambda path: path.stat().st_size)
    changed = [path for path in weights if path.read_bytes().startswith(b"PK")]
    assert len(changed) == 3
    changed[0].unlink()
    changed[1].chmod(0o644)
    changed[1].write_bytes(b"other weights")
    said = copied.verb("track", "--all")
    # One run lies in record/, whatever the cache has of it.
    assert "not whole in DVC's cache: 2 records" in said
    assert len(contents(copied)) >= 4


@pytest.mark.long
def test_a_project_that_was_moved_goes_on_where_it_was(copied: Project, tmp_path: Path) -> None:
    # As it stood before it was copied.
    before = {name: value["points"] for name, value in contents(copied).items()}
    assert stages_run(copied.run("dvc", "repro")) == ["check"]
    for verb in ("track", "verify", "summary"):
        said = copied.verb(verb)
        assert "Traceback" not in said
        assert "damaged" not in said
    assert "0 to do" in copied.verb(*SMALL_SWEEP)
    assert {name: value["points"] for name, value in contents(copied).items()} == before
    copied.edit_params({"seed": 3})
    copied.run("dvc", "repro")
    assert len(contents(copied)) == len(before) + 1
    for run in runs(as_it_is(copied)):
        assert run.info.artifact_uri.startswith((tmp_path / "a copy" / "mlartifacts").as_uri())


@pytest.mark.long
def test_verbs_work_from_a_folder_below_and_leave_nothing_there(copied: Project) -> None:
    below = Project(copied.path / "conf" / "model", {"PYTHONPATH": str(copied.path)})
    before = sorted(below.path.iterdir())
    for words in (SMALL_SWEEP, ("track", "filters"), ("summary",), ("verify",), ("compose", "--reset", "data=sample")):
        assert "Traceback" not in below.run("python", "-m", "pipeline", *words)
    assert sorted(below.path.iterdir()) == before
    assert (copied.path / "runs" / ".hydra" / "multirun.yaml").exists()
