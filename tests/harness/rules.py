"""For every key of the configuration, values that it takes and values that it refuses."""

import datetime
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Values that a key takes, at the ends of its range, and values that it refuses."""

    takes: tuple[Any, ...]
    refuses: tuple[Any, ...]


NO_SCALARS: tuple[object, ...] = (None, [], {}, [1], {"a": 1}, datetime.date(2020, 1, 1))


def whole(least: int, most: int) -> Rule:
    wrong = ("3", "", True, False, 1.0, math.nan, math.inf, least - 1, most + 1, -(10**400), 10**400)
    return Rule((least, most), (*wrong, *NO_SCALARS))


def number(takes: tuple[float, ...], refuses: tuple[float, ...]) -> Rule:
    return Rule(takes, (*refuses, "0.5", True, False, math.nan, math.inf, -math.inf, -0.1, 10**400, *NO_SCALARS))


def text(*takes: str, refuses: tuple[str, ...] = ()) -> Rule:
    return Rule(takes, ("", "a\nb", "a\x00b", "x" * 600, 3, 1.5, True, *refuses, *NO_SCALARS))


def one_of(*takes: str) -> Rule:
    return Rule(takes, ("nonsense", "", takes[0].title() + "x", f" {takes[0]}", 3, 0.5, True, *NO_SCALARS))


def listed(rule: Rule) -> Rule:
    """A list whose elements have their own rules: here only what is no list."""
    return Rule(rule.takes, (*rule.refuses, "abc", 3, True, None, {"a": 1}))


FLAG = Rule((True, False), ("true", "yes", 0, 1, 1.0, *NO_SCALARS))
FRACTION = number(takes=(0, 0.0, 0.999), refuses=(1, 1.0, 1.5))
PENALTY = number(takes=(0, 1e6), refuses=(1.1e6,))
SIZE = Rule(
    (1, 4096, [3, 5], [1, 4096]),
    (
        "3",
        True,
        3.0,
        0,
        -1,
        4097,
        10**400,
        math.nan,
        None,
        [],
        {},
        [3],
        [3, 3, 3],
        [0, 3],
        [3, "3"],
        [3, True],
        [3, 3.0],
    ),
)
SEED = whole(0, 2**31 - 1)
COUNT = whole(1, 4096)
ACTIVATION = one_of("relu", "linear", "softmax")
REGULARIZER = Rule(
    (None, "l1", "l2", "l1_l2", {"name": "l2", "l2": 0.1}, {"name": "l1_l2", "l1": 0.1, "l2": 0}),
    ("", "L2", "l3", 3, 0.5, True, [], ["l2"], {}, {"l2": 0.1}, {"name": "l3"}, {"name": None}, {"name": ["l2"]}),
)
CONSTRAINT = Rule(
    (None, "NonNeg", "UnitNorm", "MaxNorm", "MinMaxNorm", {"name": "MaxNorm", "max_value": 0, "axis": [0]}),
    ("", "nonneg", 3, True, [], {}, {"max_value": 1.0}, {"name": "max_norm"}, {"name": 3}, {"name": {}}),
)
INITIALIZER = Rule(
    (
        "he_normal",
        {"name": "he_normal"},
        {"name": "constant", "value": -0.1},
        {"name": "random_normal", "stddev": 0.01},
        {"name": "random_uniform", "minval": -1, "maxval": 1},
        {"name": "variance_scaling", "scale": 2, "mode": "fan_out"},
    ),
    (
        *one_of("glorot_uniform").refuses,
        {"name": "he_normal", "stddev": 0.01},
        {"name": "constant", "value": "1"},
        {"name": "random_normal", "stddev": 0},
        {"name": "random_uniform", "minval": 1},
        {"name": "variance_scaling", "mode": "fan_none"},
        {"name": None},
        {"value": 0.1},
    ),
)

CONV = {
    "filters": COUNT,
    "kernel_size": SIZE,
    "strides": SIZE,
    "padding": one_of("valid", "same"),
    "data_format": one_of("channels_last", "channels_first"),
    "dilation_rate": SIZE,
    "groups": COUNT,
    "activation": ACTIVATION,
    "use_bias": FLAG,
    "kernel_initializer": Rule(
        ("glorot_uniform", "orthogonal", {"name": "orthogonal", "gain": 2}, *INITIALIZER.takes), INITIALIZER.refuses
    ),
    "bias_initializer": Rule(
        ("zeros", "ones", *INITIALIZER.takes), (*INITIALIZER.refuses, "orthogonal", {"name": "orthogonal", "gain": 2})
    ),
    "kernel_regularizer": REGULARIZER,
    "bias_regularizer": REGULARIZER,
    "activity_regularizer": REGULARIZER,
    "kernel_constraint": CONSTRAINT,
    "bias_constraint": CONSTRAINT,
}
BLOCK = {
    "batch_normalization": one_of("none", "before_activation", "after_activation", "after_pooling"),
    "pooling": one_of("none", "max", "average"),
    "pool_size": SIZE,
    "pool_strides": Rule((None, *SIZE.takes), tuple(value for value in SIZE.refuses if value is not None)),
    "pool_padding": one_of("valid", "same"),
    "dropout": FRACTION,
}
RAW_FILE = {
    "name": text("a", "train-images-idx3-ubyte", refuses=("../x", "a/b", ".hidden", "a b")),
    "bytes": whole(9, 2**33),
    "sha256": text("0" * 64, refuses=("0" * 63, "0" * 65, "A" * 64, "g" * 64)),
}
LABEL = text("T-shirt/top", "é", refuses=("x" * 101,))
RULES = {
    "seed": SEED,
    "data.name": text("fashion_mnist", refuses=("a/b", "..", "x" * 101)),
    "data.image_shape": listed(Rule(([1, 1, 1],), ([28, 28], [28, 28, 1, 1]))),
    **{f"data.image_shape.{axis}": COUNT for axis in range(3)},
    "data.class_names": listed(Rule((["a", "b"],), (["a"], ["a", "a"], [str(name) for name in range(1001)]))),
    "data.class_names.9": Rule(("Ankle boot", "é"), LABEL.refuses),
    **{
        f"data.files.{file}.{key}": rule
        for file in ("train_images", "train_labels", "test_images", "test_labels")
        for key, rule in RAW_FILE.items()
    },
    "data.sources": listed(
        Rule(([{"kind": "debian", "package": "ab"}],), ([], [{"kind": "folder", "path": "x"}] * 21))
    ),
    "data.sources.0.path": text("data/by_hand", refuses=("x" * 501,)),
    "data.sources.2.address": text(
        "http://a", "https://a/b", refuses=("ftp://a", "a", "http://", "http://a b", " http://a")
    ),
    "data.sources.4.package": text("dataset-fashion-mnist", refuses=("A", "-x", "a b", "--option", "a;b")),
    "data.validation_images": whole(0, 59_999),
    "data.held_out": whole(1, 2**31 - 1),
    "data.split_seed": SEED,
    "model.input_normalization": FLAG,
    "model.depth": whole(1, 64),
    "model.filter_growth": number(takes=(0.001, 1, 16), refuses=(0, 0.0, 16.1)),
    **{f"model.conv.{key}": rule for key, rule in CONV.items()},
    **{f"model.{key}": rule for key, rule in BLOCK.items()},
    "model.blocks": Rule(({}, {"block1": {}}), ([], 3, "block1", [{"block1": {}}])),
    "model.head": one_of("flatten", "global_average", "global_max"),
    "model.head_dropout": FRACTION,
    "model.dense.units": listed(Rule(([], [1] * 8), ([1] * 9,))),
    "model.dense.activation": ACTIVATION,
    "model.dense.batch_normalization": one_of("none", "before_activation", "after_activation"),
    "model.dense.dropout": Rule(FRACTION.takes, (*FRACTION.refuses, [0.5], [0.5, 0.5], [2])),
    "model.output": Rule(("dense",), one_of("dense", "head").refuses),
    "training.epochs": whole(1, 100_000),
    "training.batch_size": whole(1, 65_536),
    "training.optimizer": one_of("adam", "lion", "muon", "nadam", "rmsprop", "sgd"),
    "training.learning_rate": number(takes=(1e-12, 1, 100), refuses=(0, 0.0, 100.1)),
    "training.momentum": Rule((0, 0.0), FRACTION.refuses),
    "training.schedule": one_of("constant", "cosine"),
    "training.warmup": Rule((0, 0.0), FRACTION.refuses),
    "training.weight_decay": PENALTY,
    "training.label_smoothing": FRACTION,
    "training.augmentation.horizontal_flip": FLAG,
    "training.augmentation.shift": whole(0, 4096),
    "training.augmentation.erasing": whole(0, 4096),
    "training.precision": one_of("float32", "mixed_bfloat16"),
    "training.threads": whole(1, 256),
    "tracking.enabled": FLAG,
    "tracking.address": Rule(
        (None, "http://127.0.0.1:5000", "http://[::1]:5000/a", "sqlite:///mlflow.db", "sqlite:///a/b.db"),
        (
            *("", "ftp://a", "127.0.0.1", "http://a b", "http://a\n", 3, True, [], {}),
            *("http://[::1", "http://a:b", "http://a:70000", "http://:5000", "https://me:word@a", "https://me@a"),
            *("http://a?token=b", "http://a/#b", "postgresql://a/b", "./mlruns", "sqlite:///"),
            *("sqlite:////tmp/a.db", "sqlite:///../a.db", "sqlite:///a/../../b.db", "sqlite:///a.db?mode=ro"),
            *("sqlite:///file:/tmp/a.db", "sqlite:///C:\\a.db", "sqlite:///%2e%2e/a.db"),
        ),
    ),
    "tracking.experiment": LABEL,
}
BLOCK_RULES = {
    **{f"model.blocks.block2.conv.{key}": rule for key, rule in CONV.items()},
    **{f"model.blocks.block2.{key}": rule for key, rule in BLOCK.items()},
}
WRITTEN_OUT = {
    "model.conv.kernel_regularizer": {"name": "l1_l2", "l1": 0.0, "l2": 0.0},
    "model.conv.kernel_constraint": {
        "name": "MinMaxNorm",
        "min_value": 0.0,
        "max_value": 1.0,
        "rate": 1.0,
        "axis": [0],
    },
}
WRITTEN_OUT_RULES = {
    "model.conv.kernel_regularizer.l1": PENALTY,
    "model.conv.kernel_regularizer.l2": PENALTY,
    "model.conv.kernel_constraint.min_value": number(takes=(0, 1), refuses=(1.1e6,)),
    "model.conv.kernel_constraint.max_value": number(takes=(0, 1e6), refuses=(1.1e6,)),
    "model.conv.kernel_constraint.rate": number(takes=(0, 1), refuses=(1.1,)),
    "model.conv.kernel_constraint.axis": listed(Rule(([3], [0, 1, 2, 3]), ([], [0, 0], [0, 1, 2, 3, 0]))),
    "model.conv.kernel_constraint.axis.0": whole(0, 3),
}
EVERY_RULE = RULES | BLOCK_RULES | WRITTEN_OUT_RULES
