"""The README's lines, run in their order from the file itself, over the sample and in seconds."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import clean
from tests.harness.project import ROOT, Project, new_project

README = (ROOT / "README.md").read_text("utf-8")

LEFT_OUT = {
    "git clone": "the project is a copy of the work tree here",
    "make repro": "`dvc repro` is what it runs; CI runs it in a fresh clone",
    "make ui": "a server that ends with Ctrl-C (tests/test_browser.py opens it)",
    "source ": "the tests run in the environment",
    "python -m pipeline.ui": "a server that ends with Ctrl-C (tests/test_browser.py opens it)",
}
"""How lines begin that are not run, and why."""

ADDED = {
    "python -m pipeline.sweep +study=kernels_by_filters": (
        "model.conv.kernel_size=3", "model.conv.filters=2,32", "training=smoke", "study.baseline=null",
    ),
    "python -m pipeline.promote": ("--anyway",),
}  # fmt: skip
"""What makes a line short; in one epoch over the sample no verdict can be had."""


def commands() -> list[str]:
    """Every line of code in the README, without its comment."""
    lines = [line for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    return [bare for line in lines if (bare := re.sub(r"\s+#.*", "", line).strip())]


def test_the_readme_is_short_and_has_commands() -> None:
    assert len(README.encode()) <= 7000
    assert len(commands()) > 10
    assert all(any(line.startswith(begin) for line in commands()) for begin in (*LEFT_OUT, *ADDED))


def test_all_that_clean_removes_stands_where_the_first_hour_says_what_may_be_deleted() -> None:
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    for name in (*clean.CHEAP, *clean.COSTLY):
        assert f"`{name.partition('-')[0]}" in page, name


@pytest.mark.long
def test_the_lines_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", "model=small", "training=smoke")
    project.run("dvc", "repro")
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(project.path / "photo.png")
    ran = [line for line in commands() if not line.startswith(tuple(LEFT_OUT))]
    for line in ran:
        added = [word for begin, words in ADDED.items() if line.startswith(begin) for word in words]
        _run(project, [*shlex.split(line), *added])


def _run(project: Project, words: list[str]) -> None:
    output = project.run(*words)
    assert "Traceback" not in output, output
