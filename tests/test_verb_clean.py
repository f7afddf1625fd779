"""What took long is removed only when somebody says so, and never under somebody's hands."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import sweep
from pipeline.storage import lock, project

ROOT = Path(__file__).parents[1]
CHEAP = ("data/raw/images", "data/prepared/images.npy", "fingerprints/train.json", "dvc_plots/static/a.png")
COSTLY = (
    "runs/0123/training/weights.npz",
    "studies/kernels/study.json",
    "mlflow.db",
    "mlartifacts/1/a",
    "checkpoints/4567/state",
    "record/evaluation/correct.npy",
    ".dvc/cache/files/md5/ab/cdef",
)
KEPT = ("record/evaluation/metrics.json", "data/by_hand/images", "params.yaml", "dvc.lock")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A project in which everything was made: four trainings of 3.5 s, one of them in runs/ and in record/."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*CHEAP, *COSTLY, *KEPT):
        _write(tmp_path / name, "x" * 1000)
    for number, name in enumerate(("runs/0123", "runs/4567", "record", "checkpoints/4567")):
        _write(tmp_path / name / "clock" / f"{number}.training.json", _timing(number / 100))
    _write(tmp_path / "record/clock/of_a_sweep_too.training.json", _timing(0.01))
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _timing(more: float) -> str:
    return json.dumps({"epochs": [{"epoch": 1, "seconds": 1.5 + more}, {"epoch": 2, "seconds": 2.0}]})


def _clean(project: Path, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "pipeline.clean", *arguments]
    done = subprocess.run(
        command, cwd=project, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _asked(project: Path, answer: bytes) -> str:
    """What a person sees on a terminal who answers so."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.clean"],
        cwd=project,
        env=_environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer)
    said = b""
    while True:
        try:
            said += os.read(ours, 1000)
        except OSError:
            break
    assert process.wait(30) == 0
    os.close(ours)
    return said.decode()


def _present(project: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (project / name).exists()]


def test_without_a_terminal_what_took_long_stays_and_is_named(made: Path) -> None:
    said = _clean(made)
    assert _present(made, CHEAP) == []
    assert _present(made, (*COSTLY, *KEPT)) == [*COSTLY, *KEPT]
    assert "4 runs, trained for 14 s" in said
    assert "It stays" in said
    assert "--all" in said


@pytest.mark.parametrize(("answer", "goes"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)])
def test_on_a_terminal_it_is_asked_what_shall_become_of_it(made: Path, answer: bytes, goes: bool) -> None:
    said = _asked(made, answer)
    assert "4 runs, trained for 14 s" in said
    assert _present(made, COSTLY) == ([] if goes else list(COSTLY))
    assert _present(made, (*CHEAP, *KEPT)) == list(KEPT)


def test_all_removes_it_without_a_question_and_keeps_what_git_has(made: Path) -> None:
    _clean(made, "--all")
    assert _present(made, (*CHEAP, *COSTLY, *KEPT)) == list(KEPT)


def test_where_nothing_took_long_nothing_is_asked(made: Path) -> None:
    _clean(made, "--all")
    assert _clean(made).strip() == "0.0 MB  removed"


@pytest.mark.parametrize("held", [".stage.lock", "runs/0123/.lock", "checkpoints/4567/lock", "studies/kernels/.lock"])
def test_while_somebody_writes_nothing_is_removed(made: Path, held: str) -> None:
    with lock.only_one(made / held):
        said = _clean(made, "--all", status=1)
    assert f"{held}: is held" in said
    assert _present(made, (*CHEAP, *COSTLY, *KEPT)) == [*CHEAP, *COSTLY, *KEPT]
    _clean(made, "--all")
    assert _present(made, COSTLY) == []


def test_while_a_sweep_plans_nothing_is_removed_and_sweeps_do_not_wait_for_each_other(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "SWEEP_LOCK", made / ".sweep.lock")
    with lock.sweep(), lock.sweep():
        assert ".sweep.lock: is held" in _clean(made, "--all", status=1)
    assert _present(made, (*CHEAP, *COSTLY, *KEPT)) == [*CHEAP, *COSTLY, *KEPT]
    _clean(made, "--all")


def test_a_folder_that_is_a_link_is_emptied_where_it_lies(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    disk = tmp_path_factory.mktemp("disk")
    for name in ("runs", ".dvc/cache", "record"):
        shutil.move(made / name, disk / name.replace("/", "_"))
        (made / name).symlink_to(disk / name.replace("/", "_"))
    (made / "studies" / "gone").symlink_to(disk / "nothing")
    said = _clean(made)
    assert f"runs (a link to {disk / 'runs'})" in said
    _clean(made, "--all")
    assert (made / "runs").is_symlink()
    assert list((disk / "runs").iterdir()) == list((disk / ".dvc_cache").iterdir()) == []
    assert _present(made, (*COSTLY, *KEPT)) == list(KEPT)


@pytest.mark.parametrize(("words", "held"), [(["-m", "seed=1,2"], True), (["--cfg", "job"], False)])
def test_a_sweep_holds_its_lock_from_its_first_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], held: bool
) -> None:
    seen = []
    monkeypatch.setattr(project, "SWEEP_LOCK", tmp_path / ".sweep.lock")
    monkeypatch.setattr(
        "pipeline.studies.hydra_entry.run_application",
        lambda *_: seen.append(lock.is_held(project.SWEEP_LOCK)),
    )
    monkeypatch.setattr("sys.argv", ["sweep", *words])
    assert sweep.main() == 0
    assert seen == [held]
    assert not lock.is_held(project.SWEEP_LOCK)
