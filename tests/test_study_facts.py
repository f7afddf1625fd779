"""What of a study goes to its MLflow run: tags, the table as Markdown, the table as CSV. Needs no mlflow."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from pipeline.studies.study import Study
from pipeline.tracking.fields import MOST_ROWS, MOST_TEXT, study_description, study_tags, table_csv
from tests.harness.studies import cell, study

SETTINGS: dict[str, dict[str, Any]] = {
    "a": {"model.conv.kernel_size": 3, "model.conv.padding": "same", "model.conv.use_bias": True},
    "b": {"model.conv.kernel_size": [3, 5], "model.conv.padding": "valid", "model.conv.use_bias": True},
    "c": {"model.conv.kernel_size": None, "model.conv.padding": "same", "model.conv.use_bias": True},
}
CELLS = [
    cell("a", 3, accuracy=0.9),
    cell("a", 0, accuracy=0.8),
    cell("b", 0, "diverged", 0.1),
    cell("b", 3, "failed"),
    cell("c", 0, "waiting"),
]


def table(found: Study) -> list[list[str]]:
    """The rows of the Markdown table: head, rule, settings."""
    lines = [line for line in study_description(found).splitlines() if line.startswith("|")]
    return [[part.removesuffix("&emsp;").strip() for part in line.strip("|").split("|")] for line in lines]


def test_tags_are_the_declared_grid_and_how_it_is_compared() -> None:
    found = study_tags(
        replace(study(SETTINGS, CELLS), baseline={"model.conv.kernel_size": 3}, margin=0.25, state="failed")
    )
    note = found.pop("mlflow.note.content")
    assert found == {
        "study": "kernels",
        "role": "study",
        "outcome": "failed",
        "scored_on": "validation",
        "margin": "0.25",
        "baseline": "model.conv.kernel_size 3",
        "baseline.values": '{"model.conv.kernel_size": 3, "model.conv.padding": "same"}',
        "grid.model.conv.kernel_size": "3, [3, 5], none",
        "grid.model.conv.padding": "same, valid",
        "grid.seed": "0, 3",
        "mlflow.source.name": "conv2d pipeline",
    }
    assert note == study_description(replace(study(SETTINGS, CELLS)))


def test_a_baseline_that_is_a_variant_is_told_by_its_values_too() -> None:
    found = study({"a": {"model.depth": 2, "model.blocks": {}}, "b": {"model.depth": 4, "model.use": "none"}})
    settings = {name: replace(one, variants={"model": f"model_{name}"}) for name, one in found.settings.items()}
    named = study_tags(replace(found, settings=settings, baseline={"model": "model_b"}))
    assert (named["baseline"], named["grid.model"]) == ("model model_b", "model_a, model_b")
    assert named["baseline.values"] == '{"model.depth": 4, "model.use": "none"}'


def test_a_key_that_a_setting_does_not_have_is_no_value_of_it() -> None:
    found = study({"a": {"p": "none", "q": 1}, "b": {"q": 1}, "c": {"q": 2}}, [cell("a", 0, accuracy=0.5)])
    assert study_tags(found)["grid.p"] == "none, not set"
    assert [row[:2] for row in table(found)[2:]] == [["none", "1"], ["not set", "1"], ["not set", "2"]]
    assert [line.split(",")[:2] for line in table_csv(found).splitlines()] == [
        ["p", "q"],
        ["none", "1"],
        ["", "1"],
        ["", "2"],
    ]


def test_a_study_without_a_baseline_has_no_such_tag() -> None:
    assert "baseline" not in study_tags(study(SETTINGS))
    assert study_tags(study({}))["grid.seed"] == ""


def test_seeds_are_told_in_their_order() -> None:
    cells = [cell("a", seed) for seed in (8, 1, 16, 1)]
    assert study_tags(study({"a": {}}, cells))["grid.seed"] == "1, 8, 16"


def test_the_description_counts_and_shows_each_setting() -> None:
    found = study(SETTINGS, CELLS)
    assert study_description(found).startswith(
        "**kernels**: 2 of 5 runs finished, 1 diverged, 1 failed; accuracy on the val"
    )
    head, rule, *settings = table(found)
    assert head == ["kernel_size", "padding", "accuracy", "diverged", "parameters", "multiply-adds", "seconds"]
    assert len(rule) == len(head)
    assert settings == [
        ["3", "same", "85.00 ± 7.07 % (2)", "0", "10", "1,000", "2.0"],
        ["[3, 5]", "valid", "–", "1", "10", "1,000", ""],
        ["none", "same", "–", "0", "10", "1,000", ""],
    ]


def test_a_column_of_diverged_runs_is_there_only_where_there_are_any() -> None:
    head, rule, first, *_ = table(study(SETTINGS, CELLS[:2]))
    assert "diverged" not in head
    assert len(head) == len(rule) == len(first) == 6
    assert "diverged" not in study_description(study(SETTINGS, CELLS[:2]))


@pytest.mark.parametrize(
    ("found", "part"),
    [
        (study({}), "No run yet."),
        (study({"a": {}}, [cell("a", 0, accuracy=0.5)]), "| the one | 50.00 % (1) |"),
        (study(SETTINGS, CELLS, images="test"), "**The test images were opened for this study.**"),
        (replace(study(SETTINGS), refused=({"setting": "a", "reason": "b"},)), "1 setting of the grid can't exist"),
    ],
)
def test_the_description_says(found: Study, part: str) -> None:
    # The table's padding is not meant.
    assert part in " ".join(study_description(found).replace("&emsp;", " ").split())
    assert part not in " ".join(study_description(study(SETTINGS, CELLS)).replace("&emsp;", " ").split())


def many(count: int, **wide: Any) -> Study:
    """Settings of growing accuracy, one without a finished run among them."""
    settings = {str(number): {"model.conv.filters": number} | wide for number in range(count)}
    cells = [cell(str(number), 0, accuracy=number / count) for number in range(count) if number != 1]
    return study(settings, cells)


def test_the_description_of_a_large_study_holds_its_best_settings_in_their_order() -> None:
    found = many(MOST_ROWS + 3)
    assert [row[0] for row in table(found)[2:]] == [str(number) for number in range(3, MOST_ROWS + 3)]
    assert f"{MOST_ROWS} of {MOST_ROWS + 3} settings" in study_description(found)
    assert "settings.csv" not in study_description(many(MOST_ROWS))
    assert len(table(many(MOST_ROWS))) == MOST_ROWS + 2


def test_no_tag_is_longer_than_servers_keep() -> None:
    # A search over many rates: cut by the server it would never be what is wanted, and be written again and again.
    settings = {str(number): {"training.learning_rate": number / 7_919} for number in range(600)}
    cells = [cell(name, seed, accuracy=0.5) for name in settings for seed in range(2)]
    assert {name: len(text) for name, text in study_tags(study(settings, cells)).items() if len(text) > MOST_TEXT} == {}


def test_a_table_of_many_columns_is_no_longer_than_servers_keep() -> None:
    keys = [f"model.blocks.block{number}.conv.kernel_initializer" for number in range(8)]
    settings = {
        str(number): {
            key: ("glorot_uniform", "truncated_normal")[number >> place & 1] for place, key in enumerate(keys)
        }
        for number in range(256)
    }
    assert len(study_description(study(settings))) <= MOST_TEXT


def test_a_value_does_not_break_the_table() -> None:
    found = study({"a": {"data.class_names": ["a|b", "c"]}, "b": {"data.class_names": ["a", "b"]}})
    head, _, first, second = (line for line in study_description(found).splitlines() if line.startswith("|"))
    bars = [line.replace("\\|", "").count("|") for line in (head, first, second)]
    assert len(set(bars)) == 1


def test_the_csv_holds_every_setting_with_every_digit() -> None:
    found = study(SETTINGS, CELLS)
    read = list(csv.DictReader(io.StringIO(table_csv(found))))
    assert [row["kernel_size"] for row in read] == ["3", "[3, 5]", "none"]
    assert [(row["finished"], row["diverged"], row["failed"]) for row in read] == [
        ("2", "0", "0"),
        ("0", "1", "1"),
        ("0", "0", "0"),
    ]
    assert float(read[0]["mean"]) == pytest.approx(0.85, rel=1e-15)
    assert float(read[0]["deviation"]) == pytest.approx(0.1 / 2**0.5, rel=1e-12)
    assert (read[1]["mean"], read[1]["deviation"], read[1]["seconds"]) == ("", "", "")
    assert (read[0]["parameters"], read[0]["multiply_adds"]) == ("10", "1000")
    assert len(list(csv.DictReader(io.StringIO(table_csv(many(60)))))) == 60
    assert table_csv(study({})).count("\n") == 1
