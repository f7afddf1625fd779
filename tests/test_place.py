"""A project works wherever it lies, and from anywhere in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = ROOT / ".tools" / "bin" / "uv"

FAKE_UV = """#!/bin/sh
# Makes what uv makes, as far as the Makefile looks at it.
echo "$@" >> calls
case "$*" in
*--clear*) rm -rf .venv ;;
esac
case "$1" in
venv)
    mkdir -p .venv/bin .venv/lib/python3/site-packages
    : > .venv/bin/activate
    ln -sf /bin/true .venv/bin/python
    case "$*" in *--relocatable*) echo "relocatable = true" > .venv/pyvenv.cfg ;; *) : > .venv/pyvenv.cfg ;; esac ;;
pip)
    grep -q relocatable .venv/pyvenv.cfg && echo "#!/bin/sh" > .venv/bin/dvc || \
        echo "#!$PWD/.venv/bin/python" > .venv/bin/dvc ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project with a stand-in for uv, in which nothing is installed yet."""
    project = tmp_path / "a project"
    for name in ("Makefile", "conv2d", "requirements/uv.txt", "requirements/locked.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    uv = project / ".tools" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(FAKE_UV)
    uv.chmod(0o755)
    return project


def _calls_of_setup(project: Path) -> list[str]:
    calls = project / "calls"
    calls.unlink(missing_ok=True)
    subprocess.run(["make", ".venv/.ready", f"PYTHON={sys.executable}"], cwd=project, check=True, capture_output=True)
    return calls.read_text().splitlines() if calls.exists() else []


def test_scripts_are_told_to_find_their_python_beside_themselves(place: Path) -> None:
    venv, sync = _calls_of_setup(place)
    assert "--relocatable" in venv
    assert sync.startswith("pip sync")
    assert _calls_of_setup(place) == []
    moved = place.rename(place.with_name("moved"))
    assert _calls_of_setup(moved) == []


def test_the_content_of_the_locked_list_counts_and_not_its_time(place: Path) -> None:
    _calls_of_setup(place)
    locked = place / "requirements" / "locked.txt"
    os.utime(locked, (2**31, 2**31))
    assert _calls_of_setup(place) == []
    with locked.open("a") as file:
        file.write("# another\n")
    assert [call.partition(" ")[0] for call in _calls_of_setup(place)] == ["venv", "pip"]


def test_an_environment_that_is_a_link_is_used_but_never_made_anew(place: Path, tmp_path: Path) -> None:
    _calls_of_setup(place)
    others = tmp_path / "others"
    (place / ".venv").rename(others)
    (place / ".venv").symlink_to(others)
    before = sorted(others.rglob("*"))
    assert _calls_of_setup(place) == []
    (place / "requirements" / "locked.txt").write_text("# another\n")
    done = subprocess.run(["make", "setup"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: .venv is a link" in done.stdout + done.stderr
    assert sorted(others.rglob("*")) == before


def test_what_a_search_needs_is_installed_beside_the_environment_that_is_locked(place: Path) -> None:
    _calls_of_setup(place)
    (place / "requirements" / "search.txt").touch()
    done = subprocess.run(["make", "-n", "test-long"], cwd=place, capture_output=True, text=True, check=True)
    installing = [line for line in done.stdout.splitlines() if " install " in line]
    assert [line.partition(" -m ")[0] for line in installing] == ["if .search/venv/bin/python"]
    assert "CI=true .search/venv/bin/python -m pytest -m long tests/test_studies_search.py" in done.stdout


@pytest.mark.parametrize("act", [Path.rename, shutil.copytree])
def test_an_environment_that_was_made_for_another_place_is_made_anew(place: Path, act: object) -> None:
    _calls_of_setup(place)
    (place / ".venv" / "pyvenv.cfg").write_text("")
    (place / ".venv" / "bin" / "dvc").write_text(f"#!{place}/.venv/bin/python\n")
    assert _calls_of_setup(place) == []
    moved = place.with_name("moved")
    assert callable(act)
    act(place, moved)
    venv, _ = _calls_of_setup(moved)
    assert "--clear" in venv
    assert _calls_of_setup(moved) == []


def test_an_environment_whose_python_is_gone_is_made_anew(place: Path) -> None:
    _calls_of_setup(place)
    (place / ".venv" / "bin" / "python").unlink()
    (place / ".venv" / "bin" / "python").symlink_to(place / "nowhere")
    assert len(_calls_of_setup(place)) == 2
    assert _calls_of_setup(place) == []


def test_a_copy_in_which_every_file_is_new_asks_for_no_network(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    shutil.copy(place / "requirements" / "uv.txt", place / ".tools" / "uv.txt")
    _calls_of_setup(place)
    os.utime(place / ".tools" / "bin" / "uv", (0, 0))
    assert _calls_of_setup(place) == []
    (place / "requirements" / "uv.txt").write_text("another\n")
    with pytest.raises(subprocess.CalledProcessError):
        _calls_of_setup(place)


def test_an_environment_that_is_a_link_is_no_other_place(place: Path) -> None:
    _calls_of_setup(place)
    (place / ".venv" / "pyvenv.cfg").write_text("")
    (place / ".venv" / "bin" / "dvc").write_text(f"#!{place}/.venv/bin/python\n")
    beside = shutil.copytree(place, place.with_name("beside"), ignore=shutil.ignore_patterns(".venv"))
    (beside / ".venv").symlink_to(place / ".venv")
    assert _calls_of_setup(beside) == []


@pytest.mark.skipif(not UV.exists(), reason="`make setup` was not called here")
def test_a_real_environment_works_where_its_project_was_moved_to(place: Path) -> None:
    shutil.copytree(ROOT / "pipeline", place / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    uv = place / ".tools" / "bin" / "uv"
    uv.write_text(f'#!/bin/sh\nexec "{UV.resolve()}" "$@"\n')
    wheel = _tiny_package(place.parent)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (place / "requirements" / "locked.txt").write_text(f"tiny @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    _calls_of_setup(place)
    assert "relocatable = true" in (place / ".venv" / "pyvenv.cfg").read_text().splitlines()
    moved = place.rename(place.with_name("it moved"))
    environment = moved / ".venv"
    assert _run(environment / "bin" / "tiny").startswith(str(environment))
    assert _run(environment / "bin" / "conv2d").startswith("Verbs")
    for shell in ("sh", "bash"):
        activated = 'cd "$0" && . .venv/bin/activate && command -v python && tiny && cd / && python -m pipeline'
        python, module, title, *_ = _run(shell, "-c", activated, moved).splitlines()
        assert python == str(environment / "bin" / "python")
        assert module.startswith(str(environment))
        assert title.startswith("Verbs")


def _tiny_package(folder: Path) -> Path:
    """A wheel with one script, which prints where its module lies."""
    wheel = folder / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "def main():\n    print(__file__)\n")
        archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        archive.writestr("tiny-1.dist-info/RECORD", "")
    return wheel


def _run(*command: object, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command], env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# From anywhere


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the environment of this one."""
    for name in ("pipeline", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conv2d", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / ".venv" / "bin" / "conv2d").symlink_to("../../conv2d")
    return tmp_path


@pytest.mark.parametrize(
    ("called", "folder"),
    [("conv2d", "."), ("conv2d", "conf/model"), ("conv2d", "/"), (".venv/bin/conv2d", "."), (".venv/bin/conv2d", "/")],
)
def test_a_verb_works_from_anywhere(project: Path, called: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / folder)
    said = _run(project / called, "compose", "--help")
    assert said.startswith("usage: python -m pipeline.compose")


def test_it_is_this_projects_verb_though_the_folder_has_one_of_that_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "other" / "pipeline").mkdir(parents=True)
    (project / "other" / "pipeline" / "__init__.py").write_text("raise SystemExit('another')")
    monkeypatch.chdir(project / "other")
    assert "another" not in _run(project / "conv2d", "compose", "--help")


def test_without_a_verb_all_are_listed_with_what_they_do(project: Path) -> None:
    lines = _run(project / "conv2d").splitlines()
    assert _run(project / "conv2d", "--help").splitlines() == lines
    verbs = {path.stem for path in (ROOT / "pipeline").glob("[a-z]*.py")}
    assert {line.split()[0] for line in lines if line.startswith("  ")} == verbs
    assert "  clean          Remove what the pipeline made" in lines
    assert all(len(line.split()) > 3 for line in lines)


def test_a_verb_that_is_none_is_told_with_the_nearest(project: Path) -> None:
    done = subprocess.run([project / "conv2d", "swep"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: swep: is no verb. Did you mean sweep?\n")


def test_without_an_environment_a_sentence_says_what_makes_it(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = subprocess.run([project / "conv2d", "sweep"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {project} has no environment yet: `make setup` there makes it\n"


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(path.stem, marks=() if path.stem in ("clean", "compose", "train") else pytest.mark.long)
        for path in sorted((ROOT / "pipeline").glob("[a-z]*.py"))
    ],
)
def test_a_python_without_the_packages_says_so_in_a_sentence(verb: str) -> None:
    # What -S leaves out is where packages lie. Two verbs need none as far as here.
    command = [sys.executable, "-S", "-m", f"pipeline.{verb}", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert verb in ("clean", "sweep")
    else:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "`make setup`" in done.stderr
