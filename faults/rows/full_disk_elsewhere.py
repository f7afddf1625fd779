"""A sample of all other writes fails: DVC's cache and locks, MLflow's store, temporary files."""

import hashlib
import json
import shutil
from pathlib import Path

from faults import stored
from faults.bench import STATE, Benches, bench
from faults.campaign import Injection, Row
from faults.disk import NOISE, Disk, library, reason_not_to
from faults.reference import copied, litter, results
from faults.rows import killed_writing
from faults.writing_states import make_states, store
from pipeline.run.record import read_record
from tests.harness.project import new_project

DVC = "dvc", "repro", "preprocess"
OWN = tuple(f"{name}*" for name in STATE if name not in ("temporary", "dvc.lock"))
STORE = (*killed_writing.STORE, "temporary*")
MAPPED = ".dvc/*.db-shm*"
"""What SQLite maps for DVC: where it can't grow DVC tries again for ever, and no file of the project is at stake."""

BENCHES: dict[Path, Benches] = {}
ERRORS = "ENOSPC", "EIO"


def prepare(shared: Path) -> None:
    """A project of which nothing has been run, one whose record MLflow lacks; how often each command writes."""
    project = new_project(shared / "start", *killed_writing.SETTING, "tracking=off")
    copied(project.path, shared / "whole").run(*DVC)
    counted = copied(project.path, shared / "counted")
    disk = _disk(shared, counted.path)
    counted.run(*DVC, status=0, **disk.counting(), **_temporary(counted.path))
    counts = {"dvc": len(disk.calls())}
    setting = (*killed_writing.SETTING, "tracking=local")
    first = bench(shared / "bench", library(shared), setting, killed_writing.IMPORTS)
    BENCHES.setdefault(shared, Benches()).add(first)
    make_states(first, shared, mirrored=True)
    for verb, state in (("track", "scored"), ("evaluate", "unscored")):
        first.becomes(shared / state)
        writes = Disk(library(shared), first.path, STORE)
        status, output = first.verb(verb, **writes.counting())
        assert status == 0, output
        counts[verb] = len(writes.calls())
    (shared / "counts.json").write_text(json.dumps(counts), encoding="utf-8")


def trial(injection: Injection) -> str:
    kind = ("dvc", "dvc", "track", "evaluate")[injection.number % 4]
    counts = json.loads((injection.shared / "counts.json").read_text(encoding="utf-8"))
    at, error = injection.random.randint(1, counts[kind]), injection.random.choice(ERRORS)
    lasting = injection.random.random() < 0.5
    if kind == "dvc":
        return _in_dvc(injection, at, error, lasting=lasting)
    return _in_store(injection, kind, at, error, lasting=lasting)


def _in_dvc(injection: Injection, at: int, error: str, *, lasting: bool) -> str:
    project = copied(injection.shared / "start", injection.folder / "project")
    disk = _disk(injection.shared, project.path)
    output = project.run(*DVC, status=None, **disk.failing(at, error, lasting=lasting), **_temporary(project.path))
    _says(injection, DVC, disk, at, error, lasting=lasting)
    _check_cache(project.path)
    again = project.verb("repair") + project.run(*DVC)
    assert results(project.path) == results(injection.shared / "whole")
    assert litter(project.path) == []
    _check_cache(project.path)
    if "torn by" in again:
        return "dvc: failed, dvc.lock repaired"
    return "dvc: failed" if "ERROR" in output or "error: " in output else "dvc: went on"


def _in_store(injection: Injection, verb: str, at: int, error: str, *, lasting: bool) -> str:
    """MLflow's disk is full. What has it to write fails; an evaluation says so, and its record is whole."""
    state = "scored" if verb == "track" else "unscored"
    with BENCHES[injection.shared].one() as place:
        place.becomes(injection.shared / state)
        before = results(place.path)
        disk = Disk(library(injection.shared), place.path, STORE)
        status, output = place.verb(verb, **disk.failing(at, error, lasting=lasting))
        _says(injection, (verb,), disk, at, error, lasting=lasting)
        assert "Traceback" not in output, output
        record = read_record(place.path / "record")
        if verb == "track":
            assert results(place.path) == before
            assert status == 0 or f"error: {place.path}" in output, output
            told = status != 0
        elif status == 0:
            assert record.evaluation is not None
            told = "tracking: " in output
        else:
            # It reads the weights out of a temporary file before it scores.
            assert f"error: {place.path / 'temporary'}" in output, output
            told = True
        if record.evaluation is None:
            place.done("evaluate")
        place.done("track")
        assert results(place.path) == json.loads((injection.shared / "results.json").read_text(encoding="utf-8"))
        stored.check_repro(store(place.path, injection.folder), place.path)
    return f"{verb}: {'went on' if not told else 'went on without MLflow' if status == 0 else 'failed'}"


def _says(injection: Injection, command: tuple[str, ...], disk: Disk, at: int, error: str, *, lasting: bool) -> None:
    calls = disk.calls()
    where = f"{calls[at - 1].call} of {calls[at - 1].path}" if len(calls) >= at else "which it did not come to"
    injection.says(f"{' '.join(command)}: {error} {'for good' if lasting else 'once'} at call {at}, {where}")


def _check_cache(path: Path) -> None:
    """Every file in DVC's cache has the MD5 by which it is called."""
    for file in (path / ".dvc" / "cache" / "files" / "md5").glob("??/*"):
        if not file.name.endswith(".dir") and len(file.name) == 30:
            found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            assert found == file.parent.name + file.name, f"{file.name} is half-written"


def _disk(shared: Path, root: Path) -> Disk:
    return Disk(library(shared), root, left_alone=(*NOISE, *OWN, MAPPED))


def _temporary(path: Path) -> dict[str, str]:
    shutil.rmtree(path / "temporary", ignore_errors=True)
    (path / "temporary").mkdir()
    return {"TMPDIR": str(path / "temporary"), "DVC_SITE_CACHE_DIR": str(path / ".dvc" / "tmp" / "site")}


ROW = Row(
    name="full_disk_elsewhere",
    fault="a write to DVC's cache and lists (but what SQLite maps), MLflow's store or a temporary file fails with "
    "ENOSPC or EIO, once or for good, at a random call of `dvc repro`, `track`, `evaluate`",
    must_hold="no file of the project is harmed, nothing half-written in DVC's cache; a rerun with room ends as if "
    "nothing had been; MLflow's disk costs no result",
    times=60,
    short=2,
    trial=trial,
    prepare=prepare,
    needs=reason_not_to,
)
