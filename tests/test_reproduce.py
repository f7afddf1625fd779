"""Doing a run again, and saying how it differs."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipeline.run.identity import Identity
from pipeline.run.record import Epoch, Run
from pipeline.run.reproduction import Claim, circumstances, is_bit_identical, parting_epoch, read_claim
from pipeline.terminal.errors import UserError

HERE: dict[str, JsonValue] = {
    "git_commit": "abc",
    "versions": {"python": "3.11.7", "keras": "3"},
    "hardware": {"cores": 2},
}


def claim(*losses: float, weights: str = "w", history: str = "h") -> Claim:
    epochs = tuple(Epoch(number, loss, 0.5, 0.1) for number, loss in enumerate(losses, start=1))
    run = Run("id", {"code": "c" * 64, "data": "d" * 64}, {}, "finished", None, len(epochs), 1, 1, [])
    return Claim(run, {"model.weights.h5": weights, "history.csv": history}, epochs, HERE)


def test_a_run_is_bit_identical_when_weights_and_history_are() -> None:
    assert is_bit_identical(claim(1.0), claim(1.0))
    assert not is_bit_identical(claim(1.0), claim(1.0, weights="v"))
    assert not is_bit_identical(claim(1.0), claim(1.0, history="g"))
    nothing = replace(claim(1.0), files={})
    assert not is_bit_identical(nothing, nothing)


@pytest.mark.parametrize(
    ("ours", "theirs", "epoch"),
    [
        ((1.0, 0.5), (1.0, 0.5), None),
        ((1.0, 0.5), (1.0, 0.4), 2),
        ((0.9, 0.5), (1.0, 0.4), 1),
        ((1.0, 0.5), (1.0,), 2),
        ((1.0,), (1.0, 0.5, 0.4), 2),
        ((1.0, float("nan")), (1.0, float("nan")), None),
    ],
)
def test_histories_part_in_the_first_epoch_that_differs(
    ours: tuple[float, ...], theirs: tuple[float, ...], epoch: int | None
) -> None:
    assert parting_epoch(claim(*ours), claim(*theirs)) == epoch


def test_what_is_not_as_it_was_is_named() -> None:
    same = Identity("id", {"code": "c" * 64, "data": "d" * 64})
    assert circumstances(claim(1.0), same, dict(HERE)) == []
    other = Identity("id", {"code": "e" * 64, "data": "d" * 64})
    here: dict[str, JsonValue] = {
        "git_commit": "xyz",
        "versions": {"python": "3.12.0", "keras": "3"},
        "hardware": {"cores": 8},
    }
    assert circumstances(claim(1.0), other, dict(here)) == [
        ("commit", "abc", "xyz"),
        ("code (digest)", "c" * 12, "e" * 12),
        ("versions: python", "3.11.7", "3.12.0"),
        ("hardware: cores", "2", "8"),
    ]
    more: dict[str, JsonValue] = {**HERE, "hardware": {"cores": 2, "device": "cpu"}}
    assert circumstances(claim(1.0), same, more) == [("hardware: device", "not recorded", "cpu")]


def test_a_folder_without_a_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        read_claim(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        read_claim(tmp_path)
