"""What fuzzing has come to: sessions of some minutes, one line of JSON each, so that an hour can be had in parts."""

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from faults.campaign import RESULTS
from pipeline.record.fingerprint import fingerprint
from pipeline.storage import atomic, digest, project


@dataclass(frozen=True)
class Session:
    """`code` says which code was fuzzed; `seconds` are the engine's CPU time; `coverage` counts edges, `features` what
    the engine told apart (edges by how often they were passed); `finding` is what it stopped at."""

    code: str
    seconds: float
    executions: int
    coverage: int
    features: int
    corpus: int
    peak_mb: int
    finding: str = ""


def code_of(name: str) -> str:
    """The hash of a target and of all code that it tests: what was fuzzed before a change counts no more."""
    modules = importlib.import_module(f"faults.fuzzing.{name}").TARGET.modules
    found: dict[str, JsonValue] = {
        **fingerprint(project.ROOT, f"faults.fuzzing.{name}", leaving_out=("faults.campaign",))
    }
    for module in modules:
        found |= fingerprint(project.ROOT, module, leaving_out=("pipeline.storage",))
    return digest.of_value(found)[:16]


def kept(name: str) -> list[Session]:
    """The sessions on disk, the oldest first."""
    try:
        lines = _path(name).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Session(**json.loads(line)) for line in lines]


def keep(name: str, session: Session) -> None:
    lines = [json.dumps(asdict(each), ensure_ascii=False) for each in (*kept(name), session)]
    atomic.write_file(_path(name), "\n".join(lines) + "\n")


def seconds(name: str) -> float:
    """CPU seconds for which the present code was fuzzed."""
    code = code_of(name)
    return sum(session.seconds for session in kept(name) if session.code == code and not session.finding)


def summary(name: str) -> str:
    """The sessions of the present code in a line, and how many faults those of earlier code found."""
    code = code_of(name)
    sessions = kept(name)
    present = [session for session in sessions if session.code == code]
    earlier = sum(bool(session.finding) for session in sessions if session.code != code)
    found = sum(bool(session.finding) for session in present)
    last = present[-1] if present else Session(code, 0, 0, 0, 0, 0, 0)
    return (
        f"fuzz_{name}: {sum(session.seconds for session in present) / 60:.0f} min of CPU, "
        f"{sum(session.executions for session in present):,} inputs, {last.coverage:,} edges, "
        f"at most {max((session.peak_mb for session in present), default=0)} MB; "
        f"{found} faults, and {earlier} in earlier code"
    )


def _path(name: str) -> Path:
    return RESULTS / f"fuzz_{name}.jsonl"
