"""Doing a run again, and saying how it differs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipeline.reproduce import (
    circumstances,
    commit_with_its_code,
    is_bit_identical,
    parting_epoch,
    read_reproducible,
)
from pipeline.run.environment import Environment
from pipeline.run.identity import Identity
from pipeline.run.record import Epoch, Run, TrainingPart
from pipeline.storage import project
from pipeline.terminal.errors import UserError

HERE = Environment("abc", False, {"python": "3.11.7", "keras": "3"}, {"cores": 2})


def recorded(*losses: float, weights: str = "w", history: str = "h") -> TrainingPart:
    epochs = tuple(Epoch(number, loss, 0.5, 0.1) for number, loss in enumerate(losses, start=1))
    ingredients: dict[str, JsonValue] = {"code": "c" * 64, "data": "d" * 64}
    files = {"weights.npz": "any", "history.csv": history}
    run = Run("id", ingredients, {}, "finished", None, len(epochs), 1, 1, [], weights, files)
    return TrainingPart(run, epochs, (), HERE, Path())


def test_a_run_is_bit_identical_when_weights_and_history_are() -> None:
    assert is_bit_identical(recorded(1.0), recorded(1.0))
    assert not is_bit_identical(recorded(1.0), recorded(1.0, weights="v"))
    assert not is_bit_identical(recorded(1.0), recorded(1.0, history="g"))
    growing = replace(recorded(1.0).run, weights=None)
    nothing = replace(recorded(1.0), run=growing)
    assert not is_bit_identical(nothing, nothing)


@pytest.mark.parametrize(
    ("ours", "theirs", "epoch"),
    [
        ((1.0, 0.5), (1.0, 0.5), None),
        ((1.0, 0.5), (1.0, 0.4), 2),
        ((0.9, 0.5), (1.0, 0.4), 1),
        ((1.0, 0.5), (1.0,), 2),
        ((1.0,), (1.0, 0.5, 0.4), 2),
        ((1.0, float("nan")), (1.0, float("nan")), None),
    ],
)
def test_histories_part_in_the_first_epoch_that_differs(
    ours: tuple[float, ...], theirs: tuple[float, ...], epoch: int | None
) -> None:
    assert parting_epoch(recorded(*ours), recorded(*theirs)) == epoch


def test_what_is_not_as_it_was_is_named() -> None:
    same = Identity("id", {"code": "c" * 64, "data": "d" * 64})
    assert circumstances(recorded(1.0), same, HERE) == []
    other = Identity("id", {"code": "e" * 64, "data": "d" * 64})
    here = Environment("xyz", False, {"python": "3.12.0", "keras": "3"}, {"cores": 8})
    assert circumstances(recorded(1.0), other, here) == [
        ("commit", "abc", "xyz"),
        ("code (digest)", "c" * 12, "e" * 12),
        ("versions: python", "3.11.7", "3.12.0"),
        ("hardware: cores", "2", "8"),
    ]
    more = replace(HERE, hardware={"cores": 2, "device": "cpu"})
    assert circumstances(recorded(1.0), same, more) == [("hardware: device", "not recorded", "cpu")]
    unknown = replace(recorded(1.0), environment=Environment())
    assert ("commit", "not recorded", "abc") in circumstances(unknown, same, HERE)


def test_a_folder_without_a_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        read_reproducible(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        read_reproducible(tmp_path)


def test_the_code_of_a_commit_is_run_only_where_a_branch_or_a_tag_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        name = "-c", "user.name=test", "-c", "user.email=test@localhost"
        return subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    def found(commit: str | None) -> str | None:
        return commit_with_its_code(replace(recorded(1.0), environment=replace(HERE, git_commit=commit)))

    monkeypatch.setattr(project, "ROOT", tmp_path)
    git("init", "-q")
    commits = []
    for text in ("first", "second"):
        (tmp_path / "code").write_text(text)
        git("add", "code")
        git("commit", "-qm", text)
        commits.append(git("rev-parse", "HEAD").strip())
    stray = git("commit-tree", "HEAD^{tree}", "-m", "a stranger's").strip()
    first, second = commits
    assert [found(commit) for commit in (first, second, stray)] == [first, None, None]
    assert [found(commit) for commit in (None, "--all", "HEAD", "a" * 40, first[:12])] == [None] * 5
    (tmp_path / "code").write_text("edited")
    assert found(second) == second
    git("tag", "known", stray)
    assert found(stray) == stray
    git("checkout", "-q", "--force", "--detach", second)
    git("branch", "-D", git("branch", "--format=%(refname:short)").strip().splitlines()[-1])
    assert found(first) == first
