"""The MLflow UI over a project's store, in headless Chromium."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

from tests.harness.project import Project

HOST = "127.0.0.1"
PATIENCE = 60
"""Seconds that anything expected may take: other work may go on beside the test."""

WIDE = ViewportSize(width=2200, height=1200)
"""Lists and tables draw only what fits."""

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What is asked for outside fails at once, instead of reaching the network from a test.
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
)
WITHOUT_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
"""MLflow opens its assistant over a quarter of the first page."""


def chromium() -> Path:
    """Debian's Chromium. Without it a test is skipped; where CI is "true" it fails."""
    found = shutil.which("chromium")
    if found is not None:
        return Path(found)
    missing = "there is no Chromium on this machine (Debian: apt-get install chromium)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@dataclass(frozen=True)
class Ui:
    """A server's address, a browser, and the folder for what it saw."""

    address: str
    browser: Browser
    seen: Path

    @contextlib.contextmanager
    def page(self, name: str, size: ViewportSize = WIDE) -> Iterator[Page]:
        """A page of a user who has never been here; when it is left, `name`.png is saved, on a failure its HTML too.

        Raises AssertionError when any host but the server's was asked for anything.
        """
        context = self.browser.new_context(viewport=size, device_scale_factor=1)
        context.set_default_timeout(1000 * PATIENCE)
        context.add_init_script(WITHOUT_ASSISTANT)
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: asked.append(socket.url))
        try:
            yield page
        except BaseException:
            (self.seen / f"{name}.html").write_text(page.content())
            raise
        finally:
            page.screenshot(path=self.seen / f"{name}.png")
            context.close()
        outside = [url for url in asked if urlsplit(url).scheme not in ("data", "blob") and not self._own(url)]
        assert not outside, outside

    def _own(self, url: str) -> bool:
        return urlsplit(url).netloc == urlsplit(self.address).netloc


@contextlib.contextmanager
def opened(project: Project, seen: Path) -> Iterator[Ui]:
    """The project's own UI and a browser. Both end with the block."""
    executable = chromium()
    seen.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=1000 * PATIENCE)
    with served(project) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS), timeout=1000 * PATIENCE)
        try:
            yield Ui(address, browser, seen)
        finally:
            browser.close()


@contextlib.contextmanager
def served(project: Project) -> Iterator[str]:
    """The address of `python -m pipeline.ui` over the project's store."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    server = project.start("python", "-m", "pipeline.ui", "--port", str(port))
    address = f"http://{HOST}:{port}"
    try:
        _wait_for(address, server)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=PATIENCE)


def _wait_for(address: str, server: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, server.communicate()[0]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.1)
    raise AssertionError(f"{address} did not answer in {PATIENCE} s")


def open_experiment(page: Page, ui: Ui) -> None:
    """As a user does: from the first page to the experiment's list of runs."""
    page.goto(ui.address)
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name="conv2d", exact=True).click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def list_runs(page: Page, ui: Ui, study: str) -> None:
    """The study's runs alone, the most accurate first. By date MLflow would hide them behind the study's own line."""
    open_experiment(page, ui)
    page.get_by_test_id("search-box").fill(f"tags.study = '{study}' and tags.role = 'run'")
    page.get_by_test_id("search-box").press("Enter")
    # What is searched stands in the address from then on; sorted before that, the list would be of all runs.
    expect(page).to_have_url(re.compile(r"searchFilter=[^&]*role"))
    page.get_by_test_id("sort-select-dropdown").click()
    page.get_by_role("menuitemcheckbox", name="accuracy/validation").click()
    # The list that stands there until the answer comes has a line for the study itself.
    expect(run_links(page).filter(has_text=re.compile(f"^{re.escape(study)}$"))).to_have_count(0)
    expect(run_links(page).first).to_be_visible()


def run_links(page: Page) -> Locator:
    """The names in the list of runs."""
    return page.locator("[col-id='attributes.`Run Name`'] a")


def cells(page: Page, column: str) -> Locator:
    """The cells of a column in the list of runs, from the first line on."""
    return page.locator(f'[role="gridcell"][col-id="{column}"]')


def compare(page: Page) -> None:
    """Select all runs of the list and compare them."""
    page.get_by_role("checkbox", name="Select all runs").click()
    page.get_by_test_id("runs-compare-button").click()
    expect(page.get_by_role("heading", name="Comparing")).to_be_visible()


def show_charts(page: Page) -> None:
    """From the list of runs to their charts."""
    page.locator("label:has(input[value=CHART])").click()


def draw_parallel_coordinates(page: Page, params: Sequence[str], metric: str) -> None:
    """On the page that compares runs: axes for these params and this metric, whatever stood there before."""
    page.get_by_test_id("clear-button").click()
    for label, name in [*(("Parameters:", param) for param in params), ("Metrics:", metric)]:
        page.locator(f"div:text-is('{label}') + div").click()
        page.keyboard.type(name)
        page.locator(f"[class*=select-item-option][title='{name}']").click()
        page.keyboard.press("Escape")
    expect(page.locator(".parcoords .axis-title")).to_have_text([*params, metric])
