"""What the rows about raw files share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.reference import copied, litter, made
from pipeline.storage import digest
from tests.harness.mirrors import Answer, Site
from tests.harness.project import Project
from tests.harness.spent import spent

LONGEST = 120
"""Seconds after which a command is taken to hang."""


def whole(shared: Path) -> None:
    """A project that has run nothing yet (`start`), and one that has prepared the sample (`whole`)."""
    made(shared / "start")
    repro(copied(shared / "start", shared / "whole"))


def repro(project: Project, status: int | None = 0) -> str:
    """What `dvc repro preprocess` prints."""
    return project.run("dvc", "repro", "preprocess", status=status, NO_PROXY="127.0.0.1")


def assert_as_without(project: Project, shared: Path) -> None:
    """Raw files and prepared images as without a fault, byte for byte; nothing half-written beside them."""
    for folder in ("data/raw", "data/prepared"):
        assert digest.of_folder(project.path / folder) == digest.of_folder(shared / "whole" / folder), folder
    assert litter(project.path) == []


def measured(project: Project, *command: str) -> tuple[int, str, int]:
    """Exit status, what was printed, and the most memory (MB) of any of the command's processes."""
    environment = project.environment | {"NO_PROXY": "127.0.0.1"}
    found = spent(("timeout", str(LONGEST), *command), project.path, environment)
    return found.status, found.said, round(found.peak_mib)


def refused_by(status: int, output: str, beginning: str) -> None:
    """Told as an error that begins so, and by no traceback."""
    assert status == 1, f"{status}: {output}"
    assert beginning in output, output
    assert "Traceback" not in output, output


@contextmanager
def served(answer: Answer) -> Iterator[Site]:
    """A server that answers so."""
    site = Site()
    site.answer = answer
    try:
        yield site
    finally:
        site.close()
