"""Which run it is, what is kept of it, and what is noticed when a byte of it changes."""

import contextlib
import json
import math
import os
import platform
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline import summary
from pipeline.config.layers import blocks
from pipeline.config.schema import Configuration
from pipeline.config.specification import hashed, specification_of, specify
from pipeline.run import identity as identities
from pipeline.run.checkpoint import Checkpoint, read_checkpoint, remove_checkpoint, usable_checkpoint, write_checkpoint
from pipeline.run.environment import Environment, environment, lacks_bfloat16, precision_note, versions
from pipeline.run.identity import fingerprint, identity, layer_list, name_of
from pipeline.run.record import (
    LAYOUT,
    Epoch,
    EpochTime,
    EvaluationClock,
    Run,
    TrainingClock,
    find_root,
    history_csv,
    read_evaluation,
    read_history,
    read_record,
    read_training,
    write_clock,
    write_manifest,
    write_training,
)
from pipeline.storage import digest, lock, project
from pipeline.storage.digest import as_json, sealed, unsealed
from pipeline.terminal.errors import UserError
from tests.harness.settings import article
from tests.harness.studies import NAMED, a_project, write_record

LAYOUTS = Path(__file__).parent / "layouts"
"""Records and checkpoints that former versions wrote."""

# Fingerprints


def package(root: Path, **files: str) -> Path:
    """A package `p` of these modules."""
    for name, text in {"__init__": "", **files}.items():
        path = root / "p" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


CODE = """
    def area(side: int) -> int:
        return side * side
"""


@pytest.mark.parametrize(
    "text",
    [
        "# why\n\n\ndef area(side: int) -> int:  # of a square\n    return side * side\n",
        '"""Areas."""\ndef area(side: int) -> int:\n    """Of a square."""\n    return (side\n        * side)\n',
        "def area(side: int) -> int: return side*side",
    ],
)
def test_comments_docstrings_and_layout_are_no_part_of_a_fingerprint(tmp_path: Path, text: str) -> None:
    plain = fingerprint(package(tmp_path / "1", m=CODE), ["p/*.py"])
    assert fingerprint(package(tmp_path / "2", m=text), ["p/*.py"]) == plain


@pytest.mark.parametrize(
    "text",
    [
        "def area(side: int) -> int:\n    return side + side\n",
        "def area(side: int) -> int:\n    return side * side * 1\n",
        "def area(edge: int) -> int:\n    return edge * edge\n",
        "def area(side: int = 1) -> int:\n    return side * side\n",
        "@cache\ndef area(side: int) -> int:\n    return side * side\n",
        "def area(side: int) -> int:\n    return side * side\nSIDE = 'text'\n",
    ],
)
def test_code_is_part_of_a_fingerprint(tmp_path: Path, text: str) -> None:
    plain = fingerprint(package(tmp_path / "1", m=CODE), ["p/*.py"])
    assert fingerprint(package(tmp_path / "2", m=text), ["p/*.py"]) != plain


def test_text_that_is_a_value_is_part_of_a_fingerprint(tmp_path: Path) -> None:
    found = [
        fingerprint(package(tmp_path / text, m=f"def name():\n    return '{text}'\n"), ["p/*.py"]) for text in "ab"
    ]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("raise ValueError('too large')", True),
        ("raise ValueError(f'{side} is too large') from None", True),
        ("raise TypeError('negative')", False),
        ("pass", False),
        ("return 'negative'", False),
    ],
)
def test_the_words_of_an_exception_are_no_part_of_a_fingerprint(tmp_path: Path, words: str, same: bool) -> None:
    text = "def area(side: int) -> int:\n    if side < 0:\n        {}\n    return side * side\n"
    plain = fingerprint(package(tmp_path / "1", m=text.format("raise ValueError('negative')")), ["p/*.py"])
    assert (fingerprint(package(tmp_path / "2", m=text.format(words)), ["p/*.py"]) == plain) is same


def test_a_fingerprint_is_of_the_files_that_are_named_and_no_others(tmp_path: Path) -> None:
    for path in ("p/a.py", "p/b.py", "p/inner/c.py", "q/d.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    assert list(fingerprint(tmp_path, ["q/*.py", "p/*.py"])) == ["p/a.py", "p/b.py", "q/d.py"]
    with pytest.raises(FileNotFoundError, match=r"p/gone\.py: there is no such code"):
        fingerprint(tmp_path, ["p/*.py", "p/gone.py"])


# Identity


def name(changes: dict[str, object] | None = None, data: str = "d" * 64) -> str:
    return identity(article(changes), data).name


MODEL: dict[str, object] = {
    "depth": 1,
    "filter_growth": 1,
    "conv.filters": 16,
    "conv.kernel_size": 3,
    "conv.padding": "same",
    "conv.data_format": "channels_first",
    "conv.dilation_rate": [1, 2],
    "conv.activation": "elu",
    "conv.use_bias": False,
    "conv.kernel_initializer": "he_normal",
    "conv.bias_initializer": "ones",
    "conv.kernel_regularizer": "l2",
    "conv.bias_regularizer": "l2",
    "conv.activity_regularizer": "l2",
    "conv.kernel_constraint": "NonNeg",
    "conv.bias_constraint": "NonNeg",
    "batch_normalization": "after_pooling",
    "pooling": "average",
    "pool_size": 3,
    "pool_strides": 1,
    "pool_padding": "same",
    "dropout": 0.1,
    "input_normalization": True,
    "head": "global_max",
    "head_dropout": 0.1,
    "dense.units": [8],
    "dense.activation": "elu",
    "dense.dropout": 0.1,
    "dense.batch_normalization": "before_activation",
    "output": "head",
}
NEEDED: dict[str, dict[str, object]] = {
    **{f"dense.{key}": {"model.dense.units": [8]} for key in ("activation", "dropout", "batch_normalization")},
    # Windows of 2 fill what reaches them; four of the second block's 5 × 5 are a number a class.
    "pool_padding": {"model.conv.kernel_size": 2},
    "output": {"model.head": "global_average", "model.blocks.block2.conv.filters": 10},
}
"""What a key has an effect with."""

TRAINING: dict[str, object] = {
    "epochs": 11,
    "batch_size": 33,
    "optimizer": "lion",
    "learning_rate": 0.002,
    "schedule": "cosine",
    "weight_decay": 0.1,
    "label_smoothing": 0.1,
    "augmentation.horizontal_flip": True,
    "augmentation.shift": 1,
    "augmentation.erasing": 1,
    "precision": "mixed_bfloat16",
    "threads": 1,
}
DECIDING: list[dict[str, object]] = [
    {"seed": 1},
    {"data.validation_images": 100},
    {"data.validation_images": 100, "data.split_seed": 1},
    {"data.validation_images": 101},
    *({f"model.{key}": value} | NEEDED.get(key, {}) for key, value in MODEL.items()),
    {"model.conv.strides": 2, "model.pooling": "none"},
    {"model.pooling": "none"},
    {"model.blocks.block2.conv.groups": 2},
    {"model.blocks.block1.pooling": "none"},
    {"model.blocks.block2.pooling": "none"},
    {"model.conv.kernel_size": [3, 5]},
    {"model.conv.kernel_size": [5, 3]},
    {"model.conv.kernel_regularizer": {"name": "l2", "l2": 0.02}},
    *({f"training.{key}": value} for key, value in TRAINING.items()),
    {"training.optimizer": "sgd"},
    {"training.optimizer": "sgd", "training.momentum": 0.9},
    {"training.schedule": "cosine", "training.warmup": 0.1},
]


def test_each_deciding_ingredient_makes_another_identity() -> None:
    names = [name(), name(data="e" * 64), *(name(changes) for changes in DECIDING)]
    assert len(set(names)) == len(names)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in names)


def test_a_key_that_came_later_is_no_part_of_what_is_hashed_where_it_is_off() -> None:
    specification = specify(article())
    values = specification.model_dump(mode="json")
    later = [(values["model"], "input_normalization"), (values["model"], "output")]
    later += [(values["model"]["dense"], "batch_normalization")]
    later += [(block, key) for block in values["model"]["blocks"] for key in ("pool_strides", "pool_padding")]
    for section, key in later:
        del section[key]
    assert hashed(specification) == values
    expected = digest.of_value(values["model"]["blocks"][0])[:16]
    listed: list[Any] = layer_list(specification)
    assert [layer[3] for layer in listed if "block1" in layer[0]] == [expected] * 2
    normalized: Any = hashed(specify(article({"model.input_normalization": True})))
    assert normalized["model"]["input_normalization"] is True


def test_keys_tried_above_are_all_that_can_decide() -> None:
    def keys(section: dict[str, Any], prefix: str = "") -> set[str]:
        inner = [keys(value, f"{prefix}{key}.") for key, value in section.items() if isinstance(value, dict) and value]
        plain = {f"{prefix}{key}" for key, value in section.items() if not (isinstance(value, dict) and value)}
        return plain.union(*inner)

    plain = article().model_dump()
    assert keys(plain["model"]) - MODEL.keys() == {"blocks", "conv.groups", "conv.strides"}
    assert keys(plain["training"]) - TRAINING.keys() == {"momentum", "warmup"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tracking.enabled": False},
        {"tracking.address": "http://127.0.0.1:5000"},
        {"tracking.experiment": "other"},
        {"data.sources": [{"kind": "folder", "path": "elsewhere"}]},
        {"data.split_seed": 7},
        {"model.blocks.block2.conv.kernel_size": 5},
        {"model.blocks.block2.conv.filters": 64},
        {"model.blocks.block1": {}},
        {"model.blocks.block1": {"conv": {}, "pooling": "max"}},
        {"model.conv.kernel_size": [5, 5]},
        {"model.filter_growth": 1, "model.blocks.block2.conv.filters": 64},
        {"model.dropout": 0, "training.weight_decay": 0},
    ],
)
def test_what_decides_nothing_is_no_part_of_the_identity(changes: dict[str, object]) -> None:
    assert name(changes) == name()


def test_two_ways_to_write_a_regularizer_are_one_identity() -> None:
    names = {
        name({"model.conv.kernel_regularizer": form}) for form in ("l2", {"name": "l2"}, {"name": "l2", "l2": 0.01})
    }
    assert len(names) == 1
    in_a_block: dict[str, object] = {
        "model.blocks.block1.conv.kernel_regularizer": "l2",
        "model.blocks.block2.conv.kernel_regularizer": "l2",
    }
    assert names == {name(in_a_block)}


def test_what_comes_later_and_does_nothing_by_default_changes_no_identity() -> None:
    ingredients = identity(article(), "d" * 64).ingredients
    training = ingredients["training"]
    assert isinstance(training, dict)
    does_nothing: list[JsonValue] = [None, False, 0, 0.0, "none", [], {}]
    for off in does_nothing:
        assert name_of({**ingredients, "training": {**training, "later": off}}) == name()
    does_something: list[JsonValue] = [True, 1, 0.5, "yes", [0], {"a": 1}]
    for on in does_something:
        assert name_of({**ingredients, "training": {**training, "later": on}}) != name()


def test_an_identity_is_the_hash_of_what_the_network_is_built_from() -> None:
    changes: dict[str, object] = {
        "model.blocks.block2.conv.kernel_size": [3, 5],
        "model.conv.kernel_constraint": "MaxNorm",
        "model.conv.kernel_regularizer": "l2",
        "model.dense.units": [8],
        "data.validation_images": 10,
        "data.split_seed": 3,
        "seed": 7,
    }
    made = identity(article(changes), "d" * 64)
    # As JSON keeps them.
    kept = json.loads(json.dumps(made.ingredients))
    assert name_of(kept) == made.name
    built = specification_of(kept)
    assert built == specify(article(changes))
    assert blocks(built.model) == blocks(article(changes).model)
    assert (built.classes, built.image_shape, built.split_seed, built.seed) == (10, [28, 28, 1], 3, 7)


def test_the_device_is_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name()
    monkeypatch.setattr(identities, "device", lambda: "NVIDIA A100-SXM4-40GB")
    assert name() != before


def test_identity_holds_the_code_and_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name()
    monkeypatch.setattr(identities, "deciding_code", lambda: {"p": "0" * 64})
    other_code = name()
    monkeypatch.undo()
    for package_name in ("python", "keras", "numpy", "tensorflow"):
        changed = {**versions(), package_name: "0"}
        monkeypatch.setattr(identities, "versions", lambda changed=changed: changed)
        assert name() != before
        monkeypatch.undo()
    assert other_code != before == name()


# History

numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=5), st.booleans())
def test_history_is_read_as_it_was_written_to_the_last_bit(rows: list[tuple[float, ...]], validated: bool) -> None:
    width = 5 if validated else 3
    history = tuple(Epoch(number, *row[:width]) for number, row in enumerate(rows, start=1))
    text = history_csv(history)
    found = read_history(text)
    # NaN is no equal of itself, its text is.
    assert repr(found) == repr(history)
    columns = "epoch,loss,accuracy,learning_rate" + (
        ",validation_loss,validation_accuracy" if validated and rows else ""
    )
    assert text.splitlines()[0] == columns
    assert text.count("\n") == len(rows) + 1


def test_only_a_loss_that_is_a_number_is_finite() -> None:
    epoch = Epoch(1, 0.5, 0.9, 0.001)
    assert epoch.is_finite
    assert not any(replace(epoch, loss=loss).is_finite for loss in (math.nan, math.inf, -math.inf))


# Checkpoints


def checkpoint() -> Checkpoint:
    generator = np.random.default_rng(0)
    state: dict[str, NDArray[Any]] = {
        "network/0": generator.normal(size=(3, 3, 1, 4)).astype(np.float32),
        "network/1": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
        "optimizer/0": np.array(7, np.int64),
        "optimizer/1": np.zeros((0, 3), np.uint32),
    }
    history = (Epoch(1, math.nan, 0.1, 0.001), Epoch(2, 0.1 + 0.2, 0.5, 0.0, 1.5, 0.25))
    times = EpochTime(1, 0.123, 1_700_000_000_000), EpochTime(2, 4.5, 1_700_000_004_500)
    return Checkpoint(state, history, times, "x86_64 avx2")


def test_a_checkpoint_is_read_as_it_was_written_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    written = checkpoint()
    write_checkpoint(path, written)
    found = read_checkpoint(path)
    assert found is not None
    assert list(found.state) == list(written.state)
    for key, array in written.state.items():
        assert found.state[key].dtype == array.dtype
        assert found.state[key].shape == array.shape
        assert found.state[key].tobytes() == array.tobytes()
    assert repr(found.history) == repr(written.history)
    assert found.times == written.times
    assert found.processor == "x86_64 avx2"


def test_a_damaged_checkpoint_is_removed_and_told(tmp_path: Path) -> None:
    path, told = tmp_path / "state", list[str]()
    write_checkpoint(path, checkpoint())
    assert usable_checkpoint(path, told.append) is not None
    assert told == []
    path.write_bytes(path.read_bytes()[:-1])
    assert usable_checkpoint(path, told.append) is None
    assert told == [f"{path}: is damaged: removed, training starts anew"]
    assert not path.exists()
    assert usable_checkpoint(path, told.append) is None


def test_a_checkpoint_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "nowhere" / "state") is None


@pytest.mark.parametrize("held", [False, True])
def test_a_checkpoint_with_which_another_process_goes_on_is_not_removed(tmp_path: Path, held: bool) -> None:
    work = tmp_path / "run"
    remove_checkpoint(work)
    assert not work.exists()
    write_checkpoint(work / "state", checkpoint())
    with lock.only_one(work / "lock") if held else contextlib.nullcontext():
        remove_checkpoint(work)
    assert (work / "state").exists() == held


def test_any_byte_of_a_checkpoint_that_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_checkpoint(path, checkpoint())
    content = path.read_bytes()
    read_checkpoint(path)
    for position in [*range(60), *range(60, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ValueError, match=r"state: is damaged"):
            read_checkpoint(path)
    for shortened in (b"", content[:10], content[:52], content[:-1], content + b"\0", b"\0" * len(content)):
        path.write_bytes(shortened)
        with pytest.raises(ValueError, match=r"state: is damaged"):
            read_checkpoint(path)


# The record


def run(configuration: Configuration | None = None) -> Run:
    configuration = configuration or article()
    made = identity(configuration, "d" * 64)
    layers: list[dict[str, Any]] = [{"name": "output", "parameters": 10}]
    return Run(
        made.name,
        made.ingredients,
        configuration.model_dump(mode="json"),
        "finished",
        None,
        2,
        62_346,
        3_747_840,
        layers,
    )


HISTORY = (Epoch(1, 2.25, 0.5, 0.001), Epoch(2, math.nan, 0.25, 0.001))
TIMES = (EpochTime(1, 1.5, 1_700_000_000_000), EpochTime(2, 1.25, 1_700_000_001_250))
HERE = Environment("abc", False, {"python": "3.12"}, {"cores": 2})


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return write(tmp_path, TIMES, HERE)


def write(root: Path, times: Sequence[EpochTime], where: Environment) -> Path:
    (root / "training").mkdir(parents=True)
    (root / "training" / "weights.npz").write_bytes(bytes(range(256)))
    write_training(root / "training", run(), HISTORY)
    write_clock(root, "training", TrainingClock(run().identity, tuple(times), where))
    return root / "training"


def clock_of(training: Path) -> Path:
    (path,) = (training.parent / "clock").glob("*.training.json")
    return path


def test_a_training_part_is_read_as_it_was_written(training: Path) -> None:
    found = read_training(training)
    assert replace(found.run, files={}) == run()
    assert repr(found.history) == repr(HISTORY)
    assert (found.times, found.environment, found.seconds) == (TIMES, HERE, 2.75)


def test_a_training_part_says_its_layout_and_the_digests_of_its_files_which_all_repeat(training: Path) -> None:
    values = json.loads((training / "run.json").read_text())
    assert values["layout"] == LAYOUT == 5
    assert sorted(values["files"]) == ["history.csv", "weights.npz"]
    assert sorted(path.name for path in training.iterdir()) == ["history.csv", "run.json", "weights.npz"]


def test_writing_a_training_part_again_repeats_it_byte_for_byte(training: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again", (EpochTime(1, 9.0, 1), EpochTime(2, 9.0, 2)), Environment("def"))
    assert digest.of_folder(again) == digest.of_folder(training)


@pytest.mark.parametrize("file", ["history.csv", "weights.npz"])
def test_any_byte_of_a_file_that_repeats_is_noticed(training: Path, file: str) -> None:
    path = training / file
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(
            UserError, match=rf"{file}: is not what run\.json says was written\. `dvc repro --force train`"
        ):
            read_training(training)
    path.unlink()
    with pytest.raises(UserError, match=file):
        read_training(training)


@pytest.mark.parametrize("layout", [1, 2, 3, 4])
def test_a_record_of_a_former_layout_is_refused_by_both_numbers(layout: int) -> None:
    root = LAYOUTS / f"record_{layout}"
    with pytest.raises(UserError, match=rf"run\.json: layout {layout}, but this version reads layout 5\. `dvc repro"):
        read_record(root)


def test_a_checkpoint_of_a_former_layout_is_refused_by_both_numbers_and_one_of_this_is_read(tmp_path: Path) -> None:
    shutil.copy(LAYOUTS / "checkpoint_1", tmp_path)
    told: list[str] = []
    assert usable_checkpoint(tmp_path / "checkpoint_1", told.append) is None
    path = tmp_path / "checkpoint_1"
    assert told == [
        f"{path}: is a checkpoint of layout 1, but this version reads layout 2: removed, training starts anew"
    ]
    kept = read_checkpoint(LAYOUTS / "checkpoint_2")
    assert kept is not None
    assert kept.history == (Epoch(1, 2.25, 0.5, 0.001),)
    assert kept.state["network/0"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "null", "{}", '{"layout": 5}', '{"layout": 5, "files": {}}', '{"layout": 5, "files": 3}'],
)
def test_a_damaged_run_json_is_refused_with_what_makes_it_anew(training: Path, content: str) -> None:
    (training / "run.json").write_text(content)
    with pytest.raises(UserError, match="`dvc repro --force train` makes it anew"):
        read_training(training)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"epochs": [{"epoch": 1}]}', '{"epochs": 3}'])
def test_a_damaged_clock_is_refused_with_what_to_do(training: Path, content: str) -> None:
    clock_of(training).write_text(content)
    with pytest.raises(UserError, match=r"training\.json: is damaged .* Remove it: the times are then unknown"):
        read_training(training)


def test_any_digit_of_a_document_is_noticed(training: Path) -> None:
    for path in (training / "run.json", clock_of(training)):
        content = path.read_text()
        for position in (place for place, letter in enumerate(content) if letter.isalnum()):
            other = "1" if content[position] == "0" else "0"
            path.write_text(content[:position] + other + content[position + 1 :])
            with pytest.raises(UserError, match=f"{path.name}: "):
                read_training(training)
        path.write_text(content)
    assert read_training(training).times == TIMES


def test_a_missing_part_is_refused(training: Path) -> None:
    (training / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: is missing\. `dvc repro --force train`"):
        read_training(training)


# The clock


def test_without_a_clock_times_and_environment_are_unknown(training: Path) -> None:
    clock_of(training).unlink()
    found = read_training(training)
    assert (found.times, found.seconds, found.environment) == ((), None, Environment())


def test_the_clock_of_another_run_is_not_taken_for_this_ones(training: Path) -> None:
    kept = clock_of(training).read_text()
    clock_of(training).write_text(sealed({**unsealed(kept), "identity": "another"}))
    assert read_training(training).times == ()


def test_what_dvc_repro_measured_serves_a_record_that_comes_out_of_a_cache(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "RECORD", tmp_path / "record")
    clock = TrainingClock(run().identity, TIMES[:1], HERE)
    write_clock(project.RECORD, "training", clock)
    assert read_training(training).times == TIMES
    clock_of(training).unlink()
    found = read_training(training)
    # One epoch is missing there: how long all took is not known.
    assert (found.times, found.seconds) == (TIMES[:1], None)


def test_an_experiment_in_a_folder_of_its_own_keeps_its_clock_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "RECORD", tmp_path / "temporary" / "record")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    write_clock(project.RECORD, "training", TrainingClock("one", TIMES, HERE))
    assert (tmp_path / "project" / "record" / "clock" / "one.training.json").is_file()


def test_an_evaluation_part_is_read_as_it_was_written_and_checked(tmp_path: Path) -> None:
    scores = {"accuracy": 0.9, "loss": None}
    folder = tmp_path / "evaluation"
    (folder / "pictures").mkdir(parents=True)
    (folder / "metrics.json").write_text(as_json(scores))
    (folder / "pictures" / "one.png").write_bytes(b"1")
    values: dict[str, JsonValue] = {"identity": "i", "images": "test", "images_digest": "d", **NAMED, "scoring": "s"}
    write_manifest(folder, "evaluation.json", values)
    write_clock(tmp_path, "evaluation", EvaluationClock("i", "s", {"1": 0.5}, 1_700_000_000_000))
    found = read_evaluation(folder)
    assert (found.identity, found.images, found.images_digest, found.scoring) == ("i", "test", "d", "s")
    assert {"dataset": found.dataset, "class_names": found.class_names} == NAMED
    assert (found.scores, found.latency, found.scored) == (scores, {"1": 0.5}, 1_700_000_000_000)
    # Its classes were called otherwise then: another scoring.
    write_clock(tmp_path, "evaluation", EvaluationClock("i", "other", {"1": 0.5}, 1_700_000_000_000))
    assert (read_evaluation(folder).latency, read_evaluation(folder).scored) == ({}, None)
    (folder / "pictures" / "one.png").write_bytes(b"2")
    with pytest.raises(UserError, match=r"one\.png: is not what evaluation\.json says .* --force evaluate"):
        read_evaluation(folder)


def test_json_is_read_by_everyone() -> None:
    assert as_json({"é": [1]}) == '{\n  "é": [\n    1\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"loss": math.nan})


def test_a_seal_is_read_back_and_another_is_refused() -> None:
    values = {"é": [1, 0.1], "none": None}
    assert unsealed(sealed(values)) == values
    for text in (as_json(values), as_json([1]), sealed(values).replace("0.1", "0.2"), ""):
        with pytest.raises(ValueError, match=r"as it was written|Expecting value"):
            unsealed(text)


# The environment


def test_environment_says_commit_versions_and_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment()
    assert found.git_commit is not None
    assert len(found.git_commit) == 40
    assert found.versions == versions() | {"python": platform.python_version()}
    assert found.hardware["cores"] == os.cpu_count()
    assert isinstance(found.hardware["memory_gib"], float)
    assert found.hardware["memory_gib"] > 0
    monkeypatch.setenv("PATH", "/nowhere")
    without_git = environment()
    assert (without_git.git_commit, without_git.uncommitted_changes) == (None, None)
    assert without_git.hardware == found.hardware


@pytest.mark.parametrize(
    ("told", "lacks"),
    [
        ("model name\t: A\nflags\t\t: fpu avx2 avx512f\n", True),
        ("flags\t\t: fpu avx512_bf16\n\nflags\t\t: fpu\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("Features\t: fp asimd\n", True),
        ("vendor\t: another system\n", False),
        (None, False),
    ],
)
def test_who_chooses_bfloat16_is_told_where_the_processor_has_none(
    told: str | None, lacks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.run.environment.CPU", tmp_path / "cpuinfo")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert lacks_bfloat16() is lacks
    assert (precision_note("mixed_bfloat16") is not None) is lacks
    assert precision_note("float32") is None


# The last run in a few lines


def test_the_record_of_dvc_repro_is_found_by_its_identity_as_a_run_of_a_sweep_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_project(monkeypatch, tmp_path)
    monkeypatch.setattr(project, "RECORD", tmp_path / "record")
    name = write_record(project.RECORD, article()).name
    assert find_root(name) == find_root() == project.RECORD
    write_record(project.run_root(name), article())
    assert find_root(name) == project.run_root(name)
    with pytest.raises(UserError, match="0123456789abcdef: is no run's identity"):
        find_root("0123456789abcdef")


def test_the_summary_is_of_one_run_and_says_dvc_repro_where_it_is_not_there_or_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "RECORD", tmp_path / "record")
    monkeypatch.setattr("sys.argv", ["summary"])
    with pytest.raises(UserError, match=r"record: there is no record\. Run: dvc repro$"):
        summary.main()
    write_record(project.RECORD, article(), accuracy=0.875)
    assert summary.main() == 0
    said = capsys.readouterr().out
    assert "validation accuracy  87.50%" in said
    assert "run            5×5 32-64 seed 0, 10 epochs: its name in MLflow" in said
    # Trained anew, and between the stages: what is scored is the run before.
    write_record(project.RECORD, article({"seed": 7}), accuracy=None)
    with pytest.raises(UserError, match=r"record: is not scored yet\. Run: dvc repro$"):
        summary.main()
