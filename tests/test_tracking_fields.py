"""What of a record and of a study goes to MLflow: curves, tags, the table as Markdown and as CSV. Needs no mlflow."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import Training
from pipeline.run.record import read_record
from pipeline.studies.study import Study
from pipeline.tracking.fields import (
    DETAILS,
    MOST_TEXT,
    all_tags,
    curves,
    description,
    final_metrics,
    mean_rate,
    present_name,
    tags,
)
from pipeline.tracking.study_fields import MOST_ROWS, study_description, study_metrics, study_tags, table_csv
from tests.harness.settings import article
from tests.harness.studies import a_project, cell, study, swept, write_record

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


def training(**changes: object) -> Training:
    return article({f"training.{key}": value for key, value in changes.items()}).training


def test_the_rate_of_an_epoch_is_what_it_was_trained_with() -> None:
    constant = training(learning_rate=0.005, epochs=1)
    assert mean_rate(constant, 1) == 0.005
    halves = training(learning_rate=0.1, schedule="cosine", epochs=2)
    # The mean of (1 + cos πt) / 2 over the first half is 1/2 + 1/π.
    assert [mean_rate(halves, epoch) for epoch in (1, 2)] == pytest.approx(
        [0.1 * (0.5 + 1 / math.pi), 0.1 * (0.5 - 1 / math.pi)], rel=1e-12
    )
    rising = training(learning_rate=0.1, schedule="cosine", warmup=0.5, epochs=2)
    assert [mean_rate(rising, epoch) for epoch in (1, 2)] == pytest.approx([0.05, 0.05], rel=1e-12)


@pytest.mark.parametrize(("warmup", "epochs"), [(0.0, 7), (0.1, 3), (0.1, 10), (0.37, 5), (0.9, 1)])
def test_the_rate_of_an_epoch_is_the_mean_over_its_steps(warmup: float, epochs: int) -> None:
    steps = 20_000 * epochs
    share = (np.arange(steps) + 0.5) / steps
    cosine = (1 + np.cos(np.pi * (share - warmup) / (1 - warmup))) / 2
    rates = 0.003 * np.where(share < warmup, share / (warmup or 1), cosine)
    settings = training(learning_rate=0.003, schedule="cosine", warmup=warmup, epochs=epochs)
    found = [mean_rate(settings, epoch) for epoch in range(1, epochs + 1)]
    np.testing.assert_allclose(found, rates.reshape(epochs, -1).mean(axis=1), rtol=1e-6)


def test_the_curve_of_the_rate_does_not_end_at_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    changes = {"training.schedule": "cosine", "training.epochs": 2, "training.learning_rate": 0.1}
    write_record(tmp_path, swept(changes))
    record = read_record(tmp_path)
    rates = {point.epoch: point.value for point in curves(record) if point.name == "schedule/learning_rate"}
    # The history of this record says 0.001 of each epoch.
    assert rates == pytest.approx({1: 0.0818, 2: 0.0182}, abs=1e-4)


def test_a_run_that_names_one_class_whatever_it_sees_is_tagged_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_project(monkeypatch, tmp_path)
    write_record(tmp_path, swept(), accuracy=0.1)
    record = read_record(tmp_path)
    assert record.evaluation is not None
    for collapsed in ("true", "false"):
        record = replace(record, evaluation=replace(record.evaluation, collapsed=collapsed == "true"))
        assert record.evaluation is not None
        assert all_tags(tags(record, "kernels"))["collapsed"] == collapsed
        assert ("It collapsed" in description(record)) == (collapsed == "true")
    write_record(tmp_path / "unscored", swept(), accuracy=None)
    assert "collapsed" not in all_tags(tags(read_record(tmp_path / "unscored"), "kernels"))


def table(found: Study) -> list[list[str]]:
    """The rows of the Markdown table: head, rule, settings."""
    lines = [line for line in study_description(found).splitlines() if line.startswith("|")]
    return [[part.removesuffix("&emsp;").strip() for part in line.strip("|").split("|")] for line in lines]


def test_tags_are_what_was_swept_what_is_best_and_how_it_is_compared() -> None:
    found = study_tags(
        replace(study(SETTINGS, CELLS), baseline={"model.conv.kernel_size": 3}, margin=0.25, state="failed"), "digest"
    )
    note = found.pop("mlflow.note.content")
    details = json.loads(found.pop(DETAILS))
    assert found == {
        "study": "kernels",
        "role": "study",
        "outcome": "failed",
        "scored_on": "validation",
        "swept": "kernel_size 3, [3, 5], none; padding same, valid; seed 0, 3",
        "best": "3 × 3 kernels, padding same: 85.00 ± 7.07 % (2)",
        "mlflow.source.name": "conv2d pipeline",
    }
    assert details == {
        "margin": "0.25",
        "table": "digest",
        "grid.model.conv.kernel_size": "",
        "grid.model.conv.padding": "",
        "baseline": "model.conv.kernel_size 3",
        "baseline.values": '{"model.conv.kernel_size": 3, "model.conv.padding": "same"}',
    }
    assert note == study_description(replace(study(SETTINGS, CELLS)))


def test_a_baseline_that_is_a_variant_is_told_by_its_values_too() -> None:
    found = study({"a": {"model.depth": 2, "model.blocks": {}}, "b": {"model.depth": 4, "model.use": "none"}})
    settings = {name: replace(one, variants={"model": f"model_{name}"}) for name, one in found.settings.items()}
    named = study_tags(replace(found, settings=settings, baseline={"model": "model_b"}))
    assert named["swept"] == "model model_a, model_b; seed "
    assert all_tags(named)["baseline"] == "model model_b"
    assert all_tags(named)["baseline.values"] == '{"model.depth": 4, "model.use": "none"}'


def test_a_key_that_a_setting_does_not_have_is_no_value_of_it() -> None:
    found = study({"a": {"p": "none", "q": 1}, "b": {"q": 1}, "c": {"q": 2}}, [cell("a", 0, accuracy=0.5)])
    assert study_tags(found)["swept"] == "p none, not set; q 1, 2; seed 0"
    assert [row[:2] for row in table(found)[2:]] == [["none", "1"], ["not set", "1"], ["not set", "2"]]
    assert [line.split(",")[:2] for line in table_csv(found).splitlines()] == [
        ["p", "q"],
        ["none", "1"],
        ["", "1"],
        ["", "2"],
    ]


def test_a_study_without_a_baseline_has_no_such_tag() -> None:
    assert "baseline" not in all_tags(study_tags(study(SETTINGS)))


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((8, 1, 16, 1), "1, 8, 16"), ((2, 1, 0, 3), "0 to 3"), ((0, 1), "0, 1"), ((0, 1, 3), "0, 1, 3")],
)
def test_seeds_are_told_in_their_order(seeds: tuple[int, ...], words: str) -> None:
    assert study_tags(study({"a": {}}, [cell("a", seed) for seed in seeds]))["swept"] == f"seed {words}"


def test_a_study_has_the_values_of_its_best_setting_once_a_run_has_finished() -> None:
    assert study_metrics(study(SETTINGS, CELLS)) == {
        "accuracy/best_mean": pytest.approx(0.85),
        "cost/parameters": 10,
        "cost/multiply_adds": 1000,
    }
    assert study_metrics(study(SETTINGS)) == {}


@pytest.mark.parametrize("held", ["[]", "{", '"text"', "1", '{"role": 1, "margin": null}', "[" * 100_000])
def test_details_of_a_store_that_are_none_are_passed_over(held: str) -> None:
    assert all_tags({"role": "run", DETAILS: held}) == {"role": "run"}


def test_details_that_a_server_would_cut_lose_the_longest() -> None:
    settings: dict[str, dict[str, Any]] = {
        name: {f"key{number}": f"{name} {number:0200}" for number in range(40)} for name in "ab"
    }
    named = all_tags(study_tags(replace(study(settings), baseline=dict(settings["a"]))))
    assert named["margin"] == "0.5"
    assert "baseline.values" not in named


def test_metrics_of_earlier_stores_are_called_as_they_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)
    write_record(tmp_path, swept())
    record = read_record(tmp_path)
    now = {point.name for point in curves(record)} | set(final_metrics(record))
    assert {present_name(name) for name in now} == now
    before = [
        *("validation/accuracy", "validation/loss", "training/accuracy", "training/loss", "training/learning_rate"),
        *("clock/epoch_seconds", "network/parameters", "network/multiply_adds", "clock/training_seconds"),
        *("test/accuracy", "test/loss", "clock/latency_ms_batch_1"),
    ]
    assert {present_name(name) for name in before} >= now - {"timing/latency_ms_batch_256"}


def test_the_description_counts_and_shows_each_setting() -> None:
    found = study(SETTINGS, CELLS)
    first, _, second, *_ = study_description(found).splitlines()
    assert first == (
        "**Best so far: 3 × 3 kernels, padding same: 85.00 ± 7.07 % (2)**; no verdict yet: "
        "`python -m pipeline.compare kernels`"
    )
    assert second.startswith("kernels: 2 of 5 runs finished, 1 diverged, 1 failed; accuracy on the val")
    assert study_description(found, "3 × 3 is best.", "[links](#)").startswith(
        "[links](#)  \n**3 × 3 is best.**\n\nker"
    )
    assert study_description(study(SETTINGS)).startswith("**No run has finished yet**")
    head, rule, *settings = table(found)
    assert head == ["kernel_size", "padding", "accuracy (runs)", "parameters", "multiply-adds", "seconds", "note"]
    assert len(rule) == len(head)
    assert settings == [
        ["3", "same", "85.00 ± 7.07 % (2)", "10", "1,000", "2.0", "highest mean"],
        ["[3, 5]", "valid", "–", "10", "1,000", "", "1 diverged, 1 failed"],
        ["none", "same", "–", "10", "1,000", "", ""],
    ]


def test_runs_that_collapsed_are_in_no_mean_and_said_to_be() -> None:
    cells = [*CELLS[:2], replace(cell("a", 4, accuracy=0.1), collapsed=True)]
    found = study({"a": SETTINGS["a"]}, cells)
    assert "2 of 3 runs finished, 1 collapsed; accuracy" in study_description(found)
    assert "Runs that collapsed stand in no mean." in study_description(found)
    head, _, row = table(found)
    assert (head[1], row[1]) == ("accuracy (runs)", "85.00 ± 7.07 % (2)")
    assert (head[-1], row[-1]) == ("note", "1 collapsed")
    (line,) = csv.DictReader(io.StringIO(table_csv(found)))
    assert (line["finished"], line["collapsed"]) == ("2", "1")
    assert float(line["mean"]) == pytest.approx(0.85)
    assert "collapsed" not in study_description(study({"a": SETTINGS["a"]}, CELLS[:2]))


def test_diverged_runs_are_named_only_where_there_are_any() -> None:
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
