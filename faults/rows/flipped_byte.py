"""One byte flipped in a file that was made, its size and times kept, as a failing disk does it."""

import os
import signal
import time
from pathlib import Path

from faults.campaign import Injection, Row
from faults.reference import QUICK, copied, made, results
from pipeline.run.record import CLOCK
from pipeline.storage import digest
from tests.harness.project import Project

SWEEP = "python", "-m", "pipeline.sweep", "-m", "data.validation_images=200", "seed=range(2)"
STOPPED = "python", "-m", "pipeline.sweep", "-m", "data.validation_images=200", "seed=7,8", "training.epochs=40"
PLACES = "data/raw", "data/prepared", "record", "checkpoints", "runs", "studies", ".dvc/cache/files"
READERS = {
    "data/raw": ("python", "-m", "pipeline.preprocess"),
    "data/prepared/train": ("python", "-m", "pipeline.train"),
    "data/prepared/test": ("python", "-m", "pipeline.evaluate"),
    "data/prepared/summary": ("python", "-m", "pipeline.train"),
    "record/training": ("python", "-m", "pipeline.evaluate"),
    "record/evaluation": ("python", "-m", "pipeline.summary"),
    "runs": SWEEP,
    "studies": SWEEP,
    "checkpoints": STOPPED,
}
"""What reads a file next, by the beginning of its path; nothing reads the cache while the workspace is whole."""


def prepare(shared: Path) -> None:
    """A project with all that is ever made: a record, runs of a sweep, and trainings that were stopped half-way."""
    project = made(shared / "whole", *QUICK, "tracking=off")
    project.run("make", "repro")
    project.run(*SWEEP)
    with project.start(*STOPPED) as stopped:
        while not list(project.path.glob("checkpoints/*/state")):
            time.sleep(0.05)
        os.killpg(stopped.pid, signal.SIGINT)
        stopped.communicate()
    assert list(project.path.glob("checkpoints/*/state")), "the training was not stopped half-way"


def trial(injection: Injection) -> str:
    whole = injection.shared / "whole"
    project = copied(whole, injection.folder / "project")
    files = _files(whole)
    name = files[injection.number % len(files)]
    _flip(injection, project.path / name)
    verified = project.verb("verify", status=1)
    assert name in verified, verified
    reader = _reader(name)
    outcome = "named by verify"
    if reader is not None:
        said = project.run(*reader, status=None)
        assert Path(name).name in said, said
        assert "Traceback" not in said, said
        outcome += ", noticed by what reads it"
    _repair(project, verified)
    assert "damaged" not in project.verb("verify")
    # What reads a checkpoint ends a training that had been stopped: more runs than before.
    assert _bits(whole).items() <= _bits(project.path).items()
    return outcome


def _reader(name: str) -> tuple[str, ...] | None:
    """The command that uses a file next. None does where it is a picture, or what a training writes anew first."""
    if name.endswith("examples.png") or (name.startswith("checkpoints") and not name.endswith("/state")):
        return None
    return next((line for start, line in READERS.items() if name.startswith(start)), None)


def _files(whole: Path) -> list[str]:
    """Every file that was made and is read again: no locks, notes of what failed, or Hydra's of what was typed."""
    found = [path for place in PLACES for path in (whole / place).rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(whole).as_posix()
        for path in found
        if "lock" not in path.name and path.suffix != ".txt" and path.parent.name != ".hydra"
    )


def _flip(injection: Injection, path: Path) -> None:
    content = bytearray(path.read_bytes())
    times = path.stat()
    position, bit = injection.random.randrange(len(content)), injection.random.randrange(8)
    injection.says(f"{path.name}: bit {bit} of byte {position} of {len(content)} flipped ({injection.number})")
    content[position] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    path.chmod(times.st_mode)


def _repair(project: Project, verified: str) -> None:
    """Do what verify said, word by word."""
    for line in (line for line in verified.splitlines() if line.startswith("damaged: ")):
        path = Path(line.removeprefix("damaged: ").partition(": ")[0])
        if "`dvc repro --force " in line or "dvc repro --force " in line:
            project.run(
                "dvc", "repro", "--force", line.partition("dvc repro --force ")[2].partition("`")[0].strip("`. ")
            )
        elif "Remove it" in line:
            path.unlink(missing_ok=True)
        elif "sweep" in line:
            project.run(*(STOPPED if "checkpoints" in line else SWEEP))
        else:
            raise AssertionError(f"no way to repair: {line}")
    project.run("make", "repro")


def _bits(path: Path) -> dict[str, str]:
    """All that must repeat: of `dvc repro`, and of the runs of the sweep."""
    of_runs = {
        f"runs/{name}": sha256
        for name, sha256 in digest.of_folder(path / "runs").items()
        if CLOCK not in Path(name).parts and not any(part.startswith(".") for part in Path(name).parts)
    }
    return results(path) | of_runs


ROW = Row(
    name="flipped_byte",
    fault="one bit flipped in every file that was made: raw, prepared, record, checkpoint, study, DVC's cache",
    must_hold="`make verify` names the file and its repair, which works; what reads the file says so before using it",
    times=100,
    short=1,
    trial=trial,
    prepare=prepare,
)
