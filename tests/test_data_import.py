"""A dataset of one's own: from pictures, arrays and IDX files to a variant of conf/data that trains."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline import import_images as verb
from pipeline.data.idx import decode_idx
from pipeline.data.image_import import import_images, to_rgb
from pipeline.import_images import as_idx
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.doors import asked_here, refused
from tests.harness.project import new_project
from tests.sample import FOLDER

GREY = np.arange(60, dtype=np.uint8).reshape(10, 3, 2)
LABELS = np.tile(np.array([3, 7], dtype=np.uint8), 5)


def picture(path: Path, pixels: NDArray[np.uint8], mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def folders(root: Path, each: int = 5, size: tuple[int, int] = (4, 6)) -> Path:
    for number, name in enumerate(("cat", "dog")):
        for index in range(each):
            pixels = np.full((*size, 3), 10 * index, dtype=np.uint8)
            pixels[0, 0] = (200, number, index)
            picture(root / name / f"{index}.png", pixels)
    return root


def test_class_folders_become_numbered_classes_and_each_gives_its_share_of_test_images(tmp_path: Path) -> None:
    imported = import_images(folders(tmp_path, each=10), test_share=0.2)
    assert imported.class_names == ("cat", "dog")
    assert imported.training[0].shape == (16, 4, 6, 3)
    assert np.bincount(imported.training[1]).tolist() == [8, 8]
    assert np.bincount(imported.test[1]).tolist() == [2, 2]
    # The pixel that says which picture it is: none is lost, none is in both.
    marks = [tuple(image[0, 0]) for part in (imported.training, imported.test) for image in part[0]]
    assert sorted(marks) == sorted((200, number, index) for number in range(2) for index in range(10))


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    folders(tmp_path / "train", each=4)
    folders(tmp_path / "val", each=2)
    imported = import_images(tmp_path)
    assert (len(imported.training[1]), len(imported.test[1])) == (8, 4)
    assert any("val/" in note for note in imported.notes)


def test_pictures_of_many_sizes_are_refused_with_the_option_that_helps(tmp_path: Path) -> None:
    picture(folders(tmp_path) / "cat" / "other.jpg", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(UserError, match=r"one size, found 2 .*--size 4x6"):
        import_images(tmp_path)
    assert import_images(tmp_path, size=(8, 8)).training[0].shape[1:] == (8, 8, 3)


def test_pictures_that_are_all_grey_have_one_channel_unless_colour_is_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(5):
            picture(tmp_path / name / f"{index}.png", np.full((3, 3), index, dtype=np.uint8), "RGB")
    assert import_images(tmp_path).training[0].shape[3] == 1
    assert import_images(tmp_path, grey=False).training[0].shape[3] == 3


def test_what_is_transparent_is_white_and_what_lies_on_its_side_is_set_upright(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    assert np.asarray(to_rgb(clear, (1, 2))).tolist() == [[[255] * 3] * 2]
    sideways = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "sideways.png", exif=exif)
    with Image.open(tmp_path / "sideways.png") as opened:
        assert np.asarray(to_rgb(opened, (2, 1)))[:, 0, 0].tolist() == [0, 255]


def test_sixteen_bits_a_pixel_are_scaled_not_cut() -> None:
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    assert np.asarray(to_rgb(deep, (1, 3)))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (GREY, LABELS),
        (GREY.astype(np.float32) / 255, LABELS[:, None].astype(np.int64)),
        (GREY[:, None].astype(np.int32), np.eye(8)[LABELS].astype(np.int64)),
    ],
)
def test_arrays_of_any_form_are_the_same_images(
    tmp_path: Path, images: NDArray[np.generic], labels: NDArray[np.generic]
) -> None:
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    imported = import_images(tmp_path / "a.npz")
    assert imported.training[0][..., 0].tolist() == GREY.tolist()
    assert imported.test[1].tolist() == (LABELS == 7).tolist()
    assert imported.class_names == ("3", "7")


def test_idx_files_are_read_whatever_their_labels_begin_with(tmp_path: Path) -> None:
    for part, suffix in (("emnist-letters-train", ".gz"), ("emnist-letters-test", "")):
        for kind, array in (("images-idx3", GREY), ("labels-idx1", LABELS)):
            content = as_idx(array)
            (tmp_path / f"{part}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    imported = import_images(tmp_path, class_names=("C", "G"))
    assert imported.training[0][..., 0].tolist() == imported.test[0][..., 0].tolist() == GREY.tolist()
    assert sorted(set(imported.training[1].tolist())) == [0, 1]
    assert imported.class_names == ("C", "G")


@pytest.mark.parametrize("shape", [(5,), (5, 2, 3), (5, 2, 3, 3)])
def test_an_idx_file_is_decoded_to_what_was_encoded(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert decode_idx(as_idx(array), Path("x")).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": GREY}, "must hold images and labels"),
        ({"x_train": GREY, "y_train": LABELS[:4]}, "10 images have 4 labels"),
        ({"x_train": GREY - 300.0, "y_train": LABELS}, "pixels must be 0 to 255"),
        ({"x_train": GREY[0], "y_train": LABELS}, "must be images"),
        ({"x_train": GREY, "y_train": np.zeros(10, dtype=np.int64)}, "2 to 256 classes, found 1"),
        ({"x_train": np.zeros((1500, 1, 1)), "y_train": np.arange(1500) % 300}, "2 to 256 classes, found 300"),
        ({"x_train": GREY, "y_train": LABELS, "x_test": GREY[:1], "y_test": LABELS[:1]}, "class 7 has no test image"),
        ({"x_train": GREY[:2], "y_train": LABELS[:2]}, "has 1 images, of which 0.2 for testing"),
        ({"x_train": GREY, "y_train": LABELS / 2}, "one number or text for each image"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]], words: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words):
        import_images(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (folders(tmp_path) / "dog" / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png: is no picture"):
        import_images(tmp_path)


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.array([{}], dtype=object), y_train=LABELS)
    with pytest.raises(UserError, match="no file of NumPy arrays"):
        import_images(tmp_path / "a.npz")


def shades(folder: Path) -> str:
    for index in range(40):
        pixels = np.full((12, 10), 250 if index % 2 else 5, dtype=np.uint8)
        picture(folder / ("light" if index % 2 else "dark") / f"{index}.png", pixels)
    return str(folder)


def test_an_import_says_what_it_made_tries_it_and_is_not_written_over(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    source = shades(tmp_path / "pictures")
    output = project.verb("import_images", "shades", source)
    assert "32 training and 8 test images of 12 × 10 × 1 in 2 classes; a sweep holds out 5" in output
    assert "model=article does not fit" in output
    assert "one epoch of model=small on 32 images" in output
    assert output.endswith("\npython -m pipeline.compose data=shades model=small && dvc repro\n")
    assert (project.path / "data" / "imported" / "shades" / "examples.png").stat().st_size > 0
    refused(asked_here(project, "import_images", "shades", source), "is there already")
    refused(asked_here(project, "import_images", "sample", source, "--replace"), "was not written by an import")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a temporary folder that has no data yet."""
    for name, place in (("ROOT", "."), ("CONF", "conf"), ("IMPORTED", "data/imported")):
        monkeypatch.setattr(project, name, tmp_path / place)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "written"),
    [([], "shades …`."), (["--colour"], "… --colour`."), (["--size", "8x9", "--grey"], "… --size 8x9 --grey`.")],
)
def test_what_is_written_says_how_its_pictures_were_made(
    here: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], written: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["_", "shades", shades(here / "pictures"), "--no-training", *options])
    assert verb.main() == 0
    assert (here / "conf" / "data" / "shades.yaml").read_text("utf-8").splitlines()[0].endswith(written)


def test_what_was_imported_on_another_machine_is_imported_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["_", "shades", shades(here / "pictures"), "--no-training", "--replace"])
    assert verb.main() == 0
    shutil.rmtree(project.IMPORTED)  # which git ignores
    assert verb.main() == 0
    assert (project.IMPORTED / "shades" / "examples.png").exists()


@pytest.mark.parametrize(
    ("option", "values", "rule"),
    [
        ("--held-out", ["nan", "inf", "0", "-1", "1.5", "some"], "must be a number of images, or a share as in 0.2"),
        ("--size", ["0x5", "5x00", "5", "5x", "-5x5", "5x5x1"], "must be height x width in pixels, as in 32x40"),
    ],
)
def test_what_is_no_amount_and_no_size_is_refused_by_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, values: list[str], rule: str
) -> None:
    for value in values:
        monkeypatch.setattr(sys, "argv", ["_", "shades", "nowhere", f"{option}={value}"])
        with pytest.raises(SystemExit):
            verb.main()
        assert rule in capsys.readouterr().err


@pytest.mark.long
def test_an_imported_dataset_goes_the_whole_road(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.verb("import_images", "shades", shades(tmp_path / "pictures"), "--no-training")
    project.verb("compose", "data=shades", "model=small", "training=smoke")
    project.run("dvc", "repro")
    summary = json.loads((project.path / "data" / "prepared" / "summary.json").read_text("utf-8"))
    assert summary["training"]["classes"] == {"dark": 16, "light": 16}
    project.verb("sweep", "-m", "model.conv.filters=2,4", "seed=range(3)", "study.name=filters")
    study = json.loads((project.path / "studies" / "filters" / "study.json").read_text("utf-8"))
    assert [cell["state"] for cell in study["cells"]] == ["finished"] * 6
    assert "reports/filters" in project.verb("compare", "filters")


def test_the_sample_comes_back_as_it_is(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.gz"):
        shutil.copy(path, tmp_path)
    imported = import_images(tmp_path)
    original = gzip.decompress((FOLDER / "train-images-idx3-ubyte.gz").read_bytes())
    assert as_idx(imported.training[0][..., 0]) == original
