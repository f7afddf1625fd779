"""Sweeps that trials interrupt or run side by side: their lines, what they leave, which processes live."""

import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from faults.reference import litter
from pipeline.run.identity import REPRO_STUDY
from pipeline.storage import digest
from tests.harness.project import Project, new_project

EPOCHS = 3
GRID = (
    "model=small",
    "training=smoke",
    f"training.epochs={EPOCHS}",
    "training.batch_size=16",
    "training.threads=1",
    "data.validation_images=200",
    "model.conv.filters=4",
    "model.head_dropout=0.2",
)
SETTINGS = "model.conv.kernel_size=3,5"
STUDY = "kernel_size"
REPEAT = "training/weights.npz", "training/history.csv", "evaluation/probabilities.npy", "evaluation/metrics.json"
LONGEST = 600
"""Seconds after which a command is taken to hang: this machine may be busy."""

WORKERS_LEAVE, MIRROR_LEAVES = 15.0, 120.0
"""Seconds after which a process is taken to stay; a machine that does nothing else needs 1 and 5."""

FORKED = "multiprocessing.forkserver"
"""In the command of workers, and of what they are forked from."""

UNIGNORED = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that Ctrl-C reaches, however this process was started."""

Bits = dict[str, dict[str, str]]


def prepared(path: Path) -> Project:
    """A project over the sample, its images prepared."""
    project = new_project(path, *GRID)
    project.run("dvc", "repro", "preprocess")
    return project


def start(project: Project, *command: str) -> Popen[str]:
    """The command as from a terminal: in a process group of its own, which Ctrl-C reaches."""
    return project.start("python", "-c", UNIGNORED, *command)


def line(*overrides: str) -> tuple[str, ...]:
    """The command of a sweep over SETTINGS."""
    return "python", "-m", "pipeline.sweep", "-m", SETTINGS, f"study.name={STUDY}", *overrides


def said_by(process: Popen[str], seconds: float = LONGEST) -> str:
    """What the command prints until it ends. Raises AssertionError when it hangs."""
    try:
        return process.communicate(timeout=seconds)[0]
    except TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"did not end within {seconds:.0f} s; said {process.communicate()[0][-2000:]}") from error


def bits(project: Project) -> Bits:
    """Identity → digest of each file of its record that must repeat, for all runs of sweeps that are whole."""
    return {
        root.name: {name: digest.of_file(root / name) for name in REPEAT}
        for root in sorted((project.path / "runs").glob("[0-9a-f]*"))
        if (root / "evaluation" / "evaluation.json").exists() and (root / "training" / "run.json").exists()
    }


def written(project: Project) -> dict[str, dict[str, int]]:
    """Identity → when each file of its record was written, for all runs of sweeps that are whole."""
    return {
        name: {str(file): file.stat().st_mtime_ns for file in (project.path / "runs" / name).rglob("*") if _kept(file)}
        for name in bits(project)
    }


def epochs_done(project: Project) -> dict[str, list[int]]:
    """Identity → the moments at which the epochs of a run that is not finished have ended."""
    found = {}
    for timing in (project.path / "checkpoints").glob("*/clock/*.training.json"):
        # Whoever was killed may have been about to write it.
        with contextlib.suppress(OSError, ValueError):
            found[timing.parts[-3]] = _ended(timing)
    return found


def assert_no_epoch_was_done_again(project: Project, before: dict[str, list[int]]) -> None:
    """Every run went on after the epochs `before` that were there when it was left."""
    for identity, ended in before.items():
        now = _ended(project.path / "runs" / identity / "clock" / f"{identity}.training.json")
        assert now[: len(ended)] == ended, f"{identity}: epochs that ended at {ended} were done again: {now}"


def assert_tidy(project: Project) -> None:
    """Nothing half-written is left, and no checkpoint of a run that is finished."""
    assert litter(project.path) == []
    assert [path.as_posix() for path in (project.path / "checkpoints").glob("*/state")] == []


def assert_study_is_whole(project: Project, runs: int, name: str = STUDY) -> None:
    """Every run of the study has finished, and the study says so."""
    study = json.loads((project.path / "studies" / name / "study.json").read_text(encoding="utf-8"))
    states = Counter(cell["state"] for cell in study["cells"])
    assert (study["state"], states) == ("finished", {"finished": runs}), (study["state"], states)


def assert_store_is_whole(project: Project, studies: dict[str, int], repros: int = 0) -> None:
    """MLflow holds each of the studies (name → runs) once, each of its runs once, each epoch of each curve once.

    Of `dvc repro` it holds as many runs as `repros` says.
    """
    with contextlib.closing(sqlite3.connect(f"{(project.path / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as database:
        tags: dict[str, dict[str, str]] = {}
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
        status = dict(database.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"))
        points: dict[str, Counter[tuple[str, int]]] = {run: Counter() for run in status}
        for run, key, step in database.execute("SELECT run_uuid, key, step FROM metrics"):
            points[run][key, step] += 1
    assert set(status.values()) == {"FINISHED"}, Counter(status.values())
    for study, runs in (studies | {REPRO_STUDY: repros}).items():
        own = [run for run in status if tags[run].get("study") == study]
        parents = [run for run in own if tags[run]["role"] == "study"]
        children = [run for run in own if tags[run]["role"] == "run"]
        identities = {tags[run]["identity"] for run in children}
        wanted = int(study != REPRO_STUDY), runs, runs
        assert (len(parents), len(children), len(identities)) == wanted, (study, len(parents), len(children))
        for run in children:
            assert tags[run].get("mlflow.parentRunId") == (parents[0] if parents else None)
            assert tags[run]["outcome"] == "finished"
            assert "reason" not in tags[run]
            _assert_curves_are_whole(points[run])


def processes(project: Project) -> dict[int, str]:
    """Process id → command of all that work in the project's folder."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(project.path.resolve()):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if command:
                    found[int(entry.name)] = command
    return found


def workers(project: Project) -> list[int]:
    """The process ids of workers: forked from a forkserver, they have its command."""
    forked = _with(project, FORKED)
    return [pid for pid in forked if _parent(pid) in forked]


def forkservers(project: Project) -> list[int]:
    """The process ids of what workers are forked from."""
    forked = _with(project, FORKED)
    return [pid for pid in forked if _parent(pid) not in forked]


def mirrors(project: Project) -> list[int]:
    """The process ids of what talks to MLflow."""
    return _with(project, "mirror_worker")


def _with(project: Project, part: str) -> list[int]:
    return sorted(pid for pid, command in processes(project).items() if part in command)


def _parent(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
    return None


def wait_until(seen: Callable[[], bool], seconds: float = LONGEST, every: float = 0.02) -> bool:
    """Whether it was seen in time."""
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def assert_all_leave(project: Project) -> None:
    """Workers leave at once; the mirror, which is nicer to others than all of them, may first make its store."""
    assert_leave(project, FORKED, WORKERS_LEAVE)
    assert_leave(project, "", MIRROR_LEAVES)


def assert_leave(project: Project, part: str, seconds: float = MIRROR_LEAVES) -> None:
    """The processes whose commands hold this `part` leave."""
    wait_until(lambda: not _working(project, part), seconds, every=0.1)
    assert _working(project, part) == [], f"still there after {seconds:.0f} s"


def _working(project: Project, part: str) -> list[str]:
    return [f"{pid} {command}" for pid, command in processes(project).items() if part in command]


@contextlib.contextmanager
def watched(project: Project) -> Iterator[None]:
    """While the block runs every look at a study.json finds it whole, or not there."""
    ended = threading.Event()
    found: list[str] = []

    def look() -> None:
        while not ended.wait(0.01):
            for path in (project.path / "studies").glob("*/study.json"):
                try:
                    json.loads(path.read_text(encoding="utf-8"))["cells"]
                except FileNotFoundError:
                    continue
                except (ValueError, KeyError) as error:
                    found.append(f"{path}: {error}")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert found == []


def _assert_curves_are_whole(points: Counter[tuple[str, int]]) -> None:
    twice = [point for point, times in points.items() if times > 1]
    assert twice == [], f"logged twice: {twice}"
    for name in ("loss/training", "accuracy/training", "accuracy/validation", "timing/epoch_seconds"):
        steps = sorted(step for key, step in points if key == name)
        assert steps == list(range(1, EPOCHS + 1)), f"{name}: epochs {steps}"


def _ended(timing: Path) -> list[int]:
    epochs: list[dict[str, Any]] = json.loads(timing.read_text(encoding="utf-8"))["epochs"]
    return [epoch["ended"] for epoch in epochs]


def _kept(file: Path) -> bool:
    return file.is_file() and file.name != ".lock" and not file.name.endswith(".lock")
