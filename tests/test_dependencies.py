"""The list of what the project depends on, and the question whether something is known to be wrong with it."""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from dependencies import audit, licences
from dependencies.locked import LISTS, direct, packages

ROWS = {
    cells[0]: cells
    for line in licences.TARGET.read_text().splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
}


@pytest.mark.parametrize("use", LISTS)
def test_every_locked_package_is_listed_with_its_versions_and_a_licence(use: str) -> None:
    locked = re.findall(r"^([\w.-]+)==([\w.+!-]+)", LISTS[use].read_text(), flags=re.MULTILINE)
    assert len(locked) >= 1
    for name, version in locked:
        assert name in ROWS, f"{name} is missing in docs/dependencies.md: make dependencies"
        assert version in ROWS[name][1].split(", "), f"{name} {version}: make dependencies"
        assert ROWS[name][2]


def test_nothing_is_listed_that_is_not_locked() -> None:
    assert set(ROWS) - {"package"} == {package.name for path in LISTS.values() for package in packages(path)}


def test_licences_are_those_of_the_installed_packages() -> None:
    assert {name: ROWS[name][2] for name in ("numpy", "pydantic", "rich", "tensorflow")} == {
        name: licences.licence(distribution(name)) for name in ("numpy", "pydantic", "rich", "tensorflow")
    }


def test_licences_that_set_conditions_are_named_above_the_table() -> None:
    introduction = licences.TARGET.read_text().partition("| package |")[0]
    for name, _, licence, _ in ROWS.values():
        assert (f"{name} ({licence})" in introduction) == bool(re.search("GPL|EPL|MPL|Mozilla", licence))
    assert "certifi (MPL-2.0)" in introduction


def test_what_the_project_names_is_told_apart() -> None:
    assert direct()["hydra-core"] == "the project, by name"
    assert direct()["pytest"] == "those who change the project"
    assert "werkzeug" not in direct()
    assert ROWS["numpy"][3] == "the project, by name"


def program(path: Path, answer: str) -> Path:
    """A pip-audit that answers so, with the names of the file that it is asked about."""
    path.write_text(
        f"#!{sys.executable}\nimport json, re, sys\nfrom pathlib import Path\n"
        "text = Path(sys.argv[sys.argv.index('-r') + 1]).read_text()\n"
        "names = re.findall(r'^([\\w.-]+)==([\\w.]+)', text, flags=re.MULTILINE)\n"
        f"{answer}\n"
    )
    path.chmod(0o755)
    return path


def entries(vulnerable: str) -> str:
    found = f"'vulns': [{{'id': 'PYSEC-1'}}] if n in ({vulnerable}) else []"
    return f"print(json.dumps({{'dependencies': [{{'name': n, 'version': v, {found}}} for n, v in names]}}))"


def test_nothing_known_is_said_only_by_a_database_that_knows_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([], program(tmp_path / "knows", entries("('jinja2',) if len(names) == 1 else ()"))) == 0
    assert re.search(r"the project: \d+ packages asked of pypi, 0 with known", capsys.readouterr().out)
    assert audit.main([], program(tmp_path / "knows-nothing", entries("()"))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: not audited: no advisory database answers here.")


def test_known_vulnerabilities_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main([], program(tmp_path / "knows", entries("('jinja2', 'urllib3')"))) == 1
    assert re.search(r"^  urllib3 [\d.]+: PYSEC-1$", capsys.readouterr().out, flags=re.MULTILINE)


SKIPPED = "print(json.dumps({'dependencies': [{'name': n, 'skip_reason': 'not found'} for n, _ in names]}))"


@pytest.mark.parametrize("answer", [SKIPPED, "sys.exit('ConnectionError: no route')", "print(json.dumps({}))"])
def test_database_that_does_not_answer_is_an_error(
    answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([], program(tmp_path / "pip-audit", answer)) == 2
    assert "not audited" in capsys.readouterr().err


def test_package_that_a_database_does_not_know_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = (
        "found = [{'name': n, 'version': v, 'vulns': [{'id': 'X'}]} for n, v in names if n != 'numpy']\n"
        "found += [{'name': 'numpy', 'skip_reason': 'not found'}] if len(names) > 1 else []\n"
        "print(json.dumps({'dependencies': found}))"
    )
    assert audit.main([], program(tmp_path / "pip-audit", answer)) == 2
    assert "does not know 1 packages (numpy" in capsys.readouterr().err
