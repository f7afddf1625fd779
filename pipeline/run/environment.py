"""Where and from what a run is made: the device and the versions, which belong to its identity, the processor's class,
which its bits depend on, and what is recorded beside.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pydantic import JsonValue

from pipeline import LEFT_OUT
from pipeline.storage import project

DECIDING_PACKAGES = "keras", "numpy", "tensorflow"

CPU = Path("/proc/cpuinfo")
CARDS = Path("/proc/driver/nvidia/gpus")
NODES = Path("/dev/nvidia0"), Path("/dev/dxg")
"""What Linux has of a card in a container, and under Windows."""

CLASSES = (
    *("sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10_1"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16", "svebf16"),
)
"""The instruction sets by which oneDNN, Eigen and XLA choose their kernels, as Linux calls them, on x86 and on ARM
(https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html)."""

NAMES = """
import tensorflow as tf
cards = tf.config.list_physical_devices("GPU")
print(", ".join(sorted({tf.config.experimental.get_device_details(card).get("device_name", "GPU") for card in cards})))
"""

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How Linux calls the instructions that multiply bfloat16, on x86 and on ARM."""

# A process takes of a card's memory what it needs, so that several runs share one. Who says otherwise is obeyed.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@dataclass(frozen=True)
class Environment:
    """Where and from what a run was made; None and empty where that is unknown."""

    git_commit: str | None = None
    uncommitted_changes: bool | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, JsonValue] = field(default_factory=dict)


@cache
def versions() -> dict[str, str]:
    """The versions that decide a result; of Python's the first two numbers. Read without importing the packages, once
    in a process.
    """
    return {"python": ".".join(platform.python_version_tuple()[:2])} | {
        name: version(name) for name in DECIDING_PACKAGES
    }


def processor_class() -> str:
    """The machine and its instruction sets, such as `x86_64 avx2 avx512f`: runs repeat bit for bit within a class."""
    return " ".join([platform.machine(), *(name for name in CLASSES if name in _instructions())])


def device() -> str:
    """`cpu`, or the model of the graphics card that TensorFlow uses: asked only where the system shows a card."""
    if not any(path.exists() for path in (CARDS, *NODES)):
        return "cpu"
    return _cards(os.environ.get("CUDA_VISIBLE_DEVICES"))


def _cpu_field(*names: str) -> str:
    """What Linux says of the first core under one of these names; nothing where it does not."""
    try:
        lines = CPU.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in fields if name.strip() in names), "")


def _instructions() -> set[str]:
    return set(_cpu_field("flags", "Features").split())


def environment() -> Environment:
    """Git commit and whether there are uncommitted changes, versions, hardware."""
    # What the pipeline itself writes is no change of a person's.
    status = git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)record", ":(exclude)reports")
    commit = git("rev-parse", "HEAD")
    return Environment(
        git_commit=None if commit is None else commit.decode().strip(),
        uncommitted_changes=None if status is None else bool(status),
        versions={**versions(), "python": platform.python_version()},
        hardware={
            "processor": _cpu_field("model name") or platform.processor() or platform.machine(),
            "processor_class": processor_class(),
            "device": device(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
    )


def variables_note() -> str | None:
    """Which of a person's variables are not in force, because they would change results."""
    return f"{', '.join(LEFT_OUT)}: left out, such variables change results" if LEFT_OUT else None


def precision_note(precision: str) -> str | None:
    """What a person should know of `precision` on this processor."""
    if precision != "mixed_bfloat16" or not lacks_bfloat16():
        return None
    slow = "this processor has no bfloat16 arithmetic: mixed_bfloat16 takes about ten times as long as"
    return f"{slow} training.precision=float32"


def lacks_bfloat16() -> bool:
    """Whether a processor without bfloat16 arithmetic computes the runs; False too where the system does not tell."""
    instructions = _instructions()
    return bool(instructions) and not BFLOAT16 & instructions and device() == "cpu"


def git(*arguments: str, given: bytes = b"", seconds: float | None = 20) -> bytes | None:
    """What git answers to what it is `given`; None where there is no git, no repository, or no answer in time."""
    command = ["git", "--no-optional-locks", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        answer = subprocess.run(
            command, cwd=project.ROOT, input=given, capture_output=True, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


@cache
def _cards(_visible: str | None) -> str:
    """What TensorFlow finds: without CUDA's libraries a card that is there computes nothing."""
    # In a process of its own: whoever asks may need no TensorFlow, and does not set it up.
    answer = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, encoding="utf-8", check=False)
    return answer.stdout.strip() or "cpu"
