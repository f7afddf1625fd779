"""Fetching, from real servers on the loopback that behave as badly as servers do."""

import gzip
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipeline.config.schema import DebianSource, FolderSource, RawFiles, WebSource
from pipeline.data.download import Timeouts, UnavailableError, decompressed, download_verified, received
from pipeline.data.sources import fetch, in_folder
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.mirrors import (
    Answer,
    Site,
    bomb,
    circle,
    cut_off,
    damaged_gzip,
    drip,
    dripping_header,
    empty,
    good,
    hang_up,
    html_page,
    not_found,
    one_pixel_changed,
    send,
    silence,
    stall,
    swapped,
    trailing,
    truncated_gzip,
    zipped,
)
from tests.sample import FOLDER, NAMES, content, sample_data_config

FILES = RawFiles.model_validate(sample_data_config()["files"])
SAMPLE = FolderSource(kind="folder", path=str(FOLDER))
DEBIAN = DebianSource(kind="debian", package="some-images")
DEFAULT = Timeouts()
AGAINST_DRIPS = Timeouts(window=0.4)
AGAINST_SILENCE = Timeouts(read=0.2)


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


BAD_ANSWERS: list[tuple[Answer, Timeouts, str]] = [
    (html_page, DEFAULT, "serves an HTML page, not gzip"),
    (truncated_gzip, DEFAULT, "serves gzip that is cut off after"),
    (damaged_gzip, DEFAULT, "serves damaged gzip"),
    (trailing, DEFAULT, "serves gzip with something after its end"),
    (empty, DEFAULT, "serves an empty file"),
    (not_found, DEFAULT, "answers 404 Not Found"),
    (circle, DEFAULT, "redirects more than 5 times"),
    (bomb, DEFAULT, "serves another file: more than 470,416 bytes"),
    (swapped, DEFAULT, "serves another file: 156,816 bytes, not 470,416"),
    (one_pixel_changed, DEFAULT, "serves another file: its SHA-256 is"),
    (cut_off, DEFAULT, "breaks off"),
    (hang_up, DEFAULT, "gives no connection ("),
    (drip, AGAINST_DRIPS, "is too slow: "),
    (dripping_header, AGAINST_DRIPS, "is too slow: 0 bytes in 0.4 s"),
    (stall, AGAINST_SILENCE, "sends nothing for 0.2 s"),
    (silence, AGAINST_SILENCE, "sends nothing for 0.2 s"),
]
NAMES_OF_ANSWERS = [answer.__name__ for answer, _, _ in BAD_ANSWERS]
NOT_ASKED_TWICE = {drip, dripping_header, stall, silence, hang_up}


def assert_complete(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: content(part) for part, name in NAMES.items()
    }


@pytest.mark.parametrize(("answer", "timeouts", "reason"), BAD_ANSWERS, ids=NAMES_OF_ANSWERS)
def test_bad_answer_is_told_and_leaves_nothing(
    answer: Answer, timeouts: Timeouts, reason: str, site: Site, tmp_path: Path
) -> None:
    site.answer = answer
    with pytest.raises(UserError) as caught:
        fetch(FILES, [site.source], tmp_path / "raw", timeouts)
    assert f"{site.address}: {reason}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "timeouts", "_reason"), BAD_ANSWERS, ids=NAMES_OF_ANSWERS)
def test_after_a_bad_answer_the_next_source_is_tried(
    answer: Answer, timeouts: Timeouts, _reason: str, site: Site, tmp_path: Path
) -> None:
    site.answer = answer
    began = time.monotonic()
    fetch(FILES, [site.source, SAMPLE], tmp_path / "raw", timeouts)
    assert_complete(tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert time.monotonic() - began < 5
    if answer in NOT_ASKED_TWICE:
        assert len(site.asked) == 1


def test_good_server_is_enough(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(FILES, [site.source], tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{name}: from {site.address}/{name}.gz" for name in NAMES.values()]


def test_redirect_to_the_file_is_followed(site: Site, tmp_path: Path) -> None:
    def elsewhere(request: BaseHTTPRequestHandler, name: str) -> None:
        if request.path.startswith("/files"):
            send(request, b"", status=301, Location=f"/elsewhere/{name}")
        else:
            good(request, name)

    site.answer = elsewhere
    fetch(FILES, [site.source], tmp_path / "raw")
    assert_complete(tmp_path / "raw")


def test_circle_is_left_after_five_redirects(site: Site, tmp_path: Path) -> None:
    site.answer = circle
    with pytest.raises(UserError):
        fetch(FILES, [site.source], tmp_path / "raw")
    assert len(site.asked) == 6


def test_server_is_asked_not_to_compress_again(site: Site, tmp_path: Path) -> None:
    asked = []

    def noting(request: BaseHTTPRequestHandler, name: str) -> None:
        asked.append(request.headers["Accept-Encoding"])
        good(request, name)

    site.answer = noting
    fetch(FILES, [site.source], tmp_path / "raw")
    assert asked == ["identity"] * 4


def test_server_that_calls_the_file_an_encoding_is_understood(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request, name: send(request, zipped(name), Content_Encoding="gzip")
    fetch(FILES, [site.source], tmp_path / "raw")
    assert_complete(tmp_path / "raw")


def test_slow_reader_is_not_a_slow_server(site: Site) -> None:
    site.answer = lambda request, _name: send(request, bytes(1_000_000))
    size = 0
    for piece in received(f"{site.address}/any.gz", Timeouts(window=0.5, slowest=10**9)):
        size += len(piece)
        time.sleep(0.05)
    assert size == 1_000_000


def test_each_file_may_come_from_another_source(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.answer = lambda request, name: (not_found if name.startswith("train") else good)(request, name)
    fetch(FILES, [site.source, SAMPLE], tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    places = [line.partition(": from ")[2].rpartition("/")[0] for line in capsys.readouterr().out.splitlines()]
    assert places == [str(FOLDER), str(FOLDER), site.address, site.address]


def test_failing_everywhere_lists_each_reason_and_what_to_do(site: Site, tmp_path: Path) -> None:
    site.answer = not_found
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{unused.getsockname()[1]}"
        sources: list[FolderSource | WebSource] = [
            FolderSource(kind="folder", path=str(tmp_path)),
            FolderSource(kind="folder", path=str(tmp_path / "none")),
            site.source,
            WebSource(kind="web", address=refusing),
        ]
        with pytest.raises(UserError) as caught:
            fetch(FILES, sources, tmp_path / "raw")
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[:-1] == [
        "train-images-idx3-ubyte: no source serves it.",
        f"{tmp_path}: holds neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte",
        f"{tmp_path / 'none'}: is no folder",
        f"{site.address}: answers 404 Not Found",
        f"{refusing}: gives no connection (Connection refused)",
    ]
    assert "https://github.com/zalandoresearch/fashion-mnist" in lines[-1]
    assert str(project.BY_HAND) in lines[-1]
    assert not (tmp_path / "raw").exists()


def test_images_that_were_imported_elsewhere_are_to_be_imported_here(tmp_path: Path) -> None:
    source = FolderSource(kind="folder", path="data/imported/flowers")
    with pytest.raises(UserError) as caught:
        fetch(FILES, [source], tmp_path / "raw")
    _, reason, way = str(caught.value).splitlines()
    assert reason.strip() == f"{project.IMPORTED / 'flowers'}: is no folder"
    again = "python -m pipeline.import_images flowers … --replace"
    assert way.strip() == f"Import them here too ({again}), or name another place in data.sources."


def test_failing_leaves_what_was_there(site: Site, tmp_path: Path) -> None:
    fetch(FILES, [SAMPLE], tmp_path / "raw")
    site.answer = lambda request, name: (not_found if name.startswith("t10k-labels") else good)(request, name)
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte: no source serves it"):
        fetch(FILES, [site.source], tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_folder_may_hold_decompressed_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for part, name in NAMES.items():
        (plain / name).write_bytes(content(part))
    fetch(FILES, [FolderSource(kind="folder", path=str(plain))], tmp_path / "raw")
    assert_complete(tmp_path / "raw")


def test_relative_folder_lies_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "ROOT", FOLDER.parent)
    monkeypatch.chdir(tmp_path)
    fetch(FILES, [FolderSource(kind="folder", path=FOLDER.name)], tmp_path / "raw")
    assert_complete(tmp_path / "raw")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:-1] + b"\xff"]
)
def test_wrong_decompressed_file_is_not_taken(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    by_hand = tmp_path / "by_hand"
    by_hand.mkdir()
    (by_hand / NAMES["train_images"]).write_bytes(damage(content("train_images")))
    with pytest.raises(UserError, match="serves another file"):
        fetch(FILES, [FolderSource(kind="folder", path=str(by_hand))], tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_refused_file_leaves_nothing_beside_its_place(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    name = NAMES["train_labels"]
    (tmp_path / "source" / name).write_bytes(content("test_labels"))
    source = in_folder(tmp_path / "source", name)
    with pytest.raises(UnavailableError):
        download_verified(source, FILES.train_labels, tmp_path / "target" / name, advance=lambda _: None)
    assert list((tmp_path / "target").iterdir()) == []


def test_gzip_bomb_is_never_blown_up() -> None:
    blown = gzip.compress(bytes(20_000_000))
    assert sum(map(len, decompressed([blown], most=1000))) == 1001


def test_gzip_bomb_for_a_large_file_takes_little_memory() -> None:
    blown = gzip.compress(bytes(60_000_000))
    tracemalloc.start()
    try:
        assert sum(map(len, decompressed([blown], most=100_000_000))) == 60_000_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_gzip_without_end_is_given_up() -> None:
    # Empty blocks for ever: bytes come, content never does.
    engine = zlib.compressobj(wbits=31)
    start = engine.compress(b"x") + engine.flush(zlib.Z_FULL_FLUSH)

    def endless() -> Iterator[bytes]:
        yield start
        while True:
            taken.append(5000)
            yield b"\x00\x00\x00\xff\xff" * 1000

    taken: list[int] = []
    with pytest.raises(UnavailableError, match="more than 66,546 compressed bytes for a file of 1,000"):
        list(decompressed(endless(), most=1000))
    assert sum(taken) < 80_000


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_pieces_of_any_size_give_the_same_content(size: int) -> None:
    data = bytes(range(256)) * 20
    packed = gzip.compress(data)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert b"".join(decompressed(pieces, most=len(data))) == data


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_second_gzip_member_is_refused(size: int) -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"two")
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    with pytest.raises(UnavailableError, match="something after its end"):
        list(decompressed(pieces, most=100))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but the shell's own tools, and an own place for temporary folders."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f'#!/bin/sh\necho "{path.name} $*" >> {path.parent}/calls\nPATH=/usr/bin:/bin\n{script}\n')
    path.chmod(0o755)


UNPACK = f'mkdir -p "$3/usr/share/images" && cp {FOLDER}/*.gz "$3/usr/share/images"'


def test_debian_package_is_downloaded_once_and_cleared_away(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(programs / "apt-get", "touch some-images_1.0_all.deb")
    program(programs / "dpkg-deb", UNPACK)
    fetch(FILES, [DEBIAN], tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    calls = [line.split() for line in (programs / "calls").read_text().splitlines()]
    assert [(call[0], call[-1]) for call in calls] == [("apt-get", "some-images"), ("dpkg-deb", "contents")]
    assert list((tmp_path / "temporary").iterdir()) == []
    name = NAMES["train_images"]
    assert f"{name}: from Debian package some-images, usr/share/images/{name}.gz" in capsys.readouterr().out


def test_debian_package_lies_where_the_next_fetch_clears_up_after_a_kill(programs: Path, tmp_path: Path) -> None:
    program(programs / "apt-get", f"pwd > {tmp_path}/where; touch some-images_1.0_all.deb")
    program(programs / "dpkg-deb", UNPACK)
    fetch(FILES, [DEBIAN], tmp_path / "raw")
    where = Path((tmp_path / "where").read_text()).relative_to(tmp_path)
    assert where.parts[0].startswith(".raw.")
    assert where.parts[0].endswith(".partial")


def test_debian_lists_of_its_own_are_made_where_none_are(programs: Path, tmp_path: Path) -> None:
    program(
        programs / "apt-get",
        """case "$*" in
            *update*Dir::State::Lists=*) test -d "${*##*Lists=}/partial" && touch "${*##*Lists=}/filled" ;;
            *download*Dir::State::Lists=*) test -e "${*##*Lists=}/filled" && touch some-images_1.0_all.deb ;;
            *) echo "E: Unable to locate package some-images"; exit 100 ;;
        esac""",
    )
    program(programs / "dpkg-deb", UNPACK)
    fetch(FILES, [DEBIAN], tmp_path / "raw")
    assert_complete(tmp_path / "raw")


@pytest.mark.parametrize(
    ("apt_get", "dpkg_deb", "reason"),
    [
        (None, UNPACK, "there is no apt-get on this machine"),
        ("touch one.deb", None, "there is no dpkg-deb on this machine"),
        ("echo 'E: No route'; exit 100", UNPACK, "apt-get update failed: E: No route"),
        ("exec sleep 30", UNPACK, "apt-get took more than 0.5 s"),
        ("true", UNPACK, "gave 0 .deb files, not one"),
        ("touch one.deb", "echo 'dpkg-deb: error: no archive'; exit 2", "dpkg-deb -x failed: dpkg-deb: error: no arch"),
        ("touch one.deb", "mkdir contents", "holds no train-images-idx3-ubyte.gz"),
    ],
)
def test_debian_that_fails_gives_its_reason(
    apt_get: str | None, dpkg_deb: str | None, reason: str, programs: Path, tmp_path: Path
) -> None:
    for name, script in (("apt-get", apt_get), ("dpkg-deb", dpkg_deb)):
        if script is not None:
            program(programs / name, script)
    with pytest.raises(UserError) as caught:
        fetch(FILES, [DEBIAN], tmp_path / "raw", Timeouts(command=0.5 if apt_get == "exec sleep 30" else 60))
    assert f"Debian package some-images: {reason}" in str(caught.value)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_debian_that_fails_is_asked_for_one_file_only(programs: Path, tmp_path: Path) -> None:
    program(programs / "apt-get", "exit 100")
    fetch(FILES, [DEBIAN, SAMPLE], tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    # The download, and the making of lists for a second one.
    assert len((programs / "calls").read_text().splitlines()) == 2
