"""What a configuration may be, and what is said of one that can't be."""

import copy
import datetime
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.layers import blocks
from pipeline.config.load import configure, read_params, read_yaml
from pipeline.config.messages import ConfigurationError, shown, validated
from pipeline.config.schema import Configuration, Conv
from pipeline.terminal.errors import UserError
from tests.harness.rules import CONV, EVERY_RULE, RULES, WRITTEN_OUT
from tests.harness.settings import article, article_values, taken

SECTIONS = ["data", "data.files", "data.files.train_images", "data.sources.0", "model", "model.conv", "model.dense"]
SECTIONS += ["training", "training.augmentation", "tracking", *WRITTEN_OUT]


def problems(changes: dict[str, object]) -> dict[str, str]:
    """Key → message of what is refused in the article's configuration with `changes`."""
    with pytest.raises(ConfigurationError) as refused:
        article(changes)
    assert all(f"{problem.key}: {problem.message}" in str(refused.value) for problem in refused.value.problems)
    return {problem.key: problem.message for problem in refused.value.problems}


def leaves(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix


def test_rules_here_are_for_every_key_that_conf_composes() -> None:
    assert not set(leaves(article_values())) - RULES.keys()
    assert set(CONV) == set(article_values()["model"]["conv"]) == set(Conv.model_fields)


def test_rules_here_make_more_than_1400_bad_configurations() -> None:
    assert sum(len(rule.refuses) for rule in EVERY_RULE.values()) > 1400


@pytest.mark.parametrize("key", EVERY_RULE)
def test_wrong_values_are_refused_by_their_full_key(key: str) -> None:
    for value in EVERY_RULE[key].refuses:
        found = problems({**copy.deepcopy(WRITTEN_OUT), key: value})
        # An element or a part of the value may be at fault; a discriminated section is refused as a whole.
        named = [name for name in found if name == key or name.startswith(f"{key}.")]
        assert named, f"{value!r}: {found}"
        assert len(found) == len(named), f"{value!r}: {found}"


@pytest.mark.parametrize("key", EVERY_RULE)
def test_values_at_the_ends_of_the_range_are_taken(key: str) -> None:
    for value in EVERY_RULE[key].takes:
        values = article_values({**copy.deepcopy(WRITTEN_OUT), key: value})
        read = validated(Configuration, values).model_dump(mode="json")
        if not isinstance(value, str | dict) or key not in [f"model.conv.{name}" for name in CONV]:
            assert taken(read, key) == value


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_unknown_keys_are_refused_with_the_nearest_valid_key(section: str) -> None:
    values = article_values(WRITTEN_OUT)
    for key in taken(values, section) if section else values:
        if key in ("name", "kind"):
            continue
        full = f"{section}.{key}" if section else key
        found = problems({**copy.deepcopy(WRITTEN_OUT), f"{full}x": 1})
        assert found == {f"{full}x": f"is no key of the configuration. Did you mean {full}?"}


LATER = {
    "model.input_normalization": False,
    "model.pool_strides": None,
    "model.pool_padding": "valid",
    "model.dense.batch_normalization": "none",
    "model.output": "dense",
}
"""Keys that came when there were records already, and what they are where they are missing: off."""


@pytest.mark.parametrize("key", LATER)
def test_a_key_that_came_later_is_off_where_it_is_missing(key: str) -> None:
    values = article_values()
    head, _, last = key.rpartition(".")
    del taken(values, head)[last]
    assert configure(values) == article({key: LATER[key]}) == article()


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_missing_keys_are_refused(section: str) -> None:
    # Regularizers and constraints have Keras's defaults: nothing there is missing but the name.
    keys = ["name"] if section in WRITTEN_OUT else taken(article_values(), section) if section else article_values()
    for key in (key for key in keys if f"{section}.{key}" not in LATER):
        values = article_values(copy.deepcopy(WRITTEN_OUT))
        del (taken(values, section) if section else values)[key]
        with pytest.raises(ConfigurationError) as refused:
            configure(values)
        at = section if key in ("name", "kind") and section not in ("data", "data.files.train_images") else ""
        assert [problem.key for problem in refused.value.problems] == [at or (f"{section}.{key}" if section else key)]


@pytest.mark.parametrize("values", [None, [], 3, "seed", math.nan, {1: 2}, {None: 1}])
def test_what_is_no_configuration_at_all_is_refused(values: object) -> None:
    with pytest.raises(ConfigurationError):
        configure(values)


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        (
            {"model.pool_size": 5, "model.conv.kernel_size": 9},
            "model.conv.kernel_size",
            "9 is larger than the 4 × 4 input of block 2 (padding valid). Use at most 1, padding same, or a smaller",
        ),
        (
            {"model.depth": 3, "model.conv.padding": "same", "model.pool_size": 6},
            "model.pool_size",
            "6 is larger than the 4 × 4 that reaches the pooling of block 2: nothing of the image would be left.",
        ),
        (
            {"model.depth": 3, "model.conv.padding": "same", "model.pool_size": 6},
            "model.pool_size",
            "nothing of the image would be left. Use at most 3, pooling none there, or a smaller depth.",
        ),
        (
            {"training.optimizer": "adam", "training.momentum": 0.9},
            "training.momentum",
            "momentum has an effect with optimizer sgd only, not with adam; use 0 there, not 0.9.",
        ),
        # 5 rows apart by 7 reach over 4 × 7 + 1 = 29 of the 28; 4 reach over 22, which leaves block 2 too little.
        (
            {"model.conv.dilation_rate": 7},
            "model.conv.kernel_size",
            "5 (dilated to 29 × 29) is larger than the 28 × 28",
        ),
        ({"model.conv.dilation_rate": 7, "model.depth": 1}, "model.conv.kernel_size", "Use at most 4,"),
        ({"model.conv.dilation_rate": [1, 7]}, "model.conv.kernel_size", "dilated to 5 × 29"),
        ({"model.conv.kernel_size": [1, 29]}, "model.conv.kernel_size", "[1, 29] is larger than the 28 × 28"),
        (
            {"model.conv.strides": 2, "model.conv.dilation_rate": [1, 2]},
            "model.conv.dilation_rate",
            "strides 2 in block 1",
        ),
        ({"model.conv.groups": 3}, "model.conv.groups", "must divide both the 1 channels that reach block 1"),
        (
            {"model.blocks.block2.conv.groups": 48},
            "model.blocks.block2.conv.groups",
            "48 must divide both the 32 channels that reach block 2 and its 64 filters. Use 32 or a divisor of it.",
        ),
        ({"model.depth": 3}, "model.conv.kernel_size", "5 is larger than the 4 × 4 input of block 3"),
        ({"model.depth": 5, "model.conv.padding": "same"}, "model.pool_size", "larger than the 1 × 1"),
        ({"model.blocks.block2.pool_size": 9}, "model.blocks.block2.pool_size", "larger than the 8 × 8"),
        ({"model.filter_growth": 1.03}, "model.filter_growth", "1.03 makes 32.96 filters of 32 in block 2"),
        ({"model.filter_growth": 0.01}, "model.filter_growth", "0.32 filters"),
        ({"model.filter_growth": 16, "model.depth": 3}, "model.filter_growth", "makes 8192 filters of 32 in block 3"),
        ({"training.learning_rate": math.nan}, "training.learning_rate", "must be a finite number, not nan."),
        ({"training.warmup": 0.1}, "training.warmup", "use 0 with constant, not 0.1"),
        ({"data.validation_images": 60_000}, "data.validation_images", "less than 60000, not 60000"),
        ({"training.augmentation.shift": 28}, "training.augmentation.shift", "Use at most 27"),
        ({"training.augmentation.erasing": 28}, "training.augmentation.erasing", "leave nothing of a 28 × 28 image"),
        ({"training.augmentation.shift": 20, "data.image_shape.1": 20}, "training.augmentation.shift", "28 × 20 image"),
        (
            {"model.conv.kernel_constraint": {"name": "MinMaxNorm", "min_value": 2.0}},
            "model.conv.kernel_constraint.min_value",
            "must not be larger than max_value (1.0), not 2.0",
        ),
        (
            {"model.conv.bias_constraint": {"name": "MaxNorm", "axis": [1]}},
            "model.conv.bias_constraint.axis",
            "a bias has one axis: use [0], not [1]",
        ),
        (
            {"model.blocks.block1.conv.bias_constraint": "RadialConstraint"},
            "model.blocks.block1.conv.bias_constraint",
            "a bias has no radius",
        ),
        (
            {"model.conv.data_format": "channels_first", "model.blocks.block1.conv.activation": "softmax"},
            "model.blocks.block1.conv.activation",
            'must not be taken over the last axis, which is the width; use channels_last, not "softmax".',
        ),
        ({"model.blocks.block3.pooling": "none"}, "model.blocks.block3", "is no block: depth 2 has block1 to block2"),
        ({"model.blocks.Block1": {}}, "model.blocks.Block1", "is no block"),
        ({"model.blocks.block1.conv": 5}, "model.blocks.block1.conv", "must be a mapping"),
        ({"model.blocks.block1.depth": 5}, "model.blocks.block1.depth", "is no key of the configuration"),
        ({"model.blocks.block1": {1: 2}}, "model.blocks.block1.1", "must be text"),
        ({"model.kernel_size": 3}, "model.kernel_size", "Did you mean model.conv.kernel_size?"),
        (
            {"model.blocks.block1.kernel_size": 3},
            "model.blocks.block1.kernel_size",
            "Did you mean model.blocks.block1.conv.kernel_size?",
        ),
        (
            {"model.blocks.block1.conv.kernl_size": 3},
            "model.blocks.block1.conv.kernl_size",
            "Did you mean model.blocks.block1.conv.kernel_size?",
        ),
        ({"model.output": "head"}, "model.output", "+model.blocks.block2.conv.filters=10"),
        ({"model.output": "head", "model.dense.units": [8]}, "model.dense.units", "has no place with output head"),
        ({"model.output": "head", "model.head_dropout": 0.5}, "model.head_dropout", "has no place with output head"),
        (
            {"model.dense.units": [8, 8], "model.dense.dropout": [0.5]},
            "model.dense.dropout",
            "each of the 2 dense layers",
        ),
        (
            {"model.conv.kernel_initializer": {"name": "random_uniform", "minval": 1}},
            "model.conv.kernel_initializer.minval",
            "minval must be less than maxval (0.05), not 1.",
        ),
        # Several sections have a key of that name: none of them is the nearest.
        ({"training.dropout": 0.1}, "training.dropout", "Keys here: epochs, batch_size,"),
        (
            {"model.conv.kernel_regularizer": {"name": "l2", "l1": 0.1}},
            "model.conv.kernel_regularizer.l1",
            "Keys here: name, l2.",
        ),
        (
            {"model.dense.units": [4096] * 8},
            "model",
            "121,760,650 parameters (dense2 has most) are more than 100,000,000",
        ),
        (
            {"model.conv.kernel_size": {datetime.date(2020, 1, 1): 1}},
            "model.conv.kernel_size",
            "must be a whole number",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], key: str, said: str) -> None:
    found = problems(changes)
    assert list(found) == [key]
    assert said in found[key]


def test_every_wrong_key_is_named_at_once() -> None:
    changes: dict[str, object] = {"seed": -1, "model.conv.filters": "8", "training.epochs": 0, "tracking.experimnt": 1}
    assert set(problems(changes)) == set(changes)


def test_a_list_inside_itself_is_refused_like_any_other() -> None:
    inside: list[object] = []
    inside.append(inside)
    assert list(problems({"model.conv.strides": inside})) == ["model.conv.strides"]


def test_largest_kernel_named_in_the_refusal_is_taken() -> None:
    for dilation in range(1, 28):
        largest = (28 - 1) // dilation + 1
        fits = {"model.depth": 1, "model.pooling": "none", "model.conv.dilation_rate": dilation}
        article({**fits, "model.conv.kernel_size": largest})
        said = problems({**fits, "model.conv.kernel_size": largest + 1})["model.conv.kernel_size"]
        assert f"Use at most {largest}," in said


TOO_LARGE: list[dict[str, object]] = [
    {"model.conv.kernel_size": 29},
    {"model.depth": 3},
    {"model.depth": 4, "model.conv.padding": "same", "model.pool_size": 4},
    {"model.blocks.block2.conv.kernel_size": [3, 13]},
    {"model.blocks.block2.pool_size": 9},
    {"model.conv.kernel_size": 28, "model.conv.dilation_rate": [2, 1], "model.conv.strides": 1},
    {"model.pool_size": 15, "model.pool_strides": 1, "model.conv.strides": 2},
]


@pytest.mark.parametrize("changes", TOO_LARGE)
def test_what_is_named_as_at_most_fits_the_whole_network_and_one_more_does_not(changes: dict[str, object]) -> None:
    ((key, said),) = problems(changes).items()
    most = int(said.partition("Use at most ")[2].partition(",")[0])
    fitting = []
    for size in range(1, 29):
        with suppress(ConfigurationError):
            article({**changes, key: size})
            fitting.append(size)
    assert fitting == list(range(1, most + 1))


def test_where_no_size_fits_none_is_named() -> None:
    said = problems({"model.depth": 6})["model.conv.kernel_size"]
    assert said.endswith("(padding valid). Use padding same, or a smaller depth.")


def test_two_equal_numbers_are_one_number() -> None:
    conv = article({"model.conv.kernel_size": [3, 3], "model.conv.strides": [1, 2]}).model.conv
    assert (conv.kernel_size, conv.strides) == (3, (1, 2))


@pytest.mark.parametrize(
    ("key", "short", "long"),
    [
        ("kernel_regularizer", "l1", {"name": "l1", "l1": 0.01}),
        ("bias_regularizer", "l2", {"name": "l2", "l2": 0.01}),
        ("activity_regularizer", "l1_l2", {"name": "l1_l2", "l1": 0.0, "l2": 0.0}),
        ("kernel_constraint", "MaxNorm", {"name": "MaxNorm", "max_value": 2.0, "axis": [0]}),
        ("bias_constraint", "UnitNorm", {"name": "UnitNorm", "axis": [0]}),
        (
            "kernel_constraint",
            "MinMaxNorm",
            {"name": "MinMaxNorm", "min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": [0]},
        ),
    ],
)
def test_short_names_equal_their_long_form(key: str, short: str, long: dict[str, object]) -> None:
    assert article({f"model.conv.{key}": short}) == article({f"model.conv.{key}": long})


def test_growth_multiplies_the_filters_from_block_to_block() -> None:
    assert [block.conv.filters for block in blocks(article().model)] == [32, 64]
    halved = article({"model.filter_growth": 0.5, "model.depth": 3, "model.conv.kernel_size": 3}).model
    assert [block.conv.filters for block in blocks(halved)] == [32, 16, 8]


def test_a_block_differs_only_in_what_it_says() -> None:
    changed = {"model.blocks.block2": {"conv": {"kernel_size": 3, "activation": "elu"}, "pooling": "none"}}
    plain, other = blocks(article().model), blocks(article(changed).model)
    assert other[0] == plain[0]
    conv = plain[1].conv.model_copy(update={"kernel_size": 3, "activation": "elu"})
    # Without pooling its size says nothing, and stands at 1.
    assert other[1] == plain[1].model_copy(update={"conv": conv, "pooling": "none", "pool_size": 1})


def test_filters_of_a_block_need_no_whole_growth() -> None:
    changes = {"model.filter_growth": 1.01, "model.blocks.block2.conv.filters": 7}
    assert [block.conv.filters for block in blocks(article(changes).model)] == [32, 7]


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("rate: 1e-3\nanswer: yes\nold: 010\n")
    assert read_yaml(path) == {"rate": 0.001, "answer": "yes", "old": 10}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1\nb: 2\n", "line 2"),
        (b"a: 1\na: 2\n", "line 2"),
        (b"a: \xff\n", "is no YAML"),
        (b"a: \x00\n", "is no YAML"),
        (b"a: *nowhere\n", "line 1"),
        (b"a: !!python/object/apply:os.getcwd []\n", "line 1"),
        (b"- 1\n--- \n- 2\n", "line"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_by_name_and_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"params\.yaml.*{said}"):
        read_params(path)


def test_a_missing_file_is_refused_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: is missing\. `python -m pipeline\.compose` writes"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", ["[]\n", "3\n", "seed: 0\n"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ConfigurationError):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        (True, "true"),
        ("3", '"3"'),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ([1, "é"], '[1, "é"]'),
        ("a\n\x1b[31m", r'"a\n\u001b[31m"'),
        ("\u202e\u2028", r'"\u202e\u2028"'),
        ("x" * 100, '"' + "x" * 78 + "…"),
    ],
)
def test_values_are_shown_on_one_line_as_in_yaml(value: object, said: str) -> None:
    assert shown(value) == said


@pytest.mark.parametrize("names", [list(range(10)), [True, False], ["a", 0.5, 1.5]])
def test_class_names_that_are_numbers_are_one_error_that_says_to_quote_them(names: list[object]) -> None:
    found = problems({"data.class_names": names})
    assert list(found) == ["data.class_names"]
    assert found["data.class_names"].startswith("must be texts: quote them, ['0', '1', …], not ")
