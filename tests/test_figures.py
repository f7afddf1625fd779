"""Pictures: that they show what they say, whatever the network is."""

import io
import subprocess
import sys
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from pipeline.config.schema import Training
from pipeline.figures.examples import draw_examples
from pipeline.figures.run_figures import calibration, confusion, feature_maps, kernels, mistakes, training_curves
from pipeline.figures.style import percent, png, shortened, visible
from pipeline.run.metrics import confusion_matrix, predictions, reliability
from pipeline.run.record import Epoch
from pipeline.storage.project import ROOT
from tests.harness.settings import article

# Divisions by zero, glyphs that are missing, layouts that collapse: a warning is a picture gone wrong.
pytestmark = pytest.mark.filterwarnings("error")

RANDOM = np.random.default_rng(0)
NAN = float("nan")
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
PROBABILITIES = RANDOM.dirichlet(np.full(10, 0.2), 200).astype(np.float32)
LABELS = np.where(RANDOM.random(200) < 0.7, PROBABILITIES.argmax(axis=1), RANDOM.integers(0, 10, 200)).astype(np.uint8)
IMAGES = RANDOM.integers(0, 256, (200, 28, 28), dtype=np.uint8)
CONFUSION = confusion_matrix(predictions(PROBABILITIES), LABELS, classes=10)


def row(epoch: int, loss: float, accuracy: float = 0.9) -> Epoch:
    return Epoch(epoch, loss, accuracy, learning_rate=0.0)


VALIDATED = [Epoch(epoch, 1 / epoch, 1 - 0.3 / epoch, 0.0, 1.1 / epoch, 0.8) for epoch in range(1, 11)]


def settings(learning_rate: float, schedule: str, warmup: float) -> Training:
    changes = {"learning_rate": learning_rate, "schedule": schedule, "warmup": warmup}
    return article({f"training.{name}": value for name, value in changes.items()}).training


CONSTANT, COSINE = settings(0.001, "constant", 0.0), settings(0.01, "cosine", 0.1)


def _shown(figure: Figure) -> str:
    """Every visible text of a figure that was drawn."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    return "\n".join(text.get_text() for text in texts if text.get_text())


def _drawn(figure: Figure) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The picture as pixels [h, w, 4]; fails unless it is large enough and shows something."""
    pixels = np.asarray(imread(io.BytesIO(png(figure))), dtype=np.float64)
    assert 900 <= pixels.shape[1] <= 1400
    assert pixels.shape[0] <= 1500
    assert pixels[:, :, :3].std() > 0.01
    return pixels


PICTURES: dict[str, Callable[[], Figure]] = {
    "calibration": lambda: calibration(reliability(PROBABILITIES, LABELS)),
    "confusion": lambda: confusion(CONFUSION, NAMES),
    "feature_maps": lambda: feature_maps(IMAGES[0], [("block1", IMAGES[:5].transpose(1, 2, 0))]),
    "kernels": lambda: kernels(np.linspace(-1, 1, 800).reshape(5, 5, 1, 32), "conv1"),
    "mistakes": lambda: mistakes(IMAGES, LABELS, PROBABILITIES, NAMES),
    "training_curves": lambda: training_curves(VALIDATED, COSINE),
}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_same_values_make_the_same_bytes_whatever_matplotlib_is_set_to(name: str) -> None:
    figure = PICTURES[name]()
    first = png(figure)
    _drawn(figure)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight", "lines.linewidth": 9}):
        second = png(PICTURES[name]())
    assert first == second


def test_examples_are_the_same_bytes_whatever_matplotlib_is_set_to() -> None:
    examples = (IMAGES[..., None], LABELS, NAMES)
    first = draw_examples(*examples)
    with mpl.rc_context({"savefig.bbox": "tight", "figure.facecolor": "red", "ytick.color": "red"}):
        assert draw_examples(*examples) == first


def test_a_figure_can_be_written_twice() -> None:
    figure = PICTURES["confusion"]()
    assert png(figure) == png(figure)


def test_a_png_names_neither_date_nor_software() -> None:
    content = png(PICTURES["kernels"]())
    assert b"Software" not in content
    assert b"tIME" not in content


def test_drawing_needs_neither_pyplot_nor_tensorflow() -> None:
    modules = ("examples", "run_figures", "style")
    imports = "; ".join(f"import pipeline.figures.{module}" for module in modules)
    program = f"{imports}; import sys; print({{'matplotlib.pyplot', 'tensorflow'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_curves_show_training_and_validation_with_their_last_values() -> None:
    figure = training_curves(VALIDATED, COSINE)
    _drawn(figure)
    shown = _shown(figure)
    for text in ("training, last 0.1", "validation, last 0.11", "training, last 97.00 %", "validation, last 80.00 %"):
        assert text in shown
    assert "10 epochs · learning rate 0.01, warm-up over 10 %, cosine to 0" in shown
    assert [line.get_ydata()[-1] for line in figure.axes[1].lines] == pytest.approx([97, 80])  # type: ignore[index]


def test_one_epoch_without_validation_is_a_point_over_a_whole_number() -> None:
    figure = training_curves([row(1, 0.5)], CONSTANT)
    _drawn(figure)
    (line,) = figure.axes[0].lines
    assert line.get_marker() == "o"
    assert "validation" not in _shown(figure)
    assert "1 epoch · learning rate 0.001\n" in f"{_shown(figure)}\n"
    for axes in figure.axes:
        assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_the_rate_is_the_one_that_was_set_though_a_cosine_has_ended_at_0() -> None:
    figure = training_curves([row(1, 0.5)], settings(0.005, "cosine", 0.0))
    _drawn(figure)
    assert "learning rate 0.005, cosine to 0" in _shown(figure)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_diverged_run_says_in_which_epoch(value: float) -> None:
    figure = training_curves([row(1, 2.0), row(2, 1e30), row(3, value, 0.1), row(4, NAN, 0.1)], CONSTANT)
    _drawn(figure)
    assert "diverged in epoch 3" in _shown(figure)


def test_a_run_without_a_finite_loss_is_drawn() -> None:
    figure = training_curves([row(1, NAN, NAN)], CONSTANT)
    _drawn(figure)
    assert "no finite value" in _shown(figure)


def test_a_history_without_an_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one epoch"):
        training_curves([], CONSTANT)


def test_confusion_shows_counts_names_and_accuracy() -> None:
    figure = confusion(np.array([[1234, 66], [0, 700]]), [r"$\bad$", "x" * 100])
    _drawn(figure)
    shown = _shown(figure).splitlines()
    assert "Confusion · 96.70 % of 2,000 images right" in shown
    assert {"1234", "66", "700", r"$\bad$", "x" * 19 + "…"} <= set(shown)


def test_confusion_colours_are_shares_of_the_actual_class() -> None:
    figure = confusion(np.array([[30, 10], [0, 0]]), ["Coat", "Bag"])
    _drawn(figure)
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[0.75, 0.25], [0, 0]]


def test_confusion_of_1000_classes_says_that_names_do_not_fit() -> None:
    figure = confusion(np.eye(1000, dtype=np.int64), [f"class {number}" for number in range(1000)])
    _drawn(figure)
    assert "1000 names do not fit" in _shown(figure)


def test_confusion_without_answers_says_so() -> None:
    figure = confusion(np.zeros((2, 2), dtype=np.int64), ["Coat", "Bag"])
    _drawn(figure)
    assert "No image was given a class." in _shown(figure)


def test_mistakes_show_what_was_said_and_what_it_is() -> None:
    probabilities = np.array([[0.1, 0.9], [0.002, 0.998], [0.8, 0.2]], dtype=np.float32)
    figure = mistakes(IMAGES[:3], np.array([0, 0, 0], dtype=np.uint8), probabilities, ["Coat", "Shirt"])
    _drawn(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["said Shirt 99.8 %\nis Coat", "said Shirt 90.0 %\nis Coat"]
    first, second = (np.asarray(image.get_array()) for image in figure.axes[0].images)
    assert np.allclose(first, IMAGES[1] / 255)
    assert np.allclose(second, IMAGES[0] / 255)


def test_at_most_25_mistakes_are_shown_and_all_are_counted() -> None:
    figure = PICTURES["mistakes"]()
    wrong = int((PROBABILITIES.argmax(axis=1) != LABELS).sum())
    assert wrong > 25
    assert len(figure.axes[0].images) == 25
    assert f"The 25 surest of {wrong} mistakes in 200 images" in _shown(figure)


def test_no_mistake_and_no_answer_are_said() -> None:
    sure = np.array([[1.0, 0.0]], dtype=np.float32)
    for probabilities, sentence in ((sure, "No mistake to show."), (sure * NAN, "No probability is finite")):
        figure = mistakes(IMAGES[:1], np.array([0], dtype=np.uint8), probabilities, ["Coat", "Bag"])
        _drawn(figure)
        assert sentence in _shown(figure)


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (28, 28, 1), (28, 28, 2), (32, 32, 3), (5, 5, 4)])
def test_images_of_any_shape_are_made_visible(shape: tuple[int, ...]) -> None:
    image = visible(RANDOM.normal(size=shape))
    assert image.shape == (shape if shape[2:] == (3,) else shape[:2])
    assert image.min() >= 0
    assert image.max() <= 1


def test_bytes_and_fractions_keep_their_brightness() -> None:
    assert visible(np.array([[0, 51]], dtype=np.uint8)).tolist() == [[0, 0.2]]
    assert visible(np.array([[0.3, 0.5]])).tolist() == [[0.3, 0.5]]


@pytest.mark.parametrize(
    ("shape", "title", "tiles"),
    [
        ((5, 5, 1, 1), "conv1 · 1 filter of 5 × 5", 1),
        ((1, 1, 3, 1000), "conv1 · 64 of 1,000 filters of 1 × 1 · mean over 3 input channels", 64),
        ((2, 9, 1, 7), "conv1 · 7 filters of 2 × 9", 7),
    ],
)
def test_kernels_of_any_number_and_size_are_drawn(shape: tuple[int, ...], title: str, tiles: int) -> None:
    figure = kernels(RANDOM.normal(size=shape), "conv1")
    _drawn(figure)
    assert title in _shown(figure).splitlines()
    assert len(figure.axes[0].images) == tiles


def test_kernels_share_one_scale_around_zero_and_average_their_input_channels() -> None:
    weights = np.array([[-1.0, 3.0], [-5.0, 3.0]]).reshape(1, 1, 2, 2)
    negative, positive = kernels(weights, "conv1").axes[0].images
    assert negative.get_clim() == positive.get_clim() == (-3, 3)
    assert np.asarray(negative.get_array()).tolist() == [[-3]]


@pytest.mark.parametrize("weights", [np.zeros((3, 3, 1, 4)), np.full((3, 3, 1, 4), NAN)])
def test_kernels_of_zeros_and_of_nothing_finite_are_drawn(weights: np.ndarray[tuple[int, ...]]) -> None:
    figure = kernels(weights, "conv1")
    _drawn(figure)
    assert figure.axes[0].images[0].get_clim() == (-1, 1)
    assert ("not finite" in _shown(figure)) == bool(np.isnan(weights).any())


def test_feature_maps_name_each_block_and_how_much_of_it_is_shown() -> None:
    figure = feature_maps(IMAGES[0], [("block1", RANDOM.random((24, 24, 32))), ("block2", np.full((1, 1, 1), NAN))])
    _drawn(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["image\n28 × 28", "block1\n24 × 24\n12 of 32 channels", "block2\n1 × 1\n1 channel"]
    assert len(figure.axes[0].images) == 1 + 12 + 1


def test_of_64_blocks_the_first_and_the_last_are_among_those_shown() -> None:
    figure = feature_maps(IMAGES[0], [(f"block{number}", np.ones((2, 3, 1))) for number in range(1, 65)])
    _drawn(figure)
    shown = _shown(figure).splitlines()
    assert "Feature maps of one image after 12 of 64 blocks" in shown
    assert {"block1", "block64"} <= set(shown)


def test_calibration_says_its_error_and_the_number_of_images() -> None:
    figure = calibration(reliability(np.array([[0.9, 0.1]], dtype=np.float32), np.array([0], dtype=np.uint8)))
    _drawn(figure)
    assert "expected calibration error 10.00 % · 1 image" in _shown(figure)


def test_calibration_without_finite_probabilities_says_so() -> None:
    figure = calibration(reliability(np.array([[NAN, NAN]], dtype=np.float32), np.array([0], dtype=np.uint8)))
    _drawn(figure)
    assert "No probability is finite" in _shown(figure)


def test_no_text_of_the_confusion_matrix_is_cut_off() -> None:
    figure = confusion(CONFUSION, ["W" * 100] * 10)
    png(figure)
    for label in (*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()):
        box = label.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0


def test_almost_all_is_not_all() -> None:
    assert [percent(share) for share in (0, 0.5, 0.9999, 1)] == ["0 %", "50 %", "99 %", "100 %"]
    assert percent(0.99996, 1) == "99.9 %"


def test_a_long_name_ends_in_dots() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
