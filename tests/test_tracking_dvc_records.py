"""What DVC noted of earlier runs is put together again, and nothing else is."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.run.environment import Environment, git
from pipeline.run.record import EVALUATION, TRAINING, EpochTime, EvaluationClock, TrainingClock, write_clock
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from pipeline.tracking import restore
from pipeline.tracking.restore import cached_records, put_together


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is in no git repository."""
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    monkeypatch.setattr(project, "RECORD", tmp_path / "project" / "record")
    monkeypatch.setattr(project, "DVC", tmp_path / "project" / ".dvc")
    (project.DVC / "cache").mkdir(parents=True)
    return tmp_path


def cached(text: str, suffix: str = "") -> str:
    """Put a text into DVC's cache; returns its MD5."""
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    path = (project.DVC / "cache") / "files" / "md5" / md5[:2] / f"{md5[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return md5 + suffix


def note(name: str, *, read: Mapping[str, str], wrote: Mapping[str, str]) -> None:
    """What DVC notes of a stage that it ran."""
    files = {
        key: [{"path": path, "md5": md5} for path, md5 in paths.items()]
        for key, paths in (("deps", read), ("outs", wrote))
    }
    path = (project.DVC / "cache") / "runs" / (2 * name) / name / name
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"cmd": "python -m pipeline", **files}))


def trained(name: str, ended: int | None) -> dict[str, str]:
    """A training whose identity is `name`; a clock says when it ended, unless that is None."""
    if ended is not None:
        write_clock(project.RECORD, TRAINING, TrainingClock(name, (EpochTime(1, 1.0, ended),), Environment()))
    return {"record/training/run.json": cached(json.dumps({"identity": name}))}


def scored(name: str, when: int) -> dict[str, str]:
    write_clock(project.RECORD, EVALUATION, EvaluationClock(name, "s", {}, when))
    return {"record/evaluation/evaluation.json": cached(json.dumps({"identity": name, "scoring": "s"}))}


def test_what_was_scored_belongs_to_what_was_trained_and_the_oldest_comes_first() -> None:
    late, early, alone, lost = trained("late", 30), trained("early", 10), trained("alone", 20), trained("lost", None)
    run = "record/training/run.json"
    for name, read, wrote in (
        ("a", {"data/x": "0" * 32}, late),
        ("b", {"data/x": "0" * 32}, early),
        ("c", {"data/x": "0" * 32}, alone),
        ("d", {run: late[run], "data/y": "1" * 32}, scored("late", 31)),
        ("e", {run: early[run]}, scored("early", 11)),
        ("f", {run: "2" * 32}, scored("trained_elsewhere", 5)),
        ("i", {"data/x": "0" * 32}, lost),
        ("g", {}, {"data/prepared": "3" * 32}),
    ):
        note(name, read=read, wrote=wrote)
    ((project.DVC / "cache") / "runs" / "hh" / "h").mkdir(parents=True)
    ((project.DVC / "cache") / "runs" / "hh" / "h" / "h").write_text("cmd: [")
    found = cached_records()
    assert [record["training/run.json"] for record in found] == [lost[run], early[run], alone[run], late[run]]
    assert ["evaluation/evaluation.json" in record for record in found] == [False, True, False, True]


def test_a_training_that_was_done_again_to_the_same_bits_is_one_record() -> None:
    one = trained("one", 10)
    note("a", read={}, wrote=one)
    note("b", read={}, wrote=trained("one", 99))
    note("c", read=one, wrote=scored("one", 11))
    (record,) = cached_records()
    assert record["evaluation/evaluation.json"]


def test_files_and_folders_are_there_as_they_were(place: Path) -> None:
    picture = cached("a picture")
    folder = cached(json.dumps([{"relpath": "a/b.png", "md5": picture}]), ".dir")
    assert put_together({"training/run.json": cached("run"), "evaluation/pictures": folder}, place / "restored", {})
    found = {path.name: path.read_text() for path in (place / "restored").rglob("*") if path.is_file()}
    assert found == {"run.json": "run", "b.png": "a picture"}


def test_what_is_gone_damaged_or_leads_out_is_not_restored(place: Path) -> None:
    sound = cached("content")
    damaged = cached("other")
    ((project.DVC / "cache") / "files" / "md5" / damaged[:2] / damaged[2:]).write_text("changed")
    for record in (
        {"training/run.json": "0" * 32},
        {"training/run.json": damaged},
        {"training/run.json": "../../secret"},
        {"training/run.json": f"{sound}.dir"},
        {"../outside": sound},
        {"/tmp/outside": sound},  # noqa: S108 - must not be written
        {"pictures": cached(json.dumps([{"relpath": "../../outside", "md5": sound}]), ".dir")},
        {"pictures": cached("not a list", ".dir")},
        {"pictures": cached("3", ".dir")},
        {"pictures": cached("[{}]", ".dir")},
        {"training": sound, "training/run.json": sound},
    ):
        assert not put_together(record, place / "restored" / "record", {})
    assert not (place / "outside").exists()
    assert not (place / "restored" / "outside").exists()


def test_what_git_alone_has_comes_from_there(place: Path) -> None:
    assert put_together({"evaluation/metrics.json": "0" * 32}, place, {"0" * 32: b"{}"})
    assert (place / "evaluation" / "metrics.json").read_bytes() == b"{}"


def test_git_is_asked_for_every_version_of_a_file_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"", b"one\nline", b"one\nline\n", b"x blob 7\n\x00\xff\n\n"]
    path = project.RECORD / EVALUATION / "metrics.json"
    path.parent.mkdir(parents=True)
    asked = list[tuple[str, ...]]()

    def counting(*arguments: str, **options: Any) -> bytes | None:
        asked.append(arguments)
        return git(*arguments, **options)

    git("init", "-q")
    for text in texts:
        path.write_bytes(text)
        git("add", "--all")
        git("-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "one")
    monkeypatch.setattr(restore, "git", counting)
    assert sorted(restore.metrics_in_git().values()) == sorted(texts)
    assert [words[0] for words in asked] == ["rev-list", "cat-file"]


def test_a_cache_whose_place_can_not_be_read_is_told_in_a_sentence() -> None:
    (project.DVC / "config").write_text("[core\nx")
    with pytest.raises(UserError, match=r"(?s)DVC's configuration in .* can't be read .* Mend it there\.$"):
        cached_records()


def test_a_note_of_a_date_that_is_none_or_a_scoring_that_is_no_mapping_keeps_nothing_else_out() -> None:
    one = trained("one", 10)
    note("a", read={}, wrote=one)
    note("b", read=one, wrote={"record/evaluation/evaluation.json": cached("[]")})
    torn = project.DVC / "cache" / "runs" / "cc" / "c" / "c"
    torn.parent.mkdir(parents=True)
    torn.write_text("2024-99-99")
    assert [sorted(record) for record in cached_records()] == [["evaluation/evaluation.json", "training/run.json"]]
