"""The documents' pictures of the MLflow UI, taken of a study in the project's own store.

python -m pipeline.bundle --unpack reports/rules_small_kernels/records.jsonl.gz
python -m pipeline.compare rules_small_kernels && python -m pipeline.track rules_small_kernels
python -m benchmarks.screenshots [--study rules_small_kernels]

Starts the UI and Chromium, writes docs/mlflow_studies.png (what `make ui` opens), docs/mlflow_study.png (the study's
page: its verdict and its table) and docs/mlflow_compare.png (its runs side by side: kernel size, filters → accuracy),
ends both.
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from pipeline.tracking import study_fields
from tests.harness import browser
from tests.harness.browser import Ui
from tests.harness.project import ROOT, Project

SIZE, LIST = ViewportSize(width=1400, height=900), ViewportSize(width=1800, height=520)
LARGEST = 250_000
"""Bytes of a picture in the repository."""

WITHOUT_BUTTON = "[data-assistant-ui] { visibility: hidden !important }"
"""The assistant's floating button covers a corner of every page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="rules_small_kernels")
    study = parser.parse_args().study
    with tempfile.TemporaryDirectory() as folder, browser.opened(Project(ROOT), Path(folder)) as ui:
        with ui.page("studies", LIST) as page:
            page.goto(f"{ui.address}/{study_fields.page('1', study_fields.STUDIES)}")
            expect(page.get_by_role("link", name=study, exact=True)).to_be_visible()
            _keep(page, "mlflow_studies")
        with ui.page("study", SIZE) as page:
            _show_study(page, ui, study)
            _keep(page, "mlflow_study")
        with ui.page("compare", SIZE) as page:
            _show_comparison(page, ui, study)
            _keep(page, "mlflow_compare")


def _show_study(page: Page, ui: Ui, study: str) -> None:
    browser.open_experiment(page, ui)
    page.get_by_role("link", name=study, exact=True).click()
    page.get_by_role("button", name="Expand description").click()
    expect(page.get_by_test_id("note-editor-preview-content").get_by_role("table")).to_be_visible()


def _show_comparison(page: Page, ui: Ui, study: str) -> None:
    browser.list_runs(page, ui, study)
    browser.compare(page)
    browser.draw_parallel_coordinates(page, ["model.conv.kernel_size", "model.conv.filters"], "accuracy/validation")


def _keep(page: Page, name: str) -> None:
    page.add_style_tag(content=WITHOUT_BUTTON)
    path = ROOT / "docs" / f"{name}.png"
    picture = page.screenshot(animations="disabled")
    if len(picture) > LARGEST:
        raise SystemExit(f"{path}: {len(picture):,} bytes are more than {LARGEST:,}")
    path.write_bytes(picture)
    print(f"{path.relative_to(ROOT)}: {len(picture):,} bytes")


if __name__ == "__main__":
    main()
