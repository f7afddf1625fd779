"""docs/architecture.md is about the code that is here: its picture, its tables, the files and names it sends one to."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import structure
from benchmarks.structure import BOOKS, PAGE, PICTURE, ROOT, fill_counts, picture, room_imports, rooms

TEXT = PAGE.read_text("utf-8")
READING = re.findall(r"^\| (\d+) \| `([^`]+)` \| (.+) \|$", TEXT, re.MULTILINE)
WRITE = "python -m benchmarks.structure --write writes it"


def test_the_picture_is_that_of_the_code() -> None:
    assert PICTURE.read_text("utf-8") == picture(), WRITE


def test_the_tables_are_those_of_the_code() -> None:
    assert fill_counts(TEXT) == TEXT, WRITE


def test_the_picture_has_every_room_with_its_lines() -> None:
    drawn = ElementTree.fromstring(picture())  # noqa: S314 - our own text
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for room, members in rooms().items():
        assert f"{sum(len(structure.modules()[name].read_bytes().splitlines()) for name in members):,}" in texts
        assert room in texts


def test_each_book_imports_only_those_before_it() -> None:
    book = {room: number for number, members in enumerate(BOOKS.values()) for room in members}
    assert {(one, other) for one, other in room_imports() if book[other] > book[one]} == set()


def test_the_page_names_only_files_that_exist() -> None:
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?(?:\.\w+|/))`", TEXT))
    paths = {name for name in named if "/" in name or (ROOT / name).suffix in {".yaml", ".toml", ".lock"}}
    assert len(paths) > 30
    rooms_ = {f"{room}/" for room in rooms()}
    assert {path for path in paths - rooms_ if not (ROOT / path).exists()} == set()


def test_the_reading_takes_45_minutes_in_files_of_which_each_is_named_once() -> None:
    assert sum(int(minutes) for minutes, _, _ in READING) == 45
    assert len({path for _, path, _ in READING}) == len(READING)


@pytest.mark.parametrize(("path", "look_for"), [(path, text) for _, path, text in READING])
def test_what_to_look_for_in_a_file_is_in_it(path: str, look_for: str) -> None:
    code = (ROOT / path).read_text("utf-8")
    for name in re.findall(r"`([A-Za-z_]\w*)`", look_for):
        assert re.search(rf"\b{name}\b", code), f"{path}: has no {name}"


def test_a_room_that_is_in_no_book_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipeline" / "attic").mkdir(parents=True)
    (tmp_path / "pipeline" / "attic" / "__init__.py").write_text('"""Old things."""\n')
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    structure.modules.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"BOOKS and the folders of pipeline/ differ: .*attic"):
            rooms()
    finally:
        structure.modules.cache_clear()
