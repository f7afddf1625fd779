"""Which images score a run, by which code, and what is written of a run that did not get so far."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import Data
from pipeline.data import prepared, summary
from pipeline.data.prepared import Images, split
from pipeline.data.scoring import ScoringSet, held_out_digest, validation_set
from pipeline.data.scoring import test_set as set_of_test
from pipeline.run import checkpoint
from pipeline.run import identity as identities
from pipeline.run.identity import identity, scoring_identity
from pipeline.run.record import read_training
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.settings import article
from tests.harness.studies import DATA, ENVIRONMENT, a_project, prepare, swept, write_record

ROOT = project.ROOT


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(monkeypatch, tmp_path)


# Images


def images() -> Images:
    numbers = np.arange(40, dtype=np.uint8)
    return Images(numbers.reshape(40, 1, 1, 1), numbers % 10)


@pytest.mark.parametrize("seed", [0, 1])
def test_images_held_out_are_those_that_no_training_of_the_run_sees(seed: int) -> None:
    data = article({"data.validation_images": 20, "data.split_seed": seed}).data
    scored = validation_set(images(), data)
    found = scored.images
    trained, _ = split(images().labels, 20, seed)
    assert sorted([*found.images.ravel().tolist(), *trained.tolist()]) == list(range(40))
    assert (found.images.ravel() % 10 == found.labels).all()
    # Stratified: two of each of the ten classes.
    assert np.bincount(found.labels).tolist() == [2] * 10
    assert scored.digest == held_out_digest(images().digest, 20, seed)
    assert (scored.kind, scored.dataset, scored.class_names) == ("validation", data.name, data.class_names)


def test_the_digest_of_test_images_is_that_of_the_arrays_that_are_scored() -> None:
    every, data = images(), article({}).data
    some = set_of_test(Images(every.images[:10], every.labels[:10]), data)
    assert some.digest == Images(every.images[:10].copy(), every.labels[:10].copy()).digest
    assert some.digest != set_of_test(every, data).digest


@pytest.mark.parametrize(("load", "score"), [("load_test", set_of_test), ("load_training", validation_set)])
def test_a_part_of_the_prepared_images_scores_no_run(load: str, score: Callable[[Images, Data], ScoringSet]) -> None:
    prepare()
    whole: Images = getattr(prepared, load)(project.PREPARED, swept().data)
    assert score(whole, swept().data).class_names == swept().data.class_names
    cut = replace(whole, images=whole.images[:-1], labels=whole.labels[:-1])
    with pytest.raises(UserError, match=f"not those that were prepared .{whole.digest[:12]}"):
        score(cut, swept().data)


def test_more_held_out_images_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.validation_images"):
        validation_set(images(), article({"data.validation_images": 40}).data)


def test_the_digest_of_held_out_images_says_out_of_which_how_many_and_how_chosen() -> None:
    chosen = [(10, 0), (11, 0), (10, 1), (1, 10)]
    assert len({held_out_digest(digest, *how) for how in chosen for digest in ("d", "e")}) == 8


def test_digests_are_told_without_opening_the_images() -> None:
    prepare()
    training, test = prepared.load_training(project.PREPARED), prepared.load_test(project.PREPARED)
    digests = summary.load_summary(project.PREPARED).digests
    canonical = json.dumps([digests["test_images.npy"], digests["test_labels.npy"]], separators=(",", ":"))
    for name in (*prepared.TRAINING, *prepared.TEST):
        (project.PREPARED / name).unlink()
    assert prepared.training_digest(project.PREPARED, swept().data) == training.digest
    assert (
        prepared.test_digest(project.PREPARED, swept().data)
        == test.digest
        == hashlib.sha256(canonical.encode()).hexdigest()
    )
    assert training.digest != test.digest
    shutil.rmtree(project.PREPARED)
    for digest in (prepared.training_digest, prepared.test_digest):
        with pytest.raises(UserError, match="Run: dvc repro preprocess"):
            digest(project.PREPARED, swept().data)


# Code


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the code, which scoring is then told by."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(project, "ROOT", tmp_path)
    identities.scoring_code.cache_clear()
    yield tmp_path / "pipeline"
    identities.scoring_code.cache_clear()


def scoring_after_a_change_of(path: Path, more: str = "more = 1\n") -> str:
    path.write_text(path.read_text() + more)
    identities.scoring_code.cache_clear()
    return scoring_identity("i", "ab")


def test_scoring_is_told_by_its_images() -> None:
    assert scoring_identity("i", "ab") == scoring_identity("i", "ab") != scoring_identity("j", "ab")
    assert len(scoring_identity("i", "ab")) == 64


def test_scoring_is_told_by_what_the_classes_are_called() -> None:
    assert scoring_identity("i", ["a", "b"]) != scoring_identity("i", ["a", "c"])


@pytest.mark.parametrize("module", ["run/metrics.py", "network/predict.py", "run/evaluate_run.py"])
def test_code_that_computes_scores_makes_another_scoring(code: Path, module: str) -> None:
    before = scoring_identity("i", "ab")
    assert scoring_after_a_change_of(code / module, "# why\n\n") == before
    assert scoring_after_a_change_of(code / module) != before


def test_code_that_draws_or_tells_or_trains_makes_no_other_scoring(code: Path) -> None:
    before = scoring_identity("i", "ab")
    pictures = sorted((code / "figures").glob("*.py"))
    assert len(pictures) > 3
    others = ["studies/console.py", "tracking/mirror.py", "network/fit.py"]
    for path in [*pictures, *(code / other for other in others)]:
        assert scoring_after_a_change_of(path) == before, path


# Runs that did not get to their end


def test_a_run_that_was_left_keeps_its_epochs_and_says_how_it_ended() -> None:
    configuration = swept({"seed": 5})
    found = identity(configuration, DATA)
    work = project.checkpoint(found.name)
    write_record(work, configuration, found=found, outcome="running", epochs=3, accuracy=None)
    before = read_training(work / "training")
    assert checkpoint.close_unfinished(configuration, found, "failed", "out of memory") == work
    after = read_training(work / "training")
    assert (after.run.outcome, after.run.reason, after.run.epochs) == ("failed", "out of memory", 3)
    assert (after.history, after.times, after.environment) == (before.history, before.times, ENVIRONMENT)
    assert after.run.identity == found.name
    assert after.run.configuration["seed"] == 5
    checkpoint.close_unfinished(configuration, found, "interrupted", "again")
    assert read_training(work / "training").run.outcome == "interrupted"


@pytest.mark.parametrize("damage", ["no folder", "no file", "run.json", "history.csv", "clock"])
def test_a_run_whose_record_is_missing_or_damaged_says_how_it_ended(
    damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.run.checkpoint.environment", lambda: ENVIRONMENT)
    configuration = swept()
    found = identity(configuration, DATA)
    training = project.checkpoint(found.name) / "training"
    if damage == "no file":
        training.mkdir(parents=True)
    elif damage != "no folder":
        write_record(training.parent, configuration, found=found, outcome="running", accuracy=None)
        clock = training.parent / "clock" / f"{found.name}.training.json"
        (clock if damage == "clock" else training / damage).write_text("{")
    checkpoint.close_unfinished(configuration, found, "failed", "killed")
    after = read_training(training)
    assert (after.run.outcome, after.run.reason, after.run.epochs) == ("failed", "killed", 0)
    assert (after.history, after.times, after.environment) == ((), (), ENVIRONMENT)
    # 5·5·1·32 + 32, 5·5·32·64 + 64, 4·4·64·10 + 10
    assert after.run.parameters == 832 + 51_264 + 10_250
