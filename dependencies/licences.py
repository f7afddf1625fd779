"""Write docs/dependencies.md: every locked package and its licence, as its own metadata say it."""

import re
from importlib.metadata import Distribution, distributions

from dependencies.locked import LISTS, ROOT, direct, packages
from pipeline.storage import atomic

TARGET = ROOT / "docs" / "dependencies.md"
ENVIRONMENTS = ".venv", ".tools", ".fuzzing/venv", ".audit/venv"

READ_IN_ITS_FILES = {
    "antlr4-python3-runtime": "BSD-3-Clause",
    "atheris": "Apache-2.0",
    "huey": "MIT",
    "hydra-joblib-launcher": "MIT",
    "namex": "Apache-2.0",
    "pebble": "LGPL-3.0-or-later",
    "pywin32": "PSF-2.0",
    "skops": "MIT",
    "waitress": "ZPL-2.1",
}
"""Of packages whose metadata name none or not which one, and of those that are installed on Windows only."""

WITH_CONDITIONS = re.compile(r"GPL|EPL|MPL|General Public|Mozilla|Eclipse")
"""Licences that ask something of those who pass on the package, or changes of it, beyond naming it."""

INTRODUCTION = """\
# What the project depends on

Every package of the locked lists in requirements/, with the licence that its own metadata name. `make dependencies`
writes this page; `make audit` asks for known vulnerabilities.

None of them is part of this repository or changed by it: they are installed beside it. Most licences are permissive
(MIT, BSD, Apache, PSF, ISC, ZPL). These are not, or not only: they set conditions for those who pass on the package or
changes of it:
"""


def main() -> None:
    atomic.write_file(TARGET, page())


def page() -> str:
    """The page, out of the locked lists and of the metadata of what is installed."""
    rows = {name: f"| {name} | {versions} | {licence} | {use} |" for name, versions, licence, use in _rows()}
    conditions = [f"{name} ({licence})" for name, _, licence, _ in _rows() if WITH_CONDITIONS.search(licence)]
    table = ["| package | version | licence | for |", "|---|---|---|---|", *rows.values()]
    return "\n".join([INTRODUCTION + ", ".join(conditions) + ".", "", *table, ""])


def _rows() -> list[tuple[str, str, str, str]]:
    """Name, versions, licence and use of each package."""
    named = direct()
    installed = {_normal(found.name): found for found in distributions(path=_sites())}
    lists: dict[str, list[str]] = {}
    versions: dict[str, set[str]] = {}
    for use, path in LISTS.items():
        for package in packages(path):
            lists.setdefault(package.name, []).append(use)
            versions.setdefault(package.name, set()).update(package.versions)
    return [
        (
            name,
            ", ".join(sorted(versions[name])),
            READ_IN_ITS_FILES.get(name) or licence(installed[name]),
            named.get(name) or ", ".join(use for use in lists[name]),
        )
        for name in sorted(lists)
    ]


def licence(package: Distribution) -> str:
    """The SPDX expression in a package's metadata, or else the short field, or else what the classifiers name."""
    fields = package.metadata.json
    field = str(fields.get("license", ""))
    classifiers = [value.rpartition(" :: ")[2] for value in fields.get("classifier", []) if "License ::" in value]
    short = len(field) <= 60 and "\n" not in field and "Copyright" not in field and field not in ("", "BSD", "UNKNOWN")
    named = str(fields.get("license_expression", "")) or (field if short else "") or ", ".join(classifiers) or field
    if not named.strip():
        raise ValueError(f"{package.name} names no licence: read its files, then READ_IN_ITS_FILES")
    return " or ".join(part.strip() for part in named.splitlines()[0].split("|"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _sites() -> list[str]:
    return [str(site) for name in ENVIRONMENTS for site in (ROOT / name).glob("lib/python*/site-packages")]


if __name__ == "__main__":
    main()
