"""What takes hours was run on the code that is here, or it is said what has to be run again."""

import json
import subprocess
from pathlib import Path

import pytest

from faults import __main__ as command
from faults import campaign, freshness, reliability
from faults.campaign import Row, Trial
from faults.fuzzing import sessions
from pipeline.storage import project

ROW = Row("kills", "a kill", "nothing is lost", times=30, short=1, trial=lambda _injection: "resumed")
CODE = '"""What it is."""\n\nanswer = 42\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under git with two modules, whose long tests have passed."""
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(campaign, "FOLDER", tmp_path)
    monkeypatch.setattr(freshness, "STAMPS", tmp_path / "stamps.json")
    freshness.changed_since.cache_clear()
    (tmp_path / "pipeline").mkdir()
    for name in ("train", "track"):
        (tmp_path / "pipeline" / f"{name}.py").write_text(CODE)
    (tmp_path / "README.md").write_text("read me")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "-A")
    _git(tmp_path, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "start")
    freshness.STAMPS.write_text('{"changed": {}}')
    freshness.stamp()
    return tmp_path


def _git(root: Path, *words: str) -> None:
    subprocess.run(("git", *words), cwd=root, check=True)


def _trials(count: int, *, held: bool = True, commit: str | None = None) -> list[Trial]:
    at = campaign.commit() if commit is None else commit
    return [Trial(number, "a kill", "resumed", held, 1.0, at, day="2026-11-28") for number in range(count)]


def _explain(changes: dict[str, str]) -> None:
    freshness.STAMPS.write_text(json.dumps(freshness.stamps() | {"changed": changes}))
    freshness.changed_since.cache_clear()


def test_on_the_code_that_is_here_nothing_has_to_be_run_again(root: Path) -> None:
    assert freshness.problems({ROW: _trials(3)}) == []
    (root / "README.md").write_text("read me again")
    (root / "pipeline" / "train.py").write_text('"""What it is, in other words."""\n\nanswer = 42  # so it is\n')
    freshness.changed_since.cache_clear()
    assert freshness.problems({ROW: _trials(3)}) == []


MOVED = """\
from pipeline.errors import UserError

class Guard:
    def check(self, path):
        if not path.exists():
            raise UserError(f"{path}: is missing. Make it anew")
"""


def test_what_was_moved_and_a_sentence_in_other_words_are_no_change(root: Path) -> None:
    before = root / "pipeline" / "guard.py"
    before.write_text(MOVED)
    _git(root, "add", "-A")
    _git(root, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "a guard")
    freshness.stamp()
    text = MOVED.replace("pipeline.errors", "pipeline.terminal").replace("is missing. Make", "is not there: make")
    before.rename(root / "pipeline" / "storage.py").write_text(text)
    _git(root, "add", "-A")
    assert freshness.changed_since(campaign.commit()) == set()
    (root / "pipeline" / "storage.py").write_text(text.replace("not path", "path"))
    freshness.changed_since.cache_clear()
    assert freshness.changed_since(campaign.commit()) == {"pipeline/guard.py", "pipeline/storage.py"}


def test_in_a_room_that_no_fault_reaches_code_that_has_changed_asks_for_the_long_tests_alone(root: Path) -> None:
    (root / "pipeline" / "findings").mkdir()
    (root / "pipeline" / "findings" / "wording.py").write_text(CODE)
    _git(root, "add", "-A")
    (said,) = freshness.problems({ROW: _trials(3)})
    assert said.startswith("test-long: ")


@pytest.mark.parametrize("content", [CODE.replace("42", "43"), None])
def test_code_that_has_changed_is_named_with_what_has_to_be_run(root: Path, content: str | None) -> None:
    path = root / "pipeline" / "train.py"
    path.unlink()
    if content is not None:
        path.write_text(content)
    long_tests, row = freshness.problems({ROW: _trials(30)})
    assert "since then pipeline/train.py changed. Run `make test-long`" in long_tests
    assert row == "kills: 0 trials held in the code that is here, 3 must. Run `python -m faults kills`."


def test_a_change_with_a_reason_is_let_be_and_a_reason_without_a_change_is_not(root: Path) -> None:
    (root / "pipeline" / "train.py").write_text("answer = 43\n")
    _explain({"pipeline/train.py": "another sentence"})
    assert freshness.problems({ROW: _trials(3)}) == []
    _explain({"pipeline/train.py": "another sentence", "pipeline/track.py": "none any more"})
    assert freshness.problems({ROW: _trials(3)}) == ["pipeline/track.py: has not changed; take it out of stamps.json"]


@pytest.mark.usefixtures("root")
def test_trials_that_did_not_hold_or_whose_commit_nobody_knows_do_not_count() -> None:
    assert len(freshness.problems({ROW: _trials(30, held=False)})) == 1
    assert len(freshness.problems({ROW: _trials(30, commit="0" * 7)})) == 1
    freshness.STAMPS.write_text('{"test-long": {"commit": "0000000", "day": "2026-11-28"}, "changed": {}}')
    (said,) = freshness.problems({ROW: _trials(3)})
    assert "no commit that this clone knows" in said
    freshness.STAMPS.write_text('{"changed": {}}')
    (said,) = freshness.problems({ROW: _trials(3)})
    assert said.startswith("test-long: last run: never")


def test_a_share_of_what_held_is_injected_again_where_code_has_changed(root: Path) -> None:
    before = {trial.number: trial for trial in _trials(30)}
    assert command._to_run(ROW, before, 30) == []
    assert command._to_run(ROW, {}, 30) == list(range(30))
    (root / "pipeline" / "train.py").write_text("answer = 43\n")
    freshness.changed_since.cache_clear()
    assert command._to_run(ROW, before, 30) == [0, 1, 2]
    del before[7]
    assert command._to_run(ROW, before, 30) == [0, 1, 7]


@pytest.mark.usefixtures("root")
def test_the_page_says_when_and_on_which_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "section", str)
    page = reliability.page({ROW: _trials(3)})
    commit = campaign.commit()
    assert f"| kills | a kill | 3 of 30 | 3 | 2026-11-28 {commit} | resumed 3 | nothing is lost |" in page
    assert f"`make test-long`, which has last passed on {freshness.stamps()['test-long']['day']} at {commit}" in page
