"""What settings differ in, in which order they stand, and what they are called."""

import pytest
from pydantic import JsonValue

from pipeline.findings.comparison import grid
from pipeline.studies.study_summary import argument_in_words, one_line
from tests.harness.reports import grid_values

KERNEL, FILTERS = "model.conv.kernel_size", "model.conv.filters"


def test_the_factor_that_changes_slowest_comes_first_whatever_the_order_of_keys() -> None:
    laid = grid(grid_values())
    assert [(factor.name, factor.keys, factor.levels) for factor in laid.factors] == [
        ("kernel_size", (KERNEL,), (3, 5, 7)),
        ("filters", (FILTERS,), (16, 32, 64)),
    ]
    assert laid.labels[:2] == ("3 × 3 kernels, 16 filters", "3 × 3 kernels, 32 filters")
    assert laid.levels[4] == (5, 32)
    assert laid.order == tuple(range(9))


def test_settings_stand_in_the_order_of_their_numbers_though_declared_later() -> None:
    laid = grid([{KERNEL: 5}, {KERNEL: 7}, {KERNEL: 3}])
    assert laid.order == (2, 0, 1)
    assert laid.factors[0].levels == (3, 5, 7)


def test_levels_that_are_no_numbers_stay_as_declared() -> None:
    laid = grid([{"a": "valid"}, {"a": "same"}, {"a": None}])
    assert laid.factors[0].levels == ("valid", "same", None)
    assert laid.labels == ("a valid", "a same", "a none")


def test_keys_that_always_change_together_are_one_factor() -> None:
    laid = grid([{"a": None, "b": 1}, {"a.name": "l2", "a.l2": 0.1, "b": 1}, {"a": None, "b": 2}])
    assert [factor.keys for factor in laid.factors] == [("b",), ("a", "a.name", "a.l2")]
    assert laid.levels == ((1, "none"), (1, "l2 & 0.1"), (2, "none"))
    assert laid.labels[:2] == ("b 1, a none", "b 1, name l2, l2 0.1")


def test_what_a_setting_does_not_have_is_told_from_none() -> None:
    laid = grid([{"a": "none", "b": 1}, {"b": 1}, {"b": 2}])
    assert {factor.name: factor.levels for factor in laid.factors}["a"] == ("none", "not set")
    assert laid.labels == ("a none, b 1", "b 1", "b 2")
    assert grid([{"a": "none"}, {}]).labels == ("a none", "a not set")


def test_values_that_python_takes_for_equal_are_two_levels() -> None:
    assert grid([{"a": 1}, {"a": True}]).factors[0].levels == ("1", "true")


def test_one_setting_has_no_factor() -> None:
    laid = grid([{"a": 1}])
    assert (laid.factors, laid.levels, laid.labels, laid.order) == ((), ((),), ("the one setting",), (0,))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (KERNEL, 5, "5 × 5 kernels"),
        (KERNEL, [3, 5], "3 × 5 kernels"),
        (FILTERS, 1, "1 filter"),
        (FILTERS, 64, "64 filters"),
        ("model.blocks.block2.conv.filters", 64, "filters 64"),
        (KERNEL, "big", "kernel_size big"),
        ("model.dropout", 0.2, "dropout 0.2"),
    ],
)
def test_an_argument_in_words(key: str, value: JsonValue, said: str) -> None:
    assert argument_in_words(key, key.rpartition(".")[2], value) == said


def test_a_line_is_a_line() -> None:
    assert one_line("a\n\tb\x00\u2028c  d") == "a b c d"
