"""The playground is one file of a record's own weights; the committed one is what the code writes."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.layers import layers
from pipeline.config.load import leaves
from pipeline.config.messages import validated
from pipeline.config.schema import Model
from pipeline.explainer.measured import COLUMNS, measured
from pipeline.explainer.page import HALF, content_in, encoded, page, script, weights_in
from pipeline.storage import project
from pipeline.storage.arrays import digest_of
from pipeline.studies.bundle import pack_study
from pipeline.studies.study import Setting, Study, update_study
from pipeline.terminal.errors import UserError
from tests.harness.doors import asked_here
from tests.harness.project import Project, finished_project
from tests.harness.settings import article_values

COMMITTED = project.ROOT / "docs" / "playground.html"
TEXT = COMMITTED.read_text("utf-8")
WRITE = "python -m pipeline.playground -o docs/playground.html writes it, of the record of `dvc repro`"


def test_the_committed_page_is_what_the_code_writes_of_what_it_holds() -> None:
    assert page(content_in(TEXT)) == TEXT, WRITE


def test_the_committed_page_is_of_the_committed_run_and_its_reports() -> None:
    content = content_in(TEXT)
    metrics = json.loads((project.ROOT / "record/evaluation/metrics.json").read_text("utf-8"))
    assert content["scores"] == {"images": "test", **metrics}, WRITE
    assert digest_of(weights_in(content)) == content["weights_digest"]
    model = validated(Model, article_values()["model"])
    assert content["measured"] == list(measured(model, content["dataset"], [28, 28, 1], 10)), WRITE
    assert {row["study"] for row in content["measured"]} >= {"kernels_by_filters", "rules_strides"}
    # Its network and training are those of rules_strides, its images are not.
    assert "rules_strides_mnist" not in {row["study"] for row in content["measured"]}


def test_the_committed_page_is_small_and_names_no_place_outside() -> None:
    assert len(TEXT.encode()) < 1_000_000
    addresses = set(re.findall(r"\w+://[^\"' )]+", TEXT))
    # The name of SVG is no address that is asked for.
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|iframe|object|embed|img)\b|@import|url\(", TEXT)


def test_the_modules_become_one_that_imports_nothing() -> None:
    assert not re.search(r"^(import|export)\b", script(), re.MULTILINE)


def test_float16_takes_half_the_room_of_large_arrays_and_leaves_small_ones() -> None:
    weights = {"a/kernel": np.full((100, 100), 0.1, np.float32), "a/bias": np.full(100, 1e6, np.float32)}
    content: dict[str, Any] = {"weights": encoded(weights, HALF)}
    assert content["weights"]["a/kernel"]["bytes"] == 2
    decoded = weights_in(content)
    assert np.allclose(decoded["a/kernel"], 0.1, rtol=2**-11)
    assert np.array_equal(decoded["a/bias"], weights["a/bias"])


def row(changes: dict[str, Any], **values: str) -> dict[str, str]:
    """A line of a report of the article's network with changes."""
    model = validated(Model, article_values(changes)["model"])
    built = layers(model, (28, 28, 1), 10)
    costs = {
        "parameters": str(sum(layer.parameters for layer in built)),
        "multiply_adds": str(sum(layer.multiply_adds for layer in built)),
    }
    return {
        "setting": "one",
        "seeds": "8",
        "mean": "90",
        "interval_low": "89",
        "interval_high": "91",
        **costs,
        **values,
    }


@pytest.mark.parametrize(
    ("key", "text", "changes"),
    [
        ("model.conv.kernel_size", "[3, 5]", {"model.conv.kernel_size": [3, 5]}),
        ("model.conv.activation", "tanh", {"model.conv.activation": "tanh"}),
        ("model.conv.use_bias", "false", {"model.conv.use_bias": False}),
        ("model.pooling", "none", {"model.pooling": "none"}),
        ("model.conv.kernel_constraint", "none", {}),
        ("model.conv.kernel_constraint", '{"name": "NonNeg"}', {"model.conv.kernel_constraint": {"name": "NonNeg"}}),
        ("training.epochs", "8", {}),
    ],
)
def test_a_line_of_a_report_is_read_as_what_differs_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, text: str, changes: dict[str, Any]
) -> None:
    (found,) = read(tmp_path, monkeypatch, {key: text, **row(changes)})
    assert found["changes"] == changes
    assert (found["mean"], found["interval_low"], found["interval_high"], found["seeds"]) == (90, 89, 91, 8)
    assert (found["epochs"], found["batch_size"]) == (4, 128)
    assert found["others"] == ({key: text} if key.startswith("training") else {})


@pytest.mark.parametrize(
    "line",
    [
        {"model.conv.filters": "16", **row({"model.conv.filters": 16}, interval_low="")},  # one seed has no interval
        {"model.conv.filters": "16", **row({})},  # of another network than the declared one
        {"model.conv.filters": "nonsense", **row({})},
        {"model": "deep", **row({})},  # a variant names no key
        {"model.depth": "1", **row({"model.depth": 1})},  # no control reaches it
    ],
)
def test_what_was_measured_otherwise_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: dict[str, str]
) -> None:
    assert read(tmp_path, monkeypatch, line) == []


@pytest.mark.parametrize("values", [{"mean": ""}, {"seeds": "many"}, {"parameters": "x"}])
def test_a_report_that_is_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Any) -> None:
    with pytest.raises(
        UserError, match=r"results\.csv: is not as compare writes it .*python -m pipeline\.compare kern"
    ):
        read(tmp_path, monkeypatch, {"model.conv.filters": "32", **row({}, **values)})


def test_a_study_that_is_not_declared_and_a_table_that_is_no_report_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(tmp_path, monkeypatch, row({}), study="of_my_own") == []
    assert read(tmp_path, monkeypatch, dict.fromkeys(COLUMNS[1:], "1")) == []


def test_a_study_that_is_here_says_itself_what_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not declared, and not what conf/ composes to now.
    monkeypatch.setattr(project, "STUDIES", tmp_path / "studies")
    values = article_values({"model.conv.activation": "tanh", "training.epochs": 7, "data.validation_images": 10})
    setting = Setting(dict(leaves({name: values[name] for name in ("model", "training", "data")})), 1, 1)
    study = Study("of_my_own", "validation", "basis", None, 0.5, "finished", {"s0": setting})
    update_study(project.study("of_my_own"), lambda _: study)
    changes = {"model.conv.kernel_size": 3}
    line = {"model.conv.kernel_size": "3", **row(changes)}
    (found,) = read(tmp_path / "reports", monkeypatch, line, study="of_my_own")
    assert found["changes"] == changes | {"model.conv.activation": "tanh"}
    assert (found["epochs"], found["held_out"]) == (7, 10)


CONSTRAINT = {"name": "MaxNorm", "max_value": 3, "axis": [0, 1, 2]}
NAMED = [
    ("constraints", "max_norm_3", {"model.conv.kernel_constraint": CONSTRAINT}, 10_000),
    ("constraints", "non_negative", {"model.conv.kernel_constraint": {"name": "NonNeg"}}, 10_000),
    ("strides", "strides_parameters", {"model.conv.strides": 2, "model.pooling": "none"}, 10_000),
    ("regularizers_overfitting", "l2_1e-2", {"model.conv.kernel_regularizer": {"name": "l2", "l2": 0.01}}, 55_000),
    ("bias", "base", {}, 10_000),
]


@pytest.mark.parametrize(("study", "name", "changes", "held_out"), NAMED)
def test_a_setting_that_its_study_names_is_what_is_declared_under_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: str, name: str, changes: dict[str, Any], held_out: int
) -> None:
    line = {"study.settings": name, **row(changes)}
    (found,) = read(tmp_path, monkeypatch, line, study=f"rules_{study}")
    assert (found["changes"], found["held_out"], found["others"]) == (changes, held_out, {})


@pytest.mark.parametrize("bundled", [False, True])
def test_a_setting_that_its_study_names_is_what_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    monkeypatch.setattr(project, "STUDIES", tmp_path / "studies")
    wide, slow = {"model.conv.filters": 64}, {"training.learning_rate": 0.01}
    settings = {
        name: Setting(dict(leaves(article_values(changes))), 1, 1, {"setting": name})
        for name, changes in (("base", {}), ("wide", wide), ("slow", slow))
    }
    study = Study("rules_bias", "validation", "basis", None, 0.5, "finished", settings)
    if bundled:
        bundle = tmp_path / "reports" / "rules_bias" / project.BUNDLE
        bundle.parent.mkdir(parents=True)
        bundle.write_bytes(pack_study(study))
    else:
        update_study(project.study("rules_bias"), lambda _: study)
    for name, changes, others in (("wide", wide, {}), ("slow", {}, slow)):
        line = {"study.settings": name, **row(changes)}
        (found,) = read(tmp_path / "reports", monkeypatch, line, study="rules_bias")
        assert (found["changes"], found["others"]) == (changes, others)
        # What other images taught says nothing of these.
        assert read(tmp_path / "reports", monkeypatch, line, study="rules_bias", dataset="mnist") == []
    # Of the declared study, which is not what was run.
    assert read(tmp_path / "reports", monkeypatch, {"study.settings": "no_bias", **row({})}, study="rules_bias") == []


def read(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: dict[str, str],
    study: str = "kernels_by_filters",
    dataset: str = "fashion_mnist",
) -> list[Any]:
    """What the page says of a report with one line."""
    path = folder / study / "results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(line))
        writer.writeheader()
        writer.writerow(line)
    monkeypatch.setattr(project, "REPORTS", folder)
    return list(measured(validated(Model, article_values()["model"]), dataset, [28, 28, 1], 10))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished_project(tmp_path_factory.mktemp("playground") / "project")


def test_it_is_written_of_the_record_of_dvc_repro(finished: Project) -> None:
    said = finished.verb("playground")
    run = json.loads((finished.path / "record/training/run.json").read_text("utf-8"))
    path = finished.path / "reports/playground" / f"{run['identity']}.html"
    assert f"{run['identity']}.html: {path.stat().st_size / 1000:.0f} kB" in said
    content = content_in(path.read_text("utf-8"))
    assert digest_of(weights_in(content)) == run["weights"]
    assert len(content["pictures"]["mistakes"]) > 0
    assert all(
        (max(one["probabilities"]) == one["probabilities"][one["label"]]) == (kind == "right")
        for kind, images in content["pictures"].items()
        for one in images
    )
    assert "mine.html" in asked_here(finished, "playground", "record", "-o", "mine.html").said
    assert (finished.path / "mine.html").read_bytes() == path.read_bytes()


def test_what_is_missing_is_named_with_what_makes_it(finished: Project) -> None:
    assert "5d0a: is no run's identity" in asked_here(finished, "playground", "5d0a").said
    prepared = finished.path / "data/prepared"
    shutil.move(prepared, finished.path / "elsewhere")
    try:
        assert "the prepared images are missing. Run: dvc repro preprocess" in asked_here(finished, "playground").said
    finally:
        shutil.move(finished.path / "elsewhere", prepared)
    shutil.move(finished.path / "record/evaluation", finished.path / "elsewhere")
    try:
        assert "record: is not scored yet" in asked_here(finished, "playground").said
    finally:
        shutil.move(finished.path / "elsewhere", finished.path / "record/evaluation")


def swept(project_: Project, *words: str) -> dict[str, int]:
    """The runs of a sweep: identity → parameters."""
    before = set(project_.path.glob("runs/*/training/run.json"))
    project_.verb("sweep", "-m", "data.validation_images=100", "seed=0", *words)
    after = set(project_.path.glob("runs/*/training/run.json")) - before
    runs = [json.loads(path.read_text("utf-8")) for path in after]
    return {run["identity"]: run["parameters"] for run in runs}


@pytest.mark.long
def test_a_run_of_a_sweep_is_shown_with_the_images_that_scored_it(finished: Project) -> None:
    (run,) = swept(finished, "model.conv.filters=2", "study.name=one")
    finished.verb("playground", run)
    content = content_in((finished.path / f"reports/playground/{run}.html").read_text("utf-8"))
    assert content["scores"]["images"] == "validation"
    assert content["weights"]["block1_conv/kernel"]["shape"][-1] == 2


@pytest.mark.long
def test_a_network_with_every_key_is_shown(finished: Project) -> None:
    words = [
        "model.input_normalization=true",
        "model.pool_size=3",
        "model.pool_strides=2",
        "model.pool_padding=same",
        "model.dense.units=[8,6]",
        "model.dense.batch_normalization=before_activation",
        "model.dense.dropout=[0.1,0.2]",
        "model.conv.kernel_initializer={name: random_normal, stddev: 0.1}",
        "+model.blocks.block2.conv.kernel_constraint=MaxNorm",
    ]
    (run,) = swept(finished, *words, "study.name=every_key")
    finished.verb("playground", run)
    content = content_in((finished.path / f"reports/playground/{run}.html").read_text("utf-8"))
    assert {"input_norm/gamma", "dense1_norm/gamma", "dense2/kernel", "output/bias"} <= content["weights"].keys()
    constraint = {"name": "MaxNorm", "max_value": 2.0, "axis": [0]}
    assert content["settings"]["model.blocks.block2.conv.kernel_constraint"] == constraint
    assert content["light_backgrounds"] is False


@pytest.mark.long
def test_a_large_network_is_kept_as_float16_and_one_too_large_is_told(finished: Project) -> None:
    # 12 × 12 × 8 features, to a dense layer.
    words = "model.depth=1", "model.conv.kernel_size=5", "model.conv.filters=8", "model.dense.units=[180],[500]"
    runs = swept(finished, *words, "study.name=large")
    assert sorted(runs.values()) == [209_558, 581_718]
    for run, parameters in runs.items():
        said = finished.verb("playground", run)
        assert "kept as float16" in said
        assert (f"{parameters:,} parameters make a page of" in said) == (parameters > 500_000)
