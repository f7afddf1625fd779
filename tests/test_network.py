"""Networks as they are built, asked and changed: layers, initial weights, constraints, augmentation, predictions."""

import os
import re
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.layers import blocks
from pipeline.config.schema import OVER_THE_LAST_AXIS, Activation, Augmentation, Block, Model
from pipeline.network.build import build_constraint, build_network, derive_seed
from pipeline.network.fit import augment, epoch_permutation, use_threads
from pipeline.network.predict import Predictor, exportable, feature_maps
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.settings import article_values, put

pytestmark = pytest.mark.usefixtures("two_threads")

SHAPE = (12, 12, 1)
SMALL: dict[str, object] = {"conv.filters": 4, "conv.kernel_size": 3}
GENERATOR = np.random.default_rng(0)
POOLINGS = [kind for kind in get_args(Block.model_fields["pooling"].annotation) if kind != "none"]
IMAGES = GENERATOR.integers(0, 256, (64, *SHAPE), dtype=np.uint8)


def model(**changes: object) -> Model:
    """A small model with changes; `__` in a name stands for a dot."""
    values = article_values()["model"]
    for key, value in {**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}}.items():
        put(values, key, value)
    return Model.model_validate(values)


def built(seed: int = 0, precision: str = "float32", learns: bool = True, **changes: Any) -> keras.Model:
    return build_network(model(**changes), SHAPE, 10, seed=seed, precision=precision, learns=learns)


def weights(network: keras.Model) -> dict[str, NDArray[np.float32]]:
    return {variable.path: variable.numpy() for variable in network.variables if "seed_generator" not in variable.path}


# Building


def test_every_argument_of_conv2d_reaches_the_layer() -> None:
    arguments: dict[str, Any] = {
        "filters": 6,
        "kernel_size": [2, 3],
        "strides": [2, 1],
        "padding": "same",
        "groups": 2,
        "activation": "elu",
        "use_bias": True,
        "kernel_initializer": "he_normal",
        "bias_initializer": "ones",
        "kernel_regularizer": {"name": "l1_l2", "l1": 0.1, "l2": 0.2},
        "bias_regularizer": {"name": "l1", "l1": 0.3},
        "activity_regularizer": {"name": "l2", "l2": 0.4},
        "kernel_constraint": {"name": "MinMaxNorm", "min_value": 0.1, "max_value": 0.9, "rate": 0.5, "axis": [0, 1]},
        "bias_constraint": {"name": "MaxNorm", "max_value": 3.0, "axis": [0]},
    }
    config = built(blocks__block2__conv=arguments).get_layer("block2_conv").get_config()
    for key in ("filters", "padding", "groups", "activation", "use_bias"):
        assert config[key] == arguments[key]
    assert (config["kernel_size"], config["strides"]) == ((2, 3), (2, 1))
    assert config["kernel_initializer"]["class_name"] == "HeNormal"
    assert config["bias_initializer"]["class_name"] == "Ones"
    assert config["kernel_regularizer"]["config"] == {"l1": pytest.approx(0.1), "l2": pytest.approx(0.2)}
    assert config["bias_regularizer"]["config"] == {"l1": pytest.approx(0.3)}
    assert config["activity_regularizer"]["config"] == {"l2": pytest.approx(0.4)}
    assert config["kernel_constraint"]["config"] == {"min_value": 0.1, "max_value": 0.9, "rate": 0.5, "axis": [0, 1]}
    assert config["bias_constraint"]["config"] == {"max_value": 3.0, "axis": [0]}
    assert built(conv__padding="same", conv__dilation_rate=[2, 1]).get_layer("block1_conv").dilation_rate == (2, 1)


@pytest.mark.parametrize(("name", "in_keras"), [("l1", "L1"), ("l2", "L2")])
def test_short_names_of_regularizers_mean_kerass_defaults(name: str, in_keras: str) -> None:
    changes: dict[str, Any] = {f"conv__{key}_regularizer": name for key in ("kernel", "bias", "activity")}
    layer = built(**changes).get_layer("block1_conv")
    expected = getattr(keras.regularizers, in_keras)()
    for found in (layer.kernel_regularizer, layer.bias_regularizer, layer.activity_regularizer):
        assert type(found) is type(expected)
        assert found.get_config() == expected.get_config()


def test_l1_l2_without_numbers_is_no_regularizer_as_in_keras() -> None:
    assert float(keras.regularizers.l1_l2()(tf.ones([3, 3]))) == 0
    assert built(conv__kernel_regularizer="l1_l2").get_layer("block1_conv").kernel_regularizer is None


@pytest.mark.parametrize("name", ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"])
def test_short_names_of_constraints_mean_kerass_defaults(name: str) -> None:
    layer = built(conv__kernel_constraint=name, conv__bias_constraint=name).get_layer("block1_conv")
    expected = getattr(keras.constraints, name)()
    axis = expected.get_config().get("axis")
    for found in (layer.kernel_constraint, layer.bias_constraint):
        assert type(found) is type(expected)
        # Keras takes one axis or several; ours is always a list.
        assert found.get_config() == expected.get_config() | ({} if axis is None else {"axis": [axis]})


def test_initial_weights_come_from_the_seed_and_the_layers_name_alone() -> None:
    one, again, other = weights(built(seed=3)), weights(built(seed=3)), weights(built(seed=4))
    assert all(np.array_equal(one[path], again[path]) for path in one)
    assert not any(np.array_equal(one[path], other[path]) for path in one if path.endswith("kernel"))
    keras.utils.set_random_seed(9)
    deeper = weights(built(seed=3, conv__padding="same", depth=3, filter_growth=1, head_dropout=0.5))
    assert np.array_equal(one["block1_conv/kernel"], deeper["block1_conv/kernel"])
    assert deeper["block2_conv/kernel"].shape == deeper["block3_conv/kernel"].shape
    assert not np.array_equal(deeper["block2_conv/kernel"], deeper["block3_conv/kernel"])


def test_layers_follow_one_another_as_the_configuration_says() -> None:
    names = [layer.name for layer in built(depth=1, dropout=0.1, batch_normalization="before_activation").layers]
    before = ["images", "block1_conv", "block1_norm", "block1_activation", "block1_pool", "block1_dropout"]
    assert names == [*before, "head", "output"]
    network = built(depth=1, batch_normalization="before_activation", conv__activation="elu")
    assert network.get_layer("block1_conv").activation is keras.activations.linear
    assert network.get_layer("block1_activation").activation is keras.activations.elu
    names = [layer.name for layer in built(depth=1, batch_normalization="after_activation").layers]
    assert names == ["images", "block1_conv", "block1_norm", "block1_pool", "head", "output"]
    names = [layer.name for layer in built(depth=1, batch_normalization="after_pooling", dense__units=[5]).layers]
    assert names == ["images", "block1_conv", "block1_pool", "block1_norm", "head", "dense1", "output"]


def test_layers_that_normalize_the_images_and_dense_layers_have_their_place_and_their_activation() -> None:
    network = built(
        depth=1,
        input_normalization=True,
        conv__data_format="channels_first",
        dense={
            "units": [7, 5],
            "activation": "tanh",
            "batch_normalization": "before_activation",
            "dropout": [0.0, 0.25],
        },
    )
    names = [layer.name for layer in network.layers if not isinstance(layer, keras.layers.Permute)]
    dense = ["dense1", "dense1_norm", "dense1_activation", "dense2", "dense2_norm", "dense2_activation"]
    assert names == ["images", "input_norm", "block1_conv", "block1_pool", "head", *dense, "dense2_dropout", "output"]
    assert network.get_layer("input_norm").axis == -1
    assert network.get_layer("dense1").activation is keras.activations.linear
    assert network.get_layer("dense1_activation").activation is keras.activations.tanh
    assert network.get_layer("dense2_dropout").rate == 0.25
    after = built(dense={"units": [7], "activation": "tanh", "batch_normalization": "after_activation", "dropout": 0.0})
    assert after.get_layer("dense1").activation is keras.activations.tanh
    assert [layer.name for layer in after.layers][-3:] == ["dense1", "dense1_norm", "output"]
    assert after.get_layer("output").activation is keras.activations.linear


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_without_a_dense_layer_the_head_makes_the_logits(precision: str) -> None:
    network = built(precision=precision, conv__filters=10, filter_growth=1, head="global_average", output="head")
    assert network.layers[-1].name == "head"
    assert network.output.dtype == "float32"
    (maps,) = feature_maps(network, IMAGES[0], ["block2_pool"])
    logits = maps.mean(axis=(0, 1))
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(
        Predictor(network)(IMAGES[:1])[0], expected, rtol=1e-5 if precision == "float32" else 0.02
    )


def test_pooling_has_its_own_stride_and_padding() -> None:
    for kind in ("max", "average"):
        network = built(depth=1, pooling=kind, pool_size=[2, 3], pool_strides=[3, 1], pool_padding="same")
        layer = network.get_layer("block1_pool")
        assert (layer.pool_size, layer.strides, layer.padding) == ((2, 3), (3, 1), "same")
        assert built(depth=1, pooling=kind).get_layer("block1_pool").strides == (2, 2)


def test_initializers_take_keras_arguments() -> None:
    cases: list[tuple[dict[str, Any], keras.initializers.Initializer]] = [
        ({"name": "random_normal", "mean": 1, "stddev": 0.01}, keras.initializers.RandomNormal(1.0, 0.01)),
        ({"name": "truncated_normal", "stddev": 0.2}, keras.initializers.TruncatedNormal(0.0, 0.2)),
        ({"name": "random_uniform", "minval": -2, "maxval": 3}, keras.initializers.RandomUniform(-2.0, 3.0)),
        ({"name": "orthogonal", "gain": 2}, keras.initializers.Orthogonal(2.0)),
        (
            {"name": "variance_scaling", "scale": 3, "mode": "fan_out", "distribution": "untruncated_normal"},
            keras.initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
        ),
    ]
    for settings, expected in cases:
        layer = built(conv__kernel_initializer=settings).get_layer("block1_conv")
        config = layer.kernel_initializer.get_config()
        assert type(layer.kernel_initializer) is type(expected)
        assert config == expected.get_config() | {"seed": derive_seed(0, "block1_conv/kernel")}
    layer = built(conv__bias_initializer={"name": "constant", "value": 0.1}).get_layer("block1_conv")
    np.testing.assert_array_equal(layer.bias, np.full(4, 0.1, np.float32))


def test_network_that_does_not_learn_keeps_the_weights_and_the_answers_and_nothing_else() -> None:
    changes: dict[str, Any] = {
        "dropout": 0.5,
        "conv__kernel_regularizer": "l2",
        "conv__kernel_constraint": "RadialConstraint",
    }
    learning, plain = built(**changes), built(learns=False, **changes)
    plain.set_weights([variable for path, variable in weights(learning).items()])
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in plain.layers)
    assert plain.get_layer("block1_conv").kernel_constraint is None
    assert np.array_equal(Predictor(plain)(IMAGES), Predictor(learning)(IMAGES))


@pytest.mark.parametrize(
    ("head", "pooling", "normalization"),
    [
        ("flatten", "max", "before_activation"),
        ("flatten", "average", "after_activation"),
        ("flatten", "none", "none"),
        ("global_average", "max", "after_pooling"),
        ("global_max", "average", "after_pooling"),
        *(("flatten", f"overlapping {kind}", "none") for kind in POOLINGS),
    ],
)
def test_channels_first_equals_channels_last_with_the_same_weights(head: str, pooling: str, normalization: str) -> None:
    changes: dict[str, Any] = {"head": head, "pooling": pooling, "batch_normalization": normalization}
    changes |= {"conv__kernel_size": [2, 3], "blocks__block2__conv__groups": 2}
    if pooling.startswith("overlapping"):
        changes |= {"pooling": pooling.split()[1], "pool_size": 3, "pool_strides": [2, 1], "pool_padding": "same"}
    last = built(**changes)
    for path, variable in weights(last).items():
        if "moving" in path:
            next(v for v in last.variables if v.path == path).assign(GENERATOR.uniform(0.5, 1.5, variable.shape))
    expected = Predictor(last)(IMAGES)
    for formats in (("channels_first", "channels_first"), ("channels_first", "channels_last")):
        names: dict[str, Any] = {
            f"blocks__block{number}__conv__data_format": name for number, name in enumerate(formats, start=1)
        }
        first = built(**changes, **names)
        first.set_weights(last.get_weights())
        np.testing.assert_allclose(Predictor(first)(IMAGES), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(Activation.__args__) - set(OVER_THE_LAST_AXIS)))  # type: ignore[attr-defined]
def test_activations_that_both_data_formats_take_do_not_mind_the_order_of_axes(name: str) -> None:
    values = keras.ops.convert_to_tensor(GENERATOR.normal(size=(2, 3, 4, 5)).astype(np.float32))
    activation = keras.activations.get(name)
    turned = keras.ops.transpose(activation(keras.ops.transpose(values, (0, 3, 1, 2))), (0, 2, 3, 1))
    np.testing.assert_allclose(turned.numpy(), activation(values).numpy(), rtol=1e-6)


def test_keras_set_to_channels_first_by_its_user_changes_nothing() -> None:
    expected = Predictor(built(head="global_average"))(IMAGES), Predictor(built())(IMAGES)
    keras.config.set_image_data_format("channels_first")
    try:
        found = Predictor(built(head="global_average"))(IMAGES), Predictor(built())(IMAGES)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_output_layer_is_float32_in_bfloat16() -> None:
    network = built(precision="mixed_bfloat16", dense__units=[5])
    assert [network.get_layer(name).compute_dtype for name in ("block1_conv", "dense1")] == ["bfloat16"] * 2
    assert network.get_layer("output").compute_dtype == "float32"
    assert network.output.dtype == "float32"
    assert {str(variable.dtype) for variable in network.trainable_variables} == {"float32"}


# Constraints


def radial() -> Any:
    return build_constraint(model(conv__kernel_constraint="RadialConstraint").conv.kernel_constraint)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
def test_radial_constraint_makes_square_kernels_symmetric(side: int) -> None:
    found = np.asarray(radial()(tf.constant(GENERATOR.normal(size=(side, side, 2, 3)), tf.float32)))
    for turned in (np.rot90(found), np.flip(found, 0), np.flip(found, 1), np.swapaxes(found, 0, 1)):
        np.testing.assert_allclose(turned, found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(5, 5), (4, 4), (3, 5), (2, 5), (1, 4)])
def test_radial_constraint_takes_the_mean_of_each_ring(height: int, width: int) -> None:
    kernel = GENERATOR.normal(size=(height, width, 2, 3)).astype(np.float32)
    found = np.asarray(radial()(tf.constant(kernel)))
    places = list(product(range(height), range(width)))
    ring = {(row, column): max(abs(2 * row - height + 1), abs(2 * column - width + 1)) for row, column in places}
    for place in places:
        same = [kernel[other] for other in places if ring[other] == ring[place]]
        np.testing.assert_allclose(found[place], np.mean(same, axis=0), rtol=1e-4, atol=1e-6)


# What is imported


def test_tensorflow_comes_without_what_keras_would_import_for_other_uses_and_keras_writes_no_file(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, pipeline.network\n"
        "print(sorted({'matplotlib', 'pandas', 'scipy', 'sklearn'} & sys.modules.keys()))\n"
        "import matplotlib, scipy.linalg"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    done = subprocess.run(
        (sys.executable, "-c", code),
        cwd=project.ROOT,
        env=plain | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert not (tmp_path / ".keras").exists()


# Augmentation and order


def changed(
    images: NDArray[np.uint8], *, flip: bool = False, shift: int = 0, erasing: int = 0, seed: int = 0
) -> NDArray[np.uint8]:
    settings = Augmentation(horizontal_flip=flip, shift=shift, erasing=erasing)
    found = augment(tf.constant(images), settings, tf.constant([seed, 0]))
    assert found.dtype == tf.uint8
    return np.asarray(found)


MANY = GENERATOR.integers(1, 256, (2000, 6, 5, 2), dtype=np.uint8)


def test_about_half_of_the_images_are_flipped_to_exact_mirror_images() -> None:
    found = changed(MANY, flip=True)
    kept = (found == MANY).all(axis=(1, 2, 3))
    mirrored = (found == MANY[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    # Of 2,000 tosses, 1,000 ± 5 standard deviations of 22.4.
    assert 888 < mirrored.sum() < 1112


def test_shifts_move_each_image_by_itself_by_at_most_that_many_pixels_and_leave_0() -> None:
    found = changed(MANY, shift=2)
    padded = np.pad(MANY, [(0, 0), (2, 2), (2, 2), (0, 0)])
    moves = list(product(range(5), range(5)))
    counts = {
        (down, right): int((found == padded[:, down : down + 6, right : right + 5]).all(axis=(1, 2, 3)).sum())
        for down, right in moves
    }
    # No pixel is 0 before: each image fits one move. Each of the 25 has 80 ± 5 standard deviations of 8.8.
    assert sum(counts.values()) == 2000
    assert all(36 < count < 124 for count in counts.values())


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_square_whose_middle_lies_anywhere_in_the_image_is_erased(side: int) -> None:
    found = changed(MANY, erasing=side)
    before, after = side // 2, side - side // 2
    counts = dict.fromkeys(product(range(6), range(5)), 0)
    for image, original in zip(found, MANY, strict=True):
        for row, column in counts:
            square = np.ones((6, 5, 1), bool)
            square[max(row - before, 0) : row + after, max(column - before, 0) : column + after] = False
            counts[row, column] += bool((image == original * square).all())
    # No pixel is 0 before: each image fits one place. Each of the 30 has 67 ± 5 standard deviations of 8.
    assert sum(counts.values()) == 2000
    assert all(27 < count < 107 for count in counts.values())


def test_augmentation_is_decided_by_its_seed() -> None:
    assert np.array_equal(changed(MANY, flip=True, shift=2), changed(MANY, flip=True, shift=2))
    assert not np.array_equal(changed(MANY, flip=True), changed(MANY, flip=True, seed=1))
    assert not np.array_equal(changed(MANY, shift=1), changed(MANY, shift=1, seed=1))
    assert np.array_equal(changed(MANY, erasing=2), changed(MANY, erasing=2))
    assert not np.array_equal(changed(MANY, erasing=2), changed(MANY, erasing=2, seed=1))
    assert np.array_equal(changed(MANY), MANY)


def test_order_is_a_permutation_that_differs_between_epochs_and_seeds() -> None:
    orders = [epoch_permutation(100, seed, epoch) for seed in (0, 1) for epoch in (1, 2, 3)]
    assert all(sorted(one.tolist()) == list(range(100)) for one in orders)
    assert len({one.tobytes() for one in orders}) == 6
    assert np.array_equal(epoch_permutation(100, 0, 2), orders[1])


def test_seeds_for_different_purposes_differ_and_fit_an_int32() -> None:
    seeds = [derive_seed(seed, purpose, epoch) for seed in range(10) for purpose in ("a", "b") for epoch in range(50)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)


# Predictions


def test_predictions_are_probabilities_whatever_the_batch() -> None:
    predictor = Predictor(built())
    many = GENERATOR.integers(0, 256, (300, *SHAPE), dtype=np.uint8)
    found = predictor(many)
    assert found.shape == (300, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([predictor(many[:7]), predictor(many[7:])]), found, rtol=1e-5)


def test_predictions_use_the_averages_of_batch_normalization_and_no_dropout() -> None:
    predictor = Predictor(built(dropout=0.5, batch_normalization="after_activation"))
    np.testing.assert_allclose(predictor(IMAGES[:1]), predictor(IMAGES)[:1], rtol=1e-5)
    assert np.array_equal(predictor(IMAGES), predictor(IMAGES))


@pytest.mark.parametrize("shape", [(12, 12, 1), (9, 12, 3)])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_exported_network_answers_raw_images_as_the_predictor_does(shape: tuple[int, int, int], precision: str) -> None:
    network = build_network(model(depth=1), shape, 10, seed=0, precision=precision, learns=False)
    images = GENERATOR.integers(0, 256, (20, *shape), dtype=np.uint8)
    exported = exportable(network, shape)
    found = np.asarray(exported(images[..., 0] if shape[2] == 1 else images))
    assert found.dtype == np.float32
    tolerance = 1e-5 if precision == "float32" else 2e-2
    np.testing.assert_allclose(found, Predictor(network)(images), rtol=tolerance)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_layer_of_an_exported_network_is_keras_own(pooling: str) -> None:
    layers = built(learns=False, pooling=pooling, conv__data_format="channels_first").layers
    assert {type(layer).__module__.partition(".")[0] for layer in layers} == {"keras"}


EXPORTED: dict[str, Any] = {
    "conv__kernel_constraint": "RadialConstraint",
    "conv__data_format": "channels_first",
    # As many as the output is wide (Keras then adds the bias along the width).
    "conv__filters": 10,
    "conv__bias_initializer": "he_normal",
    "dropout": 0.5,
}


def test_exported_network_names_no_code_of_this_project_and_answers_as_the_predictor_does(tmp_path: Path) -> None:
    network = exportable(built(learns=False, **EXPORTED), SHAPE)
    network.save(tmp_path / "network.keras")
    with zipfile.ZipFile(tmp_path / "network.keras") as archive:
        named = set(re.findall(r'"(?:module|registered_name)": "([^"]*)', archive.read("config.json").decode()))
    assert {name.partition(".")[0] for name in named} <= {"keras", "builtins", "Functional"}, named
    read = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    found = read.predict(IMAGES[..., 0], verbose=0)
    np.testing.assert_allclose(found, np.asarray(network(IMAGES[..., 0])), rtol=1e-4)
    np.testing.assert_allclose(found, Predictor(built(**EXPORTED))(IMAGES), rtol=1e-4)


@pytest.mark.long
def test_exported_network_is_read_without_code_of_this_project(tmp_path: Path) -> None:
    network = exportable(built(learns=False, **EXPORTED), SHAPE)
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "images.npy", IMAGES[..., 0])
    read = (
        "import sys, keras, numpy as np\n"
        "found = keras.saving.load_model('network.keras', safe_mode=True).predict(np.load('images.npy'), verbose=0)\n"
        "np.save('found.npy', found); print([name for name in sys.modules if name.startswith('pipeline')])"
    )
    said = subprocess.run([sys.executable, "-c", read], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), np.asarray(network(IMAGES[..., 0])), rtol=1e-4)


def test_feature_maps_are_what_leaves_the_layers() -> None:
    network = built(depth=1)
    conv, pool = feature_maps(network, IMAGES[0], ["block1_conv", "block1_pool"])
    kernel = weights(network)["block1_conv/kernel"]
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES[0, :, :, 0] / 255.0, (3, 3))
    by_hand = np.maximum(np.einsum("hwij,ijf->hwf", windows, kernel[:, :, 0]), 0)
    np.testing.assert_allclose(conv, by_hand, rtol=1e-4, atol=1e-6)
    assert np.array_equal(feature_maps(network, IMAGES[0], ["block1_conv"])[0], conv)
    np.testing.assert_allclose(pool, by_hand.reshape(5, 2, 5, 2, 4).max(axis=(1, 3)), rtol=1e-4, atol=1e-6)


# Threads


def test_another_number_of_threads_after_computing_is_refused() -> None:
    threads = tf.config.threading
    assert (threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()) == (2, 1)
    assert int(tf.reduce_sum(tf.ones(3))) == 3
    use_threads(2)
    with pytest.raises(UserError) as refused:
        use_threads(1)
    assert str(refused.value) == ("training.threads: 1 can't follow 2 in one process. Start another process for it.")
    assert threads.get_intra_op_parallelism_threads() == 2


def test_blocks_of_the_small_model_here_are_two() -> None:
    assert [block.conv.filters for block in blocks(model())] == [4, 8]
