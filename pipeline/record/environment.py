"""Where and from what a run was made: recorded, no part of its identity."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

from pydantic import JsonValue

from pipeline.record.identity import versions
from pipeline.storage import project

CPU = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How Linux calls the instructions that multiply bfloat16, on x86 and on ARM."""

DECIDING_INSTRUCTIONS = (
    *("sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10_1"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16", "svebf16"),
)
"""Those by which oneDNN, Eigen and XLA choose a kernel, as Linux calls them, on x86 and on ARM: another kernel adds in
another order (https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html)."""

GPUS = Path("/proc/driver/nvidia/gpus"), Path("/dev/nvidia0"), Path("/dev/dxg")
"""Where Linux shows that there is one which TensorFlow may use, also in a container and under Windows."""

GPU_NAMES = """
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
print(", ".join(sorted({tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus})))
"""


def environment() -> dict[str, JsonValue]:
    """Git commit and whether there are uncommitted changes, versions, hardware."""
    # What the pipeline itself writes is no change of a person's.
    status = _git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)record", ":(exclude)reports")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if status is None else bool(status),
        "versions": dict(versions()),
        "hardware": {
            "processor": _processor(),
            "instructions": processor_class(),
            "device": device(),
            "cores": os.cpu_count(),
            "memory_gib": _memory_gib(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def processor_class() -> str:
    """The machine and its instruction sets that decide bits, such as "x86_64 avx2 fma avx512f": the same text, the
    same kernels. The machine alone where the system does not tell more."""
    present = set((_cpu("flags") or _cpu("Features") or "").split())
    return " ".join((platform.machine(), *(name for name in DECIDING_INSTRUCTIONS if name in present)))


@cache
def device() -> str:
    """What computes: "cpu", or the kind of GPU that TensorFlow finds, asked only where the system shows one."""
    if not any(path.exists() for path in GPUS):
        return "cpu"
    # In a process of its own: whoever asks may need no TensorFlow, and does not set it up.
    command = [sys.executable, "-c", GPU_NAMES]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "cpu"


def precision_note(precision: str) -> str | None:
    """What a person should know of `precision` on this processor."""
    if precision != "mixed_bfloat16" or not lacks_bfloat16():
        return None
    return (
        "this processor has no bfloat16 arithmetic: mixed_bfloat16 takes about ten times as long as "
        "training.precision=float32"
    )


def lacks_bfloat16() -> bool:
    """Whether this processor has no bfloat16 arithmetic; False too where the system does not tell."""
    instructions = _cpu("flags") or _cpu("Features")
    return instructions is not None and not BFLOAT16 & set(instructions.split())


def _git(*arguments: str) -> str | None:
    """What git answers; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=project.ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    return _cpu("model name") or platform.processor() or platform.machine()


def _cpu(field: str) -> str | None:
    """What Linux says of the first core; None where it does not."""
    try:
        lines = CPU.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), None)


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
