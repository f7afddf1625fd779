"""Ask an advisory database whether something is known to be wrong with the locked packages.

It needs a network. A database that does not answer, or answers for some packages only, is an error: nothing is known
then (exit status 2). Known vulnerabilities are exit status 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dependencies.locked import LISTS, ROOT

PROGRAM = ROOT / ".audit" / "venv" / "bin" / "pip-audit"

KNOWN = "jinja2==2.10"
"""A release with known vulnerabilities (CVE-2019-10906): a database that knows none of it knows nothing."""


@dataclass(frozen=True)
class Answer:
    """`known` says package, version and advisories; `unknown` are the packages for which there was no answer."""

    asked: int
    known: tuple[str, ...]
    unknown: tuple[str, ...]


class NoAnswerError(Exception):
    """Why nothing is known."""


def main(arguments: Sequence[str] | None = None, program: Path = PROGRAM) -> int:
    parser = argparse.ArgumentParser(prog="python -m dependencies.audit", description=__doc__)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="the database (default: pypi)")
    service = parser.parse_args(arguments).service
    try:
        _probe(program, service)
        answers = {use: _asked(program, service, path) for use, path in LISTS.items()}
        if unknown := sorted({name for answer in answers.values() for name in answer.unknown}):
            raise NoAnswerError(f"{service} does not know {len(unknown)} packages ({', '.join(unknown[:5])} …)")
    except NoAnswerError as error:
        print(f"error: not audited: no advisory database answers here. {error}.", file=sys.stderr)
        return 2
    for use, answer in answers.items():
        print(f"{use}: {answer.asked} packages asked of {service}, {len(answer.known)} with known vulnerabilities")
        print("".join(f"  {line}\n" for line in answer.known), end="")
    return 1 if any(answer.known for answer in answers.values()) else 0


def _probe(program: Path, service: str) -> None:
    """Raises NoAnswerError where the database does not know what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known.txt"
        path.write_text(KNOWN + "\n", encoding="utf-8")
        if not _asked(program, service, path).known:
            raise NoAnswerError(f"{service} names no vulnerability of {KNOWN}, which has some")


def _asked(program: Path, service: str, path: Path) -> Answer:
    """What the database says of a locked list. Raises NoAnswerError."""
    command = [str(program), "-r", str(path), "--no-deps", "--disable-pip", "-s", service, "-f", "json"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off"], capture_output=True, text=True, encoding="utf-8", check=False
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NoAnswerError(f"pip-audit: {reason[-1][:300]}") from None
    return Answer(
        asked=len(found),
        known=tuple(
            f"{entry['name']} {entry['version']}: {', '.join(advisory['id'] for advisory in entry['vulns'])}"
            for entry in found
            if entry.get("vulns")
        ),
        unknown=tuple(entry["name"] for entry in found if "vulns" not in entry),
    )


if __name__ == "__main__":
    sys.exit(main())
