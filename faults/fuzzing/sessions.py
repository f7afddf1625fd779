"""What fuzzing has come to: sessions of some minutes, one line of JSON each, so that an hour can be had in parts."""

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.campaign import RESULTS
from pipeline.run.identity import fingerprint
from pipeline.storage import atomic, digest, project

NAMES = "idx", "configuration"
ENGINE = tuple(f"faults/fuzzing/{name}.py" for name in ("edits", "engine", "target"))
SECTION = """
## Fuzzing

`make fuzz` gives arbitrary bytes to what reads the raw files (gzip, IDX) and to what reads the configuration
(params.yaml, edits of a valid one, overrides of compose), guided by coverage, until each has had an hour of CPU since
the last change of its code. Each input must be refused in a sentence, or be right by another reckoning and the same
when it is written and read again; with less than 10 s and less than 200 MB of memory.

| target | CPU | inputs | edges covered | most memory, all inputs kept | faults | faults in earlier code, mended |
|---|---|---|---|---|---|---|
"""


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
    tested = importlib.import_module(f"faults.fuzzing.{name}").TARGET.code
    return digest.of_value(dict(fingerprint(project.ROOT, (*tested, f"faults/fuzzing/{name}.py", *ENGINE))))[:16]


def kept(name: str) -> list[Session]:
    """The sessions on disk, the oldest first."""
    try:
        lines = _path(name).read_text(encoding="utf-8").splitlines()
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


@dataclass(frozen=True)
class Total:
    """What the sessions of the present code came to, and how many faults were found: in it, and in earlier code."""

    minutes: float
    executions: int
    coverage: int
    peak_mb: int
    found: int
    found_earlier: int


def total(name: str) -> Total:
    code = code_of(name)
    sessions = kept(name)
    present = [session for session in sessions if session.code == code]
    return Total(
        minutes=sum(session.seconds for session in present) / 60,
        executions=sum(session.executions for session in present),
        coverage=max((session.coverage for session in present), default=0),
        peak_mb=max((session.peak_mb for session in present), default=0),
        found=sum(bool(session.finding) for session in present),
        found_earlier=sum(bool(session.finding) for session in sessions if session.code != code),
    )


def section() -> str:
    """The part of docs/reliability.md that tells of fuzzing."""
    lines = [SECTION]
    for name in NAMES:
        found = total(name)
        lines.append(
            f"| {name} | {found.minutes:.0f} min | {found.executions:,} | {found.coverage:,} | {found.peak_mb} MB | "
            f"{found.found} | {found.found_earlier} |\n"
        )
    return "".join(lines)


def _path(name: str) -> Path:
    return RESULTS / f"fuzz_{name}.jsonl"
