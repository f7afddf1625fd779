"""The verb: a study's name, runs of an MLflow store, what it says, and what it leaves when something is wrong."""

import json
import math
import shlex
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline import compare
from pipeline.findings.load import from_store
from pipeline.storage import project
from pipeline.studies.study_summary import one_line
from pipeline.terminal.errors import UserError
from pipeline.tracking import addresses
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.download import StoredRun, find_runs, get_runs
from pipeline.tracking.store import open_store
from tests.harness.reports import FILTERS, KERNELS, grid_values, random_scores, write_study
from tests.harness.settings import article
from tests.harness.studies import a_project

SCRIPT = "<script>alert(1)</script> | x\n# y"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, without tracking; where its reports lie."""
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "REPORTS", tmp_path / "reports")
    tracked(monkeypatch, enabled=False)
    return tmp_path / "reports"


def tracked(monkeypatch: pytest.MonkeyPatch, *, enabled: bool = True) -> None:
    """What params.yaml says of tracking."""
    tracking = article({"tracking.enabled": enabled}).tracking
    for module in (compare, addresses):
        monkeypatch.setattr(module, "read_section", lambda *_: tracking)


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    return compare.main()


def stored(number: int, row: int, seed: int, score: float, **changes: str) -> StoredRun:
    """A run as the store has it: setting `row` of kernel sizes × filters."""
    params = {
        "model.conv.kernel_size": json.dumps(KERNELS[row // 3]),
        "model.conv.filters": json.dumps(FILTERS[row % 3]),
        "model.padding": "same",
        "seed": str(seed),
    }
    metrics = {
        "accuracy/validation": score / 100,
        "cost/parameters": 10.0 * (row + 1),
        "cost/multiply_adds": 1000.0 * (row + 1),
        "cost/seconds": 5.0,
    }
    tags = {
        "study": "kernels",
        "role": "run",
        "identity": f"i{number}",
        "outcome": "finished",
        "scored_on": "validation",
    }
    return StoredRun(f"{number:032x}", "FINISHED", number, params, metrics, tags | changes)


def all_stored() -> list[StoredRun]:
    scores = random_scores(10)
    return [stored(10 * row + seed, row, seed, scores[row, seed]) for row in range(9) for seed in range(10)]


def parent(**tags: str) -> StoredRun:
    return StoredRun("f" * 32, "FINISHED", 0, {}, {}, {"role": "study", "study": "kernels"} | tags)


# A study


def test_it_says_the_answer_and_writes_the_report(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(random_scores(7)[3:6], values=grid_values()[3:6])
    assert typed(monkeypatch, "kernels") == 0
    said = capsys.readouterr().out
    assert said.startswith("64 filters: better than the baseline (32 filters) by ")
    # What to type next.
    assert said.endswith("report.html\npython -m pipeline.promote kernels\n")
    assert (reports / "kernels" / "report.html").is_file()
    assert not list(reports.glob(".*"))


def test_what_no_verdict_carries_is_not_offered_for_promotion(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(random_scores(2)[3:6], values=grid_values()[3:6])
    assert typed(monkeypatch, "kernels") == 0
    assert capsys.readouterr().out.endswith(f"{reports / 'kernels' / 'report.html'}\n")


def test_with_json_it_says_the_results_and_nothing_else(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = random_scores(7)[3:6]
    write_study(scores, values=grid_values()[3:6])
    assert typed(monkeypatch, "kernels", "--json") == 0
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert said["headline"].startswith("64 filters: better than the baseline (32 filters) by ")
    assert (said["supported"], said["answer"], said["winner"], said["comparison"]["baseline"]) == (True, "better", 2, 1)
    assert [one["summary"]["mean"] for one in said["settings"]] == pytest.approx(scores.mean(axis=1).tolist())
    assert said["settings"][2]["difference"]["verdict"] == "better"
    assert str(reports.parent) not in json.dumps(said), "no path of this machine"
    assert (reports / "kernels" / "report.html").is_file()


@pytest.mark.parametrize("is_there", [True, False])
def test_the_page_is_opened_where_there_is_a_browser(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    opened: list[str] = []

    def open_page(address: str) -> bool:
        opened.append(address)
        return is_there

    monkeypatch.setattr(webbrowser, "open", open_page)
    write_study(random_scores(7)[3:6], values=grid_values()[3:6])
    assert typed(monkeypatch, "kernels", "--open") == 0
    assert opened == [(reports / "kernels" / "report.html").as_uri()]
    said = capsys.readouterr()
    assert "report.html\n" in said.out
    assert ("there is no browser here" in said.err) == (not is_there)


@pytest.mark.parametrize("name", ["nothing", "../kernels", "kernels/../kernels", "/etc", "."])
def test_a_name_that_is_no_study_is_refused_with_those_that_are(
    reports: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_study(random_scores(2))
    with pytest.raises(UserError, match=r"is no study here\. There are: kernels\."):
        typed(monkeypatch, name)
    assert not reports.exists()


def test_a_report_that_fails_leaves_the_one_before(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(random_scores(2))
    before = reports / "kernels" / "report.html"
    before.parent.mkdir(parents=True)
    before.write_text("before")
    (project.run_root(study.cells[0].identity) / "evaluation" / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json"):
        typed(monkeypatch, "kernels")
    assert before.read_text() == "before"
    assert [path.name for path in reports.rglob("*")] == ["kernels", "report.html"]


@pytest.mark.parametrize(
    ("wanted", "typed_again"),
    [("tags.study = 'a'", "\"tags.study = 'a'\""), ("tags.a = '$(x)'", "'tags.a = '\"'\"'$(x)'\"'\"''")],
)
def test_a_filter_is_quoted_so_that_a_shell_reads_it_as_it_was(wanted: str, typed_again: str) -> None:
    assert compare._quoted(wanted) == typed_again
    assert shlex.split(typed_again) == [wanted]


@pytest.mark.parametrize("words", [[], ["kernels", "--mlflow", "x"]])
def test_one_of_the_doors_must_be_named(reports: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        typed(monkeypatch, *words)
    assert not reports.exists()


def test_two_studies_are_refused(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="one study, or MLflow run ids"):
        typed(monkeypatch, "a", "b")
    assert not reports.exists()


# Runs of a store


def test_runs_of_a_store_give_the_scores_that_records_give() -> None:
    found = from_store(
        [parent(margin="0.25", baseline="model.conv.kernel_size 5, model.conv.filters 32"), *all_stored()], "store", "x"
    )
    np.testing.assert_allclose(found.scores, random_scores(10), rtol=1e-12)
    assert (found.study, found.margin, found.baseline, found.baseline_declared) == (
        "kernels_from_mlflow",
        0.25,
        4,
        True,
    )
    assert found.label(5) == "5 × 5 kernels, 64 filters"
    assert found.cost("multiply_adds").tolist() == [1000.0 * (row + 1) for row in range(9)]
    assert np.isnan(found.cost("latency")).all()
    assert found.answers() is None


def test_a_baseline_is_found_in_the_store_by_its_values_whatever_people_call_it() -> None:
    values = '{"model.conv.kernel_size": 5, "model.conv.filters": 32}'
    told = parent(baseline="model compact", **{"baseline.values": values})
    assert from_store([told, *all_stored()], "store", "x").baseline == 4
    broken = parent(baseline="model compact", **{"baseline.values": values[:-3]})
    assert not from_store([broken, *all_stored()], "store", "x").baseline_declared


def test_without_the_studys_own_run_the_first_run_has_the_baseline() -> None:
    found = from_store(all_stored()[30:], "store", "x")
    assert (found.baseline, found.baseline_declared, found.margin) == (0, False, 0.5)


@pytest.mark.parametrize("study", ["../../etc", "a/b", "", ".hidden", "x" * 200, "a\nb"])
def test_a_name_from_the_store_never_leads_out_of_reports(study: str) -> None:
    runs = [stored(number, number % 9, number // 9, 90.0, study=study) for number in range(18)]
    assert from_store(runs, "store", "x").study == "mlflow"


def test_what_has_no_finite_score_or_did_not_end_has_none() -> None:
    runs = all_stored()
    runs[0].metrics["accuracy/validation"] = math.nan
    del runs[1].metrics["accuracy/validation"]
    runs[2].metrics["accuracy/validation"] = 7.0
    runs[3].tags["outcome"] = "running"
    found = from_store(runs, "store", "x")
    assert np.isnan(found.scores[0, :4]).all()
    assert np.isfinite(found.scores[0, 4:]).all()


def test_a_run_of_which_the_store_says_that_it_collapsed_is_in_no_mean() -> None:
    runs = all_stored()
    runs[0].tags["collapsed"] = "true"
    runs[1].tags["outcome"] = "collapsed"
    found = from_store(runs, "store", "x")
    assert [run.outcome for run in found.runs[:3]] == ["collapsed", "collapsed", "finished"]
    assert np.isnan(found.scores[0, :2]).all()
    assert found.runs[0].accuracy is not None


def test_settings_of_a_store_are_named_as_the_studys_own_run_names_them() -> None:
    """By the keys of its grid; by their values where its runs do not bear that out, as where a variant was swept."""
    runs = all_stored()
    grid = {"grid.model.conv.filters": "", "grid.model.conv.kernel_size": ""}
    assert from_store([parent(**grid), *runs], "store", "x").label(4) == "5 × 5 kernels, 32 filters"
    assert from_store([parent(**{"grid.model": ""}), *runs], "store", "x").label(4) == "5 × 5 kernels, 32 filters"


def test_a_run_in_two_studies_counts_once() -> None:
    found = from_store([*all_stored(), stored(0, 0, 0, 1.0, study="other")], "store", "x")
    assert len(found.runs) == 90


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "holds no such run"),
        ([parent()], "holds no such run"),
        ([stored(1, 0, 0, 90, scored_on="test"), stored(2, 0, 1, 90)], "different images"),
        ([stored(1, 0, 0, 90), stored(2, 0, 0, 91)], "same params and seed 0"),
        ([StoredRun("a" * 32, "FINISHED", 0, {"seed": "x"}, {}, {})], "no whole number as param seed"),
    ],
)
def test_runs_that_can_not_be_compared_are_refused(runs: list[StoredRun], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_store(runs, "store", "x")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store with twelve hostile runs and one of their study."""
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    opened = open_store(article().tracking)
    for number in range(12):
        tags = {"study": "kernels", "role": "run", "reason": SCRIPT, "outcome": "finished"}
        run = opened.client.create_run(opened.experiment_id, start_time=number + 1, tags=tags, run_name=SCRIPT)
        opened.client.log_param(run.info.run_id, "seed", number % 6)
        opened.client.log_param(run.info.run_id, "note", SCRIPT if number < 6 else "plain")
        opened.client.log_metric(run.info.run_id, "accuracy/validation", 0.9 + number / 1000)
        opened.client.set_terminated(run.info.run_id)
    tags = {"study": "kernels", "role": "study"}
    yield str(opened.client.create_run(opened.experiment_id, tags=tags).info.run_id)
    patch.undo()


def test_a_filter_and_ids_find_the_same_runs_the_oldest_first(store: str) -> None:
    found, where = find_runs(article().tracking, "tags.study = 'kernels' and tags.role = 'run'")
    assert [run.started for run in found] == list(range(1, 13))
    assert where.endswith("mlflow.db")
    by_id, _ = get_runs(article().tracking, [run.run_id for run in reversed(found)])
    assert by_id == found
    assert store not in {run.run_id for run in found}


def test_a_filter_that_is_none_and_an_id_that_is_none_are_told_in_a_sentence(store: str) -> None:
    assert store
    with pytest.raises(StoreUnreachableError):
        find_runs(article().tracking, "not a filter")
    with pytest.raises(StoreUnreachableError):
        get_runs(article().tracking, ["0" * 32])


def test_hostile_runs_of_a_store_make_a_harmless_report(
    store: str, reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store
    assert typed(monkeypatch, "--mlflow", "tags.study = 'kernels'") == 0
    folder = reports / "kernels_from_mlflow"
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert "the MLflow store holds no answers" in text
    assert one_line(SCRIPT) in capsys.readouterr().out


def test_the_report_is_attached_to_the_studys_run(
    store: str, reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(random_scores(2))
    tracked(monkeypatch)
    assert typed(monkeypatch, "kernels") == 0
    assert f"MLflow run {store} shows the verdict and the report" in capsys.readouterr().out
    client = open_store(article().tracking).client
    attached = {artifact.path for artifact in client.list_artifacts(store, "report")}
    assert {"report/report.html", "report/report.md", "report/results.csv", "report/pictures"} <= attached
    assert "differences.svg" in {artifact.path for artifact in client.list_artifacts(store)}
    note = client.get_run(store).data.tags["mlflow.note.content"]
    verdict = note.splitlines()[1]
    assert verdict == "**No verdict yet: 2 seeds a setting are too few; it takes at least 3. (18 runs compared)**"
    assert (reports / "kernels").is_dir()


def test_a_study_or_a_store_that_is_not_there_is_a_line_and_no_error(
    store: str, reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store
    write_study(random_scores(2), name="other")
    tracked(monkeypatch)
    assert typed(monkeypatch, "other") == 0
    assert "MLflow has no run of this study yet" in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert typed(monkeypatch, "other") == 0
    assert "not in MLflow (http://127.0.0.1:9: does not answer)" in capsys.readouterr().out
    assert (reports / "other" / "report.md").is_file()
