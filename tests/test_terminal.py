"""What a person sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage import project
from pipeline.terminal.errors import NO_MEMORY


def test_control_characters_of_a_stranger_do_not_reach_the_terminal() -> None:
    program = (
        "from pipeline.terminal import command\n"
        "from pipeline.terminal.errors import UserError\n"
        "def main():\n"
        "    raise UserError('\\x1b[31mred\\r\\x07: is no key\\n       é: \\ud800')\n"
        "command.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "error: \\x1b[31mred\\r\\x07: is no key\n       é: \\ud800\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("main", ["print('done')", "print('x' * 100_000)", "print('done'); raise UserError('no')"])
def test_output_that_cannot_be_written_is_an_error(main: str) -> None:
    program = (
        "from pipeline.terminal import command\nfrom pipeline.terminal.errors import UserError\n"
        f"def main():\n    {main}\n    return 0\ncommand.run(main)\n"
    )
    command = [sys.executable, "-c", program]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, env=buffered, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1
        said = "no" if "raise" in main else "standard output: No space left on device"
        assert done.stderr == f"error: {said}\n"
        done = subprocess.run(command, env=buffered, stdout=full, stderr=full, text=True, check=False)
        assert done.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_as_if_it_were_the_null_device(tmp_path: Path, closed: str) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from pipeline.terminal import command\nfrom pipeline.terminal.progress import console\n"
        "def main():\n"
        "    with open('a file', 'w') as file:\n"
        "        print('said'); console.print('shown'); print('told', file=sys.stderr, flush=True)\n"
        "        sys.stdin.read(); sys.stdout.flush()\n"
        "        file.write('its content')\n"
        "    return 3\n"
        "command.run(main)\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} program.py {closed}"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout == ("" if ">&- " in f"{closed} ".replace("2>&-", "") else "said\nshown\n")
    assert done.stderr == ("" if "2>&-" in closed else "told\n")
    assert (tmp_path / "a file").read_text() == "its content"


WITNESSES = "clean", "compose", "train"
"""Verbs that import nothing, Hydra, what trains. What all have in common: pipeline/__init__.py, pipeline.terminal."""


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(path.stem, marks=() if path.stem in WITNESSES else pytest.mark.long)
        for path in sorted((project.ROOT / "pipeline").glob("[a-z]*.py"))
    ],
)
def test_no_verb_needs_standard_output(verb: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m pipeline.{verb} --help >&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_stream_that_is_not_utf_8_takes_every_text_from_us_and_from_processes_of_ours(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    program = (
        "import subprocess, sys\n"
        "from pipeline.terminal import command\n"
        "from pipeline.terminal.errors import UserError\n"
        "from pipeline.terminal.progress import console\n"
        "def main():\n"
        "    print('5 → 3')\n"
        "    console.print('±0.2 衣 → 3')\n"
        "    subprocess.run([sys.executable, '-c', 'print(5, chr(0x2192), 3)'], check=True)\n"
        "    raise UserError('28 × 28 → …')\n"
        "command.run(main)\n"
    )
    (tmp_path / "verb.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-X", "utf8=0", str(tmp_path / "verb.py")]
    found = os.environ | {"PYTHONPATH": str(project.ROOT)} | variables
    done = subprocess.run(command, env=found, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1
    assert done.stdout.count(b"\\u2192 3") == 3
    assert done.stderr.startswith(b"error: 28 ")


@pytest.mark.parametrize(
    "raised",
    [
        "MemoryError",
        "SystemError('error return without exception set')",
        "TypeError('can not build: out of memory')",
        "OSError(12, 'no memory', 'a path')",
    ],
)
def test_a_verb_that_can_not_be_imported_for_lack_of_memory_says_so_in_a_sentence(raised: str) -> None:
    program = f"import pipeline\nraise {raised}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (1, [f"error: {NO_MEMORY}"])


@pytest.mark.parametrize("raised", ["MemoryError", "OSError(12, 'no memory', 'a path')"])
def test_a_verb_that_lacks_memory_ends_at_once(raised: str) -> None:
    """What Python would call at its end needs memory too, and says so of each."""
    program = (
        "import atexit\nfrom pipeline.terminal import command\n"
        "atexit.register(lambda: 1 / 0)\n"
        f"def main():\n    print('begun')\n    raise {raised}\ncommand.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "begun\n", f"error: {NO_MEMORY}\n")
