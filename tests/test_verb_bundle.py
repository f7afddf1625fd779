"""A bundle as it is used: a clone has the study of another machine, and does with it what that could."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage import digest
from tests.harness.mlflow_store import client
from tests.harness.project import ROOT, Project, new_project, prepared_project
from tests.harness.sweeps import LINE, NAMED, TINY, bits, children, parent, study, sweep

BUNDLE = "reports/kernel_size/records.jsonl.gz"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a study, its report and its bundle, committed."""
    project = prepared_project(tmp_path_factory.mktemp("bundle") / "origin", *TINY, "tracking=off")
    sweep(project, *LINE)
    project.verb("compare", "kernel_size")
    assert f"{BUNDLE}: 4 runs of study kernel_size" in project.verb("bundle", "kernel_size")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "a study")
    return project


@pytest.fixture
def clone(origin: Project, tmp_path: Path) -> Iterator[Project]:
    """A clone with the same prepared images, in which the study is unpacked."""
    origin.run("git", "clone", "-q", str(origin.path), str(tmp_path / "clone"))
    project = Project(tmp_path / "clone")
    for words in (("user.name", "test"), ("user.email", "test@localhost")):
        project.run("git", "config", *words)
    shutil.copytree(origin.path / "data" / "prepared", project.path / "data" / "prepared")
    assert "study kernel_size: 4 runs, 4 of them new here" in project.verb("bundle", "--unpack", BUNDLE)
    yield project
    shutil.rmtree(project.path)


def test_the_report_is_the_same_byte_for_byte_and_so_is_the_bundle(origin: Project, clone: Project) -> None:
    committed = digest.of_folder(origin.path / "reports")
    shutil.rmtree(clone.path / "reports")
    clone.verb("compare", "kernel_size")
    clone.verb("bundle", "kernel_size")
    assert digest.of_folder(clone.path / "reports") == committed
    # A report that is written anew keeps the bundle beside it.
    clone.verb("compare", "kernel_size")
    assert digest.of_folder(clone.path / "reports") == committed


def test_the_same_sweep_goes_on_and_a_bundle_adds_only_what_misses(origin: Project, clone: Project) -> None:
    assert "4 done already, 2 to do" in sweep(clone, *LINE[:1], "seed=range(3)", NAMED, "study.dry_run=true")
    # It has one run whole, another as it was unpacked, and lacks two.
    whole, _, *lost = (clone.path / "runs" / cell["identity"] for cell in study(clone)["cells"])
    shutil.rmtree(whole)
    shutil.copytree(origin.path / "runs" / whole.name, whole)
    for root in lost:
        shutil.rmtree(root)
    assert "4 runs, 2 of them new here" in clone.verb("bundle", "--unpack", BUNDLE)
    assert bits(clone, whole.name) == bits(origin, whole.name)
    assert "4 done already, 0 to do" in sweep(clone, *LINE)


@pytest.mark.long
def test_what_misses_is_done_by_the_same_sweep_with_the_same_bits(origin: Project, clone: Project) -> None:
    said = sweep(clone, *LINE[:1], "seed=range(3)", NAMED)
    assert "4 done already, 2 to do" in said
    # The origin gets the two runs as well, and keeps its own.
    clone.verb("bundle", "kernel_size")
    before = bits(origin, study(origin)["cells"][0]["identity"])
    assert "6 runs, 2 of them new here" in origin.verb("bundle", "--unpack", str(clone.path / BUNDLE))
    assert bits(origin, study(origin)["cells"][0]["identity"]) == before
    assert study(origin)["cells"] == study(clone)["cells"]


def test_the_plan_of_a_study_that_is_not_here_names_the_bundle_that_spares_its_runs(clone: Project) -> None:
    for folder in ("runs", "studies"):
        shutil.rmtree(clone.path / folder)
    told = sweep(clone, LINE[0], "seed=range(1,4)", NAMED, "study.dry_run=true")
    assert "0 done already, 6 to do" in told
    assert f"note: 2 of the runs to do lie in {BUNDLE}. Without training them (Ctrl-C ends this):\n" in told
    assert f"\npython -m pipeline.bundle --unpack {BUNDLE}\n" in told
    clone.verb("bundle", "--unpack", BUNDLE)
    told = sweep(clone, *LINE, "study.dry_run=true")
    assert "4 done already, 0 to do" in told
    assert "--unpack" not in told


@pytest.mark.long
def test_an_empty_store_is_filled_without_a_model_and_the_winner_promoted(clone: Project) -> None:
    clone.verb("compose", "tracking=local")
    clone.verb("track", "kernel_size")
    runs = children(clone)
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert all("accuracy/validation" in run.data.metrics for run in runs)
    store = client(clone)
    assert not store.search_logged_models([runs[0].info.experiment_id])
    assert parent(clone).data.tags["outcome"] == "finished"
    assert "model.conv.kernel_size" in clone.verb("promote", "kernel_size", "--anyway", "--show")


@pytest.mark.long
def test_a_run_is_done_again_bit_for_bit_and_its_weights_are_kept(origin: Project, clone: Project) -> None:
    one = study(clone)["cells"][1]["identity"]
    # Two parts of four runs.
    assert "8 sound records without weights" in " ".join(clone.verb("verify").split())
    said = clone.verb("reproduce", one, "--keep")
    assert "bit-identical" in said
    weights = Path("runs") / one / "training" / "weights.npz"
    assert (clone.path / weights).read_bytes() == (origin.path / weights).read_bytes()
    said = " ".join(clone.verb("verify").split())
    assert "1 sound records" in said
    assert "damaged" not in said


def test_runs_of_other_code_are_not_mixed_and_are_done_again_in_a_worktree_of_their_commit(clone: Project) -> None:
    code = clone.path / "pipeline" / "network" / "fit.py"
    code.write_text(f"{code.read_text()}\nOTHER = 1\n")
    clone.run("git", "commit", "-qam", "other code")
    before = study(clone), clone.run("git", "status", "--porcelain")
    # It was trained before its bundle was committed.
    commit = clone.run("git", "rev-parse", "HEAD~2").strip()
    said = sweep(clone, *LINE, status=1)
    assert "4 of its runs came in a bundle and are of other code, data or versions" in " ".join(said.split())
    one = before[0]["cells"][0]["identity"]
    said = clone.verb("reproduce", one)
    assert f"made by other code than is here: done in a worktree of its commit {commit[:12]}" in said
    assert "bit-identical" in said
    assert "code, data, versions and hardware are as they were" in said
    assert (study(clone), clone.run("git", "status", "--porcelain")) == before
    assert len(clone.run("git", "worktree", "list").splitlines()) == 1


@pytest.mark.long
def test_each_committed_report_is_that_of_the_records_beside_it(tmp_path: Path) -> None:
    bundles = sorted((ROOT / "reports").glob("*/records.*"))
    if not bundles:
        pytest.skip("no committed report carries its records")
    project = new_project(tmp_path / "project")
    project.verb("compose", "--reset")
    said = project.run("dvc", "repro", "preprocess", status=None)
    if not (project.path / "data" / "prepared").exists() and "CI" not in os.environ:
        pytest.skip(f"the images can't be had here: {said[-200:]}")
    for bundle in bundles:
        project.verb("bundle", "--unpack", str(bundle))
        project.verb("compare", bundle.parent.name)
        project.verb("bundle", bundle.parent.name)
        committed = digest.of_folder(bundle.parent)
        assert digest.of_folder(project.path / "reports" / bundle.parent.name) == committed, bundle.parent.name
        # From its records alone; and a run that two studies share may have been timed twice.
        shutil.rmtree(project.path / "runs")
