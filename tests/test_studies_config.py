"""What is declared of a study beside its settings, and the name of one that has none."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.messages import ConfigurationError
from pipeline.studies.study import Setting
from pipeline.studies.study_config import derive_name
from tests.harness.studies import declared


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": ".."},
        {"name": ".hidden"},
        {"name": "/absolute"},
        {"name": "-m"},
        {"name": "a b"},
        {"name": "a'b"},
        {"name": "a\n"},
        {"name": "é"},
        {"name": "a" * 101},
        {"name": 3},
        {"margin": 0},
        {"margin": float("nan")},
        {"margin": 101},
        {"margin": "0.5"},
        {"score_on": "training"},
        {"leave_out_refused": 1},
        {"jobs": 0},
        {"jobs": 1.5},
        {"jobs": True},
        {"baseline": [1]},
        {"pictures": None},
        {"unknown": 1},
    ],
)
def test_a_declaration_that_can_not_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        declared(**changes)


@pytest.mark.parametrize("name", ["a", "0", "kernel_size_by_filters", "A.b-c_d", "a" * 100])
def test_a_name_is_the_name_of_a_folder(name: str) -> None:
    assert declared(name=name).full_name == name


def test_a_study_that_opens_the_test_images_says_so_in_its_name() -> None:
    assert declared(score_on="test").full_name == "kernels_on_test"
    assert declared(score_on="test", name=None).full_name == "seeds_on_test"
    assert declared(name=None).full_name == "seeds"


def test_no_study_on_validation_images_is_named_like_one_on_test_images() -> None:
    # Both would keep their cells in one folder, and the accuracies of one would count as the other's.
    names = {declared(score_on="test").full_name}
    try:
        names.add(declared(name="kernels_on_test").full_name)
    except ValidationError:
        return
    assert len(names) == 2


@pytest.mark.parametrize(
    ("score_on", "images", "is_refused"),
    [("validation", 0, True), ("validation", 1, False), ("test", 0, False), ("test", 1, False)],
)
def test_without_held_out_images_only_the_test_images_can_score(score_on: str, images: int, is_refused: bool) -> None:
    found = declared(score_on=score_on)
    if is_refused:
        with pytest.raises(ConfigurationError, match=r"^data\.validation_images: .*study\.score_on=test"):
            found.check_held_out(images)
    else:
        found.check_held_out(images)


def by_name(settings: Sequence[Setting]) -> dict[str, Setting]:
    return {str(number): setting for number, setting in enumerate(settings)}


SIZES: list[Any] = [3, [3, 5]]
GRID = [
    Setting({"kernel_size": size, "filters": filters, "use_bias": True}, 1, 1) for size in SIZES for filters in (8, 16)
]
VARIANTS = [
    Setting({"model.depth": 2, "model.conv.filters": filters}, 1, 1, {"model": name, "training": "article"})
    for name in ("article", "deep")
    for filters in (8, 16)
]


@pytest.mark.parametrize(
    "baseline",
    [
        None,
        {"kernel_size": 3, "filters": 16},
        {"kernel_size": [3, 5], "filters": 8},
        {"kernel_size": 3, "filters": 16, "use_bias": True},
    ],
)
def test_a_baseline_that_is_one_setting_is_accepted(baseline: dict[str, Any] | None) -> None:
    declared(baseline=baseline).check_grid(by_name(GRID))


@pytest.mark.parametrize(
    ("baseline", "count"),
    [
        ({"kernel_size": 3}, 2),
        ({}, 4),
        ({"kernel_size": 4, "filters": 8}, 0),
        ({"kernel_size": "3", "filters": 8}, 0),
        ({"kernel_sise": 3, "filters": 8}, 0),
        ({"kernel_size": [5, 3], "filters": 8}, 0),
        ({"kernel_size": None, "filters": 8}, 0),
    ],
)
def test_a_baseline_that_is_none_or_several_settings_is_refused_with_their_number(
    baseline: dict[str, Any], count: int
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^study\.baseline: .* is {count} of 4\."):
        declared(baseline=baseline).check_grid(by_name(GRID))


def test_a_baseline_with_a_key_that_there_is_not_is_refused_whatever_its_value() -> None:
    with pytest.raises(ConfigurationError, match=r"^study\.baseline"):
        declared(baseline={"kernel_sise": None}).check_grid(by_name(GRID[:1]))


def test_a_baseline_may_name_a_variant() -> None:
    declared(baseline={"model": "deep"}).check_grid(by_name(VARIANTS[::2]))
    declared(baseline={"model": "deep", "model.conv.filters": 8}).check_grid(by_name(VARIANTS))
    with pytest.raises(ConfigurationError, match=r"is 2 of 4\. .* a variant by its group \(\{model: article\}\)"):
        declared(baseline={"model": "deep"}).check_grid(by_name(VARIANTS))
    with pytest.raises(ConfigurationError, match=r"is 0 of 4\."):
        declared(baseline={"model": "small"}).check_grid(by_name(VARIANTS))


def test_a_baseline_that_can_not_exist_is_told_with_those_that_were_left_out() -> None:
    with pytest.raises(ConfigurationError, match=r"is 0 of 4, without the 2 that can't exist\."):
        declared(baseline={"kernel_size": 99}).check_grid(by_name(GRID), left_out=2)


def test_a_baseline_tells_none_from_a_nested_value() -> None:
    # `model.conv.kernel_regularizer=null,l2` as the configuration is recorded.
    settings = [
        Setting({"model.conv.kernel_regularizer": None}, 1, 1),
        Setting({"model.conv.kernel_regularizer.name": "l2", "model.conv.kernel_regularizer.l2": 0.01}, 1, 1),
    ]
    declared(baseline={"model.conv.kernel_regularizer": None}).check_grid(by_name(settings))


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ([], "seeds"),
        (["seed"], "seeds"),
        (["model.conv.kernel_size", "model.conv.filters", "seed"], "filters_by_kernel_size"),
        (["seed", "model.conv.filters", "model.conv.kernel_size"], "filters_by_kernel_size"),
        (["model"], "model"),
        (["model.dropout", "model.dense.dropout"], "dense.dropout_by_model.dropout"),
        (["data.split_seed"], "split_seed"),
    ],
)
def test_the_name_of_a_sweep_is_its_keys_in_any_order_without_the_seed(keys: list[str], name: str) -> None:
    assert derive_name(keys) == name
    assert derive_name(list(reversed(keys))) == name
    assert declared(name=name).full_name == name


def test_a_sweep_over_many_keys_has_a_name_that_a_study_may_have() -> None:
    conv = ("activation", "bias_initializer", "dilation_rate", "filters", "kernel_initializer", "kernel_size")
    keys = [f"model.conv.{key}" for key in (*conv, "kernel_regularizer", "padding", "strides")]
    assert declared(name=derive_name(keys)).full_name != derive_name(keys[:-1])
