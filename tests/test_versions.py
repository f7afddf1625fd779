"""What the project says of its version, of the Pythons that it runs on and of its layouts, is the same everywhere."""

import re
import shutil
import sqlite3
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.config.schema import Tracking
from pipeline.run import checkpoint, record
from pipeline.storage import project
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.store import open_store

ROOT = project.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CHANGES = (ROOT / "CHANGELOG.md").read_text("utf-8")
UPGRADES = (ROOT / "docs" / "upgrades.md").read_text("utf-8")
CONTAINER = (ROOT / "Containerfile").read_text("utf-8")
HOSTED = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]["check"]


def test_the_newest_changes_are_those_of_this_version() -> None:
    newest, state = re.findall(r"^## ([\d.]+) \((.+)\)$", CHANGES, re.MULTILINE)[0]
    assert PROJECT["version"] == (f"{newest}.dev0" if state == "unreleased" else newest)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == PROJECT["version"]


def test_versions_stand_in_the_order_of_their_time() -> None:
    numbers = [tuple(map(int, version.split("."))) for version in re.findall(r"^## ([\d.]+) ", CHANGES, re.MULTILINE)]
    assert len(numbers) >= 2
    assert numbers == sorted(numbers, reverse=True)


def test_the_newest_changes_name_the_layouts_that_are_written() -> None:
    newest = " ".join(CHANGES.split("\n## ")[1].split())
    assert f"Records of layout {record.LAYOUT} " in newest
    assert f"checkpoints of layout {checkpoint.LAYOUT}." in newest


def test_the_hosted_check_runs_all_of_it_on_every_python_that_is_promised() -> None:
    least, most = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    assert HOSTED["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(int(least), int(most))]
    assert HOSTED["steps"][-1] == {"run": ".ci/run"}


def test_what_the_hosted_check_uses_of_others_is_pinned_by_commit() -> None:
    used = [step["uses"] for step in HOSTED["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_the_container_has_a_python_that_is_promised() -> None:
    (base,) = re.findall(r"^ARG BASE=python:(3\.\d+)-slim$", CONTAINER, re.MULTILINE)
    assert base in HOSTED["strategy"]["matrix"]["python"]


def test_what_git_leaves_out_does_not_get_into_an_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for line in (ROOT / ".gitignore").read_text("utf-8").split():
        path = line.strip("/")
        if not line.startswith("!") and not path.startswith(("record", "__pycache__", ".*", "*")):
            assert path in ignored, path


def test_the_page_on_upgrades_names_tests_and_files_that_exist() -> None:
    named = set(re.findall(r"`((?:tests|pipeline|requirements|\.github)/[\w./-]*\w)`", UPGRADES))
    assert len(named) > 12
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_a_database_of_another_version_of_mlflow_is_refused_with_what_to_do_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(enabled=True, address=None, experiment="earlier")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/present.db")
    open_store(tracking)
    other = tmp_path / "other.db"
    with sqlite3.connect(tmp_path / "present.db") as present:
        present.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "present.db", other)
    with sqlite3.connect(other) as database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    with pytest.raises(StoreUnreachableError, match=r"another version of MLflow: .*`mlflow db upgrade`"):
        open_store(tracking)
    with sqlite3.connect(other) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("another",)]
