"""A study at a glance: what its settings differ in, and how each has scored."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from pipeline.studies.study import Study
from pipeline.studies.study_summary import (
    Row,
    as_typed,
    best,
    columns,
    differing,
    in_words,
    rows,
    score_in_words,
    short_names,
    shown_at,
    swept,
    titles,
)
from tests.harness.studies import cell, study

TWO: dict[str, dict[str, JsonValue]] = {
    "a": {"model.conv.kernel_size": 3, "model.conv.filters": 8},
    "b": {"model.conv.kernel_size": 5, "model.conv.filters": 8},
}

# What differs


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ([], []),
        ([{"a": 1, "b": 2}], []),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 2}], []),
        ([{"b": 2, "a": 1}, {"b": 3, "a": 1}], ["b"]),
        ([{"b": 2, "a": 1}, {"b": 3, "a": 2}], ["b", "a"]),
        ([{"a": [3, 5]}, {"a": [5, 3]}], ["a"]),
        ([{"a": 3}, {"a": [3, 5]}], ["a"]),
        ([{"a": 0}, {"a": False}], ["a"]),
        ([{"a": 0}, {"a": None}], ["a"]),
        ([{"a": "none"}, {"a": None}], ["a"]),
        ([{"a": "1"}, {"a": 1}], ["a"]),
        ([{"a": {}}, {"a.b.c": 1}], ["a", "a.b.c"]),
        ([{"a": None}, {"a.name": "l2", "a.l2": 0.01}], ["a", "a.name", "a.l2"]),
        ([{"a": None}, {}], ["a"]),
        ([{"a": 0.1}, {"a": 0.1 + 1e-17}, {"a": 0.1 + 2e-17}], ["a"]),
    ],
)
def test_keys_that_differ(settings: Sequence[dict[str, JsonValue]], keys: list[str]) -> None:
    assert differing(settings) == keys


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ([], []),
        (["seed"], ["seed"]),
        (["model.conv.filters", "model.conv.kernel_size"], ["filters", "kernel_size"]),
        (["model.dropout", "model.dense.dropout"], ["model.dropout", "dense.dropout"]),
        (["dropout", "model.dropout"], ["dropout", "model.dropout"]),
        (["model.filters", "model.conv.my_filters"], ["filters", "my_filters"]),
        (
            ["model.conv.filters", "model.blocks.block1.conv.filters", "model.blocks.block2.conv.filters"],
            ["model.conv.filters", "block1.conv.filters", "block2.conv.filters"],
        ),
    ],
)
def test_a_short_name_is_as_long_as_it_must_be(keys: list[str], names: list[str]) -> None:
    assert list(short_names(keys).items()) == list(zip(keys, names, strict=True))


parts = st.sampled_from(["a", "b", "ab", "c"])


@given(st.lists(st.lists(parts, min_size=1, max_size=4).map(".".join), unique=True, max_size=8))
def test_short_names_are_ends_of_their_keys_and_all_different(keys: list[str]) -> None:
    found = short_names(keys)
    assert list(found) == keys
    assert len(set(found.values())) == len(keys)
    assert all(key == name or key.endswith(f".{name}") for key, name in found.items())


def test_a_label_holds_what_is_swept_and_nothing_else() -> None:
    assert swept(study(TWO)) == ["model.conv.kernel_size"]
    assert [row.label for row in rows(study(TWO))] == [{"kernel_size": 3}, {"kernel_size": 5}]
    assert titles(study(TWO)) == {"a": "3 × 3 kernels", "b": "5 × 5 kernels"}
    assert titles(study({"a": TWO["a"]})) == {"a": "the one setting"}
    assert in_words({}) == "the one setting"


def variants(*asked: tuple[str, dict[str, JsonValue]], changed: tuple[str, ...] = ()) -> Study:
    """A study of settings by their model's variant and the values beside `DEEP` that they have."""
    found = study({f"s{number}": values for number, (_, values) in enumerate(asked)})
    settings = {
        name: replace(setting, variants={"model": variant, "training": "article"}, changed=changed)
        for (name, setting), (variant, _) in zip(found.settings.items(), asked, strict=True)
    }
    return replace(found, settings=settings)


ARTICLE: dict[str, JsonValue] = {"model.depth": 2, "model.pooling": "max", "model.blocks": {}, "model.conv.filters": 32}
DEEP: dict[str, JsonValue] = {
    "model.depth": 4,
    "model.pooling": "max",
    "model.blocks.block2.pooling": "none",
    "model.conv.filters": 48,
}


def test_a_variant_stands_for_all_that_it_sets() -> None:
    found = variants(("article", ARTICLE), ("deep", DEEP))
    assert swept(found) == columns(found) == ["model"]
    assert list(titles(found).values()) == ["model article", "model deep"]


def test_what_was_changed_beside_a_variant_is_told_with_it() -> None:
    filters: list[dict[str, JsonValue]] = [{"model.conv.filters": count} for count in (8, 16)]
    asked = [(name, base | one) for name, base in (("article", ARTICLE), ("deep", DEEP)) for one in filters]
    crossed = variants(*asked, changed=("model.conv.filters",))
    words = list(titles(crossed).values())
    assert words == [f"model {name}, {count} filters" for name in ("article", "deep") for count in (8, 16)]
    # By two sweeps, of which one changed what the other left as the variant has it.
    apart = variants(("article", ARTICLE), ("deep", DEEP | filters[0]), changed=("model.conv.filters",))
    assert list(titles(apart).values()) == [
        "model article, 32 filters",
        "model deep, 8 filters",
    ]
    blocks = variants(("article", ARTICLE), ("deep", DEEP), changed=("model.blocks",))
    assert "pooling none" in titles(blocks)["s1"]
    assert "pooling" not in titles(blocks)["s0"]


def test_settings_of_a_time_when_variants_were_not_kept_are_told_apart_by_their_values() -> None:
    found = variants(("article", ARTICLE), ("deep", DEEP))
    old = replace(found, settings=found.settings | {"s0": replace(found.settings["s0"], variants={})})
    assert "model" not in swept(old)
    assert {"model.depth", "model.conv.filters"} <= set(swept(old))


def test_a_group_that_is_no_section_may_set_any_key() -> None:
    found = study({"a": {"training.epochs": 1, "model.depth": 1}, "b": {"training.epochs": 2, "model.depth": 2}})
    named = {name: replace(setting, variants={"idea": name}) for name, setting in found.settings.items()}
    assert list(titles(replace(found, settings=named)).values()) == ["idea a", "idea b"]


def test_what_is_not_set_is_told_from_what_is_none() -> None:
    found = study({"a": {"p": "none"}, "c": {"q": 1}, "d": {}})
    assert [row.label for row in rows(found)] == [{"p": "none"}, {"q": 1}, {}]
    assert list(titles(found).values()) == ["p none", "q 1", "p not set"]
    assert [shown_at(rows(found)[1].label, key) for key in columns(found)] == ["not set", "1"]


def test_settings_that_differ_in_a_list_or_a_nested_block_are_told_apart() -> None:
    settings: dict[str, dict[str, JsonValue]] = {
        "a": {"model.dense.units": [], "model.blocks": {}},
        "b": {"model.dense.units": [8], "model.blocks": {}},
        "c": {"model.dense.units": [], "model.blocks.block2.conv.filters": 4},
    }
    words = list(titles(study(settings)).values())
    assert len(set(words)) == 3
    assert "units [8]" in words[1]
    assert "filters 4" in words[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("same", "same"),
        ("", ""),
        (3, "3"),
        (0, "0"),
        (0.001, "0.001"),
        (1e-05, "1e-05"),
        (True, "true"),
        (None, "none"),
        ([3, 5], "[3, 5]"),
        ({}, "{}"),
    ],
)
def test_a_value_is_shown_as_it_is_typed(value: JsonValue, text: str) -> None:
    assert as_typed(value) == text
    assert in_words({"a": value, "b": 1}) == f"a {text}, b 1"


# Scores


def test_a_row_is_mean_and_sample_deviation_of_the_finished_runs_alone() -> None:
    cells = [
        cell("a", 0, accuracy=0.5),
        replace(cell("a", 1, "diverged", 0.1), seconds=100.0),
        cell("a", 2, accuracy=0.75),
        cell("a", 3, "failed"),
        cell("a", 4, "waiting"),
        replace(cell("a", 5, accuracy=0.1), seconds=100.0, collapsed=True),
    ]
    first, second = rows(study(TWO, cells))
    assert first == Row("a", "3 × 3 kernels", {"kernel_size": 3}, 2, 1, 1, 1, 0.625, first.deviation, 2.0, 10, 1_000)
    # Two values: their difference over √2.
    assert first.deviation == pytest.approx(0.25 / math.sqrt(2), rel=1e-15)
    assert first.lost == "1 collapsed, 1 diverged, 1 failed"
    assert second == Row("b", "5 × 5 kernels", {"kernel_size": 5}, 0, 0, 0, 0, None, None, None, 10, 1_000)


def test_rows_come_in_the_order_of_declaration_whatever_ended_first() -> None:
    cells = [cell("b", 0, accuracy=0.9), cell("a", 0, accuracy=0.8)]
    assert [row.setting for row in rows(study(TWO, cells))] == ["a", "b"]


def test_the_best_has_the_highest_mean_and_zero_is_a_mean() -> None:
    assert best(study(TWO)) is None
    assert best(study({})) is None
    failed = [cell("a", 0, "failed"), cell("b", 0, "diverged", 0.1)]
    assert best(study(TWO, failed)) is None
    zero = best(study(TWO, [cell("b", 0, accuracy=0.0)]))
    assert zero is not None
    assert (zero.setting, zero.mean) == ("b", 0.0)
    cells = [cell("a", 0, accuracy=0.9), cell("a", 1, accuracy=0.1), cell("b", 0, accuracy=0.6)]
    found = best(study(TWO, cells))
    assert found is not None
    assert found.setting == "b"


def test_runs_that_all_collapsed_are_no_best_setting() -> None:
    cells = [replace(cell("a", 0, accuracy=0.1), collapsed=True), replace(cell("b", 0, accuracy=0.1), collapsed=True)]
    assert best(study(TWO, cells)) is None


def test_a_finished_run_without_a_score_is_no_part_of_the_mean() -> None:
    row = rows(study(TWO, [cell("a", 0), cell("a", 1, accuracy=0.5)]))[0]
    assert (row.finished, row.mean, row.deviation) == (1, 0.5, None)


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [([], "–"), ([0.5], "50.00 % (1)"), ([0.0], "0.00 % (1)"), ([0.9, 0.92, 0.94], "92.00 ± 2.00 % (3)")],
)
def test_a_score_in_words(accuracies: list[float], words: str) -> None:
    cells = [cell("a", seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    assert score_in_words(rows(study(TWO, cells))[0]) == words
