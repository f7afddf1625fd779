"""What computes: the device, which belongs to a run's identity, and the processor's class, which its bits depend on."""

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

CPU = Path("/proc/cpuinfo")

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


def processor_class() -> str:
    """The machine and its instruction sets that decide bits, such as "x86_64 avx2 fma avx512f": the same text, the
    same kernels. The machine alone where the system does not tell more."""
    present = set((cpu_field("flags") or cpu_field("Features") or "").split())
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


def cpu_field(name: str) -> str | None:
    """What Linux says of the first core; None where it does not."""
    try:
        lines = CPU.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)
