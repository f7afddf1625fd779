"""About how long the missing runs will take, and how much disk."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.schema import Configuration
from pipeline.run.identity import identity
from pipeline.storage import project
from pipeline.studies import estimate
from pipeline.studies.estimate import FIXED_COST, RATES, RECORD_BYTES, START, Estimate, estimate_time
from pipeline.studies.plan import Job, setting_of
from tests.harness.studies import DATA, a_project, swept, write_record

TRAINED = 60_000 - 10
"""Fashion-MNIST's training images but for those that `swept` holds out."""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


def job(configuration: Configuration | None = None) -> Job:
    configuration = configuration or swept()
    return Job(configuration, identity(configuration, DATA), "a", "validation", "s", pictured=False)


def estimate_of(*jobs: Job) -> Estimate:
    settings = {found.setting: setting_of(found.configuration) for found in jobs}
    return estimate_time(jobs, settings)


def measure(name: str, seconds: float, **changes: Any) -> Path:
    """A record of two epochs of `seconds` each."""
    write_record(project.run_root(name), swept(changes), seconds=seconds)
    return project.run_root(name) / "training" / "run.json"


def test_nothing_to_do_takes_nothing() -> None:
    found = estimate_of()
    assert (found.seconds, found.bytes, found.measured) == ({}, 0, False)
    assert found.total(2) == 0


def test_workers_share_the_work_after_a_common_start() -> None:
    found = Estimate({"a": 30.0, "b": 10.0}, 0, measured=True)
    assert found.total(1) == START + 40
    assert found.total(2) == START + 20


@pytest.mark.parametrize("precision", RATES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_machine_that_has_shown_nothing_is_assumed(
    precision: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.studies.estimate.lacks_bfloat16", lambda: False)
    changes = {"training.precision": precision, "training.threads": threads, "training.epochs": 3}
    found = job(swept(changes))
    work = 3 * TRAINED * (setting_of(found.configuration).multiply_adds + FIXED_COST)
    result = estimate_of(found)
    assert result.seconds == {found.identity.name: pytest.approx(work / RATES[precision] / threads)}
    assert not result.measured
    monkeypatch.setattr("pipeline.studies.estimate.lacks_bfloat16", lambda: True)
    assert (estimate_of(found).seconds != result.seconds) == (precision == "mixed_bfloat16")


def test_a_run_like_one_that_was_measured_takes_as_long() -> None:
    measure("1", 7.5, **{"training.epochs": 2})
    found = job(swept({"training.epochs": 2, "seed": 9}))
    result = estimate_of(found)
    assert result.measured
    assert result.seconds[found.identity.name] == pytest.approx(15)
    longer = job(swept({"training.epochs": 20}))
    assert estimate_of(longer).seconds[longer.identity.name] == pytest.approx(150)


def test_the_rate_is_the_median_of_runs_of_the_same_kind() -> None:
    for number, seconds in enumerate((1.0, 2.0, 50.0)):
        measure(str(number), seconds, seed=number)
    measure("b", 100.0, **{"training.batch_size": 64})
    measure("t", 200.0, **{"training.threads": 1})
    found = job(swept({"training.epochs": 2}))
    assert estimate_of(found).seconds[found.identity.name] == pytest.approx(4)


def test_a_kind_that_was_not_measured_makes_the_whole_an_assumption() -> None:
    measure("1", 7.5)
    known, unknown = job(swept({"training.epochs": 2})), job(swept({"training.threads": 1}))
    result = estimate_of(known, unknown)
    assert not result.measured
    assert result.seconds[known.identity.name] == pytest.approx(15)
    assert result.seconds[unknown.identity.name] == estimate_of(unknown).seconds[unknown.identity.name]


@pytest.mark.parametrize(("ingredient", "other"), [("data", "e" * 64), ("device", "NVIDIA L4")])
def test_runs_on_other_images_or_another_device_say_nothing(ingredient: str, other: str) -> None:
    path = measure("1", 7.5)
    values = json.loads(path.read_text())
    values["ingredients"][ingredient] = other
    path.write_text(json.dumps(values))
    assert not estimate_of(job()).measured


def test_only_the_newest_records_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_RECORDS", 2)
    for number, (written, seconds) in enumerate([(3, 1.0), (1, 500.0), (4, 1.0), (2, 500.0)]):
        os.utime(measure(str(number), seconds, seed=number), (written, written))
    found = job(swept({"training.epochs": 2}))
    assert estimate_of(found).seconds[found.identity.name] == pytest.approx(2)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"ingredients": 3}', '{"ingredients": {"data": 1}}'])
def test_a_record_that_can_not_be_read_is_passed_over(content: str) -> None:
    measure("1", 7.5).write_text(content)
    assert not estimate_of(job()).measured
    measure("2", 7.5, **{"training.epochs": 2})
    found = job(swept({"training.epochs": 2}))
    assert estimate_of(found).seconds[found.identity.name] == pytest.approx(15)


def test_a_record_without_an_epoch_or_without_a_clock_is_passed_over() -> None:
    write_record(project.run_root("0"), swept(), epochs=0)
    shutil.rmtree(measure("1", 7.5).parents[1] / "clock")
    measure("2", 0.0)
    assert not estimate_of(job()).measured


def test_a_record_that_vanishes_while_it_is_looked_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another sweep that ends the same run puts a new folder in the place of the old.
    path = measure("1", 7.5)
    measure("2", 7.5)
    stat, looks = Path.stat, [0]

    def gone(found: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        looks[0] += found == path
        # The first look finds the file.
        if found == path and looks[0] > 1:
            raise FileNotFoundError(2, "No such file or directory", str(found))
        return stat(found, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", gone)
    assert estimate_of(job()).measured


def test_disk_is_weights_and_predictions_and_what_else_a_record_holds() -> None:
    found = job()
    parameters = setting_of(found.configuration).parameters
    # Ten probabilities in float32 and one byte for each of the ten images that are scored.
    assert estimate_of(found).bytes == 4 * parameters + 10 * 41 + RECORD_BYTES
    on_test = Job(found.configuration, found.identity, "a", "test", "s", pictured=False)
    assert estimate_of(on_test).bytes == 4 * parameters + 10_000 * 41 + RECORD_BYTES
    assert estimate_of(found, on_test).bytes == estimate_of(found).bytes + estimate_of(on_test).bytes


def test_a_study_that_scores_on_test_images_stores_predictions_of_all_of_them() -> None:
    configuration = swept()
    on_test = Job(configuration, identity(configuration, DATA), "a", "test", "s", pictured=False)
    assert estimate_of(on_test).bytes - estimate_of(job()).bytes == (10_000 - 10) * 41
