"""Everything that was made is read again; what is damaged is named with its repair, and the repair works."""

import contextlib
import errno
import multiprocessing
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import verify
from pipeline.verify import _store
from tests.harness.doors import asked_here
from tests.harness.project import Project, finished_project, stages_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished_project(tmp_path_factory.mktemp("verified"))


def _flip(path: Path) -> None:
    """One bit, with size and times as they were: nothing but reading tells."""
    content, times, mode = bytearray(path.read_bytes()), path.stat(), path.stat().st_mode
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _cached(project: Project, suffix: str = "") -> Path:
    found = (path for path in project.path.glob(".dvc/cache/files/md5/??/*") if path.suffix == suffix)
    return max(found, key=lambda path: path.stat().st_size)


@pytest.fixture
def kept(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """The finished project, put back after the test."""
    folders = "data", "record", ".dvc/cache"
    # What SQLite has not yet moved into the database lies beside it.
    files = ["dvc.lock", *(path.name for path in finished.path.glob("mlflow.db*"))]
    for place in folders:
        shutil.copytree(finished.path / place, tmp_path / place.replace("/", "_"))
    for name in files:
        shutil.copy2(finished.path / name, tmp_path / name)
    yield finished
    for place in folders:
        shutil.rmtree(finished.path / place)
        shutil.copytree(tmp_path / place.replace("/", "_"), finished.path / place)
    for path in finished.path.glob("mlflow.db*"):
        path.unlink()
    for name in files:
        shutil.copy2(tmp_path / name, finished.path / name)


def test_what_is_sound_is_counted_and_nothing_is_changed(finished: Project) -> None:
    before = _times(finished.path)
    said = finished.verb("verify")
    assert "damaged" not in said
    for kind in ("files in DVC's cache", "outputs in dvc.lock", "prepared images", "records", "MLflow database"):
        assert kind in said
    assert _times(finished.path) == before


def _times(folder: Path) -> dict[Path, int]:
    """When each file was written; but for bytecode, and what SQLite needs beside a database to read it."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("mlflow.db-")
    }


def _verify(project: Project, status: int = 0) -> str:
    """What the verb says, without a process of its own."""
    answer = asked_here(project, "verify")
    assert answer.status == status, answer.said
    return answer.said


@pytest.mark.parametrize(
    ("damaged", "repair"),
    [
        (_cached, "Remove it"),
        (lambda project: _cached(project, ".dir"), "Remove it"),
        (lambda project: project.path / "data/raw/t10k-labels-idx1-ubyte", "--force fetch"),
        (lambda project: project.path / "data/prepared/examples.png", "--force preprocess"),
        (lambda project: project.path / "record/training/weights.npz", "--force train"),
        (lambda project: next(project.path.glob("record/clock/*.training.json")), "Remove it"),
        (lambda project: project.path / "record/evaluation/pictures/mistakes.png", "--force evaluate"),
    ],
)
def test_a_flipped_bit_is_named_with_its_repair(kept: Project, damaged: Callable[[Project], Path], repair: str) -> None:
    path = damaged(kept)
    _flip(path)
    lines = [line for line in _verify(kept, status=1).splitlines() if line.startswith("damaged: ")]
    assert any(str(path.relative_to(kept.path)) in line and repair in line for line in lines), lines


def test_a_torn_dvc_lock_a_checkpoint_a_study_and_a_database_are_named(kept: Project) -> None:
    (kept.path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  check")
    (kept.path / "mlflow.db").write_bytes(b"SQLite format 3\0" + bytes(4000))
    for name, content in (("checkpoints/0123456789abcdef/state", "half"), ("studies/mine/study.json", "{}")):
        path = kept.path / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
    try:
        said = _verify(kept, status=1)
    finally:
        for name in ("checkpoints/0123456789abcdef", "studies"):
            shutil.rmtree(kept.path / name)
    for name in ("dvc.lock: is torn", "mlflow.db: is damaged", "state: is damaged", "study.json: is damaged"):
        assert name in said


def test_what_mlflow_is_told_of_while_it_trains_is_read_too(kept: Project) -> None:
    work = kept.path / "checkpoints" / "0123456789abcdef"
    shutil.copytree(kept.path / "record" / "training", work / "training")
    try:
        assert "damaged" not in _verify(kept)
        path = work / "training" / "history.csv"
        _flip(path)
        said = _verify(kept, status=1)
        assert f"{path}: is not what run.json says was written. The sweep or `dvc repro` that was interrupted" in said
    finally:
        shutil.rmtree(work)


def test_what_was_removed_or_never_made_is_no_damage(kept: Project) -> None:
    shutil.rmtree(kept.path / "data" / "raw")
    shutil.rmtree(kept.path / "record" / "training")
    assert "damaged" not in _verify(kept)


def test_make_repro_goes_on_from_a_torn_dvc_lock_without_training_again(kept: Project) -> None:
    before = (kept.path / "dvc.lock").read_text()
    (kept.path / "dvc.lock").write_text("")
    assert "torn by a kill" in kept.verb("repair")
    assert "train" not in stages_run(kept.run("dvc", "repro"))
    assert (kept.path / "dvc.lock").read_text() == before


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder with a sound database, to be made read-only; in a place that everybody may enter."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE runs (name)")
        database.commit()
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def _read_by_anybody(path: Path) -> str:
    """What comes of reading the database as one who may not write to its folder, whoever runs the tests."""

    def read(answers: "multiprocessing.SimpleQueue[str]") -> None:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            _store(path)
            answers.put("sound")
        except Exception as error:
            answers.put(f"{type(error).__name__}: {error}")

    forking = multiprocessing.get_context("fork")
    answers = forking.SimpleQueue()
    process = forking.Process(target=read, args=(answers,))
    process.start()
    process.join(30)
    return str(answers.get())


def test_a_sound_database_in_a_folder_that_may_not_be_written_is_sound(read_only: Path) -> None:
    read_only.chmod(0o555)
    assert _read_by_anybody(read_only / "mlflow.db") == "sound"
    assert [path.name for path in read_only.iterdir()] == ["mlflow.db"]


def test_a_path_that_is_too_long_for_a_database_is_said_and_not_its_rights(tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["x" * 200] * 3, "mlflow.db")
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(PermissionError, match=r"no path of more than 504 characters.*shorter") as told:
        _store(path)
    assert "rights" not in str(told.value)


def test_a_database_that_may_not_be_read_is_not_called_damaged(read_only: Path) -> None:
    (read_only / "mlflow.db").chmod(0o000)
    read_only.chmod(0o555)
    assert _read_by_anybody(read_only / "mlflow.db").startswith(
        "PermissionError: [Errno 13] SQLite says: unable to open"
    )


def test_what_may_not_be_read_is_told_apart_from_what_is_damaged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/a/file")

    monkeypatch.setattr(verify, "_checks", lambda: iter([("things", forbidden)]))
    monkeypatch.setattr("sys.argv", ["verify"])
    assert verify.main() == 1
    said = capsys.readouterr().out
    assert "can't be read: /a/file: Permission denied" in said
    assert "damaged" not in said


@pytest.fixture
def shared(kept: Project, tmp_path: Path) -> Iterator[Path]:
    """DVC's cache, moved out of the project, and what `dvc cache dir --local` writes of that."""
    folder, config = tmp_path / "shared", kept.path / ".dvc" / "config.local"
    shutil.move(kept.path / ".dvc" / "cache", folder)
    (folder / "files" / "md5" / "00").mkdir(exist_ok=True)
    (folder / "files" / "md5" / "00" / ("0" * 30)).write_text("another project's", encoding="utf-8")
    config.write_text(f"[cache]\n    dir = {folder}\n", encoding="utf-8")
    yield folder
    config.unlink()
    (kept.path / ".dvc" / "cache").mkdir()


def test_a_cache_that_lies_elsewhere_is_read(kept: Project, shared: Path) -> None:
    said = _verify(kept)
    assert f"files in DVC's cache in {shared} that dvc.lock names" in said
    assert "damaged" not in said
    path = max(shared.glob("files/md5/??/*"), key=lambda path: path.stat().st_size)
    _flip(path)
    assert f"damaged: {path}: has another content than its name says" in _verify(kept, status=1)


def test_a_cache_that_is_not_there_is_said_not_to_have_been_read(kept: Project, shared: Path) -> None:
    shutil.move(shared, shared.with_name("away"))
    said = _verify(kept)
    assert f"not read: DVC's cache, {shared} (`dvc cache dir`): it is not there, or not for you" in said
    assert "outputs in dvc.lock" in said


def _relink(project: Project, kind: str) -> Path:
    """The weights, after DVC was told to link what lies in the workspace to its cache."""
    with (project.path / ".dvc" / "config.local").open("a", encoding="utf-8") as config:
        config.write(f"    type = {kind}\n")
    project.run("dvc", "checkout", "--relink")
    weights = project.path / "record" / "training" / "weights.npz"
    assert weights.is_symlink() == (kind == "symlink")
    assert "damaged" not in _verify(project)
    return weights


@pytest.mark.long
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "reflink,copy"])
@pytest.mark.usefixtures("shared")
def test_a_shared_cache_with_links_is_worked_with(kept: Project, kind: str) -> None:
    _relink(kept, kind)
    assert stages_run(kept.run("dvc", "repro", "--force", "--single-item", "evaluate")) == ["evaluate"]
    assert stages_run(kept.run("dvc", "repro", "--force", "--single-item", "preprocess")) == ["preprocess"]
    assert "evaluate" not in stages_run(kept.run("dvc", "repro"))


def test_a_link_into_a_shared_cache_is_trusted_after_its_content_was_read(kept: Project, shared: Path) -> None:
    weights = _relink(kept, "symlink")
    assert "test accuracy" in asked_here(kept, "summary").said
    _flip(weights.resolve())
    for verb in ("evaluate", "track"):
        assert f"error: {weights.resolve()}: has another content than its name says" in asked_here(kept, verb).said
    weights.unlink()
    weights.symlink_to(shared.with_name("elsewhere"))
    shared.with_name("elsewhere").write_bytes(b"elsewhere")
    assert f"{weights}: is a link that leads out of the project" in kept.verb("evaluate", status=1)
