"""What the tests of several rooms share."""

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.run.identity import deciding_code, scoring_code
from tests.harness.project import SHARED

SLOW = (
    "test_end_to_end",
    "test_verb_sweep",
    "test_verb_sweep_failures",
    "test_network_training",
    "test_verb_lasting",
    "test_verb_outages",
    "test_verb_sweep_doors",
    "test_browser",
)
"""Files that take longer than all others, the longest first: they come last, and end together."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else -1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: to look through it for garbage again and again would take seconds of every worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """What imports keras gets it as the project has it: without what Keras would import for other uses."""
    if "import keras\n" in module_path.read_text("utf-8"):
        import pipeline.network  # noqa: F401, PLC0415 - TensorFlow, where it is needed


@pytest.fixture(scope="session", autouse=True)
def _code_from_its_own_place() -> None:
    """A process reads once which code decides results: before a test makes another folder the project."""
    deciding_code()
    scoring_code()


@pytest.fixture(scope="session", autouse=True)
def _projects_are_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The workers of a test run share a folder, whose projects others are copies of."""
    folder = tmp_path_factory.getbasetemp()
    os.environ[SHARED] = str((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "projects")


@pytest.fixture(scope="session")
def two_threads() -> None:
    """TensorFlow takes its number of threads once in a process: the same for all tests, before any of them computes."""
    from pipeline.network.fit import use_threads  # noqa: PLC0415 - most tests need no TensorFlow

    use_threads(2)
