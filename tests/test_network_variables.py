"""What a person's environment and Keras's own file say of kernels, precision and backend changes no bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage import project
from tests.test_network_training import digest_of_a_training_with_everything

pytestmark = pytest.mark.usefixtures("two_threads")

DIGEST = """
from pipeline.network.fit import use_threads; use_threads(2)
from tests.test_network_training import digest_of_a_training_with_everything
print(digest_of_a_training_with_everything())
"""
HOSTILE = {
    "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "KERAS_BACKEND": "torch",
    "KERAS_NNX_ENABLED": "1",
    "KERAS_MAX_EPOCHS": "1",
}
"""Variables that are left out. Without that some change bits and others end the training."""

WITHOUT_EFFECT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}
"""Variables that are let be: `training.threads` decides."""


def said(program: str, **variables: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.ROOT,
        env=plain | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def digest() -> str:
    return f"{digest_of_a_training_with_everything()}\n"


@pytest.mark.long
def test_a_persons_variables_change_no_bit(digest: str, tmp_path: Path) -> None:
    assert said(DIGEST, TF_ONEDNN_ASSUME_FROZEN_WEIGHTS="1", HOME=str(tmp_path)) == digest


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"floatx": "float64", "epsilon": 0.1, "backend": "jax"}),
        pytest.param("no JSON", marks=pytest.mark.long),
    ],
)
def test_hostile_variables_and_keras_own_file_change_no_bit(digest: str, text: str, tmp_path: Path) -> None:
    place = tmp_path / ".keras" / "keras.json"
    place.parent.mkdir()
    place.write_text(text)
    places = {"HOME": str(tmp_path), "KERAS_HOME": str(place.parent)}
    assert said(DIGEST, **HOSTILE, **WITHOUT_EFFECT, **places) == digest


def test_what_is_left_out_is_told_once_and_what_only_logs_stays() -> None:
    program = """
import os, subprocess, sys
from pipeline.run.environment import variables_note
print(variables_note())
print(sorted(name for name in os.environ if name.startswith(("TF_", "XLA_", "KERAS_"))), os.environ["KERAS_BACKEND"])
if len(sys.argv) == 1:
    subprocess.run([sys.executable, "-c", "from pipeline import LEFT_OUT; print(LEFT_OUT)"], check=True)
"""
    names = "KERAS_BACKEND KERAS_HOME TF_CPP_MIN_LOG_LEVEL TF_ENABLE_ONEDNN_OPTS TF_FORCE_GPU_ALLOW_GROWTH"
    ours = f"{names.split()} tensorflow"
    variables = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--x", "TF_CPP_MIN_LOG_LEVEL": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
    note = "KERAS_BACKEND, XLA_FLAGS: left out, such variables change results"
    assert said(program, **variables).splitlines() == [note, ours, "()"]
    assert said(program, TF_CPP_MIN_LOG_LEVEL="1").splitlines() == ["None", ours, "()"]
    assert said(program, TF_VAR_x="1", TF_CLI_CONFIG_FILE="x").startswith("None\n"), "Terraform's"


@pytest.mark.parametrize("words", [("-O",), ("-OO",), ()], ids=str)
def test_a_verb_that_is_begun_without_assertions_begins_again_with_them(words: tuple[str, ...]) -> None:
    """Hydra's parser reads no range without: every composition would be refused."""
    done = subprocess.run(
        [sys.executable, *words, "-m", "pipeline.compose", "seed=range(3)"],
        cwd=project.ROOT,
        env=os.environ | ({} if words else {"PYTHONOPTIMIZE": "2"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "holds several values" in done.stderr, done.stderr
