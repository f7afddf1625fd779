"""What computes: the device, which belongs to a run's identity, and the processor's class, which its bits depend on."""

import platform
from pathlib import Path

CPU = Path("/proc/cpuinfo")
CARDS = Path("/proc/driver/nvidia/gpus")

CLASSES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "bf16",
    "sve",
    "sve2",
    "i8mm",
)
"""The instruction sets by which TensorFlow and oneDNN choose their kernels, as Linux calls them."""


def processor_class() -> str:
    """The machine and its instruction sets, such as `x86_64 avx2 avx512f`: runs repeat bit for bit within a class."""
    flags = set((cpu_field("flags") or cpu_field("Features") or "").split())
    return " ".join([platform.machine(), *(name for name in CLASSES if name in flags)])


def device() -> str:
    """`cpu`, or the model of the graphics card that TensorFlow would use. Needs no TensorFlow."""
    for card in sorted(CARDS.glob("*/information")):
        for line in card.read_text("utf-8", "replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return "cpu"


def cpu_field(name: str) -> str | None:
    """What Linux says of the first core; None where it does not."""
    try:
        lines = CPU.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)
