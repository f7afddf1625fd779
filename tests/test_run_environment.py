"""What computes: the processor's class and the device."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.run import environment as module
from pipeline.run.environment import NAMES, device, environment, precision_note, processor_class


def test_the_environment_says_the_processors_class_and_the_device() -> None:
    hardware: Any = environment().hardware
    assert (hardware["processor_class"], hardware["device"]) == (processor_class(), device())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            "flags\t\t: fpu avx512_bf16 avx2 avx512f ht avx fma sse4_2\n\nflags\t\t: fpu\n",
            " sse4_2 avx avx2 fma avx512f avx512_bf16",
        ),
        ("Features\t: fp asimd bf16 sve crc32\n", " asimd sve bf16"),
        ("vendor\t: another system\n", ""),
        (None, ""),
    ],
)
def test_a_processors_class_is_the_machine_and_the_instruction_sets_that_decide_bits(
    told: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU", tmp_path / "cpuinfo")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert processor_class() == f"{platform.machine()}{expected}"


def test_the_device_is_the_cpu_where_there_is_no_card_and_else_what_tensorflow_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CARDS", tmp_path / "gpus")
    monkeypatch.setattr(module, "NODES", (tmp_path / "nvidia0",))
    monkeypatch.setattr(module, "NAMES", "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES', 'NVIDIA L4'))")
    assert device() == "cpu"
    (tmp_path / "nvidia0").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device() == "NVIDIA L4"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device() == "cpu"


def test_what_asks_tensorflow_for_cards_is_a_program_that_tells_their_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf  # noqa: PLC0415 - seconds

    for cards, told in ((("one", "other", "one"), "NVIDIA L4, NVIDIA T4\n"), ((), "\n")):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind, cards=cards: cards)
        names = {"one": {"device_name": "NVIDIA T4"}, "other": {"device_name": "NVIDIA L4"}}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", names.get)
        exec(NAMES, {})  # noqa: S102 - as a process of its own does
        assert capsys.readouterr().out == told


@pytest.mark.long
def test_that_program_ends_well() -> None:
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", NAMES], env=hidden, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(("chosen", "expected"), [(None, "true"), ("false", "false")])
def test_what_trains_takes_of_a_cards_memory_what_it_needs_unless_told_otherwise(
    chosen: str | None, expected: str
) -> None:
    name = "TF_FORCE_GPU_ALLOW_GROWTH"
    own = {key: value for key, value in os.environ.items() if key != name} | ({} if chosen is None else {name: chosen})
    asks = f"import os, pipeline.predict, pipeline.evaluate, pipeline.studies.workers; print(os.environ[{name!r}])"
    done = subprocess.run([sys.executable, "-c", asks], env=own, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_the_processor_is_asked_for_bfloat16_only_where_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2\n")
    for computes, notes in (("cpu", True), ("NVIDIA L4", False)):
        monkeypatch.setattr(module, "device", lambda computes=computes: computes)
        assert bool(precision_note("mixed_bfloat16")) is notes
    assert precision_note("float32") is None
