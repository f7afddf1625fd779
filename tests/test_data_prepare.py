"""From raw files to the prepared folder and back."""

import hashlib
import io
import json
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image as pictures
from numpy.typing import NDArray

from pipeline.config.schema import Data
from pipeline.data.prepare import check_images, check_labels, duplicates, pixel_statistics, warnings
from pipeline.data.prepared import load_test, load_training
from pipeline.data.sources import fetch
from pipeline.data.summary import load_summary
from pipeline.figures.examples import draw_examples
from pipeline.preprocess import preprocess
from pipeline.storage import project
from pipeline.storage.digest import as_json, sealed, unsealed
from pipeline.terminal.errors import UserError
from tests.sample import NAMES, content, sample_data_config

ARRAYS = {
    "train_images.npy": ("train_images", 16, (600, 28, 28, 1)),
    "train_labels.npy": ("train_labels", 8, (600,)),
    "test_images.npy": ("test_images", 16, (200, 28, 28, 1)),
    "test_labels.npy": ("test_labels", 8, (200,)),
}
LETTERS = [f"class {letter}" for letter in "ABCDEFGHIJ"]


def data_section(**changes: Any) -> Data:
    values: dict[str, Any] = {
        "name": "sample",
        "image_shape": [28, 28, 1],
        "class_names": LETTERS,
        "validation_images": 0,
        "split_seed": 0,
    }
    return Data.model_validate(values | sample_data_config() | changes)


def expected(name: str) -> NDArray[np.uint8]:
    part, header, shape = ARRAYS[name]
    return np.frombuffer(content(part)[header:], dtype=np.uint8).reshape(shape)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "raw"
    data = data_section()
    fetch(data.files, data.sources, folder)
    return folder


@pytest.fixture(scope="module")
def prepared_once(raw: Path) -> Path:
    preprocess(data_section(), raw, raw.parent / "prepared")
    return raw.parent / "prepared"


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(prepared_once, tmp_path / "prepared"))


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def own_data(folder: Path, shape: list[int], classes: int, **arrays: NDArray[np.uint8]) -> Data:
    """Write raw files of our own and name them."""
    folder.mkdir()
    files = {}
    for part, array in arrays.items():
        (folder / NAMES[part]).write_bytes(data := idx(array))
        files[part] = {"name": NAMES[part], "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return data_section(image_shape=shape, class_names=LETTERS[:classes], files=files)


def test_folder_holds_the_arrays_their_summary_and_a_picture(prepared: Path) -> None:
    assert {path.name for path in prepared.iterdir()} == {*ARRAYS, "summary.json", "examples.png"}
    for name in ARRAYS:
        array = np.load(prepared / name, allow_pickle=False)
        assert array.dtype == np.uint8
        assert np.array_equal(array, expected(name))


def test_what_was_prepared_is_loaded(prepared: Path) -> None:
    training, test = load_training(prepared), load_test(prepared)
    assert np.array_equal(training.images, expected("train_images.npy"))
    assert np.array_equal(training.labels, expected("train_labels.npy"))
    assert np.array_equal(test.images, expected("test_images.npy"))
    assert np.array_equal(test.labels, expected("test_labels.npy"))
    assert len({training.digest, test.digest}) == 2
    assert all(len(digest) == 64 for digest in (training.digest, test.digest))


def test_summary_says_what_numpy_says(prepared: Path) -> None:
    summary = load_summary(prepared)
    pixels = expected("train_images.npy") / 255
    assert summary.pixel_mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert summary.pixel_deviation == pytest.approx(pixels.std(), rel=1e-12)
    assert summary.training.model_dump() == {
        "images": 600,
        "classes": dict.fromkeys(LETTERS, 60),
        "imbalance": 1.0,
    }
    assert summary.test.model_dump() == {"images": 200, "classes": dict.fromkeys(LETTERS, 20), "imbalance": 1.0}
    assert summary.duplicates.model_dump() == {"training": 0, "test": 0, "across": 0}
    assert summary.image_shape == (28, 28, 1)
    assert summary.class_names == tuple(LETTERS)
    assert summary.digests == {name: hashlib.sha256((prepared / name).read_bytes()).hexdigest() for name in ARRAYS}
    assert warnings(summary) == []


def test_same_raw_files_give_the_same_bytes(prepared: Path, raw: Path, tmp_path: Path) -> None:
    preprocess(data_section(), raw, tmp_path / "again")
    for path in prepared.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_digest_changes_with_a_single_label(prepared: Path, tmp_path: Path) -> None:
    labels = expected("train_labels.npy").copy()
    labels[0] = (labels[0] + 1) % 10
    data = own_data(
        tmp_path / "own",
        [28, 28, 1],
        10,
        train_images=expected("train_images.npy")[..., 0],
        train_labels=labels,
        test_images=expected("test_images.npy")[..., 0],
        test_labels=expected("test_labels.npy"),
    )
    preprocess(data, tmp_path / "own", tmp_path / "other")
    assert load_training(tmp_path / "other").digest != load_training(prepared).digest
    assert load_test(tmp_path / "other").digest == load_test(prepared).digest


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("place", [8, -1])
def test_flipped_bit_is_noticed_and_named(name: str, place: int, prepared: Path) -> None:
    data = bytearray((prepared / name).read_bytes())
    data[place] ^= 1
    (prepared / name).write_bytes(data)
    damaged, sound = (load_training, load_test) if name.startswith("train") else (load_test, load_training)
    with pytest.raises(UserError) as caught:
        damaged(prepared)
    assert str(caught.value).startswith(f"{prepared / name}: was changed")
    assert "dvc repro --force preprocess" in str(caught.value)
    sound(prepared)


def test_training_is_loaded_without_the_test_files_and_the_other_way_round(prepared: Path, tmp_path: Path) -> None:
    for load, other in ((load_training, "test"), (load_test, "train")):
        folder = tmp_path / other
        folder.mkdir()
        for path in prepared.iterdir():
            if not path.name.startswith(other):
                (folder / path.name).write_bytes(path.read_bytes())
        load(folder)


def test_missing_folder_says_what_to_run(tmp_path: Path) -> None:
    for load in (load_training, load_test, load_summary):
        with pytest.raises(UserError, match=r"prepared images are missing\. Run: dvc repro preprocess"):
            load(tmp_path / "prepared")


@pytest.mark.parametrize("name", ["train_labels.npy", "summary.json"])
def test_missing_file_is_named(name: str, prepared: Path) -> None:
    (prepared / name).unlink()
    with pytest.raises(UserError, match=f"{name}: is missing. .*dvc repro --force preprocess"):
        load_training(prepared)


@pytest.mark.parametrize("text", ["", "{}", "[]", "\xff", '{"name": 3}'])
def test_summary_that_is_none_is_refused(text: str, prepared: Path) -> None:
    (prepared / "summary.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"summary\.json: is damaged .*--force preprocess"):
        load_training(prepared)


def test_any_digit_of_the_summary_is_noticed(prepared: Path) -> None:
    path = prepared / "summary.json"
    content = path.read_text()
    for position in [place for place, letter in enumerate(content) if letter.isdigit()][::5]:
        path.write_text(content[:position] + str((int(content[position]) + 1) % 10) + content[position + 1 :])
        if json.loads(path.read_text()) == json.loads(content):
            continue  # the last digit of a float can say nothing
        with pytest.raises(UserError, match=r"summary\.json: is damaged \(it is not as it was written"):
            load_training(prepared)


def test_summary_without_a_digest_is_refused(prepared: Path) -> None:
    values = unsealed((prepared / "summary.json").read_text())
    del values["digests"]["train_images.npy"]
    (prepared / "summary.json").write_text(sealed(values))
    with pytest.raises(UserError, match=r"has no digest of train_images\.npy"):
        load_training(prepared)


def test_pickled_array_is_not_loaded(prepared: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    (prepared / "train_images.npy").write_bytes(file.getvalue())
    values = unsealed((prepared / "summary.json").read_text())
    values["digests"]["train_images.npy"] = hashlib.sha256(file.getvalue()).hexdigest()
    (prepared / "summary.json").write_text(sealed(values))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_training(prepared)


def test_raw_file_with_a_flipped_bit_is_refused_and_the_old_folder_stays(prepared: Path, raw: Path) -> None:
    path = raw / NAMES["test_images"]
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        with pytest.raises(UserError, match=f"{path}: its SHA-256 must be .* dvc repro --force fetch"):
            preprocess(data_section(), raw, prepared)
    finally:
        path.write_bytes(sound)
    assert [each.name for each in prepared.parent.iterdir()] == ["prepared"]
    load_test(prepared)


def test_failure_while_writing_leaves_the_old_folder(
    prepared: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    monkeypatch.setattr("pipeline.figures.examples.draw_examples", full)
    with pytest.raises(OSError, match="No space left"):
        preprocess(data_section(name="other"), raw, prepared)
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before
    assert [each.name for each in prepared.parent.iterdir()] == ["prepared"]


def test_missing_raw_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{NAMES['train_images']}: is missing. Run: dvc repro fetch"):
        preprocess(data_section(), tmp_path, tmp_path / "prepared")


def test_swapped_raw_files_are_told_apart(raw: Path, tmp_path: Path) -> None:
    files = dict(sample_data_config()["files"])
    files["train_labels"] = files["train_images"]
    with pytest.raises(UserError, match=r"must have 1 \(labels\) dimension; found 3 \(images\)"):
        preprocess(data_section(files=files), raw, tmp_path / "prepared")


def test_images_of_another_size_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images must be 32 × 32 × 1 as data\.image_shape says, found 28 × 28\."):
        preprocess(data_section(image_shape=[32, 32, 1]), raw, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_too_few_class_names_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels must be 0 to 8, one for each of data\.class_names, found 9\."):
        preprocess(data_section(class_names=LETTERS[:9]), raw, tmp_path / "prepared")


def test_class_without_images_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='every class must have an image, found none of "Hat"'):
        preprocess(data_section(class_names=[*LETTERS, "Hat"]), raw, tmp_path / "prepared")


def test_labels_that_do_not_begin_at_0_are_told_what_to_become() -> None:
    labels = np.arange(1, 27, dtype=np.uint8)
    names = [f"letter {number}" for number in range(26)]
    with pytest.raises(UserError, match=r"labels must be 0 to 25, found 1 to 26\. Write each less 1 \("):
        check_labels(labels, images=26, class_names=names, name="labels")
    check_labels(labels - 1, images=26, class_names=names, name="labels")
    with pytest.raises(UserError, match=r'found none of "none"\. Where the other .*; else leave them out of .* number'):
        check_labels(labels, images=26, class_names=["none", *names], name="labels")


def test_labels_with_a_gap_are_told_to_be_numbered_without_one() -> None:
    labels = np.array([0, 1, 3], dtype=np.uint8)
    with pytest.raises(UserError, match=r"labels must be 0 to 2, one for each of data\.class_names, found 3\."):
        check_labels(labels, images=3, class_names=["a", "b", "c"], name="labels")
    with pytest.raises(UserError, match=r'found none of "c"\. .* number the labels 0, 1, 2 … without a gap\.'):
        check_labels(labels, images=3, class_names=["a", "b", "c", "d"], name="labels")


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1)])
def test_labels_that_do_not_match_the_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="one label for each of 4 images"):
        check_labels(np.zeros(shape, dtype=np.uint8), images=4, class_names=["a"], name="labels")


def test_colour_images_keep_their_channels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    training, test = (random.integers(256, size=(count, 5, 7, 3), dtype=np.uint8) for count in (6, 4))
    labels = np.array([0, 1] * 3, dtype=np.uint8)
    data = own_data(
        tmp_path / "raw",
        [5, 7, 3],
        2,
        train_images=training,
        train_labels=labels,
        test_images=test,
        test_labels=labels[:4],
    )
    preprocess(data, tmp_path / "raw", tmp_path / "prepared")
    assert np.array_equal(load_training(tmp_path / "prepared").images, training)
    assert load_summary(tmp_path / "prepared").image_shape == (5, 7, 3)


def test_grey_images_are_no_colour_images() -> None:
    grey = np.zeros((2, 5, 3), dtype=np.uint8)
    assert check_images(grey, [5, 3, 1], "images").shape == (2, 5, 3, 1)
    with pytest.raises(UserError, match="images must be 1 × 5 × 3"):
        check_images(grey, [1, 5, 3], "images")


def test_duplicates_and_imbalance_are_counted_and_told_but_allowed(tmp_path: Path) -> None:
    pattern = np.array([0, 0, 0, 1, 2, 3, 4, 5], dtype=np.uint8)  # two more copies of 0
    test_pattern = np.array([0, 9, 9, 0, 8], dtype=np.uint8)  # one more 9, one more 0; both 0 are in training
    data = own_data(
        tmp_path / "raw",
        [2, 2, 1],
        2,
        train_images=np.broadcast_to(pattern[:, None, None], (8, 2, 2)),
        train_labels=np.array([0] * 6 + [1] * 2, dtype=np.uint8),
        test_images=np.broadcast_to(test_pattern[:, None, None], (5, 2, 2)),
        test_labels=np.array([0, 0, 0, 1, 1], dtype=np.uint8),
    )
    summary = preprocess(data, tmp_path / "raw", tmp_path / "prepared")
    assert summary.duplicates.model_dump() == {"training": 2, "test": 2, "across": 2}
    assert summary.training.imbalance == 3.0
    assert warnings(summary) == [
        "the largest class of the training images is 3.0 times the smallest",
        "the largest class of the test images is 1.5 times the smallest",
        "exact duplicates: 2 within training, 2 within test, 2 test images also in training",
    ]


def test_duplicates_of_70_000_images_are_found_in_a_second() -> None:
    images = np.random.default_rng(0).integers(256, size=(70_000, 28, 28, 1), dtype=np.uint8)
    images[69_999] = images[7]
    began = time.process_time()
    found = duplicates(images[:60_000], images[60_000:])
    assert time.process_time() - began < 1
    assert found.model_dump() == {"training": 0, "test": 0, "across": 1}


def test_statistics_of_more_pixels_than_one_part_are_exact() -> None:
    images = np.repeat(np.array([0, 255], dtype=np.uint8), [3 * 2**22, 2**22]).reshape(-1, 4, 4, 1)
    mean, deviation = pixel_statistics(images)
    assert mean == 0.25
    assert deviation == pytest.approx(3**0.5 / 4, rel=1e-15)
    assert pixel_statistics(np.full((1, 1, 1, 1), 51, dtype=np.uint8)) == (0.2, 0.0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_picture_shows_images_of_any_channels(channels: int) -> None:
    random = np.random.default_rng(0)
    images = random.integers(256, size=(40, 8, 6, channels), dtype=np.uint8)
    labels = np.arange(40, dtype=np.uint8) % 4
    png = draw_examples(images, labels, ["plain", "$x^{$", "long " * 10, "é"])
    assert pictures.imread(io.BytesIO(png)).shape[1] > 800


def test_verbs_explain_themselves_and_import_nothing_heavy() -> None:
    code = """
import runpy, sys
sys.argv = ["x", "--help"]
for verb in ("fetch", "preprocess"):
    try:
        runpy.run_module(f"pipeline.{verb}", run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, end.code
heavy = {"tensorflow", "keras", "hydra", "mlflow", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "usage: python -m pipeline.fetch" in done.stdout
    assert "usage: python -m pipeline.preprocess" in done.stdout


def test_images_of_another_choice_are_refused_with_the_way_to_prepare_them(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"files": {part: {**file, "sha256": "0" * 64} for part, file in sample_data_config()["files"].items()}}
    wanted = data_section(name="numerals", **other)
    params = prepared.parent / "params.yaml"
    monkeypatch.setattr(project, "PARAMS", params)
    for named, way in (
        (data_section(), r"Choose numerals with `python -m pipeline\.compose data=…`, then run: dvc repro preprocess"),
        (wanted, r"names\. Run: dvc repro preprocess"),
    ):
        params.write_text(as_json({"data": named.model_dump(mode="json")}))
        with pytest.raises(UserError, match=rf"what is prepared is sample \(other .*\), not numerals, .*{way}"):
            load_training(prepared, wanted)
