"""The playground's page computes what the project and Keras compute; it is used by pointer, keys and at phone width.

The page that is committed is opened from disk; nothing is trained.
"""

import base64
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from pipeline.config.compose import values
from pipeline.config.layers import layers
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Activation, BiasInitializerName, Conv, MaxNorm, Model
from pipeline.data.photo import fit_photo
from pipeline.explainer.measured import settings_of
from pipeline.explainer.page import HALF, content_in, encoded, page, weights_in
from pipeline.network.build import build_constraint, build_network
from pipeline.run.weights import network_weights
from pipeline.storage import project
from tests.harness.browser import ARGUMENTS, PATIENCE, chromium
from tests.harness.settings import article_values
from tests.sample import content as sample
from tests.test_config_layers import CONV, MODEL, image_shapes, sizes

pytestmark = pytest.mark.usefixtures("two_threads")

COMMITTED = project.ROOT / "docs" / "playground.html"
CAMERA = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
PHONE = ViewportSize(width=400, height=800)
DESK = ViewportSize(width=1280, height=900)
CLOSE = 1e-3
"""How near the page's numbers are to Keras's."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium()
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * PATIENCE)
        browser = playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, *CAMERA])
        yield browser
        browser.close()


def opened(browser: Browser, path: Path, size: ViewportSize = DESK, scheme: Any = "light") -> Page:
    """The page as a visitor opens it from disk; whatever it asks for and whatever fails in it is noted."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
    found = context.new_page()
    notes: list[str] = []
    found.on("request", lambda request: notes.append(request.url) if request.url != path.as_uri() else None)
    found.on("pageerror", lambda error: notes.append(str(error)))
    found.on("console", lambda message: notes.append(message.text) if message.type == "error" else None)
    found.goto(path.as_uri())
    expect(found.locator("#agreement")).to_contain_text("Keras")
    found.notes = notes  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def calculator(browser: Browser) -> Iterator[Page]:
    """A page whose functions are called: `conv2d` of its console."""
    found = opened(browser, COMMITTED)
    yield found
    found.context.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A page that is used; afterwards it must have asked for nothing, and nothing in it may have failed."""
    found = opened(browser, COMMITTED)
    yield found
    found.context.close()
    assert found.notes == []  # type: ignore[attr-defined]


# Values that are refused by themselves, or only together with others.
PENALTY = st.sampled_from(
    [None, {"name": "l2", "l2": 0.1}, {"name": "l1_l2", "l1": 0, "l2": -1}, {"name": "l1", "l1": 2_000_001}]
)
NORMS = [
    None,
    {"name": "NonNeg"},
    {"name": "RadialConstraint"},
    {"name": "UnitNorm", "axis": [0]},
    {"name": "UnitNorm", "axis": [0, 1]},
    {"name": "MaxNorm", "max_value": -0.5, "axis": [0]},
    {"name": "MinMaxNorm", "min_value": 3, "max_value": 0.00001, "rate": 1, "axis": [0]},
    {"name": "MinMaxNorm", "min_value": 0, "max_value": 1, "rate": 1.5, "axis": [0]},
]
WRONG = {
    "filters": st.sampled_from([0, 1.5, None, 4097, 4096, 3]),
    "kernel_size": st.sampled_from([0, [3, 0], None, 4097, [2, 2], 40]),
    "strides": st.sampled_from([0, [2, 3]]),
    "groups": st.sampled_from([0, 3, 5]),
    "kernel_regularizer": PENALTY,
    "activity_regularizer": PENALTY,
    "kernel_constraint": st.sampled_from(NORMS),
    "bias_constraint": st.sampled_from(NORMS),
}
quick = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

LAYERS = """([model, shape, classes]) => {
  try {
    const found = conv2d.layers(model, shape, classes);
    return found.map((one) => [one.name, one.kind, one.output, one.parameters, one.multiplyAdds]);
  } catch (error) {
    if (!error.problems) throw error;
    return error.problems.map(({key, message}) => [key, message]);
  }
}"""


@st.composite
def any_settings(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int, int], int]:
    """A model, an image's shape, a number of classes: a network that can exist, or one that is refused."""
    model = article_values()["model"] | draw(st.fixed_dictionaries(MODEL))
    dense = model["dense"]
    if isinstance(dense["dropout"], list) and len(dense["dropout"]) != len(dense["units"]):
        # No control of the page makes such a thing.
        dense["dropout"] = 0.5
    if model["output"] == "head" and draw(st.booleans()):
        # Else most of them could not exist.
        model |= {"head": "global_max", "head_dropout": 0.0, "dense": dense | {"units": [], "dropout": 0.0}}
    model["conv"] |= draw(st.fixed_dictionaries(CONV)) | draw(st.just({}) | st.fixed_dictionaries({}, optional=WRONG))
    return model, draw(image_shapes), draw(st.integers(2, 12))


@settings(quick, max_examples=100)
@given(any_settings())
def test_layers_and_refusals_are_those_of_the_project(calculator: Page, case: tuple[Any, ...]) -> None:
    assert calculator.evaluate(LAYERS, list(case)) == by_the_project(*case)


@pytest.mark.long
@settings(quick, max_examples=2000)
@given(any_settings())
def test_layers_and_refusals_are_those_of_the_project_whatever_is_set(calculator: Page, case: tuple[Any, ...]) -> None:
    assert calculator.evaluate(LAYERS, list(case)) == by_the_project(*case)


def by_the_project(model: dict[str, Any], shape: tuple[int, int, int], classes: int) -> list[list[Any]]:
    try:
        found = layers(validated(Model, model, prefix="model"), shape, classes)
    except ConfigurationError as error:
        return [[problem.key, problem.message] for problem in error.problems]
    return [[one.name, one.kind, list(one.output), one.parameters, one.multiply_adds] for one in found]


FORWARD = """([content, images]) => {
  const shape = content.image_shape;
  const network = conv2d.networkOf(content);
  const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
  const logits = (text) => conv2d.forward(network, {shape, data: numbers(text)}).at(-1).data;
  return images.map((text) => Array.from(logits(text)));
}"""


def by_the_page(calculator: Page, content: dict[str, Any], images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images float32 [n, h, w, c] in 0..1 → logits [n, classes]."""
    texts = [base64.b64encode(image.astype("<f4").tobytes()).decode() for image in images]
    return np.array(calculator.evaluate(FORWARD, [content, texts]), np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def keras_network(content: dict[str, Any]) -> keras.Model:
    """The network of a content with its weights, in float32."""
    nested: dict[str, Any] = {"model": {"blocks": {}}}
    for key, value in content["settings"].items():
        *way, last = key.split(".")
        level = nested
        for part in way:
            level = level.setdefault(part, {})
        level[last] = value
    model = validated(Model, nested["model"])
    network = build_network(model, content["image_shape"], len(content["classes"]), seed=0, precision="float32")
    weights = weights_in(content)
    for variable in network.weights:
        variable.assign(weights[variable.path])
    return network


def sample_images() -> NDArray[np.float32]:
    """100 test images of Fashion-MNIST, ten of each class."""
    images = np.frombuffer(sample("test_images"), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    labels = np.frombuffer(sample("test_labels"), np.uint8, offset=8)
    chosen = np.concatenate([np.flatnonzero(labels == label)[:10] for label in range(10)])
    return np.asarray(images[chosen] / 255, np.float32)


def test_the_committed_networks_probabilities_are_those_of_keras_on_100_test_images(calculator: Page) -> None:
    content = content_in(COMMITTED.read_text("utf-8"))
    images = sample_images()
    assert len(images) == 100
    by_keras = softmax(np.asarray(keras_network(content)(images)))
    own = softmax(by_the_page(calculator, content, images))
    assert np.abs(own - by_keras).max() < CLOSE
    # Most of them are right: the weights are no noise.
    assert np.mean(own.argmax(axis=1) == np.repeat(np.arange(10), 10)) > 0.8


def test_weights_kept_as_float16_change_probabilities_by_less_than_a_thousandth(calculator: Page) -> None:
    content = content_in(COMMITTED.read_text("utf-8"))
    images = sample_images()
    network = keras_network(content)
    halves = content | {"weights": encoded(weights_in(content), HALF)}
    own = softmax(by_the_page(calculator, halves, images))
    assert np.abs(own - softmax(np.asarray(network(images)))).max() < CLOSE


def random_network(number: int) -> tuple[dict[str, Any], keras.Model] | None:
    """A network of random settings and weights, as a content and as Keras builds it; None where it can't exist."""
    drawn = random.Random(number)

    def size(most: int) -> int | list[int]:
        both = [drawn.randint(1, most), drawn.randint(1, most)]
        return both if drawn.random() < 0.4 else drawn.choice([1, both[0]])

    strides = size(3)
    model = article_values()["model"] | {
        "depth": drawn.randint(1, 3),
        "batch_normalization": drawn.choice(["none", "before_activation", "after_activation", "after_pooling"]),
        "pooling": drawn.choice(["none", "max", "average"]),
        "pool_size": size(3),
        "pool_strides": drawn.choice([None, size(3)]),
        "pool_padding": drawn.choice(["valid", "same"]),
        "dropout": 0.5,
        "input_normalization": drawn.random() < 0.5,
        "head": drawn.choice(["flatten", "global_average", "global_max"]),
        "dense": {
            "units": drawn.choice([[], [7], [6, 5]]),
            "activation": drawn.choice(ACTIVATIONS),
            "batch_normalization": drawn.choice(["none", "before_activation", "after_activation"]),
            "dropout": 0.1,
        },
    }
    if model["dense"]["units"]:
        model["dense"]["dropout"] = [0.1] * len(model["dense"]["units"])
    elif model["head"] != "flatten" and drawn.random() < 0.7:
        model |= {"output": "head", "filter_growth": 1.0}
    model["conv"] |= {
        "filters": drawn.choice([2, 4, 6]),
        "kernel_size": size(4),
        "strides": strides,
        "padding": drawn.choice(["valid", "same", "same"]),
        "data_format": drawn.choice(["channels_last", "channels_first"]),
        "dilation_rate": size(3) if strides == 1 else 1,
        "groups": drawn.choice([1, 2]),
        "activation": drawn.choice(ACTIVATIONS),
        "use_bias": drawn.random() < 0.7,
        "kernel_initializer": drawn.choice(
            ["he_normal", {"name": "constant", "value": 0.5}, {"name": "random_normal"}]
        ),
    }
    if model.get("output") == "head":
        model["blocks"] = {f"block{model['depth']}": {"conv": {"filters": 5, "groups": 1}}}
    shape = drawn.randint(6, 14), drawn.randint(6, 14), drawn.choice([2, 4])
    try:
        checked = validated(Model, model)
        network = build_network(checked, shape, 5, seed=number, precision="float32")
    except ConfigurationError:
        return None
    generator = np.random.default_rng(number)
    for variable in network.weights:
        # Statistics of batches too are no longer 0 and 1.
        moved = variable.numpy() + generator.uniform(0, 0.5, variable.shape)
        variable.assign(moved)
    content = {
        "settings": dict(settings_of(checked)),
        "image_shape": list(shape),
        "classes": [str(number) for number in range(5)],
        "weights": encoded(network_weights(network)),
    }
    return content, network


ACTIVATIONS: tuple[str, ...] = Activation.__args__  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 200, 40))
def test_the_forward_pass_of_any_network_is_that_of_keras(calculator: Page, first: int) -> None:
    compared = 0
    for number in range(first, first + 40):
        made = random_network(number)
        if made is None:
            continue
        content, network = made
        images = np.random.default_rng(number).random((2, *content["image_shape"]), np.float32)
        expected = np.asarray(network(images, training=False))
        own = by_the_page(calculator, content, images)
        # What overflows is inf or nan by the order of sums.
        finite = np.isfinite(expected)
        case = number, content["settings"], own, expected
        assert np.array_equal(np.isfinite(own), finite), case
        assert np.allclose(own[finite], expected[finite], rtol=CLOSE, atol=CLOSE), case
        compared += 1
    assert compared >= 12


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation_is_that_of_keras(calculator: Page, name: str) -> None:
    sums = np.linspace(-6, 6, 49 * 3, dtype=np.float32).reshape(49, 3)[:, [1, 0, 2]]
    script = """([numbers, name]) => {
      const data = Float32Array.from(numbers);
      conv2d.activate(data, name, 3);
      return Array.from(data);
    }"""
    own = calculator.evaluate(script, [sums.ravel().tolist(), name])
    expected = np.asarray(keras.activations.get(name)(sums)).ravel()
    assert np.allclose(own, expected, atol=2e-6)


INITIALIZERS: list[str | dict[str, Any]] = [
    *sorted({*get_args(BiasInitializerName), "orthogonal"}),
    {"name": "constant", "value": 0.25},
    {"name": "random_normal", "mean": 0.5, "stddev": 0.1},
    {"name": "random_uniform", "minval": -0.1, "maxval": 0.4},
    {"name": "truncated_normal", "mean": -1.0, "stddev": 0.2},
    {"name": "variance_scaling", "scale": 3.0, "mode": "fan_out", "distribution": "uniform"},
    {"name": "variance_scaling", "scale": 0.5, "mode": "fan_avg", "distribution": "untruncated_normal"},
    {"name": "orthogonal", "gain": 2.0},
]


@pytest.mark.parametrize("settings", INITIALIZERS, ids=str)
@pytest.mark.parametrize("shape", [(5, 5, 16, 32), (1, 3, 8, 64)])
def test_initial_weights_are_spread_as_those_of_keras(
    calculator: Page, settings: str | dict[str, Any], shape: tuple[int, ...]
) -> None:
    script = "([settings, shape]) => Array.from(conv2d.drawn(conv2d.distribution(settings, shape), 20000))"
    own = np.array(calculator.evaluate(script, [settings, shape]))
    arguments = {} if isinstance(settings, str) else {key: value for key, value in settings.items() if key != "name"}
    name = settings if isinstance(settings, str) else settings["name"]
    seed = {} if name in ("zeros", "ones", "constant") else {"seed": 1}
    keras_own = np.asarray(keras.initializers.get({"class_name": name, "config": arguments | seed})(shape)).ravel()
    assert own.std() == pytest.approx(keras_own.std(), rel=0.05, abs=1e-9)
    assert own.mean() == pytest.approx(keras_own.mean(), abs=0.05 * float(keras_own.std()) + 1e-9)
    if name != "orthogonal" and not name.startswith("random_normal") and "untruncated_normal" not in str(settings):
        # Where a distribution ends.
        assert np.abs(own).max() == pytest.approx(np.abs(keras_own).max(), rel=0.05)


@pytest.mark.parametrize(
    "constraint",
    [
        *({"name": "MaxNorm", "max_value": 0.7, "axis": axis} for axis in ([0], [0, 1, 2], [1, 3])),
        {"name": "MinMaxNorm", "min_value": 0.9, "max_value": 1.1, "rate": 0.4, "axis": [0, 1]},
        {"name": "UnitNorm", "axis": [0]},
        {"name": "NonNeg"},
        {"name": "RadialConstraint"},
    ],
)
@pytest.mark.parametrize("shape", [(5, 4, 3, 2), (3, 3, 1, 4)])
def test_constraints_put_weights_back_as_keras_does(
    calculator: Page, constraint: dict[str, Any], shape: tuple[int, ...]
) -> None:
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    conv = Conv.model_validate(article_values()["model"]["conv"] | {"kernel_constraint": constraint})
    assert (constraint["name"] == "MaxNorm") == isinstance(conv.kernel_constraint, MaxNorm)
    by_keras = build_constraint(conv.kernel_constraint)
    assert by_keras is not None
    script = """([numbers, shape, constraint]) =>
      Array.from(conv2d.constrained(Float32Array.from(numbers), shape, constraint))"""
    own = calculator.evaluate(script, [weights.ravel().tolist(), shape, constraint])
    assert np.allclose(own, np.asarray(by_keras(keras.ops.convert_to_tensor(weights))).ravel(), atol=1e-6)


@pytest.mark.long
@settings(quick, max_examples=25)
@given(
    st.lists(
        st.tuples(sizes(4), st.booleans(), sizes(3), st.sampled_from(["valid", "same"]), sizes(2)),
        min_size=2,
        max_size=2,
    ),
    st.data(),
)
def test_what_a_number_sees_is_what_changes_it(calculator: Page, blocks: list[Any], data: st.DataObject) -> None:
    model = article_values({"model.pooling": "average", "model.conv.use_bias": False})["model"]
    for number, (kernel, is_dilated, rate, padding, window) in enumerate(blocks, start=1):
        spread = {"dilation_rate": rate} if is_dilated else {"strides": rate}
        conv = {"kernel_size": kernel, "padding": padding, "activation": "linear", "filters": 1, **spread}
        model["blocks"][f"block{number}"] = {"conv": conv, "pool_size": window}
    shape = (17, 19, 1)
    try:
        checked = validated(Model, model)
        found = layers(checked, shape, 2)
    except ConfigurationError:
        return
    network = build_network(checked, shape, 2, seed=0, precision="float32")
    for variable in network.weights:
        variable.assign(np.ones(variable.shape))
    spatial = [index for index, layer in enumerate(found) if len(layer.output) == 3]
    index = data.draw(st.sampled_from(spatial))
    place = [data.draw(st.integers(0, side - 1)) for side in found[index].output[:2]]
    part = keras.Model(network.input, network.get_layer(found[index].name).output)
    # One image a pixel: where the number is not 0, the pixel is seen.
    pixels = np.eye(17 * 19, dtype=np.float32).reshape(-1, *shape)
    seen = np.asarray(part(pixels))[:, place[0], place[1], 0].reshape(17, 19) != 0
    script = """([model, shape, index, place]) => {
      const found = conv2d.layers(model, shape, 2);
      return [0, 1].map((axis) => conv2d.receptiveField(found, index, axis, place[axis]));
    }"""
    own = calculator.evaluate(script, [model, shape, index, place])
    for axis, (first, last) in enumerate(own):
        rows = np.flatnonzero(seen.any(axis=1 - axis))
        assert [max(first, 0), min(last, shape[axis] - 1)] == [rows.min(), rows.max()], (model["blocks"], place)


def pictures() -> dict[str, Image.Image]:
    """Pictures as people have them, by what is special in each."""
    shirt = Image.fromarray(np.asarray(255 * sample_images()[0, ..., 0], np.uint8)).resize((150, 150))
    generator = np.random.default_rng(0)

    def shown_on(background: str, size: tuple[int, int]) -> Image.Image:
        picture = Image.new("RGB", size, background)
        dark = background in ("white", "beige")
        picture.paste(ImageOps.invert(shirt) if dark else shirt, (40, 25))
        return picture

    transparent = Image.merge(
        "RGBA", (shirt, shirt, shirt, shirt.point(lambda value: 255 if value > 40 else value * 3))
    )
    slope = np.add.outer(np.arange(120), 2 * np.arange(61))[..., None] % 256
    return {
        "on white": shown_on("white", (450, 350)),
        "on beige": shown_on("beige", (230, 400)),
        "on black": shown_on("black", (400, 231)),
        "on navy, larger than its frame": shown_on("navy", (160, 160)),
        "in colour, no even background": Image.fromarray(np.asarray((slope + np.array([0, 40, 90])) % 256, np.uint8)),
        "noise": Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8)),
        "transparent": transparent,
        "half transparent, grey": Image.merge("LA", (shirt, shirt)),
        "thin": Image.fromarray(generator.integers(0, 256, (2, 300), np.uint8)),
        "smaller than the network's": shirt.resize((17, 12)),
        "of one colour": Image.new("RGB", (50, 40), "teal"),
        "of the network's size": shirt.resize((28, 28)),
    }


FIT = """async ([base64, shape, isLight]) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const { data, fitted } = conv2d.fitPhoto(await conv2d.bitmap(new Blob([bytes])), shape, isLight);
  return [Array.from(data), fitted];
}"""


@pytest.mark.parametrize("name", pictures())
def test_one_s_own_picture_is_fitted_as_predict_does(calculator: Page, tmp_path: Path, name: str) -> None:
    path = tmp_path / "own.png"
    pictures()[name].save(path)
    network = keras_network(content_in(COMMITTED.read_text("utf-8")))
    for shape, light in (((28, 28, 1), False), ((28, 28, 1), True), ((20, 33, 3), False)):
        photo = fit_photo(path, shape, light=light, as_is=False)
        data, fitted = calculator.evaluate(FIT, [base64.b64encode(path.read_bytes()).decode(), shape, light])
        own = np.array(data, np.float32).reshape(shape)
        assert fitted == photo.fitted
        # A browser may round a transparent pixel the other way.
        assert np.abs(255 * own - photo.pixels).max() < 2.5
        if shape == (28, 28, 1):
            both = np.stack([own, photo.pixels / np.float32(255)])
            one, other = softmax(np.asarray(network(both)))
            assert np.abs(one - other).max() < 0.01


CHANGES: list[dict[str, Any]] = [
    {"model.conv.kernel_size": [3, 5], "model.conv.padding": "same"},
    {"model.conv.kernel_regularizer": {"name": "l1_l2", "l1": 0.00001, "l2": 0.5}, "model.conv.use_bias": False},
    {
        "model.conv.kernel_constraint": {
            "name": "MinMaxNorm",
            "min_value": 0,
            "max_value": 1,
            "rate": 0.5,
            "axis": [0, 1, 2],
        }
    },
    {"model.blocks.block2.conv.groups": 4, "model.blocks.block2.conv.filters": 48, "model.pooling": "none"},
    {"model.conv.bias_constraint": {"name": "NonNeg"}, "model.conv.activation": "gelu", "model.conv.strides": 2},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_the_override_composes_to_what_is_set(calculator: Page, changes: dict[str, Any]) -> None:
    trained = dict(settings_of(validated(Model, article_values()["model"])))
    words = calculator.evaluate("([trained, now]) => conv2d.overrides(trained, now)", [trained, trained | changes])
    assert len(words) == len(changes)
    composed = composed_with([word.strip("'") for word in words])
    assert composed == dict(settings_of(validated(Model, article_values(changes)["model"])))


def composed_with(words: list[str]) -> dict[str, Any]:
    from pipeline.config.compose import compose_folder  # noqa: PLC0415 - beside what it is compared with

    return dict(settings_of(validated(Model, values(compose_folder(project.CONF, words))["model"])))


@pytest.mark.parametrize("changes", CHANGES)
def test_the_line_of_keras_makes_the_layer_that_is_set(calculator: Page, changes: dict[str, Any]) -> None:
    conv = article_values({key: value for key, value in changes.items() if ".blocks." not in key})["model"]["conv"]
    line = calculator.evaluate("(conv) => conv2d.kerasLine(conv)", conv)
    made = eval(line, {"keras": keras})  # noqa: S307 - our own text
    own = made.get_config()
    assert own["filters"] == conv["filters"]
    assert made.kernel_size == tuple(np.broadcast_to(conv["kernel_size"], 2))
    assert made.strides == tuple(np.broadcast_to(conv["strides"], 2))
    for name in ("padding", "activation", "use_bias", "groups"):
        assert own[name] == conv[name]
    for name in ("kernel_regularizer", "kernel_constraint", "bias_constraint"):
        wanted = {key: value for key, value in (conv[name] or {}).items() if key != "name"}
        assert (getattr(made, name).get_config() if conv[name] else {}) == wanted


# ------------------------------------------------------------------------------------------------------------------
# Used by a visitor.


def test_the_first_sum_is_the_tutorials_4_and_follows_the_kernel_and_what_is_typed(visitor: Page) -> None:
    total = visitor.locator("#numbers-sum strong")
    expect(total).to_have_text("4")
    assert visitor.locator("#numbers-result button").all_text_contents() == list("434243234")
    visitor.get_by_label("one place on").click()
    expect(total).to_have_text("3")
    visitor.get_by_label("image, row 1, column 2").fill("5")
    expect(total).to_have_text("7")
    visitor.locator("#numbers-result button").nth(1).focus()
    visitor.keyboard.press("ArrowDown")
    expect(total).to_have_text("4")


def test_a_setting_that_can_not_be_is_refused_in_the_words_of_check(visitor: Page) -> None:
    expect(visitor.locator("#refusal")).to_be_hidden()
    visitor.get_by_label("kernel_size, height").fill("13")
    visitor.get_by_label("kernel_size, width").fill("13")
    model = article_values({"model.conv.kernel_size": 13})["model"]
    with pytest.raises(ConfigurationError) as refused:
        layers(validated(Model, model), (28, 28, 1), 10)
    expect(visitor.locator("#refusal")).to_contain_text(str(refused.value))
    visitor.get_by_role("button", name="As it was trained").click()
    expect(visitor.locator("#refusal")).to_be_hidden()
    expect(visitor.locator("#facts")).to_contain_text("62,346")


def test_a_measured_setting_is_shown_with_its_interval_and_chosen_by_its_point(visitor: Page) -> None:
    measured = visitor.locator("#measured")
    expect(measured).to_contain_text("90.27 %")
    expect(measured).to_contain_text("90.11 to 90.42")
    visitor.locator(".mark[aria-label^='3 × 3 kernels, 16 filters']").press("Enter")
    expect(measured).to_contain_text("88.48 %")
    expect(visitor.locator("#override")).to_have_text(
        "python -m pipeline.compose model.conv.filters=16 model.conv.kernel_size=3"
    )
    expect(visitor.locator("#keras-line")).to_have_text('keras.layers.Conv2D(16, 3, activation="relu")')
    visitor.get_by_label("padding", exact=True).select_option("same")
    expect(measured).to_contain_text("not measured")


def test_what_studies_share_is_said_once_and_the_keyboard_stays_at_the_point_that_it_chose(
    browser: Browser, tmp_path: Path
) -> None:
    content = content_in(COMMITTED.read_text("utf-8"))
    like = content["measured"][0] | {"changes": {}, "mean": 91.5, "seeds": 8}
    same, other = {"model.conv.padding": "same"}, {"model.conv.dilation_rate": 2}
    measured = [
        like | {"study": "rules_padding", "label": "base"},
        like | {"study": "rules_padding", "label": "same", "changes": same, "mean": 91.75},
        like | {"study": "rules_dilation", "label": "base"},
        like | {"study": "rules_dilation", "label": "dilated", "changes": other, "mean": 90.25},
    ]
    path = tmp_path / "page.html"
    path.write_text(page(content | {"measured": measured}), "utf-8")
    visitor = opened(browser, path)
    expect(visitor.locator(".found")).to_have_text(re.compile("91.50 % of the images right, the mean of 8 trainings"))
    dilated = visitor.locator(".mark[aria-label^='dilated']")
    expect(dilated).to_be_hidden()
    visitor.locator("#measured summary").press("Enter")
    dilated.press(" ")
    expect(visitor.locator(".found")).to_contain_text("90.25 %")
    expect(visitor.locator(":focus")).to_have_attribute("aria-label", re.compile("^dilated"))
    # The list that was opened stays so.
    expect(visitor.locator(".mark[aria-label^='same']")).to_be_visible()
    visitor.context.close()


def test_what_is_set_for_one_block_is_said_of_it_and_no_more_when_it_is_taken_back(visitor: Page) -> None:
    override = visitor.locator("#override")
    visitor.locator("#where").select_option("block2 alone")
    visitor.get_by_label("groups", exact=True).fill("4")
    expect(override).to_have_text("python -m pipeline.compose +model.blocks.block2.conv.groups=4")
    expect(visitor.locator("#keras-line")).to_have_text('keras.layers.Conv2D(64, 5, groups=4, activation="relu")')
    visitor.get_by_label("groups", exact=True).fill("1")
    visitor.get_by_label("filters", exact=True).fill("64")
    expect(override).to_have_text("as it was trained: nothing to change")
    expect(visitor.locator("#measured")).to_contain_text("90.27 %")


@pytest.mark.long
def test_a_map_that_is_chosen_shows_the_sum_behind_a_number(visitor: Page) -> None:
    visitor.get_by_label("block2_conv, map 3", exact=True).click()
    said = visitor.locator("#explanation .sum")
    strongest = visitor.evaluate("""() => {
      const data = Float32Array.from(atob(conv2d.content.pictures.right[0].pixels), (one) => one.charCodeAt(0) / 255);
      const outputs = conv2d.forward(conv2d.network, {shape: [28, 28, 1], data});
      return Math.max(...outputs[2].data.filter((_, index) => index % 64 === 3));
    }""")
    (shown,) = re.findall(r"relu makes it ([\d.]+)", said.text_content() or "")
    assert float(shown) == pytest.approx(strongest, rel=0.01)
    before = visitor.locator("#chosen-caption").text_content()
    visitor.locator("#chosen-map").press("ArrowLeft")
    visitor.locator("#chosen-map").press("ArrowUp")
    assert visitor.locator("#chosen-caption").text_content() != before
    visitor.get_by_label("output, unit Bag").click()
    expect(said).to_contain_text("1024 products")


@pytest.mark.long
def test_one_s_own_picture_goes_through_the_network(visitor: Page, tmp_path: Path) -> None:
    content = content_in(COMMITTED.read_text("utf-8"))
    trouser = next(one for one in content["pictures"]["right"] if content["classes"][one["label"]] == "Trouser")
    pixels = np.frombuffer(base64.b64decode(trouser["pixels"]), np.uint8).reshape(28, 28)
    picture = tmp_path / "trouser.png"
    # As in a shop: dark on white, large.
    from matplotlib.image import imsave  # noqa: PLC0415 - only here

    imsave(picture, np.kron(255 - pixels, np.ones((10, 10), np.uint8)), cmap="gray", vmin=0, vmax=255)
    visitor.locator("#inside-ways input[type=file]").set_input_files(picture)
    expect(visitor.locator("#inside-caption")).to_contain_text("Trouser")
    expect(visitor.locator("#occlusion-note")).to_contain_text("Trouser")
    (tmp_path / "none.png").write_text("no picture", "utf-8")
    visitor.locator("#inside-ways input[type=file]").set_input_files(tmp_path / "none.png")
    expect(visitor.locator("#inside-ways .said")).to_contain_text("none.png: is no picture")


@pytest.mark.long
def test_it_is_drawn_on_by_pointer_and_by_keys_and_looks_through_a_camera(visitor: Page) -> None:
    visitor.locator("#inside-ways").get_by_role("button", name="Draw").press("Enter")
    sheet = visitor.locator("#inside-ways .sheet")
    expect(sheet).to_be_focused()
    for key in (" ", *["ArrowDown"] * 8, " "):
        sheet.press(key)
    expect(visitor.locator("#inside-caption")).to_contain_text("your own picture")
    drawn = image_of(visitor)
    box = sheet.bounding_box()
    assert box is not None
    visitor.mouse.move(box["x"] + 40, box["y"] + 40)
    visitor.mouse.down()
    visitor.mouse.move(box["x"] + 180, box["y"] + 60, steps=5)
    visitor.mouse.up()
    assert image_of(visitor) != drawn
    visitor.locator("#picture-ways").get_by_role("button", name="Camera").click()
    visitor.locator("#picture-ways").get_by_role("button", name="Stop the camera").click()
    expect(visitor.locator("#picture-ways .said")).to_have_text("")


def image_of(page_: Page) -> str:
    return str(page_.evaluate("document.getElementById('inside-image').toDataURL()"))


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_fits_its_window_and_is_legible_in_both_lights(browser: Browser, size: ViewportSize, scheme: str) -> None:
    found = opened(browser, COMMITTED, size, scheme)
    assert found.evaluate("document.documentElement.scrollWidth") <= size["width"]
    ink, paper = (
        found.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)")
        for name in ("color", "backgroundColor")
    )
    assert contrast(ink, paper) > 7
    for choice in ("output, unit Bag", "block2_conv, map 0", "block1_pool, map 2"):
        found.get_by_label(choice, exact=True).click()
        assert found.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert found.notes == []  # type: ignore[attr-defined]
    found.context.close()


def contrast(one: list[int], other: list[int]) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2)."""

    def luminance(rgb: list[int]) -> float:
        parts = [part / 255 for part in rgb[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_names_of_classes_are_text_and_no_markup(browser: Browser, tmp_path: Path) -> None:
    content = content_in(COMMITTED.read_text("utf-8"))
    content["classes"][0] = "</script><script>document.title = 'taken'</script><b>"
    path = tmp_path / "hostile.html"
    path.write_text(page(content), "utf-8")
    found = opened(browser, path)
    assert found.title() == "What Conv2D does"
    expect(found.locator("#probabilities tr").first).to_contain_text("</script><script>")
    assert found.notes == []  # type: ignore[attr-defined]
    found.context.close()


@pytest.mark.long
@pytest.mark.parametrize("first", [0, 10, 20, 30, 40])
def test_any_network_can_be_looked_into(browser: Browser, tmp_path: Path, first: int) -> None:
    content, network = next(made for made in map(random_network, range(first, first + 40)) if made is not None)
    images = np.random.default_rng(first).integers(0, 256, (3, *content["image_shape"]), np.uint8)
    shares = softmax(np.asarray(network(images / np.float32(255), training=False)))
    pictures = [
        {"image": 7, "label": 0, "pixels": base64.b64encode(image.tobytes()).decode(), "probabilities": share.tolist()}
        for image, share in zip(images, shares, strict=True)
    ]
    path = tmp_path / "page.html"
    committed = content_in(COMMITTED.read_text("utf-8"))
    path.write_text(page(committed | content | {"pictures": {"right": pictures, "mistakes": []}}), "utf-8")
    found = opened(browser, path)
    for layer in found.locator(".layer").all():
        layer.locator("button").last.click()
        expect(found.locator("#explanation .sum strong").last).to_have_text(re.compile(r"^−?[\d.e+-]+$|NaN|Infinity"))
    for name in ("kernel_size, height", "filters"):
        found.get_by_label(name, exact=True).fill("2")
    assert found.notes == []  # type: ignore[attr-defined]
    found.context.close()
