"""What a kill leaves of the files that DVC writes in place, and what `make repro` does about it."""

from pathlib import Path

import pytest

from pipeline import repair
from pipeline.repair import is_list_of_locks, is_lockfile
from pipeline.storage import project
from tests.project import ROOT

LOCKFILE = (ROOT / "dvc.lock").read_text()


@pytest.fixture
def torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "DVC_LOCKS", tmp_path / "rwlock")
    monkeypatch.setattr(repair, "PATIENCE", 0.01)
    monkeypatch.setattr("sys.argv", ["repair"])
    return tmp_path


def test_a_whole_dvc_lock_stays(torn: Path) -> None:
    (torn / "dvc.lock").write_text(LOCKFILE)
    (torn / "rwlock").write_text('{"read": {}}')
    assert repair.main() == 0
    assert (torn / "dvc.lock").read_text() == LOCKFILE
    assert (torn / "rwlock").exists()


def test_nothing_is_done_where_dvc_has_written_nothing(torn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repair.main() == 0
    assert list(torn.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("left", ["", "schema: '2.0'\nstages:\n  check:\n    cm", "\0\0\0"])
def test_a_torn_dvc_lock_is_removed_with_a_word(left: str, torn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (torn / "dvc.lock").write_text(left)
    assert repair.main() == 0
    assert not (torn / "dvc.lock").exists()
    assert "dvc.lock: was torn by a kill" in capsys.readouterr().out


@pytest.mark.parametrize("left", ["", '{"read": {"a', "[]"])
def test_a_torn_list_of_locks_is_removed(left: str, torn: Path) -> None:
    (torn / "rwlock").write_text(left)
    assert repair.main() == 0
    assert not (torn / "rwlock").exists()


def test_a_file_that_is_whole_a_moment_later_stays(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = torn / "dvc.lock"
    path.write_text("")
    monkeypatch.setattr("time.sleep", lambda _seconds: path.write_text(LOCKFILE))
    assert repair.main() == 0
    assert path.read_text() == LOCKFILE


def test_what_is_whole_is_what_dvc_takes() -> None:
    assert is_lockfile(LOCKFILE)
    assert not is_lockfile("")
    assert not is_lockfile("stages: {}")
    assert not is_lockfile("schema: '2.0'\nstages:\n  check:\n    deps: []")
    assert is_list_of_locks("{}")
