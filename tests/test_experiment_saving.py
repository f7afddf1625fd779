"""Weights reach a disk that is full as an error, not as half a file."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.experiment import saving
from pipeline.experiment.saving import weights_file
from pipeline.storage import project


class Network:
    """Keeps its weights in HDF5, like Keras, which takes seconds to import."""

    def save_weights(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["kernel"] = np.arange(5000, dtype=np.float32)


@pytest.mark.parametrize("in_memory", [True, False])
def test_weights_have_the_bytes_of_the_file_that_they_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.setattr(saving, "MEMORY", tmp_path / "nowhere")
    network: Any = Network()
    content = weights_file(network)
    assert list(tmp_path.iterdir()) == []
    network.save_weights(tmp_path / "plain")
    assert content == (tmp_path / "plain").read_bytes()


@pytest.mark.skipif(not saving.MEMORY.is_dir(), reason="no files in memory here")
@pytest.mark.parametrize("room", [0, 500, 3000, 20_000])
def test_weights_for_which_there_is_no_room_name_their_place(tmp_path: Path, room: int) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from pipeline.experiment.saving import weights_file
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
