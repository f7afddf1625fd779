"""The properties that are fuzzed, on the inputs with which fuzzing begins; `make fuzz` goes on from there for hours."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event

import numpy as np
import pytest

from faults.fuzzing import __main__ as fuzzing
from faults.fuzzing import configuration, edits, idx, sessions
from faults.fuzzing.configuration import EDITED, NAME, OVERRIDE, REPEATED, TEXT
from faults.fuzzing.sessions import Session, Total
from faults.fuzzing.target import Target
from pipeline.config.load import parsed
from pipeline.data.download import UnavailableError
from pipeline.storage import project

TARGETS = [idx.TARGET, configuration.TARGET]
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(10)) * 2


def blind(data: bytes) -> bytes:
    """Changes a byte in the middle, as an engine does."""
    return data[: len(data) // 2] + b"\x80" + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize("target", TARGETS, ids=["idx", "configuration"])
def test_what_fuzzing_begins_with_holds_and_some_of_it_is_accepted(target: Target) -> None:
    accepted = [target.examine(seed) for seed in list(target.seeds())[::3]]
    assert True in accepted
    assert False in accepted


@pytest.mark.parametrize("target", TARGETS, ids=["idx", "configuration"])
def test_changes_repeat_and_hold(target: Target) -> None:
    for number, seed in enumerate(list(target.seeds())[1::5]):
        if len(seed) < 5000:
            changed = target.mutated(seed, blind, Random(number))
            assert changed == target.mutated(seed, blind, Random(number))
            target.examine(changed)


def test_right_files_are_accepted_and_wrong_ones_are_not() -> None:
    assert idx.examine(b"\0" + LABELS)
    assert idx.examine(b"\1" + gzip.compress(LABELS))
    assert not idx.examine(b"\0" + LABELS[:-1])
    assert not idx.examine(b"\1" + gzip.compress(LABELS)[:-1])
    assert not idx.examine(b"")


def test_decoder_that_looks_at_no_length_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "decode_idx", lambda data, *_: np.frombuffer(data, np.uint8, offset=8))
    with pytest.raises((AssertionError, TypeError)):
        idx.examine(b"\0" + LABELS[:-1])


def test_decoder_that_refuses_what_is_right_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Iterator[bytes]:
        raise UnavailableError("no")
        yield

    monkeypatch.setattr(idx, "decompressed", refuse)
    with pytest.raises(AssertionError, match="a right gzip was refused"):
        idx.examine(b"\1" + gzip.compress(LABELS))


def test_all_ways_to_a_configuration_are_taken() -> None:
    text = project.PARAMS.read_bytes()
    values = json.dumps(parsed(text, NAME)).encode()
    assert configuration.examine(bytes([TEXT]) + text)
    assert configuration.examine(bytes([TEXT]) + values)
    assert configuration.examine(bytes([REPEATED, 0, 0, 9]) + text + b"\xff#")
    places = list(edits.places(parsed(text, NAME)))
    assert places[-1] == ("seed",)
    assert configuration.examine(bytes([EDITED, 0, len(places) - 1, 15, 3]))
    assert configuration.examine(bytes([OVERRIDE]) + b"model.conv.kernel_size=[3,5]")
    assert not configuration.examine(bytes([TEXT]) + b"seed: 1")
    assert not configuration.examine(bytes([OVERRIDE]) + b"~seed")


def test_configuration_that_changes_when_it_is_written_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "as_params", lambda _: project.PARAMS.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(AssertionError):
        configuration.examine(bytes([TEXT]) + project.PARAMS.read_bytes())


def test_time_counts_for_the_present_code_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RESULTS", tmp_path)
    session = Session(sessions.code_of("idx"), 60.0, 1000, 90, 200, 40, 80)
    sessions.keep("idx", session)
    sessions.keep("idx", Session("earlier", 600.0, 9000, 90, 200, 40, 80, finding="KeyError, crash-1"))
    assert sessions.kept("idx")[0] == session
    assert sessions.seconds("idx") == 60
    assert sessions.total("idx") == Total(1, 1000, 90, 80, found=0, found_earlier=1)
    assert "| idx | 1 min | 1,000 | 90 | 80 MB | 0 | 1 |" in sessions.section()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a program that is started as the engine."""
    monkeypatch.setattr(sessions, "RESULTS", tmp_path)
    monkeypatch.setattr(fuzzing, "FOLDER", tmp_path)
    monkeypatch.setattr(fuzzing, "ENGINE", tmp_path / "engine")
    return tmp_path / "engine"


def program(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\nimport signal, sys, time\n{text}\n")
    path.chmod(0o755)


def test_engine_is_stopped_after_its_time_and_what_it_came_to_is_kept(engine: Path) -> None:
    stop = "lambda *_: (print('stat::number_of_executed_units: 90\\nstat::peak_rss_mb: 8', flush=True), sys.exit(72))"
    program(engine, f"print('#4 NEW cov: 5 ft: 7 corp: 3/1b')\nsignal.signal(signal.SIGINT, {stop})\nwhile True: pass")
    assert fuzzing.fuzz("idx", budget=1.2, interrupted=Event())
    assert sessions.seconds("idx") >= 1.2
    session = sessions.kept("idx")[0]
    assert (session.executions, session.coverage, session.features, session.corpus, session.peak_mb) == (90, 5, 7, 3, 8)
    assert fuzzing.fuzz("idx", budget=1.2, interrupted=Event())
    assert sessions.kept("idx")[0] == session


def test_fault_ends_fuzzing_and_its_time_does_not_count(engine: Path) -> None:
    program(engine, "print('KeyError: 3\\nTest unit written to /somewhere/crash-1')\nsys.exit(77)")
    assert not fuzzing.fuzz("idx", budget=60, interrupted=Event())
    assert sessions.kept("idx")[0].finding == "KeyError: 3, crash-1"
    assert sessions.seconds("idx") == 0


def test_interrupted_fuzzing_begins_no_new_session(engine: Path) -> None:
    program(engine, "sys.exit(72)")
    interrupted = Event()
    interrupted.set()
    assert fuzzing.fuzz("idx", budget=60, interrupted=interrupted)
    assert sessions.kept("idx") == []
