"""The disk that fails on purpose: it counts, and hits what it was told to."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from faults.disk import Call, Disk, library, reason_not_to

pytestmark = pytest.mark.skipif(reason_not_to() is not None, reason=str(reason_not_to()))

WRITER = """
import os, subprocess, sys
from pathlib import Path
os.chdir(sys.argv[1])
Path("new").mkdir(exist_ok=True)
Path("new").mkdir(exist_ok=True)
try:
    with open("new/file", "wb", buffering=0) as file:
        file.write(b"12345678")
        os.fsync(file.fileno())
    os.rename("new/file", "new/other")
    subprocess.run([sys.executable, "-c", "open('left alone', 'w'); open('child', 'w')"], check=True)
except OSError as error:
    print(error.errno)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def disk(built: Path, tmp_path: Path) -> Disk:
    (tmp_path / "root").mkdir()
    return Disk(built, tmp_path / "root", left_alone=("left *",))


def write(disk: Disk, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER, str(disk.root)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_every_writing_call_below_the_folder_is_counted_over_all_processes(disk: Disk) -> None:
    assert write(disk, disk.counting()).returncode == 0
    found = [(call.number, call.call, call.path) for call in disk.calls()]
    assert found == [
        (1, "mkdir", "new"),
        (2, "open", "new/file"),
        (3, "write", "new/file"),
        (4, "fsync", "new/file"),
        (5, "close", "new/file"),
        (6, "rename", "new/other"),
        (7, "open", "child"),
        (8, "close", "child"),
    ]
    assert len({call.process for call in disk.calls()}) == 2


@pytest.mark.parametrize(("at", "left"), [(2, None), (3, b"1234"), (4, b"12345678"), (6, b"12345678")])
def test_the_call_that_shall_fail_fails_half_done(disk: Disk, at: int, left: bytes | None) -> None:
    assert write(disk, disk.failing(at, "EIO", lasting=False)).stdout == f"{errno.EIO}\n"
    file = disk.root / "new" / "file"
    assert (file.read_bytes() if file.exists() else None) == left


def test_a_failure_that_lasts_hits_all_that_follows(disk: Disk) -> None:
    assert write(disk, disk.failing(3, "ENOSPC", lasting=True)).stdout == f"{errno.ENOSPC}\n"
    assert [call.call for call in disk.calls()] == ["mkdir", "open", "write", "close"]
    assert (disk.root / "new" / "file").read_bytes() == b"1234"


@pytest.mark.parametrize(("action", "left"), [("kill", b""), ("kill_half", b"1234")])
def test_a_kill_comes_before_the_call_or_in_its_middle(disk: Disk, action: str, left: bytes) -> None:
    assert write(disk, disk.killing(3, action)).returncode == -9
    assert (disk.root / "new" / "file").read_bytes() == left


def test_a_place_is_what_an_unfinished_path_becomes() -> None:
    call = Call(1, 2, "write", "record/.training.ab12_x9z.partial/.run.json.ab12_x9z.partial")
    assert call.place == "record/training/run.json"
