"""What computes: the device, which belongs to a run's identity, and the processor's class, which its bits depend on."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

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


def processor_class() -> str:
    """The machine and its instruction sets, such as `x86_64 avx2 avx512f`: runs repeat bit for bit within a class."""
    flags = set((cpu_field("flags") or cpu_field("Features") or "").split())
    return " ".join([platform.machine(), *(name for name in CLASSES if name in flags)])


def device() -> str:
    """`cpu`, or the model of the graphics card that TensorFlow uses: asked only where the system shows a card."""
    if not any(path.exists() for path in (CARDS, *NODES)):
        return "cpu"
    return _cards(os.environ.get("CUDA_VISIBLE_DEVICES"))


def cpu_field(name: str) -> str | None:
    """What Linux says of the first core; None where it does not."""
    try:
        lines = CPU.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


@cache
def _cards(_visible: str | None) -> str:
    """What TensorFlow finds: without CUDA's libraries a card that is there computes nothing."""
    # In a process of its own: whoever asks may need no TensorFlow, and does not set it up.
    answer = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, encoding="utf-8", check=False)
    return answer.stdout.strip() or "cpu"
