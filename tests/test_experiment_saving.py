"""Weights reach a disk that is full as an error, not as half a file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.run.weights import weights_file
from pipeline.storage import project
from tests.harness.mounts import in_mounts_of_its_own


class Network:
    """Keeps its weights in HDF5, like Keras, which takes seconds to import."""

    def save_weights(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["kernel"] = np.arange(5000, dtype=np.float32)


def test_weights_have_the_bytes_of_the_file_that_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network: Any = Network()
    content = weights_file(network)
    assert list(tmp_path.iterdir()) == []
    network.save_weights(tmp_path / "plain")
    assert content == (tmp_path / "plain").read_bytes()


def test_keras_writes_the_same_bytes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras  # noqa: PLC0415 - seconds

    monkeypatch.chdir(tmp_path)
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 2), keras.layers.BatchNormalization()])
    network.save_weights(tmp_path / "plain.weights.h5")
    assert weights_file(network) == (tmp_path / "plain.weights.h5").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["plain.weights.h5"]


def test_weights_larger_than_the_files_in_memory_and_than_the_temporary_folder_are_kept(tmp_path: Path) -> None:
    program = """
import os, subprocess, sys
from pathlib import Path
for place in ("/dev/shm", sys.argv[1]):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(print("no mount:", done.stderr.strip()))
os.environ["TMPDIR"] = sys.argv[1]
import h5py, numpy as np
from pipeline.run.weights import weights_file
class Network:
    def save_weights(self, path):
        with h5py.File(path, "w") as file:
            file["kernel"] = np.ones(100_000, np.float32)
print(len(weights_file(Network())) > 400_000, len(list(Path(sys.argv[1]).iterdir())))
"""
    done = in_mounts_of_its_own(program, tmp_path)
    assert (done.stdout, done.returncode) == ("True 0\n", 0), done.stderr


@pytest.mark.parametrize("room", [0, 500, 3000, 20_000])
def test_weights_for_which_there_is_no_room_name_their_place(tmp_path: Path, room: int) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from pipeline.run.weights import weights_file
from pipeline.storage import atomic
from tests.test_experiment_saving import Network
content = weights_file(Network())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with atomic.write_folder(Path(sys.argv[1])) as folder:
        (folder / "weights").write_bytes(content)
except OSError as error:
    print(error.filename)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "training"), str(room)]
    done = subprocess.run(command, cwd=project.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'training'}\n"
    assert list(tmp_path.iterdir()) == []
