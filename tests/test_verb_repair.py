"""What a kill leaves of the files that DVC writes in place, and what `make repro` does about it."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline import repair
from pipeline.repair import is_list_of_locks, is_lockfile
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.project import ROOT, prepared_project, stages_run

LOCKFILE = (ROOT / "dvc.lock").read_text()


@pytest.fixture
def torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "DVC_LOCKS", tmp_path / "rwlock")
    monkeypatch.setattr(project, "DVC", tmp_path)
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


def test_dvc_is_told_that_there_is_no_git_and_that_there_is_again(
    torn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (torn / ".dvc").mkdir()
    for _ in range(2):
        assert repair.main() == 0
        assert (torn / ".dvc" / "config.local").read_text().split() == ["[core]", "no_scm", "=", "True"]
    assert capsys.readouterr().out.count("is not in a git repository: DVC works without") == 1
    (torn / ".git").mkdir()
    for _ in range(2):
        assert repair.main() == 0
        assert "no_scm" not in (torn / ".dvc" / "config.local").read_text()
    assert capsys.readouterr().out.count("is in a git repository: DVC uses it") == 1


def test_what_a_person_set_for_dvc_stays(torn: Path) -> None:
    (torn / ".dvc").mkdir()
    (torn / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n")
    assert repair.main() == 0
    assert (torn / ".dvc" / "config.local").read_text().split() == [
        "[cache]",
        "type",
        "=",
        "symlink",
        "[core]",
        "no_scm",
        "=",
        "True",
    ]


def test_an_archive_without_git_is_reproduced(tmp_path: Path) -> None:
    at = prepared_project(tmp_path / "project", "training=smoke", "tracking=off")
    shutil.rmtree(at.path / ".git")
    assert "not a git repository" in at.run("dvc", "repro", "check", status=255)
    at.verb("repair")
    assert stages_run(at.run("dvc", "repro", "--force", "--single-item", "preprocess")) == ["preprocess"]
    assert "Git" in at.run("dvc", "exp", "run", "check", status=255)


@pytest.mark.long
def test_a_training_in_an_archive_without_git_says_that_there_is_no_commit(tmp_path: Path) -> None:
    at = prepared_project(tmp_path / "project", "training=smoke", "tracking=off")
    shutil.rmtree(at.path / ".git")
    at.verb("repair")
    at.run("dvc", "repro")
    (clock,) = (at.path / "record" / "clock").glob("*.training.json")
    assert json.loads(clock.read_text())["environment"]["git_commit"] is None
    assert stages_run(at.run("dvc", "repro")) == ["check"]


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


@contextmanager
def living(name: str) -> Iterator[int]:
    """The pid of a process that runs a program of this name."""
    with subprocess.Popen((sys.executable, "-c", "input()", name), stdin=subprocess.PIPE) as process:
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def locked_by(*pids: int) -> str:
    entries = [{"pid": pid, "cmd": "/somewhere/.venv/bin/dvc repro"} for pid in pids]
    return json.dumps({"write": {"/p/data/raw": entries[0]}, "read": {"/p/params.yaml": entries}})


def test_a_lock_of_a_dvc_that_was_killed_and_not_waited_for_is_removed(
    torn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(("true",))
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    (torn / "rwlock").write_text(locked_by(process.pid))
    assert repair.main() == 0
    assert not (torn / "rwlock").exists()
    assert "rwlock: named a dvc that was killed" in capsys.readouterr().out
    process.wait()


def test_a_lock_whose_number_has_gone_to_another_program_is_removed(torn: Path) -> None:
    with living("another") as pid:
        (torn / "rwlock").write_text(locked_by(pid))
        assert repair.main() == 0
    assert not (torn / "rwlock").exists()


def test_the_locks_of_a_dvc_that_lives_stay(torn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with living("/elsewhere/bin/dvc") as pid, living("another") as dead:
        text = locked_by(dead, pid)
        (torn / "rwlock").write_text(text)
        assert repair.main() == 0
    assert (torn / "rwlock").read_text() == text
    assert capsys.readouterr().out == ""


def test_a_list_of_locks_that_names_nobody_stays(torn: Path) -> None:
    (torn / "rwlock").write_text('{"read": {}}')
    assert repair.main() == 0
    assert (torn / "rwlock").exists()


WHOLE, TORN = b"whole", b"wh"


def cached(root: Path, content: bytes, named: bytes) -> Path:
    """A file of DVC's cache whose name says what it should hold."""
    name = hashlib.md5(named, usedforsecurity=False).hexdigest()
    path = root / "cache" / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


@pytest.mark.parametrize("left", [b"", TORN, bytes(len(WHOLE))])
def test_what_a_power_cut_left_in_the_cache_of_dvc_is_removed_with_a_word(
    left: bytes, torn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = cached(torn, b"another", b"another"), cached(torn, left, WHOLE)
    assert repair.main() == 0
    assert good.exists()
    assert not bad.exists()
    assert capsys.readouterr().out.startswith(f"{bad}: was not whole in DVC's cache")


def test_the_cache_of_dvc_is_read_once_after_a_start_of_the_machine(
    torn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(torn, WHOLE, WHOLE)
    assert repair.main() == 0
    bad = cached(torn, TORN, b"later")
    assert repair.main() == 0
    assert bad.exists()
    monkeypatch.setattr(repair, "boot", lambda: "the next")
    assert repair.main() == 0
    assert not bad.exists()


RUN = """\
cmd: python -m pipeline.fetch
outs:
- path: data/raw
  hash: md5
  md5: b042856a96c4e555b9a0424e0acfd312.dir
  size: 628048
  nfiles: 4
"""
NAMED = "fee8a07a2185dac98264fe2b1db6405820b7394d2d18c1da5547fcec846eeb54"
"""What DVC calls a note with that content."""


@pytest.mark.parametrize("left", ["", RUN[:30], RUN[:60], RUN.partition("  md5")[0], "outs: [", "\0\0\0"])
def test_a_torn_note_of_a_run_in_the_cache_of_dvc_is_removed(left: str, torn: Path) -> None:
    good, bad = (torn / "cache" / "runs" / key / f"{key}c" / NAMED for key in ("ab", "cd"))
    for path, content in ((good, RUN), (bad, left)):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert repair.main() == 0
    assert good.exists()
    # DVC fails at an empty one.
    assert not bad.parent.exists()


def test_a_configuration_of_dvc_that_is_torn_is_said(torn: Path) -> None:
    (torn / "config").write_text("[cache\n")
    with pytest.raises(UserError, match=r"DVC's configuration in .* can't be read .* Mend it there"):
        repair.main()
