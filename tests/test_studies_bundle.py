"""A study in one file: what is unpacked elsewhere is what was packed, and nothing that is there is lost by it."""

import base64
import gzip
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.findings.load import from_study
from pipeline.findings.results import compute_results
from pipeline.findings.write import write_report
from pipeline.run.record import (
    EVALUATION,
    TEST_EVALUATION,
    TRAINING,
    WEIGHTS,
    EvaluationClock,
    read_record,
    write_clock,
)
from pipeline.run.weights import read_weights
from pipeline.storage import atomic, digest, documents, project
from pipeline.storage.digest import SEAL, sealed
from pipeline.studies import bundle
from pipeline.studies.bundle import pack_study, renew_bundle, unpack_study
from pipeline.studies.console import _bundled
from pipeline.studies.study import Study, find_study, update_study
from pipeline.terminal.errors import UserError
from pipeline.verify import _parts
from tests.harness.reports import random_scores, write_study
from tests.harness.studies import START, a_project, prepare

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path / "here")


@contextmanager
def elsewhere(tmp_path: Path, name: str = "there") -> Iterator[Path]:
    """In another project, which holds nothing."""
    with pytest.MonkeyPatch.context() as patch:
        yield a_project(patch, tmp_path / name)


def packed(tmp_path: Path, seeds: int = 2) -> tuple[Study, Path]:
    """A study of nine settings, one run of which has failed, and its bundle."""
    scores = random_scores(seeds)
    scores[2, 1] = math.nan
    study = write_study(scores)
    path = tmp_path / "records.jsonl.gz"
    path.write_bytes(pack_study(study))
    return study, path


def kept(folder: Path) -> dict[str, str]:
    """The files below `folder` and their digests, but for locks."""
    return {name: sha256 for name, sha256 in digest.of_folder(folder).items() if not name.endswith(".lock")}


def report(study: Study, folder: Path) -> dict[str, str]:
    write_report(compute_results(from_study(study)), folder)
    return kept(folder)


def test_a_bundle_beside_a_report_is_renewed_by_other_runs_and_by_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "REPORTS", tmp_path / "reports")
    study = write_study(random_scores(2))
    path = project.bundle(study.name)
    assert not renew_bundle(study)
    assert not path.exists()
    path.parent.mkdir(parents=True)
    for present in (b"no bundle", pack_study(replace(study, cells=study.cells[:3]))):
        path.write_bytes(present)
        assert renew_bundle(study)
        assert path.read_bytes() == pack_study(study)
        before = path.stat().st_mtime_ns
        assert not renew_bundle(replace(study, tracking={"address": "elsewhere"}))
        assert path.stat().st_mtime_ns == before


def test_a_plan_counts_the_missing_runs_that_lie_in_the_bundle_of_a_study_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, packed_one = packed(tmp_path)
    ended = study.ended
    with elsewhere(tmp_path) as root:
        monkeypatch.setattr(project, "REPORTS", root / "reports")
        path = project.bundle(study.name)
        assert _bundled(study.name, set(ended)) == 0
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no bundle")
        assert _bundled(study.name, set(ended)) == 0
        path.write_bytes(packed_one.read_bytes())
        assert _bundled(study.name, {*ended[:3], "other"}) == 3
        assert _bundled(study.name, {"other"}) == 0
        unpack_study(path)
        assert _bundled(study.name, set(ended)) == 0


def test_the_same_records_give_the_same_bytes_whenever_they_are_packed(tmp_path: Path) -> None:
    study, path = packed(tmp_path)
    assert pack_study(study) == path.read_bytes()
    assert path.stat().st_size < 3_000 * len(study.cells)


def test_what_is_unpacked_is_the_record_without_its_weights_and_gives_the_same_report(tmp_path: Path) -> None:
    prepare()
    study, path = packed(tmp_path)
    one = study.cells[0].identity
    before = kept(project.run_root(one))
    reported = report(study, tmp_path / "reports" / "one")
    with elsewhere(tmp_path):
        prepare()
        unpacked, new = unpack_study(path)
        assert (unpacked, new) == (find_study("kernels"), 17)
        assert unpacked == study
        del before[f"{TRAINING}/{WEIGHTS}"]
        assert kept(project.run_root(one)) == before
        assert report(unpacked, tmp_path / "reports" / "two") == reported
        assert pack_study(unpacked) == path.read_bytes()


def test_scores_on_test_images_beside_those_of_validation_go_with_a_run(tmp_path: Path) -> None:
    study = write_study(random_scores(1))
    one = study.cells[3].identity
    root = project.run_root(one)
    for name in ("evaluation.json", "metrics.json", "correct.npy"):
        (root / TEST_EVALUATION).mkdir(exist_ok=True)
        (root / TEST_EVALUATION / name).write_bytes((root / EVALUATION / name).read_bytes())
    write_clock(root, TEST_EVALUATION, EvaluationClock(one, "s", {}, START))
    (tmp_path / "bundle").write_bytes(pack_study(study))
    on_test = [run.on_test for run in from_study(study).runs]
    with elsewhere(tmp_path):
        unpack_study(tmp_path / "bundle")
        assert [run.on_test for run in from_study(find_study("kernels")).runs] == on_test
        assert START in on_test


def test_what_is_there_and_equal_stays_and_what_is_there_with_its_weights_keeps_them(tmp_path: Path) -> None:
    study, path = packed(tmp_path)
    before = kept(project.RUNS)
    assert unpack_study(path) == (study, 0)
    assert kept(project.RUNS) == before
    assert (project.run_root(study.cells[0].identity) / TRAINING / WEIGHTS).exists()


@pytest.mark.parametrize("name", ["training/history.csv", "evaluation/correct.npy", "clock/*.training.json"])
def test_a_run_that_is_there_and_differs_is_refused_by_its_name_and_nothing_is_changed(
    tmp_path: Path, name: str
) -> None:
    study, path = packed(tmp_path)
    with elsewhere(tmp_path):
        other = project.run_root(study.cells[4].identity)
        unpack_study(path)
        (changed,) = other.glob(name)
        changed.write_bytes(b"other")
        (project.run_root(study.cells[0].identity) / TRAINING / "run.json").unlink()
        before = kept(project.RUNS)
        with pytest.raises(UserError, match=rf"{other}/{changed.relative_to(other)}.* is not what the bundle has"):
            unpack_study(path)
        assert kept(project.RUNS) == before


def test_a_study_that_goes_on_is_packed_as_it_is_and_goes_on_elsewhere(tmp_path: Path) -> None:
    study, path = packed(tmp_path)
    waiting = [replace(run, state="waiting", accuracy=None, loss=None, seconds=None) for run in study.cells[5:]]
    running = replace(study, state="running", cells=(*study.cells[:5], *waiting))
    half = tmp_path / "half"
    half.write_bytes(pack_study(running))
    with elsewhere(tmp_path):
        unpacked, new = unpack_study(half)
        assert (unpacked.state, new, len(list(project.RUNS.iterdir()))) == ("interrupted", 5, 5)
        # Later the same study comes with more runs, and what came first changes nothing any more.
        assert unpack_study(path)[1] == 12
        assert unpack_study(half) == (study, 0)


def test_where_a_study_is_tracked_goes_with_no_bundle_and_keeps_none_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, path = packed(tmp_path)
    theirs: dict[str, Any] = {"enabled": True, "address": "https://theirs", "experiment": "conv2d"}
    assert pack_study(replace(study, tracking=theirs)) == path.read_bytes()
    with elsewhere(tmp_path), monkeypatch.context() as patch:
        # One that was made to say it.
        patch.setattr(bundle, "replace", lambda study, **_: replace(study, tracking=theirs))
        path.write_bytes(pack_study(packed(tmp_path)[0]))
    with elsewhere(tmp_path, "clone"):
        assert unpack_study(path)[0].tracking is None
        own = update_study(project.study("kernels"), lambda _: replace(study, tracking={**theirs, "address": None}))
        assert unpack_study(path)[0].tracking == own.tracking


@pytest.mark.parametrize("changes", [{"basis": "other"}, {"margin": 0.25}, {"images": "test"}, {"settings": {}}])
def test_a_study_that_is_there_with_other_runs_or_otherwise_declared_is_refused_and_stays(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    study, path = packed(tmp_path)
    with elsewhere(tmp_path):
        cells = () if "settings" in changes else study.cells[:3]
        own = replace(study, cells=cells, settings=study.settings) if cells else replace(study, cells=())
        own = replace(own, **({} if "settings" in changes else changes))
        if "settings" in changes:
            own = replace(study, cells=(replace(study.cells[0], accuracy=0.1),))
        update_study(project.study("kernels"), lambda _: own)
        before = kept(project.STUDIES)
        with pytest.raises(UserError, match=r"study\.json: has runs that the bundle does not have, or is of another"):
            unpack_study(path)
        assert kept(project.STUDIES) == before
        assert not project.RUNS.exists()


def test_what_was_interrupted_is_done_by_the_same_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = packed(tmp_path)
    write_folder, calls = atomic.write_folder, []

    def stopped(place: Path) -> Any:
        calls.append(place)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return write_folder(place)

    with elsewhere(tmp_path, "whole"):
        unpack_study(path)
        whole = kept(project.RUNS), kept(project.STUDIES)
    with elsewhere(tmp_path):
        monkeypatch.setattr(atomic, "write_folder", stopped)
        with pytest.raises(KeyboardInterrupt):
            unpack_study(path)
        assert not project.STUDIES.exists()
        unpack_study(path)
        assert (kept(project.RUNS), kept(project.STUDIES)) == whole


def test_a_study_of_which_a_record_is_missing_or_damaged_is_not_packed(tmp_path: Path) -> None:
    study, _ = packed(tmp_path)
    root = project.run_root(study.cells[0].identity)
    (root / EVALUATION / "correct.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"correct\.npy: is not what evaluation\.json says was written"):
        pack_study(study)
    (root / TRAINING / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: is missing"):
        pack_study(study)


def test_what_needs_the_weights_says_how_they_are_made_again(tmp_path: Path) -> None:
    study, path = packed(tmp_path)
    one = study.cells[0].identity
    with elsewhere(tmp_path):
        unpack_study(path)
        training = read_record(project.run_root(one)).training
        with pytest.raises(UserError, match=f"without its weights. `python -m pipeline.reproduce {one} --keep` makes"):
            read_weights(training, {"kernel": (10,)})
        checks = list(_parts(project.run_root(one)))
        assert {kind for kind, _ in checks} == {"records without weights"}
        for _, read in checks:
            read()


# Bundles that someone forged


def lines_of(path: Path) -> Lines:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def forge(path: Path, change: Callable[[Lines], object]) -> None:
    """Write the bundle anew with its lines changed."""
    lines = lines_of(path)
    change(lines)
    path.write_bytes(gzip.compress(b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)))


def reseal(line: dict[str, Any], file: str, **changes: object) -> None:
    values = json.loads(line["files"][file])
    values.pop(SEAL)
    line["files"][file] = sealed(values | changes)


def put(name: str, text: str = "x") -> Callable[[Lines], object]:
    return lambda lines: lines[1]["files"].update({name: text})


FORGERIES: dict[str, tuple[Callable[[Lines], object], str]] = {
    "no line": (lambda lines: lines.clear(), "layout"),
    "another layout": (lambda lines: lines[0].update(layout=2), "its layout is 2, and this version reads layout 1"),
    "a layout that is none": (lambda lines: lines[0].update(layout=[]), "layout"),
    "more in the head": (lambda lines: lines[0].update(more=1), "more"),
    "a way for the study's name": (lambda lines: lines[0].update(name="../../outside"), "name"),
    "another study's name": (lambda lines: lines[0].update(name="other"), "it says that it is study kernels"),
    "no study": (lambda lines: lines[0].update(study="{"), r"study\.json: is damaged"),
    "a way for a run": (lambda lines: lines[1].update(identity="../../outside"), "identity"),
    "a number for a run": (lambda lines: lines[1].update(identity=3), "identity"),
    "a run of no study": (lambda lines: lines[1].update(identity="0" * 16), "is none of its study"),
    "a run twice": (lambda lines: lines.append(lines[1]), "there twice"),
    "a run missing": (lambda lines: lines.pop(), "1 runs of its study are missing"),
    "another run's record": (lambda lines: lines[1].update(files=lines[2]["files"]), "has a file that none has"),
    "a list in place of a line": (lambda lines: lines.insert(1, []), "a line is not as it was written"),  # type: ignore[arg-type]
    "a file elsewhere": (put("../../../outside"), "has a file that none has"),
    "a file by its whole path": (put("/etc/outside"), "has a file that none has"),
    "a file below another": (put("training/../../../outside.json"), "has a file that none has"),
    "a file with an end of line": (put("training/a\n.json"), "has a file that none has"),
    "code": (put("training/code.py"), "has a file that none has"),
    "a clock of another run": (put(f"clock/{'0' * 16}.training.json", "{}"), "has a file that none has"),
    "a file that no record names": (put("training/more.json", "{}"), "does not say what they are"),
    "weights": (put("training/weights.npz"), "has a file that none has"),
    "no base64": (put("evaluation/correct.npy", "é"), "only ASCII characters"),
    "other answers": (
        put("evaluation/correct.npy", base64.b64encode(b"other").decode()),
        r"correct\.npy: is not what evaluation\.json",
    ),
    "another history": (put("training/history.csv", "epoch\n"), r"history\.csv: is not what run\.json says"),
    "an identity that is no hash": (
        lambda lines: reseal(lines[1], "training/run.json", ingredients={}),
        "is not the hash of its ingredients",
    ),
    "scores of another run": (
        lambda lines: reseal(lines[1], "evaluation/evaluation.json", identity="other"),
        "is no record of run",
    ),
    "an unknown outcome": (lambda lines: reseal(lines[1], "training/run.json", outcome="perfect"), "outcome"),
    "a file in place of a part": (put("training", "x"), "has a file that none has"),
    "deep lists": (lambda lines: lines[0].update(more=json.loads("[" * 900 + "]" * 900)), "more"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_bundle_is_refused_and_nothing_is_changed(tmp_path: Path, forgery: str) -> None:
    _, path = packed(tmp_path)
    change, said = FORGERIES[forgery]
    forge(path, change)
    with elsewhere(tmp_path) as place:
        with pytest.raises(UserError, match=rf"(?s)records\.jsonl\.gz: is no bundle that this version reads.*{said}"):
            unpack_study(path)
        assert not place.exists()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["here", "records.jsonl.gz"]


def gzipped(content: bytes) -> bytes:
    """The same bytes whenever the tests are collected."""
    return gzip.compress(content, 1, mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "layout"),
        (b"no gzip", "Not a gzipped file"),
        (gzipped(bytes(range(48, 256)))[:100], "ended before"),
        (gzipped(b"\xff\n"), "utf-8|JSON"),
        (gzipped(b'{"layout": 1, "layout": 1}\n'), "a line is not as it was written"),
        (gzipped(b'{"layout": NaN}\n'), "not JSON compliant|not as it was written"),
        (gzipped(b'{"layout": ' + b"9" * 5_000 + b"}\n"), "."),
        (gzipped(b"[" * 100_000), "recursion"),
        (gzipped(b" " * 2_000), "JSON|Expecting"),
    ],
    ids=range(9),
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s)file: is no bundle that this version reads \(.*{said}"):
        unpack_study(tmp_path / "file")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_BYTES", 100_000)
    monkeypatch.setattr(bundle, "MOST_BYTES", 200_000)
    _, path = packed(tmp_path)
    with gzip.open(tmp_path / "line", "wb") as file:
        file.write(bytes(1_000_000))
    with pytest.raises(UserError, match="it unpacks to more than any study has"):
        unpack_study(tmp_path / "line")
    forge(path, lambda lines: lines[1]["files"].update({"training/history.csv": "1" * 90_000}))
    many = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(many))
    monkeypatch.setattr(bundle, "MOST_BYTES", 80_000)
    with pytest.raises(UserError, match="it unpacks to more than any study has"):
        unpack_study(path)


def test_a_run_whose_folder_is_a_link_out_of_the_project_is_not_written_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, path = packed(tmp_path)
    (tmp_path / "outside").mkdir()
    with elsewhere(tmp_path) as place:
        monkeypatch.setattr(project, "ROOT", place)
        project.RUNS.mkdir(parents=True)
        project.run_root(study.cells[0].identity).symlink_to(tmp_path / "outside")
        with pytest.raises(UserError, match="is a link that leads out of the project"):
            unpack_study(path)
    assert not list((tmp_path / "outside").iterdir())


def test_a_pipe_in_place_of_a_bundle_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="it is no file"):
        unpack_study(tmp_path / "pipe")
