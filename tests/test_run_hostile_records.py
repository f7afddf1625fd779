"""Records, studies and checkpoints that someone forged: read in little memory, no way out of their folder."""

import hashlib
import io
import json
import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue

from pipeline.data.prepared import training_digest
from pipeline.reproduce import configuration_of, read_reproducible
from pipeline.run.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.run.record import WEIGHTS, TrainingPart, read_evaluation, read_record, read_training
from pipeline.run.weights import read_weights
from pipeline.storage import project
from pipeline.storage.arrays import digest_of, pack
from pipeline.storage.documents import MOST_BYTES
from pipeline.studies.plan import job_of, record_of
from pipeline.studies.study import read_study, update_study
from pipeline.terminal.errors import UserError
from tests.harness.forged import forge, forge_file
from tests.harness.settings import article
from tests.harness.studies import a_project, cell, declared, prepare, study, swept, write_record

NAMES = (
    "",
    ".",
    "..",
    "../outside",
    "/etc",
    "a/b",
    "a\nb",
    "a\0b",
    ".hidden",
    "x" * 300,
    "a'; DROP TABLE runs",
    3,
    None,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one record in `runs/`."""
    a_project(monkeypatch, tmp_path / "project")
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    found = tmp_path / "project" / "runs" / "one"
    write_record(found, swept())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_identity_that_is_a_way_is_refused_for_folders_are_made_and_removed_by_it(root: Path, name: object) -> None:
    forge(root / "training" / "run.json", {"identity": name})
    with pytest.raises(UserError, match=r"run\.json: is damaged \(identity: "):
        read_training(root / "training")
    with pytest.raises(UserError, match=r"run\.json: is damaged \(identity: "):
        read_reproducible(root / "training")
    forge(root / "evaluation" / "evaluation.json", {"identity": name})
    with pytest.raises(UserError, match=r"evaluation\.json: is damaged \(identity: "):
        read_evaluation(root / "evaluation")


@pytest.mark.parametrize("name", NAMES)
def test_a_study_whose_name_is_a_way_is_refused_for_reports_are_written_under_it(root: Path, name: object) -> None:
    update_study(project.study("kernels"), lambda _: study({"a": {}}, [cell("a", 0)]))
    assert root.exists()
    forge(project.study("kernels") / "study.json", {"name": name})
    with pytest.raises(UserError, match=r"study\.json: is damaged \(name: "):
        read_study(project.study("kernels"))


def test_a_study_that_says_it_is_another_is_refused(root: Path) -> None:
    assert root.exists()
    update_study(project.study("other"), lambda _: study({"a": {}}))
    with pytest.raises(UserError, match=r"is damaged \(it says that it is study kernels\)"):
        read_study(project.study("other"))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_a_study_whose_identity_is_a_way_is_refused(root: Path, name: object) -> None:
    update_study(project.study("kernels"), lambda _: study({"a": {}}, [cell("a", 0)]))
    assert root.exists()
    forge(project.study("kernels") / "study.json", {"cells/0/identity": name})
    with pytest.raises(UserError, match=r"is damaged \(cells\.0\.identity: "):
        read_study(project.study("kernels"))


@pytest.mark.parametrize(
    "changes",
    [
        {"margin": "wide"},
        {"settings": {"a": {"values": 3, "parameters": 1, "multiply_adds": 1}}},
        {"settings": {"a": {"values": {}, "parameters": "many", "multiply_adds": 1}}},
        {"cells/0/accuracy": "high"},
        {"cells/0/seed": None},
        {"cells/0/state": "perfect"},
        {"images": "training"},
        {"baseline": []},
    ],
)
def test_a_study_whose_values_are_of_another_kind_is_refused(root: Path, changes: dict[str, object]) -> None:
    update_study(project.study("kernels"), lambda _: study({"a": {}}, [cell("a", 0)]))
    assert root.exists()
    forge(project.study("kernels") / "study.json", changes)
    with pytest.raises(UserError, match=r"study\.json: is damaged \("):
        read_study(project.study("kernels"))


@pytest.mark.parametrize(
    "changes", [{"configuration": []}, {"layers": [3]}, {"epochs": "all"}, {"parameters": None}, {"more": 1}]
)
def test_a_run_whose_values_are_of_another_kind_is_refused(root: Path, changes: dict[str, object]) -> None:
    forge(root / "training" / "run.json", changes)
    for read in (read_training, read_reproducible):
        with pytest.raises(UserError, match="is damaged"):
            read(root / "training")


@pytest.mark.parametrize("file", ["../../../outside", "/etc/passwd", "a/../../../../../outside"])
def test_a_manifest_that_names_files_elsewhere_is_refused(root: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / "outside").write_text("known")
    known = hashlib.sha256(Path("/etc/passwd").read_bytes() if file[0] == "/" else b"known").hexdigest()
    forge(root / "training" / "run.json", {"files": {file: known}})
    with pytest.raises(UserError, match=r"is not what run\.json says was written"):
        read_training(root / "training")


@pytest.mark.parametrize("file", ["pictures/../../../../outside", "weights.npz/../../../../outside", "pictures/\0"])
def test_what_a_record_may_come_without_leads_nowhere_else_either(root: Path, file: str) -> None:
    forge(root / "training" / "run.json", {"files": {file: "0" * 64}})
    with pytest.raises(UserError, match=r"is not what run\.json says was written"):
        read_record(root)


@pytest.mark.parametrize("name", [WEIGHTS, "probabilities.npy", "pictures/one.png"])
def test_what_a_record_may_come_without_is_as_it_was_written_where_it_is_there(root: Path, name: str) -> None:
    path = root / "training" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"other")
    manifest = root / "training" / "run.json"
    files = json.loads(manifest.read_text())["files"] | {name: hashlib.sha256(b"written").hexdigest()}
    forge(manifest, {"files": files})
    with pytest.raises(UserError, match=rf"{name}: is not what run\.json says was written"):
        read_record(root)
    path.unlink()
    (root / "training" / WEIGHTS).unlink(missing_ok=True)
    assert read_record(root).training.run.files == files
    (root / "training" / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history\.csv: is not what run\.json says was written"):
        read_record(root)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"layout": 2, "a":' * 50_000, '{"layout": ' + "9" * 5_000 + "}"])
@pytest.mark.parametrize("file", ["training/run.json", "evaluation/evaluation.json", "clock/*.training.json"])
def test_json_that_python_can_not_hold_is_refused(root: Path, file: str, content: str) -> None:
    (path,) = root.glob(file)
    path.write_text(content)
    with pytest.raises(UserError, match="is damaged"):
        read_record(root)


@pytest.mark.parametrize("file", ["training/run.json", "clock/*.training.json"])
def test_a_file_larger_than_any_record_is_not_read(root: Path, file: str) -> None:
    (path,) = root.glob(file)
    with path.open("ab") as opened:
        opened.truncate(MOST_BYTES + 1)
    with pytest.raises(UserError, match="larger than 40,000,000 bytes"):
        read_training(root / "training")


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(root: Path) -> None:
    (root / "training" / "run.json").unlink()
    os.mkfifo(root / "training" / "run.json")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        read_training(root / "training")


@pytest.mark.parametrize("line", ["1," + "9" * 200_000, "1,=HYPERLINK(1),1,1", "1,1,1,1,1,1,1,1", "1e9,1,1,1"])
def test_a_history_that_is_none_is_refused(root: Path, line: str) -> None:
    forge_file(root / "training", "history.csv", f"epoch,loss,accuracy,learning_rate\n{line}\n".encode())
    for read in (read_training, read_reproducible):
        with pytest.raises(UserError, match="is damaged"):
            read(root / "training")


@pytest.mark.parametrize("name", ["../clock/stolen.txt", "stolen.txt", "history.csv", WEIGHTS])
def test_a_link_out_of_the_project_is_refused_before_anything_is_mirrored(
    root: Path, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    path = root / "training" / name
    secret.write_bytes(path.read_bytes() if path.exists() else b"secret")
    path.unlink(missing_ok=True)
    path.symlink_to(secret)
    with pytest.raises(UserError, match=f"{Path(name).name}: is a link that leads out of the project"):
        read_training(root / "training")


def test_a_link_to_a_folder_elsewhere_is_refused_too(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "training" / "pictures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="pictures: is a link that leads out of the project"):
        read_training(root / "training")


def test_a_link_within_the_project_is_taken_as_dvc_may_link_to_its_cache(root: Path) -> None:
    cache = project.ROOT / ".dvc" / "cache"
    cache.mkdir(parents=True)
    (root / "training" / "history.csv").rename(cache / "history")
    (root / "training" / "history.csv").symlink_to(cache / "history")
    assert read_training(root / "training").run.outcome == "finished"


def test_a_run_or_a_study_whose_folder_is_a_link_out_of_the_project_is_not_written_through_it(
    root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    project.STUDIES.mkdir()
    project.study("kernels").symlink_to(outside)
    with pytest.raises(UserError, match="kernels: is a link that leads out of the project"):
        update_study(project.study("kernels"), lambda _: study({"a": {}}))
    prepare()
    job = job_of(swept(), training_digest(project.PREPARED, swept().data), declared())
    project.run_root(job.identity.name).symlink_to(outside)
    with pytest.raises(UserError, match=f"{job.identity.name}: is a link that leads out of the project"):
        record_of(job)
    assert root.exists()
    assert not list(outside.iterdir())


# What a repetition is compared with


def test_what_is_done_again_has_the_history_whose_digest_is_recorded(root: Path) -> None:
    assert read_reproducible(root / "training").run.outcome == "finished"
    path = root / "training" / "history.csv"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(UserError, match=r"history\.csv: is not what run\.json says was written"):
        read_reproducible(root / "training")


def test_what_is_done_again_needs_no_weights_for_the_store_may_not_have_them(root: Path) -> None:
    (root / "training" / WEIGHTS).unlink()
    assert read_reproducible(root / "training").run.weights


def test_what_is_done_again_without_an_epoch_is_refused(root: Path) -> None:
    forge_file(root / "training", "history.csv", b"epoch,loss,accuracy,learning_rate\n")
    with pytest.raises(UserError, match="has no epoch to compare a repetition with"):
        read_reproducible(root / "training")


@pytest.mark.parametrize("changes", [{"environment/versions": None}, {"environment/hardware": "fast"}])
def test_a_clock_whose_values_are_of_another_kind_is_refused(root: Path, changes: dict[str, object]) -> None:
    (path,) = (root / "clock").glob("*.training.json")
    forge(path, changes)
    with pytest.raises(UserError, match=r"training\.json: is damaged \(environment\."):
        read_reproducible(root / "training")


@pytest.mark.parametrize("changed", [{}, {"data": None}, {"data": []}, {"data": {}}, {"seed": -1}])
def test_a_recorded_configuration_that_is_none_is_refused(root: Path, changed: dict[str, JsonValue]) -> None:
    run = read_reproducible(root / "training").run
    configuration = {**run.configuration, **changed} if changed else {}
    with pytest.raises(UserError):
        configuration_of(replace(run, configuration=configuration), article().data, article().tracking)


# Weights


KERNEL = {"kernel": np.arange(10, dtype=np.float32)}


def part(root: Path, content: bytes) -> TrainingPart:
    forge_file(root / "training", WEIGHTS, content)
    return read_training(root / "training")


def test_weights_are_the_arrays_whose_digest_the_record_holds(root: Path) -> None:
    found = part(root, pack(KERNEL))
    assert found.run.weights == digest_of(KERNEL)
    assert np.array_equal(read_weights(found, {"kernel": (10,)})["kernel"], KERNEL["kernel"])
    # Changed after the record was read: what is loaded is what is checked.
    (found.folder / WEIGHTS).write_bytes(pack({"kernel": KERNEL["kernel"] + 1}))
    with pytest.raises(UserError, match=r"weights\.npz: is not what run\.json says was written"):
        read_weights(found, {"kernel": (10,)})


@pytest.mark.parametrize(
    "arrays",
    [
        {"kernel": np.zeros(9, np.float32)},
        {"kernel": np.zeros((10, 1), np.float32)},
        {"bias": np.zeros(10, np.float32)},
        {"kernel": np.zeros(10, np.float32), "bias": np.zeros(10, np.float32)},
        {},
    ],
)
def test_weights_of_another_network_are_refused(root: Path, arrays: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"weights\.npz: does not fit the network of its record"):
        read_weights(part(root, pack(arrays)), {"kernel": (10,)})


def test_weights_larger_than_their_network_are_not_read(root: Path) -> None:
    with pytest.raises(UserError, match="is larger than the 10 parameters of its network"):
        read_weights(part(root, bytes(2_000_000)), {"kernel": (10,)})


# Checkpoints, and archives of arrays


def with_digest(payload: bytes) -> bytes:
    return b"conv2d checkpoint 2\n" + hashlib.sha256(payload).digest() + payload


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", *, pickled: bool = False) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=pickled)
    return content.getvalue()


SAID = npy(np.array(json.dumps({"history": [], "times": []})))
HUGE = npy(np.zeros(1)).replace(b"(1,), }" + b" " * 12, b"(900000000000,), }" + b" ")


class Touch:
    """Unpickled, it makes the file `canary`."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "no archive of arrays"),
        (b"no archive", "none of this version"),
        (archive({}), "none of this version"),
        (archive({"_said.npy": SAID, "a.npy": bytes(100_000_000)}, zipfile.ZIP_DEFLATED), "more than its bytes"),
        (archive({"_said.npy": SAID, "a.npy": HUGE}), "none of this version|array"),
        (archive({"_said.npy": npy(np.array('{"history": [{"epoch": 1}], "times": []}'))}), "0.loss"),
        (archive({"_said.npy": npy(np.array("[" * 50_000))}), "none of this version"),
        (archive({"_said.npy": npy(np.array("[]"))}), "none of this version"),
    ],
)
def test_a_forged_checkpoint_is_one_that_can_not_be_used(tmp_path: Path, payload: bytes, said: str) -> None:
    (tmp_path / "state").write_bytes(with_digest(payload))
    with pytest.raises(ValueError, match=said):
        read_checkpoint(tmp_path / "state")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"weights",
        b"\x80\x04cposix\nsystem\n",
        b"\x89HDF\r\n\x1a\n" + bytes(500),
        archive({"kernel.npy": bytes(1_000_000)}, zipfile.ZIP_DEFLATED),
        archive({"kernel.npy": HUGE}),
        archive({"kernel.npy": b"no array"}),
        archive({"kernel.npy": npy(np.zeros(10))[:-1]}),
        archive({"kernel.npy": npy(np.asfortranarray(np.zeros((2, 3))))}),
        archive({"kernel.npy": npy(np.array([None], dtype=object), pickled=True)}),
    ],
)
def test_weights_that_are_none_are_refused_in_no_more_memory_than_their_file(root: Path, content: bytes) -> None:
    found = part(root, content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is no file of weights"):
            read_weights(found, {"kernel": (10,)})
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = npy(np.array([Touch(canary)], dtype=object), pickled=True)
    (tmp_path / "state").write_bytes(with_digest(archive({"_said.npy": SAID, "a.npy": pickled})))
    with pytest.raises(ValueError, match="may hold any object"):
        read_checkpoint(tmp_path / "state")
    assert not canary.exists()


def test_a_real_checkpoint_is_still_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state", Checkpoint({"network/0": np.ones(3)}, (), (), "x86_64"))
    found = read_checkpoint(tmp_path / "state")
    assert found is not None
    assert found.state["network/0"].tolist() == [1.0, 1.0, 1.0]
