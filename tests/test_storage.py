"""Files that are whole or not there, folders likewise, digests, locks."""

import contextlib
import errno
import hashlib
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipeline.storage import atomic, digest, lock, project
from tests.harness.mounts import in_mounts_of_its_own


def python(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """A process of the project's Python that runs `program` and can be talked with line by line."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=project.ROOT, stdin=pipe, stdout=pipe, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()


def no_space(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Files


def test_content_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / "file"
    for content, expected in (("é\n", b"\xc3\xa9\n"), (b"\x00\r\n", b"\x00\r\n"), ("", b"")):
        atomic.write_file(path, content)
        assert path.read_bytes() == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o077, 0o600, 0o700), (0o002, 0o664, 0o775)])
def test_who_may_read_what_is_written_is_as_the_umask_says(
    tmp_path: Path, umask: int, file_mode: int, folder_mode: int
) -> None:
    before = os.umask(umask)
    try:
        for _ in range(2):
            atomic.write_file(tmp_path / "file", "content")
            with atomic.write_folder(tmp_path / "folder") as folder:
                (folder / "inside").write_text("content")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"file": file_mode, "folder": folder_mode, "inside": file_mode}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_writing_that_fails_names_the_path_and_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    atomic.write_file(path, "old")
    monkeypatch.setattr(os, call, no_space)
    with pytest.raises(OSError, match="No space left on device") as failed:
        atomic.write_file(path, "new")
    assert failed.value.errno == errno.ENOSPC
    assert failed.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_descriptor_that_cannot_be_closed_leaves_nothing_beside_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "close", no_space)
    atomic.write_file(tmp_path / "file", "new")
    with atomic.write_folder(tmp_path / "folder"):
        pass
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_writing_where_a_folder_lies_or_no_file_can_lie_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(OSError, match=path.name) as failed:
            atomic.write_file(path, "new")
        assert failed.value.filename == str(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_interruption_leaves_the_old_content_and_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    atomic.write_file(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_file(tmp_path / "file", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = """
import sys
from pathlib import Path
from pipeline.storage import atomic
print("ready", flush=True)
number = 0
while True:
    atomic.write_file(Path(sys.argv[1]), f"{number:06d}" * 20_000)
    number += 1
"""
    seen = set()
    atomic.write_file(path, "before" * 20_000)
    for delay in range(0, 30, 2):
        process = python(program, path)
        assert said(process) == "ready"
        time.sleep(0.02 + delay * 0.005)
        killed(process)
        content = path.read_text()
        assert content == content[:6] * 20_000
        seen.add(content[:6])
    assert len(seen) > 3, "the kills must have come at different moments"


# Folders


def test_a_folder_takes_the_place_of_the_one_before_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "record" / "training"
    for name in ("first", "second"):
        with atomic.write_folder(path) as folder:
            assert list(folder.iterdir()) == []
            (folder / "inside").mkdir()
            (folder / "inside" / name).write_text(name)
            assert not path.exists() or not (path / "inside" / name).exists()
        assert [found.name for found in (path / "inside").iterdir()] == [name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "training"

    def unfinished() -> None:
        with atomic.write_folder(path) as folder:
            (folder / "new").write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        unfinished()
    assert list(tmp_path.iterdir()) == []
    with atomic.write_folder(path) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(RuntimeError, match="stop"):
        unfinished()
    assert list(tmp_path.iterdir()) == [path]
    assert [found.name for found in path.iterdir()] == ["old"]


def test_everything_in_a_folder_is_on_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    with atomic.write_folder(tmp_path / "training") as folder:
        (folder / "pictures").mkdir()
        (folder / "pictures" / "one.png").write_bytes(b"1")
    written = [tmp_path / "training", *(tmp_path / "training").rglob("*"), tmp_path]
    assert {path.stat().st_ino for path in written} == set(synced)
    assert synced[-1] == tmp_path.stat().st_ino


def write(path: Path, name: str) -> None:
    with atomic.write_folder(path) as folder:
        (folder / name).write_text(name)


def test_a_folder_that_is_replaced_is_there_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "training"
    program = """
import sys
from pathlib import Path
from pipeline.storage import atomic
for number in range(200):
    with atomic.write_folder(Path(sys.argv[1])) as folder:
        (folder / "whole").write_text("whole")
    print(number, flush=True)
"""
    process = python(program, path)
    assert said(process) == "0"
    looks = 0
    while process.poll() is None:
        assert (path / "whole").exists()
        looks += 1
    assert looks > 200
    process.communicate()


def test_where_two_folders_cannot_be_swapped_one_takes_the_place_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training"
    monkeypatch.setattr(atomic, "_exchanged", lambda *_paths: False)
    write(path, "old")
    write(path, "new")
    assert [found.name for found in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda one, other: no_space() if other == path else replace(one, other))
    monkeypatch.setattr(atomic, "_new_name", lambda _path: tmp_path / "aside")
    (tmp_path / "newer").mkdir()
    with pytest.raises(OSError, match="No space"):
        atomic._put(tmp_path / "newer", path)
    assert (tmp_path / "aside" / "new").exists()


OVERLAY = """
import os, signal, subprocess, sys
from pathlib import Path
from pipeline.storage import atomic

PLACE, MOST = Path(sys.argv[1]), 60
FILES = "evaluation.json", "metrics.json", "pictures/one.png", "table.csv"

def mount(*words):
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode != 0:
        print("no mount:", done.stderr.strip())
        sys.exit()

def write(path, content):
    with atomic.write_folder(path) as folder:
        (folder / "pictures").mkdir()
        for name in FILES:
            (folder / name).write_text(content)

def found(path):
    return {name: (path / name).read_text() for name in FILES if (path / name).exists()}

def killed_at(number, path):
    'Whether SIGKILL came at the so manieth thing that writing does to files and folders.'
    child = os.fork()
    if child == 0:
        left = number
        def look(event, _arguments):
            nonlocal left
            if event in ("open", "os.mkdir", "os.remove", "os.rmdir", "os.rename", "shutil.rmtree", "ctypes.dlsym"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(look)
        write(path, "new")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0

mount("-t", "tmpfs", "none", PLACE)
for name in ("lower", "upper", "work", "project"):
    (PLACE / name).mkdir()
for number in range(MOST):
    write(PLACE / "lower" / str(number), "old")
layers = f"lowerdir={PLACE}/lower,upperdir={PLACE}/upper,workdir={PLACE}/work"
mount("-t", "overlay", "-o", layers, "none", PLACE / "project")
WHOLE = [dict.fromkeys(FILES, content) for content in ("old", "new")]
seen = set()
for number in range(1, MOST):
    path = PLACE / "project" / str(number)
    is_over = not killed_at(number, path)
    left = found(path)
    assert left in WHOLE or "evaluation.json" not in left, (number, left)
    seen.add(tuple(left.items()))
    write(path, "new")
    write(path, "new")
    assert found(path) == WHOLE[1]
    if is_over:
        break
assert not list((PLACE / "project").glob(".*")), list((PLACE / "project").glob(".*"))
print(is_over, len(seen))
"""
"""Writes folders that lie in the lower layer of an overlay, killed at each step; the mounts end with the process."""


def test_a_folder_in_an_images_layer_is_replaced_and_a_kill_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    done = in_mounts_of_its_own(OVERLAY, tmp_path)
    assert done.returncode == 0, done.stderr
    is_over, states = done.stdout.split()
    assert is_over == "True"
    assert int(states) >= 5, "the kills must have come at different moments"


@pytest.mark.parametrize("named", [True, False])
def test_an_error_in_a_folder_names_the_place_that_a_person_knows(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "training"

    def full() -> None:
        with atomic.write_folder(path) as folder:
            where = str(folder / "pictures" / "one.png") if named else None
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)

    with pytest.raises(OSError, match="No space") as failed:
        full()
    assert failed.value.filename == str(path / "pictures" / "one.png" if named else path)


def test_an_error_that_concerns_another_file_names_that_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as failed, atomic.write_folder(tmp_path / "prepared"):
        (tmp_path / "raw").read_bytes()
    assert failed.value.filename == str(tmp_path / "raw")


HELD = """
import sys
from pathlib import Path
from pipeline.storage import atomic
with atomic.write_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    for name in ("a folder", "[a] file"):
        path = tmp_path / name
        dead, living = python(HELD, path), python(HELD, path)
        assert said(dead) == said(living) == "writing"
        assert len(list(tmp_path.iterdir())) == 2
        killed(dead)
        if name == "a folder":
            write(path, "new")
        else:
            atomic.write_file(path, "new")
        assert len(list(tmp_path.glob("*.partial"))) == 1
        path.unlink() if path.is_file() else (path / "new").unlink()
        living.communicate("\n")
        assert living.returncode == 0
        assert [found.name for found in path.iterdir()] == ["half"]
        assert list(tmp_path.iterdir()) == [path]
        (path / "half").unlink()
        path.rmdir()


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make_file = atomic._make_file

    def removed_once(partial: Path) -> int:
        made.append(make_file(partial))
        if len(made) == 1:
            atomic._remove_abandoned(tmp_path / "file")
        return made[-1]

    monkeypatch.setattr(atomic, "_make_file", removed_once)
    atomic.write_file(tmp_path / "file", "new")
    assert len(made) == 2
    assert (tmp_path / "file").read_text() == "new"


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
"""
"""From here on no file grows beyond so many bytes: the system refuses the rest, like a disk that is full."""


def test_an_array_of_which_the_end_finds_no_room_is_an_error_that_names_it(tmp_path: Path) -> None:
    program = f"""{LIMITED}
from pathlib import Path
import numpy as np
from pipeline.storage import atomic
from pipeline.storage.arrays import as_npy
try:
    with atomic.write_folder(Path(sys.argv[1])) as folder:
        (folder / "labels.npy").write_bytes(as_npy(np.zeros(2000, np.uint8)))
except OSError as error:
    print(error.strerror, error.filename)
"""
    process = python(program, tmp_path / "prepared", 1000)
    assert process.communicate()[0] == f"File too large {tmp_path / 'prepared'}\n"
    assert list(tmp_path.iterdir()) == []


# Digests


def test_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    assert digest.of_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_of_a_folder_are_by_path_in_order(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/b/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a/b/c", "a/z", "b")}
    assert list(digest.of_folder(tmp_path).items()) == list(expected.items())


def test_digest_of_a_value_knows_types_and_no_order_of_keys() -> None:
    assert digest.of_value({"a": 1, "b": [2]}) == digest.of_value({"b": [2], "a": 1})
    assert digest.of_value({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    values: list[JsonValue] = [0, 1, 1.0, "1", True, None, [1], {}, {"1": 1}, "", "null", 0.1, 0.1 + 1e-16]
    assert len({digest.of_value(value) for value in values}) == len(values)
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.of_value(math.nan)


# Locks

HOLD = """
import sys
from pathlib import Path
from pipeline.storage.lock import only_one
path, log = Path(sys.argv[1]), Path(sys.argv[2]).open("a", buffering=1)
with only_one(path, lambda: print("waiting", flush=True)):
    print("in", file=log)
    print("holding", flush=True)
    sys.stdin.readline()
    print("out", file=log)
"""


def test_a_second_process_says_that_it_waits_and_follows_when_the_first_lets_go(tmp_path: Path) -> None:
    path, log = tmp_path / "folder" / "lock", tmp_path / "log"
    first = python(HOLD, path, log)
    assert said(first) == "holding"
    second = python(HOLD, path, log)
    assert said(second) == "waiting"
    time.sleep(0.3)  # time enough to go on without the lock
    first.communicate("\n")
    assert said(second) == "holding"
    second.communicate("\n")
    assert log.read_text().split() == ["in", "out", "in", "out"]


def test_a_lock_is_free_when_its_process_was_killed(tmp_path: Path) -> None:
    path, log = tmp_path / "lock", tmp_path / "log"
    first = python(HOLD, path, log)
    assert said(first) == "holding"
    second = python(HOLD, path, log)
    assert said(second) == "waiting"
    killed(first)
    assert said(second) == "holding"
    second.communicate("\n")
    with lock.only_one(path, lambda: pytest.fail("the lock is free")):
        pass


def test_who_waits_for_a_lock_gets_it_though_its_folder_is_removed_meanwhile(tmp_path: Path) -> None:
    path, log = tmp_path / "folder" / "lock", tmp_path / "log"
    first = python(HOLD, path, log)
    assert said(first) == "holding"
    second = python(HOLD, path, log)
    assert said(second) == "waiting"
    time.sleep(0.3)  # time enough to look for the lock again and again
    shutil.rmtree(path.parent)
    assert said(second) == "holding"
    assert lock.is_held(path)
    first.communicate("\n")
    second.communicate("\n")


@pytest.mark.parametrize("held", [False, True])
def test_what_needs_a_free_lock_is_told_whether_it_is(tmp_path: Path, held: bool) -> None:
    path = tmp_path / "lock"
    with lock.only_one(path) if held else contextlib.nullcontext():
        assert lock.is_held(path) == held
        with lock.if_free(path) as free:
            assert free == (not held)
            assert lock.is_held(path)
        assert lock.is_held(path) == held


@pytest.mark.parametrize(
    ("held", "own", "shared"),
    [
        (None, "runs/a", False),
        ("runs/a/.lock", "runs/a", False),
        ("runs/b/.lock", "runs/a", True),
        (".stage.lock", "runs/a", True),
        (".stage.lock", "record", False),
        ("runs/b/.lock", "record", True),
    ],
)
def test_a_clock_is_shared_while_a_process_makes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str | None, own: str, shared: bool
) -> None:
    for name, path in (("RUNS", "runs"), ("STAGE_LOCK", ".stage.lock"), ("RECORD", "record")):
        monkeypatch.setattr(project, name, tmp_path / path)
    for name in ("runs/a/.lock", "runs/b/.lock", ".stage.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with lock.only_one(tmp_path / held) if held is not None else contextlib.nullcontext():
        assert lock.others_at_work(tmp_path / own) == shared


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock.only_one(tmp_path / "lock"):
        raise RuntimeError
    with lock.only_one(tmp_path / "lock", lambda: pytest.fail("the lock is free")):
        pass


# The project


def test_the_store_lies_in_the_project_from_which_dvc_experiments_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project.store_root() == project.ROOT == Path(__file__).resolve().parents[1]
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert project.store_root() == Path("/elsewhere")


def test_a_stage_waits_for_one_that_outlived_its_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "STAGE_LOCK", tmp_path / "lock")
    told: list[str] = []
    monkeypatch.setattr("builtins.print", told.append)
    orphan = lock.stage()
    orphan.__enter__()
    waiting = threading.Thread(target=lambda: lock.stage().__enter__(), daemon=True)
    waiting.start()
    time.sleep(0.3)  # time enough to go on without the lock
    assert waiting.is_alive()
    assert told == ["a stage of an earlier dvc is still running; waiting for it"]
    orphan.__exit__(None, None, None)
    waiting.join(10)
    assert not waiting.is_alive()
