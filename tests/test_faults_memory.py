"""Memory that runs out on purpose: allocations are counted, and refused where they shall be."""

import os
import subprocess
import sys

import pytest

from faults.memory import Memory, library, reason_not_to
from tests.harness.project import ROOT

pytestmark = pytest.mark.skipif(reason_not_to() is not None, reason=str(reason_not_to()))

LARGE = 8 << 20
"""Python itself asks for less at once."""
TWICE = f"""
import subprocess, sys
for _ in range(2):
    try:
        bytearray({LARGE})
        print("given")
    except MemoryError:
        print("refused")
subprocess.run([sys.executable, "-c", "bytearray({LARGE})"])
"""
TOLD = """
from pipeline.terminal import command
def main():
    {raised}
command.run(main)
"""


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    folder = tmp_path_factory.mktemp("memory")
    return Memory(library(folder), folder / "scratch", least=LARGE)


def run(program: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_large_allocations_are_counted_over_all_processes(memory: Memory) -> None:
    assert run(TWICE, memory.counting()).stdout == "given\ngiven\n"
    assert memory.count() == 3
    assert memory.refused() is None


@pytest.mark.parametrize(("lasting", "said"), [(False, "refused\ngiven\n"), (True, "refused\nrefused\n")])
def test_an_allocation_is_refused_once_or_from_there_on(memory: Memory, lasting: bool, said: str) -> None:
    done = run(TWICE, memory.refusing(1, lasting=lasting))
    assert done.stdout == said
    assert ("MemoryError" in done.stderr) == lasting
    refused = memory.refused()
    assert refused is not None
    assert LARGE <= refused < 1.1 * LARGE


RAISED = (
    "raise MemoryError",
    "bytearray(1 << 62)",
    "raise SystemError('error return without exception set')",  # CPython's own, where it forgets which
    "raise type('ResourceExhaustedError', (Exception,), {})('OOM when allocating tensor')",
)


@pytest.mark.parametrize("raised", RAISED)
def test_a_verb_without_memory_says_so_in_a_sentence(raised: str) -> None:
    done = run(TOLD.format(raised=raised), {})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the memory of this machine")
    assert len(done.stderr.splitlines()) == 1


def test_another_exception_keeps_its_traceback() -> None:
    assert "Traceback" in run(TOLD.format(raised="raise RuntimeError('a fault of ours')"), {}).stderr
