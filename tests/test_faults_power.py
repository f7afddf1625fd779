"""Power cuts on purpose: the journal holds every change, and what was not synced can be lost."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from faults import disk, power
from faults.disk import Disk, reason_not_to
from faults.power import KINDS, Act, Journal, Operation, Tree
from faults.rows import power_cuts_ext4
from tests.harness.project import ROOT

pytestmark = pytest.mark.skipif(reason_not_to() is not None, reason=str(reason_not_to()))

SEEDS = 60
EVERYTHING = """
import os, shutil, sqlite3
from pathlib import Path
Path("new/deeper").mkdir(parents=True)
with open("new/file", "wb", buffering=0) as file:
    file.write(b"12345678")
    os.pwrite(file.fileno(), b"XY", 2)
    file.truncate(6)
with open("old", "a") as file:
    file.write("more")
shutil.copy("new/file", "new/deeper/copy")
os.link("old", "linked")
os.symlink("old", "pointing")
os.rename("new/deeper", "moved")
Path("old").chmod(0o400)
shutil.rmtree("gone")
database = sqlite3.connect("store.db")
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE numbers (number)")
with database:
    database.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(5000)])
os._exit(0)
"""
UNSYNCED = """
from pathlib import Path
Path("beside").write_bytes(b"new" * 5000)
Path("beside").replace("target")
"""
FILE = "from pipeline.storage import atomic\nfrom pathlib import Path\natomic.write_file(Path('target'), b'new' * 5000)"
FOLDER = """
from pathlib import Path
from pipeline.storage import atomic
{break_}
with atomic.write_folder(Path("target")) as folder:
    (folder / "deeper").mkdir()
    (folder / "one").write_bytes(b"new" * 5000)
    (folder / "deeper" / "two").write_bytes(b"new" * 5000)
"""
WITHOUT_EXCHANGE = "atomic._exchanged = lambda one, other: False"
WITHOUT_SYNC = "atomic._sync = lambda path: None"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.library(tmp_path_factory.mktemp("power"))


@pytest.fixture
def journal(built: Path, tmp_path: Path) -> Journal:
    (tmp_path / "root").mkdir()
    return Journal(built, tmp_path / "root")


def written(journal: Journal, program: str) -> tuple[Tree, list[Act], Tree]:
    """What there was before a program, what it did, and what should be there after it."""
    start = power.read_tree(journal.root, ())
    variables = os.environ | journal.writing() | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=variables, cwd=journal.root, check=True)
    acts, end = power.acts(start, power.changes(journal.file))
    return start, acts, end


def states(journal: Journal, program: str) -> set[str]:
    """All that is found at `target` after a cut at any moment: its files by name, old or new or what is neither."""
    start, acts, _ = written(journal, program)
    return {
        content(power.after_a_cut(start, acts[:cut], kind, Random(f"{cut} {kind} {seed}")))
        for cut in range(len(acts) + 1)
        for kind in KINDS
        for seed in range(SEEDS)
    }


def listed(tree: Tree) -> dict[str, tuple[bytes, bool, str | None, int]]:
    return {path: (bytes(node.data), node.names is None, node.target, node.mode) for path, node in tree.files()}


def content(tree: Tree) -> str:
    known = {b"old": "old", b"new" * 5000: "new"}
    target = tree.find("target")
    if target is None:
        return "nothing"
    node = tree.nodes[target]
    if node.names is None:
        return known.get(bytes(node.data), "torn")
    return ", ".join(
        f"{name} {known.get(bytes(file.data), 'torn')}" for name, file in tree.files(target) if file.names is None
    )


def test_the_journal_and_what_was_there_before_make_what_is_there_now(journal: Journal) -> None:
    (journal.root / "old").write_text("some")
    (journal.root / "gone" / "with").mkdir(parents=True)
    (journal.root / "gone" / "file").write_text("its content")
    _, acts, end = written(journal, EVERYTHING)
    now = power.read_tree(journal.root, ())
    assert listed(end) == listed(now) != {}
    assert {act.change.operation for act in acts} >= set(Operation) - {Operation.EXCHANGE}


def test_a_tree_is_written_as_it_was_read(journal: Journal, tmp_path: Path) -> None:
    _, _, end = written(journal, EVERYTHING.replace('shutil.rmtree("gone")', "").replace('"a"', '"w"'))
    (tmp_path / "copy" / "removed").mkdir(parents=True)
    (tmp_path / "copy" / "kept").mkdir()
    power.write_tree(end, tmp_path / "copy", ("kept",))
    assert listed(power.read_tree(tmp_path / "copy", ("kept",))) == listed(end)
    assert (tmp_path / "copy" / "kept").exists()


def test_a_file_that_was_renamed_but_not_synced_can_be_empty_or_torn(journal: Journal) -> None:
    (journal.root / "target").write_bytes(b"old")
    assert states(journal, UNSYNCED) == {"old", "new", "torn"}


def test_a_file_of_ours_is_the_old_or_the_new(journal: Journal) -> None:
    (journal.root / "target").write_bytes(b"old")
    assert states(journal, FILE) == {"old", "new"}


def test_a_file_of_ours_without_its_sync_is_caught(journal: Journal) -> None:
    (journal.root / "target").write_bytes(b"old")
    assert "torn" in states(journal, f"import os\nos.fsync = lambda file: None\n{FILE}")


@pytest.mark.parametrize(("break_", "between"), [("", set()), (WITHOUT_EXCHANGE, {"nothing"})])
def test_a_folder_of_ours_is_the_old_or_the_new(journal: Journal, break_: str, between: set[str]) -> None:
    (journal.root / "target").mkdir()
    for name in ("one", "three"):
        (journal.root / "target" / name).write_bytes(b"old")
    whole = {"one old, three old", "deeper/two new, one new"}
    assert states(journal, FOLDER.format(break_=break_)) == whole | between


def test_a_folder_of_ours_without_its_sync_is_caught(journal: Journal) -> None:
    (journal.root / "target").mkdir()
    (journal.root / "target" / "one").write_bytes(b"old")
    assert any("torn" in found for found in states(journal, FOLDER.format(break_=WITHOUT_SYNC)))


def test_what_was_synced_is_there_after_any_cut(journal: Journal) -> None:
    (journal.root / "target").write_bytes(b"old")
    start, acts, _ = written(journal, FILE)
    left = [power.after_a_cut(start, acts, kind, Random(seed)) for kind in KINDS for seed in range(SEEDS)]
    assert {content(tree) for tree in left} == {"new"}


CUT = """
import os
with open("synced", "wb", buffering=0) as file:
    file.write(b"new")
    os.fsync(file.fileno())
with open("not synced", "wb", buffering=0) as file:
    file.write(b"new")
open("the power is cut here", "w")
"""


def test_a_file_system_whose_power_is_cut_holds_what_was_synced_alone(tmp_path: Path) -> None:
    if reason := power_cuts_ext4.reason_not_to():
        pytest.skip(reason)
    image, place = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(bytes(8 << 20))
    place.mkdir()
    subprocess.run(("mkfs.ext4", "-q", image), check=True)
    with power_cuts_ext4.mounted(image, place) as project:
        ext4 = Disk(disk.library(tmp_path), project.path, beside=tmp_path / "calls")
        # open, write, fsync, close; open, write, close; open.
        variables = os.environ | ext4.killing(8, "cut")
        assert (
            subprocess.run([sys.executable, "-c", CUT], env=variables, cwd=project.path, check=False).returncode == -9
        )
    with power_cuts_ext4.mounted(image, place) as project:
        left = {path.name: path.read_bytes() for path in project.path.iterdir()}
    assert left.pop("synced") == b"new"
    assert left.get("not synced", b"") == b""
    assert left.keys() <= {"not synced"}
