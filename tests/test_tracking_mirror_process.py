"""The process beside a training: whatever becomes of it, the training is not held up, and it is said."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline.config.schema import Tracking
from pipeline.run.record import EVALUATION
from pipeline.tracking import mirror_process, mirror_worker
from pipeline.tracking.mirror_process import MirrorProcess, announce, started_early

TRACKING = Tracking(enabled=True, address=None, experiment="processes")
READS_ALL = "import sys; print(len(sys.stdin.readlines()))"
READS_NOTHING = "import time; time.sleep(60)"
READS_LATE = "import sys, time; time.sleep(1); sys.stdin.read()"
MANY = 5_000
"""Messages that no pipe holds."""


def beside(program: str, monkeypatch: pytest.MonkeyPatch, longest_wait: float = 20) -> MirrorProcess:
    """A mirror process that runs `program` in place of ours."""
    monkeypatch.setattr("pipeline.tracking.mirror_process.LONGEST_WAIT", longest_wait)
    monkeypatch.setattr("pipeline.tracking.mirror_process.COMMAND", [sys.executable, "-c", program])
    return MirrorProcess(TRACKING, "kernels", EVALUATION)


def test_every_message_arrives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with beside(READS_ALL, monkeypatch) as found:
        for number in range(50):
            found.sync(tmp_path / str(number))
        found.sync_study(tmp_path)
    assert found.said == "52"


def test_one_that_does_not_read_holds_nobody_up_and_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = time.monotonic()
    with beside(READS_NOTHING, monkeypatch, longest_wait=1) as found:
        for _ in range(MANY):
            found.sync(tmp_path)
        assert time.monotonic() - started < 10
    assert found.said == "the store did not keep up within 1 s"
    assert time.monotonic() - started < 15


def test_one_that_reads_too_late_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with beside(READS_LATE, monkeypatch) as found:
        for _ in range(MANY):
            found.sync(tmp_path)
    assert found.said == "the process that writes to the store did not listen for a while"


def test_one_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with beside(READS_NOTHING, monkeypatch) as found:
        assert found._process is not None
        os.kill(found._process.pid, signal.SIGKILL)
        found._process.wait()
        found.sync(tmp_path)
    assert found.said == "the process that writes to the store ended with status -9"


def test_without_tracking_nothing_is_started(tmp_path: Path) -> None:
    with MirrorProcess(TRACKING.model_copy(update={"enabled": False}), "kernels", EVALUATION) as found:
        found.sync(tmp_path)
    assert (found.said, found._process) == ("", None)


def test_one_that_was_started_early_is_told_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = beside(READS_ALL, monkeypatch)
    with started_early():
        (early,) = mirror_process._early
        with found:
            assert found._process is early
            found.sync(tmp_path)
            with MirrorProcess(TRACKING, "others", EVALUATION) as second:
                assert second._process is not early
    assert (found.said, second.said) == ("2", "1")


@pytest.mark.parametrize("enabled", [False, None])
def test_one_that_was_started_early_and_is_not_needed_is_gone(
    enabled: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.mirror_process.COMMAND", [sys.executable, "-c", READS_NOTHING])
    with started_early():
        (early,) = mirror_process._early
        if enabled is not None:
            with MirrorProcess(TRACKING.model_copy(update={"enabled": enabled}), "kernels", EVALUATION):
                assert early.poll() == -signal.SIGKILL
    assert early.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.stdin.read(); print('attached')", "attached"),
        ("raise SystemExit(3)", "not in MLflow (the process that writes to the store ended with status 3); "),
        ("print('the store: is away'); raise SystemExit(1)", "not in MLflow (the store: is away); "),
        (READS_NOTHING, "not in MLflow (the store did not keep up within 1 s); the same line "),
    ],
)
def test_what_becomes_of_a_report_is_a_line(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside(program, monkeypatch)
    monkeypatch.setattr(mirror_process, "LONGEST_REPORT_WAIT", 1)
    assert announce(TRACKING, "kernels", "a verdict", tmp_path).startswith(said)


def test_what_mlflow_prints_is_not_taken_for_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def follow(_lines: object) -> tuple[None, None]:
        print("View run 5×5 at: http://127.0.0.1:5000/")
        return None, None

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(mirror_worker, "follow", follow)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit, match="0"):
        mirror_worker.main()
    assert capsys.readouterr().out.strip() == ""
