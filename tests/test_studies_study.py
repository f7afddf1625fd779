"""studies/<name>/study.json: read as it was written, replaced whole, refused in a sentence when it is not as it was."""

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.storage.digest import sealed, unsealed
from pipeline.studies.study import Setting, Study, StudyRun, find_study, read_study, update_study, with_runs
from pipeline.terminal.errors import UserError
from tests.harness.studies import a_project, cell, study

FULL = Study(
    name="kernels",
    images="test",
    basis="b",
    baseline={"model.conv.kernel_size": [3, 5]},
    margin=0.25,
    state="failed",
    settings={"b": Setting({"x": None, "y": [1, 2]}, 3, 4, {"model": "deep"}, ("y",)), "a": Setting({"x": {}}, 5, 6)},
    cells=(
        StudyRun("1", "b", 0, "finished", None, 0.5, 1.25, 3.5),
        StudyRun("2", "a", 1, "failed", "out of memory “☃”"),
        StudyRun("3", "a", 2),
    ),
    refused=({"setting": "model.conv.kernel_size=99", "reason": "too large"},),
)


CONTRAST = {
    "name": "n",
    "claim": "c",
    "expects": "gain",
    "weights": {"a": 1, "b": -1},
    "score": "accuracy",
    "margin": 0.5,
    "declared": "then",
    "runs_before": 0,
}


@pytest.fixture(autouse=True)
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return a_project(monkeypatch, tmp_path) / "studies"


def written(folder: Path, found: Study = FULL) -> Path:
    update_study(folder, lambda _: found)
    return folder / "study.json"


def test_a_study_is_read_as_it_was_written_in_the_order_in_which_it_was_declared(studies: Path) -> None:
    path = written(studies / "kernels")
    assert read_study(path.parent) == FULL
    assert list(read_study(path.parent).settings) == ["b", "a"]
    assert json.loads(path.read_text())["layout"] == 2


def test_a_study_of_a_time_when_variants_were_not_kept_is_read(studies: Path) -> None:
    path = written(studies / "kernels")
    values = unsealed(path.read_text())
    for setting in values["settings"].values():
        del setting["variants"], setting["changed"]
    path.write_text(sealed(values))
    assert read_study(path.parent).settings["b"] == Setting({"x": None, "y": [1, 2]}, 3, 4)


def test_a_change_is_told_what_is_there_and_gives_what_is_there_next(studies: Path) -> None:
    seen: list[Study | None] = []

    def changed(present: Study | None) -> Study:
        seen.append(present)
        return replace(FULL, margin=len(seen))

    first = update_study(studies / "kernels", changed)
    second = update_study(studies / "kernels", changed)
    assert seen == [None, first]
    assert (first.margin, second.margin) == (1, 2)
    assert read_study(studies / "kernels") == second


def test_a_change_that_raises_leaves_the_study_as_it_was(studies: Path) -> None:
    path = written(studies / "kernels")
    before = path.read_bytes()

    def fails(_present: Study | None) -> Study:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        update_study(studies / "kernels", fails)
    assert path.read_bytes() == before
    assert update_study(studies / "kernels", lambda _: FULL) == FULL


def test_changes_of_several_writers_all_count(studies: Path) -> None:
    written(studies / "kernels", study({"a": {}}))

    def joined(present: Study | None, new: StudyRun) -> Study:
        assert present is not None
        return with_runs(present, [new])

    def add(writer: int) -> None:
        for number in range(4):
            update_study(studies / "kernels", partial(joined, new=cell("a", 100 * writer + number)))

    writers = [threading.Thread(target=add, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seeds = sorted(found.seed for found in read_study(studies / "kernels").cells)
    assert seeds == [100 * writer + number for writer in range(3) for number in range(4)]


def test_a_cell_takes_the_place_of_that_with_its_identity_and_a_new_one_comes_last() -> None:
    before = study({"a": {}}, [cell("a", 0, "waiting"), cell("a", 1, "waiting")])
    after = with_runs(before, [cell("a", 2), cell("a", 0, accuracy=0.5)])
    assert after.cells == (cell("a", 0, accuracy=0.5), cell("a", 1, "waiting"), cell("a", 2))
    assert before.cells == (cell("a", 0, "waiting"), cell("a", 1, "waiting"))


@pytest.mark.parametrize("name", ["other", "", "..", "../studies/a", "no_study"])
def test_a_study_is_found_by_its_name_or_those_are_named_that_there_are(studies: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"is no study here\. `python -m pipeline\.sweep --help`"):
        find_study(name)
    for known in "ba":
        written(studies / known, replace(FULL, name=known))
    (studies / "no_study").mkdir()
    with pytest.raises(UserError, match=r"is no study here\. There are: a, b\.$") as refused:
        find_study(name)
    assert str(refused.value).startswith(f"{name}: ")
    assert find_study("a") == replace(FULL, name="a")


def test_a_study_whose_file_is_not_there_is_refused_by_its_path(studies: Path) -> None:
    with pytest.raises(UserError, match=r"studies/other/study\.json: is missing"):
        read_study(studies / "other")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b'{"layout": 2}',
        b'{"layout": 2, "settings": [], "cells": [], "refused": []}',
        b'{"layout": 2, "settings": {}, "cells": 3, "refused": []}',
        b'{"layout": 2, "settings": {}, "cells": [{}], "refused": []}',
        b'{"layout": 2, "settings": {}, "cells": [[]], "refused": []}',
        b'{"layout": 2, "settings": {"a": {}}, "cells": [], "refused": []}',
        b'{"layout": 2, "settings": {}, "cells": [], "refused": []}',
    ],
)
def test_a_damaged_study_is_refused_with_its_path_and_the_way_out(studies: Path, content: bytes) -> None:
    path = written(studies / "kernels")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"kernels/study\.json: is damaged .*Run its sweep again"):
        read_study(path.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"cells": [{"identity": "1", "setting": "a", "seed": 0, "unknown": 1}]},
        {"cells": [{"identity": "1", "setting": "elsewhere", "seed": 0}]},
        {"unknown": 1},
        {"settings": {"a": {"values": {}, "parameters": 1}}},
        {"margin": 0},
        {"error_rate": 1.0},
        {"stop": "soon"},
        {"cells": [{"identity": "1", "setting": "a", "seed": 0, "accuracy": 1.5}]},
        {"contrasts": [CONTRAST | {"weights": {"a": 1, "elsewhere": -1}}]},
        {"contrasts": [CONTRAST | {"weights": {"a": 1, "b": 1}}]},
        {"contrasts": [CONTRAST | {"weights": {"a": 0, "b": 0}}]},
        {"contrasts": [CONTRAST | {"margin": -1}]},
    ],
)
def test_a_study_with_what_it_can_not_hold_is_refused(studies: Path, changes: dict[str, object]) -> None:
    path = written(studies / "kernels")
    path.write_text(sealed(unsealed(path.read_text()) | changes))
    with pytest.raises(UserError, match="is damaged"):
        read_study(path.parent)


def test_a_contrast_that_compares_two_settings_is_read(studies: Path) -> None:
    path = written(studies / "kernels")
    path.write_text(sealed(unsealed(path.read_text()) | {"contrasts": [CONTRAST]}))
    assert read_study(path.parent).contrasts[0].weights == {"a": 1, "b": -1}


def test_any_truncation_of_a_study_is_refused(studies: Path) -> None:
    path = written(studies / "kernels")
    content = path.read_bytes().rstrip()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="is damaged"):
            read_study(path.parent)


@pytest.mark.parametrize("layout", [0, 1, 3, "2", None])
def test_another_layout_is_refused_by_both_numbers(studies: Path, layout: object) -> None:
    path = written(studies / "kernels")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layout": layout}))
    with pytest.raises(UserError, match=rf"study\.json: layout {layout}, but this version reads layout 2\."):
        read_study(path.parent)


@pytest.mark.parametrize("content", ["", '{"layout": 3}'])
def test_a_study_that_cannot_be_read_is_made_anew_by_its_sweep_which_says_so(
    studies: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(studies / "kernels")
    path.write_text(content)
    seen = []

    def change(present: Study | None) -> Study:
        seen.append(present)
        return FULL

    assert update_study(path.parent, change) == FULL
    assert seen == [None]
    assert read_study(path.parent) == FULL
    assert "study.json" in capsys.readouterr().out
