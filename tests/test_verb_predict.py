"""A trained network used: on pictures of any size, as files for others, released and served."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.data.photo import Photo, find_pictures, fit_photo, have_light_backgrounds
from pipeline.export import FORMS
from pipeline.predict import _print_table
from pipeline.statistics.images import mcnemar
from pipeline.terminal.errors import UserError
from tests.harness.doors import asked_here
from tests.harness.project import ROOT, Project, finished_project
from tests.harness.servers import end, free_port, wait_for
from tests.sample import content

SHAPE = 28, 28, 1
TEST_IMAGES = np.frombuffer(content("test_images"), dtype=np.uint8, offset=16).reshape(-1, 28, 28)


def product_photo(image: np.ndarray, path: Path) -> Path:
    """As shops show things: large, dark on white, with much white around."""
    photo = Image.new("RGB", (90 * 5, 70 * 5), "white")
    large = ImageOps.invert(Image.fromarray(image)).resize((28 * 5, 28 * 5), Image.Resampling.NEAREST)
    photo.paste(large, (100, 40))
    photo.save(path)
    return path


def test_a_picture_of_the_networks_size_is_taken_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(TEST_IMAGES[0]).save(tmp_path / "a.png")
    photo = fit_photo(tmp_path / "a.png", SHAPE, light=False, as_is=False)
    assert photo.fitted == "as it is"
    assert photo.pixels[..., 0].tolist() == TEST_IMAGES[0].tolist()


def test_a_product_photo_is_trimmed_scaled_and_inverted(tmp_path: Path) -> None:
    """A thing that fills the picture is found again where a shop shows it small, and dark on white."""
    image = np.zeros((28, 28), dtype=np.uint8)
    image[:, 8:20] = 200
    photo = fit_photo(product_photo(image, tmp_path / "a.png"), SHAPE, light=False, as_is=False)
    assert photo.fitted == "trimmed, scaled, inverted"
    assert np.abs(photo.pixels[..., 0].astype(int) - image).mean() < 5
    plain = fit_photo(tmp_path / "a.png", SHAPE, light=False, as_is=True)
    assert plain.fitted == "scaled"
    assert plain.pixels.mean() > 200


def test_a_name_stands_whole_in_the_table_and_says_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("/pictures", 100 * "a", "one\x1b[31m.png")
    _print_table([(Photo(path, np.zeros(SHAPE, np.uint8), "as it is"), np.array([0.75, 0.25], np.float32))], ["a", "b"])
    text = capsys.readouterr().out
    name = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert name == f"/pictures/{100 * 'a'}/one\\x1b[31m.png"
    assert "\x1b" not in text


@pytest.mark.parametrize(("light", "inverted"), [(None, False), (True, False), (False, True)])
def test_a_picture_is_inverted_only_where_the_training_images_are_the_other_way(
    tmp_path: Path, light: bool | None, inverted: bool
) -> None:
    photo = fit_photo(product_photo(TEST_IMAGES[0], tmp_path / "a.png"), SHAPE, light=light, as_is=False)
    assert ("inverted" in photo.fitted) == inverted


def test_a_picture_thinner_than_a_pixel_of_the_network_is_a_line(tmp_path: Path) -> None:
    Image.new("L", (900, 2), 200).save(tmp_path / "a.png")
    photo = fit_photo(tmp_path / "a.png", SHAPE, light=None, as_is=False)
    assert (photo.fitted, photo.pixels.shape) == ("scaled", SHAPE)


def test_a_picture_without_an_even_background_is_not_trimmed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    photo = fit_photo(tmp_path / "a.png", (28, 28, 3), light=None, as_is=False)
    assert (photo.fitted, photo.pixels.shape) == ("scaled", (28, 28, 3))


def test_backgrounds_are_told_by_the_border() -> None:
    assert not have_light_backgrounds(TEST_IMAGES[..., None])
    assert have_light_backgrounds(255 - TEST_IMAGES[..., None])


def test_pictures_are_found_in_folders_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    Image.fromarray(TEST_IMAGES[0]).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._a.png").write_text("what a Mac keeps beside a.png")
    (tmp_path / "folder.png").mkdir()
    assert find_pictures([tmp_path]) == [tmp_path / "a.png"]
    with pytest.raises(UserError, match="nothing: is not there"):
        find_pictures([Path("nothing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        find_pictures([tmp_path / "empty"])


def test_mcnemar_is_the_sign_test_of_the_images_that_only_one_is_right_about() -> None:
    ours = np.array([True] * 10 + [False] * 2 + [True] * 50)
    theirs = np.array([False] * 10 + [True] * 2 + [True] * 50)
    # P(X ≤ 2 or X ≥ 10) for 12 fair coins: 2 · (1 + 12 + 66) / 4096.
    assert mcnemar(ours, theirs) == pytest.approx(158 / 4096)
    assert mcnemar(ours, ours) == 1.0
    with pytest.raises(ValueError, match="same images"):
        mcnemar(ours, theirs[1:])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished_project(tmp_path_factory.mktemp("used"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return product_photo(TEST_IMAGES[0], tmp_path_factory.mktemp("shop") / "a.png")


@pytest.fixture(scope="module")
def predicted(project: Project, photo: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the verb says of the test images as files, of one that is no picture, and of a photo, with the record."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(TEST_IMAGES):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    (folder / "zzz.png").write_bytes(b"no picture")
    return project.verb("predict", str(folder), str(photo), "--csv", status=1)


def read(output: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in output.splitlines() if "error:" not in line))


def test_the_test_images_as_files_get_the_accuracy_of_the_record(project: Project, predicted: str) -> None:
    assert "zzz.png: is no picture" in predicted
    *rows, _ = read(predicted)
    evaluation = json.loads((project.path / "record" / "evaluation" / "evaluation.json").read_text("utf-8"))
    names = evaluation["class_names"]
    correct = np.load(project.path / "record" / "evaluation" / "correct.npy")
    labels = np.frombuffer(content("test_labels"), dtype=np.uint8, offset=8)
    right = [names.index(row["class"]) == label for row, label in zip(rows, labels, strict=True)]
    assert right == correct.tolist()


def test_a_run_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    Image.fromarray(TEST_IMAGES[0]).save(tmp_path / "a.png")
    assert "there is no record" in asked_here(project, "predict", str(tmp_path), "--run", "0123456789abcdef").said


def test_a_released_network_is_the_champion_once_and_predicts_as_the_record_does(
    project: Project, photo: Path, predicted: str
) -> None:
    assert "is the champion\n" in project.verb("release")
    assert "is the champion already" in project.verb("release")
    (theirs,) = json.loads(project.verb("predict", str(photo), "--json", "--model", "models:/conv2d@champion"))
    ours = read(predicted)[-1]
    assert (theirs["picture"], theirs["class"], theirs["fitted"]) == (ours["picture"], ours["class"], ours["fitted"])
    assert theirs["probabilities"] == {
        name: pytest.approx(float(ours[name]), abs=1e-5) for name in theirs["probabilities"]
    }
    (card,) = (project.path / "mlartifacts").rglob("card/card.html")
    assert "python -m pipeline.reproduce" in card.read_text("utf-8")
    assert f"card: file://{card}\n" in project.verb("release")
    other = project.verb("predict", str(photo), "--model", "models:/other@champion", status=1)
    assert "models:/other@champion: is not there" in other


@pytest.mark.long
def test_a_network_that_is_worse_beyond_noise_does_not_replace_the_champion(tmp_path: Path) -> None:
    project = finished_project(tmp_path)
    project.verb("release")
    project.verb("compose", "training.learning_rate=1e-9")
    project.run("dvc", "repro")
    said = project.verb("release")
    assert "is not the champion: it is right about" in said
    assert "version 2 of conv2d (models:/conv2d/2) is the champion" in project.verb("release", "--anyway")
    assert "version 1 of conv2d is the champion again" in project.verb("release", "--rollback")


@pytest.mark.long
def test_the_line_of_the_docs_gets_the_records_probabilities_from_the_served_champion(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    project = finished_project(tmp_path)
    assert "models:/conv2d@champion: is not there" in project.verb("serve", status=1)
    project.verb("release")
    (line,) = re.findall(r"```\n(python -c [^`]*curl [^`]*)```", (ROOT / "docs" / "use.md").read_text("utf-8"))
    port = free_port()
    server = project.start("python", "-m", "pipeline.serve", "--port", str(port))
    try:
        wait_for(port, server)
        assert f"port {port}: can't be used" in project.verb("serve", "--port", str(port), status=1)
        answer = json.loads(project.run("bash", "-c", line.replace(":5001/", f":{port}/")))
    finally:
        end(server)
    recorded = np.load(project.path / "record" / "evaluation" / "probabilities.npy")
    assert np.abs(np.array(answer["predictions"]) - recorded[:3]).max() < 1e-5


def test_a_file_for_keras_answers_as_the_network_does(project: Project, tmp_path: Path) -> None:
    output = project.verb("export", "--keras", "--to", str(tmp_path))
    assert "within" in output
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path / "keras", capture_output=True, text=True, check=True
    )
    probabilities = np.load(project.path / "record" / "evaluation" / "probabilities.npy")
    assert json.loads(done.stdout) == probabilities[:100].argmax(axis=1).tolist()


def test_an_export_without_its_packages_says_how_to_get_them(project: Project) -> None:
    if all(importlib.util.find_spec(name) for name in FORMS["onnx"].packages):
        pytest.skip("they are installed here")
    assert "requirements/export.txt" in asked_here(project, "export", "--onnx").said
    assert "name what to write" in asked_here(project, "export").said


RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}


@pytest.mark.long
def test_each_program_runs_where_only_the_runtime_that_it_names_is(project: Project, tmp_path: Path) -> None:
    # Beside what is installed here, which has no exports.
    exporting = tmp_path / "exporting"
    install(
        tmp_path / "pip", "--no-deps", "--target", str(exporting), *map(locked, ("tf2onnx", "onnx", *RUNTIMES.values()))
    )
    project.verb("export", "--onnx", "--litert", "--to", str(tmp_path / "files"), PYTHONPATH=str(exporting))
    probabilities = np.load(project.path / "record" / "evaluation" / "probabilities.npy")
    for folder, runtime in RUNTIMES.items():
        install(tmp_path / folder, "numpy", locked(runtime))
        program = tmp_path / "files" / folder / "use.py"
        assert f"Needs numpy and {runtime}." in program.read_text("utf-8")
        words = [str(tmp_path / folder / "bin" / "python"), "-I", "use.py"]
        done = subprocess.run(words, cwd=program.parent, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == probabilities[:100].argmax(axis=1).tolist()


def locked(name: str) -> str:
    """A package of the exports with its locked version."""
    lines = (ROOT / "requirements" / "export.txt").read_text("utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.startswith(f"{name}=="))


def install(environment: Path, *words: str) -> None:
    """Packages into a new environment; where pip reaches no index the test is skipped."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(environment / "bin" / "pip"), "--retries", "1", "--timeout", "15", "install", "--quiet"]
    done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
    if "(from versions: none)" in done.stderr:
        pytest.skip(f"pip reaches no index: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
