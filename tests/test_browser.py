"""What a user sees of a study in the MLflow UI: the real server over the store of a real sweep, in a real browser."""

import csv
import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.tracking import study_fields
from tests.harness import browser
from tests.harness.browser import Ui
from tests.harness.mlflow_store import client
from tests.harness.project import Project, new_project

pytestmark = pytest.mark.long

SMALL = (
    "model=small",
    "model.conv.filters=4",
    "training=smoke",
    "training.epochs=3",
    "training.batch_size=32",
    "data.validation_images=200",
)
SWEEP = (
    "-m",
    "model.conv.kernel_size=3,5",
    "model.conv.filters=4,8",
    "seed=range(2)",
    "study.name=filters_by_kernel_size",
)
STUDY = "filters_by_kernel_size"
RULE = """\
# @package _global_
study:
  name: rules_kernels
  baseline: {setting: k5}
  settings: {k5: {model.conv.kernel_size: 5}, k3: {model.conv.kernel_size: 3}}
  contrasts:
    smaller:
      claim: 3 × 3 gains
      expects: gain
      weights: [{setting: {setting: k3}, weight: 1}, {setting: {setting: k5}, weight: -1}]
hydra: {sweeper: {params: {seed: range(2)}}}
"""
CELL = "model.conv.kernel_size", "model.conv.filters", "seed"


@dataclass(frozen=True)
class Recorded:
    """A run by its record on disk; `curve` is its accuracy on the validation images after each epoch."""

    kernel_size: int
    filters: int
    seed: int
    accuracy: float
    curve: tuple[float, ...]

    @property
    def cell(self) -> tuple[int, int, int]:
        return self.kernel_size, self.filters, self.seed


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which a sweep of 2 kernel sizes × 2 numbers of filters × 2 seeds has ended."""
    browser.chromium()
    project = new_project(tmp_path_factory.mktemp("swept"), *SMALL)
    project.run("dvc", "repro", "preprocess")
    project.verb("sweep", *SWEEP)
    return project


@pytest.fixture(scope="module")
def records(swept: Project) -> list[Recorded]:
    return [recorded(path.parents[1]) for path in sorted((swept.path / "runs").glob("*/training/run.json"))]


@pytest.fixture(scope="module")
def ui(swept: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """What the browser saw lies in the folder TEST_ARTIFACTS, else in pytest's own."""
    wanted = os.environ.get("TEST_ARTIFACTS")
    seen = Path(wanted) if wanted else tmp_path_factory.mktemp("seen")
    with browser.opened(swept, seen) as opened:
        yield opened


def recorded(root: Path) -> Recorded:
    configuration = json.loads((root / "training" / "run.json").read_text())["configuration"]
    metrics = json.loads((root / "evaluation" / "metrics.json").read_text())
    with (root / "training" / "history.csv").open() as file:
        curve = tuple(float(line["validation_accuracy"]) for line in csv.DictReader(file))
    conv = configuration["model"]["conv"]
    return Recorded(conv["kernel_size"], conv["filters"], configuration["seed"], metrics["accuracy"], curve)


def test_the_experiment_opens_with_one_line_a_study_and_its_runs_behind_it(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("study_in_list") as page:
        browser.open_experiment(page, ui)
        names = browser.run_links(page)
        expect(names).to_have_text([STUDY])
        names.locator("xpath=ancestor::*[@role='gridcell']").get_by_role("button").click()
        expect(names).to_have_count(1 + len(records))
        assert names.first.inner_text() == STUDY
        assert len(set(names.all_inner_texts())) == 9


def test_make_ui_opens_a_list_that_says_which_kernel_size_and_how_many_filters(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("studies") as page:
        page.goto(f"{ui.address}/{study_fields.page('1', study_fields.STUDIES)}")
        expect(browser.run_links(page)).to_have_text([STUDY])
        filters, kernel_size = best = max(means(records), key=lambda setting: means_of(records)[setting])
        cell = browser.cells(page, "tags.`best`").first
        expect(cell).to_have_text(f"{filters} filters, {kernel_size} × {kernel_size} kernels: {means(records)[best]}")
        expect(browser.cells(page, "tags.`swept`").first).to_have_text("filters 4, 8; kernel_size 3, 5; seed 0, 1")
        # One click from there: the verdict, what else is known, and the ways to the runs.
        page.get_by_role("link", name=STUDY, exact=True).click()
        expect(page.get_by_text("Best so far: ").first).to_be_visible()
        with page.expect_popup() as popup:
            page.get_by_role("link", name="means over seeds").click()
        expect(popup.value.get_by_text("Group: ").first).to_be_visible()


def test_a_study_has_a_view_of_its_runs_the_best_first(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("runs") as page:
        page.goto(f"{ui.address}/{study_fields.page('1', study_fields.study_views(STUDY)[0])}")
        expect(browser.run_links(page)).to_have_count(len(records))
        scores = [float(text) for text in browser.cells(page, "metrics.`accuracy/validation`").all_inner_texts()]
        columns = [[int(text) for text in browser.cells(page, f"params.`{key}`").all_inner_texts()] for key in CELL]
        assert scores == sorted(scores, reverse=True)
        shown = dict(zip(zip(*columns, strict=True), scores, strict=True))
        assert shown == {run.cell: run.accuracy for run in records}
        costs = {int(text) for text in browser.cells(page, "metrics.`cost/parameters`").all_inner_texts()}
        assert len(costs) == 4
        # Nothing else is in the way.
        heads = {text.strip() for text in page.get_by_role("columnheader").all_inner_texts()}
        wanted = {"accuracy/validation", *CELL, "cost/parameters", "cost/seconds"}
        assert heads - {"", "Metrics", "Parameters"} == {"Run Name", "Created", "Duration", *wanted}


def test_a_study_has_a_view_of_its_means_over_seeds(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("means") as page:
        page.goto(f"{ui.address}/{study_fields.page('1', study_fields.study_views(STUDY)[1])}")
        expect(page.get_by_text("Group: ")).to_have_count(4)
        # The runs themselves stay behind their mean.
        expect(browser.run_links(page)).to_have_count(4)
        shown = {
            (int(filters), int(kernel_size)): float(mean.partition(" ")[0])
            for filters, kernel_size, mean in zip(
                browser.cells(page, "params.`model.conv.filters`").all_inner_texts(),
                browser.cells(page, "params.`model.conv.kernel_size`").all_inner_texts(),
                browser.cells(page, "metrics.`accuracy/validation`").all_inner_texts(),
                strict=True,
            )
        }
        assert shown == pytest.approx(means_of(records))
        assert [*shown.values()] == sorted(shown.values(), reverse=True)


def test_a_view_that_mlflow_can_not_read_opens_the_ordinary_list(ui: Ui, swept: Project) -> None:
    client(swept).set_experiment_tag("1", f"{study_fields.VIEW}another_form", '{"name": "x", "state": 1}')
    with ui.page("view_of_another_form") as page:
        page.goto(f"{ui.address}/{study_fields.page('1', 'another_form')}")
        expect(browser.run_links(page)).to_have_text([STUDY])


def test_compare_shows_kernel_size_filters_and_accuracy_of_every_run(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("compare_table") as page:
        browser.list_runs(page, ui, STUDY)
        expect(browser.run_links(page)).to_have_count(8)
        browser.compare(page)
        columns = zip(
            (int(text) for text in param_row(page, "model.conv.kernel_size")),
            (int(text) for text in param_row(page, "model.conv.filters")),
            (int(text) for text in param_row(page, "seed")),
            (float(text) for text in metric_row(page, "accuracy/validation")),
            strict=True,
        )
        shown = {(kernel_size, filters, seed): accuracy for kernel_size, filters, seed, accuracy in columns}
        assert len(records) == 8
        assert shown == pytest.approx({run.cell: run.accuracy for run in records}, abs=0.0005)


def test_parallel_coordinates_lead_from_filters_and_kernel_size_to_accuracy(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("compare_parallel") as page:
        browser.list_runs(page, ui, STUDY)
        expect(browser.run_links(page)).to_have_count(len(records))
        browser.compare(page)
        expect(page.get_by_role("heading", name=f"Comparing {len(records)} Runs")).to_be_visible()
        # The params that differ: none is another in each run by accident.
        drawn_first = ["model.conv.filters", "model.conv.kernel_size", "seed", "accuracy/validation"]
        expect(page.locator(".parcoords .axis-title")).to_have_text(drawn_first)
        browser.draw_parallel_coordinates(page, CELL, "accuracy/validation")
        (drawn,) = plotted(page)
        axes = {axis["label"]: axis["values"] for axis in drawn["dimensions"]}
        lines = sorted(zip(*(axes[name] for name in (*CELL, "accuracy/validation")), strict=True))
        assert [line[:3] for line in lines] == sorted(run.cell for run in records)
        assert [line[3] for line in lines] == pytest.approx([run.accuracy for run in sorted(records, key=by_cell)])


def test_curves_are_lines_over_epochs(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("curves") as page:
        browser.list_runs(page, ui, STUDY)
        browser.show_charts(page)
        page.get_by_placeholder("Search metric charts").fill("accuracy/validation")
        chart = page.locator(".js-plotly-plot")
        expect(chart).to_have_count(1)
        expect(chart.locator(".barlayer .point")).to_have_count(0)
        lines = chart.locator(".scatterlayer .js-line")
        expect(lines.first).to_be_visible()
        curves = {tuple(trace["y"]) for trace in plotted(page)}
        assert curves == {run.curve for run in records}
        assert all("lines" in trace["mode"] and trace["x"] == [1, 2, 3] for trace in plotted(page))
        # The path itself: one move and a line to each further epoch, but one line alone where they make a straight one.
        drawn = {line.get_attribute("d") or "" for line in lines.all()}
        assert {path.count("L") for path in drawn} <= {1, 2}
        assert len(drawn) == len({run.curve for run in records})


def test_the_study_has_a_table_of_mean_and_standard_deviation(ui: Ui, records: list[Recorded]) -> None:
    with ui.page("study") as page:
        browser.open_experiment(page, ui)
        page.get_by_role("link", name=STUDY, exact=True).click()
        page.get_by_role("button", name="Expand description").click()
        table = page.get_by_test_id("note-editor-preview-content").get_by_role("table")
        expect(table).to_be_visible()
        header = [text.strip() for text in table.get_by_role("columnheader").all_inner_texts()]
        assert header[:3] == ["filters", "kernel_size", "accuracy"]
        rows = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]
        lines = [[text.strip() for text in row] for row in rows]
        assert {(int(line[0]), int(line[1])): line[2] for line in lines} == means(records)
        assert len(lines) == 4


def test_a_run_leads_to_its_study_and_the_study_to_its_runs(ui: Ui) -> None:
    with ui.page("run") as page:
        browser.list_runs(page, ui, STUDY)
        name = browser.run_links(page).first.inner_text()
        browser.run_links(page).first.click()
        page.get_by_role("link", name=STUDY, exact=True).click()
        children = page.get_by_test_id("key-value-Child runs").get_by_role("link")
        expect(children).to_have_count(8)
        assert name in [text.rstrip(",") for text in children.all_inner_texts()]


def test_a_study_that_was_compared_leads_to_its_report_with_one_click(ui: Ui, swept: Project) -> None:
    swept.verb("compare", STUDY)
    with ui.page("report") as page:
        browser.open_experiment(page, ui)
        page.get_by_role("link", name=STUDY, exact=True).click()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="The report", exact=True).click()
        expect(opened.value.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_chromium_these_tests_are_skipped_but_fail_in_ci(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no Chromium on this machine"):
        browser.chromium()


def by_cell(run: Recorded) -> tuple[int, int, int]:
    return run.cell


def test_the_rules_have_a_list_of_their_own_and_the_runs_of_one_are_compared(
    ui: Ui, swept: Project, records: list[Recorded]
) -> None:
    path = swept.path / "conf" / "study" / "rules" / "kernels.yaml"
    path.write_text(RULE, encoding="utf-8")
    # Its runs are those of the other study: nothing is trained.
    swept.verb("sweep", "+study=rules/kernels")
    swept.verb("compare", "rules_kernels")
    with ui.page("rules") as page:
        page.goto(f"{ui.address}/{study_fields.page('1', study_fields.RULES)}")
        expect(browser.run_links(page)).to_have_text(["rules_kernels"])
        # Those runs had ended when it was asked, and its file is in no commit.
        told = "No verdict: 3 × 3 gains (declared after 4 runs). (4 runs compared)"
        expect(browser.cells(page, "tags.`verdict`").first).to_have_text(told)
        browser.list_runs(page, ui, "rules_kernels")
        expect(browser.run_links(page)).to_have_count(4)
        browser.compare(page)
        columns = zip(
            (int(text) for text in param_row(page, "model.conv.kernel_size")),
            (int(text) for text in param_row(page, "seed")),
            (float(text) for text in metric_row(page, "accuracy/validation")),
            strict=True,
        )
        shown = {(kernel_size, seed): accuracy for kernel_size, seed, accuracy in columns}
        wanted = {(run.kernel_size, run.seed): run.accuracy for run in records if run.filters == 4}
        assert shown == pytest.approx(wanted, abs=0.0005)


def scores_of(records: list[Recorded]) -> dict[tuple[int, int], list[float]]:
    """Filters and kernel size → the accuracies of their runs."""
    scores = defaultdict(list)
    for run in records:
        scores[run.filters, run.kernel_size].append(run.accuracy)
    return scores


def means_of(records: list[Recorded]) -> dict[tuple[int, int], float]:
    return {setting: statistics.mean(scores) for setting, scores in scores_of(records).items()}


def means(records: list[Recorded]) -> dict[tuple[int, int], str]:
    """Filters and kernel size → mean ± standard deviation of the sample, in percent, and the number of runs."""
    return {
        setting: f"{100 * statistics.mean(scores):.2f} ± {100 * statistics.stdev(scores):.2f} % ({len(scores)})"
        for setting, scores in scores_of(records).items()
    }


def param_row(page: Page, name: str) -> list[str]:
    """One value a run, in the order of the compared runs."""
    header = page.get_by_role("rowheader", name=name, exact=True)
    expect(header).to_be_visible()
    return header.locator("xpath=..").get_by_role("cell").all_inner_texts()


def metric_row(page: Page, name: str) -> list[str]:
    """One value a run, in the order of the compared runs. The cells lie at the height of their metric's name."""
    expect(page.get_by_title("Plot chart").get_by_text(name, exact=True)).to_be_visible()
    cells = page.evaluate(
        """name => {
            const links = [...document.querySelectorAll('a[title="Plot chart"]')];
            const header = links.find(link => link.textContent.trim() === name).parentElement;
            return [...document.querySelectorAll('[role=grid] [role=rowgroup] > div')]
                .filter(cell => cell.style.top === header.style.top && cell !== header)
                .sort((one, other) => parseInt(one.style.left) - parseInt(other.style.left))
                .map(cell => cell.textContent);
        }""",
        name,
    )
    return [str(cell) for cell in cells]


def plotted(page: Page) -> list[dict[str, Any]]:
    """What plotly was given for the only plot of the page: one dictionary a trace."""
    data = page.locator(".js-plotly-plot").evaluate("plot => JSON.parse(JSON.stringify(plot.data))")
    return list(data)
