"""What the arguments of Conv2D really do: verbs in this folder, what they are made of in the folders below.

Importing it, which every process of ours does first, leaves out of the environment what would change results unseen.
"""

import os
import sys

import pipeline.terminal.errors  # noqa: F401 - says what is missing, in whatever is imported next

DECIDING = "TF_", "XLA_", "ONEDNN_", "DNNL_", "KERAS_", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"
"""How variables begin by which TensorFlow, XLA, oneDNN, Keras and CUDA choose kernels, precision, threads or a backend.
About 150 are known: some change bits that no page names (TF_ONEDNN_ASSUME_FROZEN_WEIGHTS)."""

HARMLESS = (
    *("TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"),
    *(
        "TF_VAR_",
        "TF_CLI_",
        "TF_LOG",
        "TF_DATA_DIR",
        "TF_WORKSPACE",
        "TF_INPUT",
        "TF_IN_AUTOMATION",
        "TF_PLUGIN_",
        "TF_TOKEN_",
        "TF_CLOUD_",
    ),
)
"""Of these, what only logs or divides memory, and what is Terraform's."""

OURS = {
    # The same kernels on every CPU: without AVX-512 TensorFlow leaves oneDNN off, and then refuses channels_first.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "KERAS_BACKEND": "tensorflow",
    # It can hold no keras.json, which would set types and the order of axes; Keras does not write one either.
    "KERAS_HOME": os.devnull,
}


def _keep_assertions() -> None:
    """Begin a verb again that was begun with PYTHONOPTIMIZE or -O: without assertions Hydra's parser reads nothing."""
    if sys.flags.optimize and sys.orig_argv[1:2] != ["-c"] and any("pipeline" in word for word in sys.orig_argv):
        os.environ.pop("PYTHONOPTIMIZE", None)
        words = [word for word in sys.orig_argv[1:] if word not in ("-O", "-OO")]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606


_keep_assertions()


def _leave_out() -> tuple[str, ...]:
    """Set the environment right; the variables that said otherwise."""
    found = sorted(name for name in os.environ if name.startswith(DECIDING) and not name.startswith(HARMLESS))
    other = tuple(name for name in found if os.environ[name] != OURS.get(name))
    for name in found:
        del os.environ[name]
    os.environ.update(OURS)
    return other


LEFT_OUT = _leave_out()
"""The variables of whoever started this process that are not in force in it."""
