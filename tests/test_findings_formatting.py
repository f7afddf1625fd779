"""Numbers as a person reads them."""

import math

import pytest

from pipeline.findings import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.316, "+0.32"), (-0.054, "−0.05"), (-0.001, "0.00"), (0.0, "0.00"), (None, "–"), (math.nan, "–")],
)
def test_points(value: float | None, text: str) -> None:
    assert wording.points(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.73, 1.46, "0.7 to 1.5"),
        (-1.46, -0.73, "0.7 to 1.5"),
        (0.02, 0.31, "0.02 to 0.31"),
        (0.21, 0.24, "0.21 to 0.24"),
        (0.001, 0.5, "0.001 to 0.50"),
        (0.0001, 0.0002, "0.0001 to 0.0002"),
    ],
)
def test_a_span_never_reads_zero_nor_two_equal_ends(low: float, high: float, text: str) -> None:
    assert wording.span(low, high) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(3.749, "3.7 times"), (0.283, "0.28 times"), (12.4, "12 times"), (1.001, "1.0 times"), (1.94, "1.9 times")],
)
def test_times(ratio: float, text: str) -> None:
    assert wording.times(ratio) == text


def test_shares_are_none_or_all_only_if_they_are() -> None:
    assert [wording.share(value) for value in (0, 1, 0.9999, 0.0001, 0.5, 0.012)] == [
        "0 %", "100 %", "> 99 %", "< 0.1 %", "50 %", "1.2 %",
    ]  # fmt: skip


def test_seeds_in_words() -> None:
    assert wording.runs_of([0, 1, 2, 3]) == "0 to 3"
    assert wording.runs_of([0, 1, 5, 6, 7]) == "0, 1, 5 to 7"
    assert wording.runs_of([4]) == "4"


def test_large_numbers_and_lists() -> None:
    assert [wording.large(value) for value in (62_346, 14_049_280, math.nan)] == ["62,346", "14 million", "–"]
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed([]) == ""
