"""The locked lists."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = {
    "the project": ROOT / "requirements" / "locked.txt",
    "installing": ROOT / "requirements" / "uv.txt",
    "fuzzing": ROOT / "requirements" / "fuzzing.txt",
    "auditing": ROOT / "requirements" / "audit.txt",
}
"""By what needs them; the last two have environments of their own."""


@dataclass(frozen=True)
class Package:
    name: str
    versions: tuple[str, ...]
    """More than one where it depends on the Python."""


def packages(path: Path) -> list[Package]:
    """The packages of a locked list by name."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    ):
        found.setdefault(name, []).append(version)
    return [Package(name, tuple(versions)) for name, versions in sorted(found.items())]


def direct() -> dict[str, str]:
    """The packages that pyproject.toml names, and for whom; all others are needed by these."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    development = {
        _name(requirement): "those who change the project" for requirement in project["dependency-groups"]["dev"]
    }
    return development | {
        _name(requirement): "the project, by name" for requirement in project["project"]["dependencies"]
    }


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")
