"""Arrays and weights as files: the same bytes each time, and a disk that is full is an error, not half a file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.run.weights import network_weights
from pipeline.storage import project
from pipeline.storage.arrays import Arrays, digest_of, pack, unpack

ARRAYS: Arrays = {
    "block1_conv/kernel": np.arange(5000, dtype=np.float32).reshape(50, 100),
    "count": np.array(3, np.int64),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "nothing": np.zeros((0, 4), np.float32),
}


def test_arrays_are_read_as_they_were_written_and_numpy_reads_them_too(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(pack(ARRAYS))
    found, numpys = unpack(pack(ARRAYS)), np.load(tmp_path / "a.npz", allow_pickle=False)
    assert list(found) == list(ARRAYS) == numpys.files
    for name, array in ARRAYS.items():
        for other in (found[name], numpys[name]):
            assert (other.dtype, other.shape) == (array.dtype, array.shape)
            assert np.array_equal(other, array)


def test_the_same_arrays_are_the_same_bytes_whenever_they_are_written() -> None:
    program = (
        "import sys, time; time.localtime = lambda *_: time.gmtime(2_000_000_000)\n"
        "from pipeline.storage.arrays import pack, unpack\n"
        "sys.stdout.buffer.write(pack(unpack(sys.stdin.buffer.read())))"
    )
    content = pack(ARRAYS)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=project.ROOT, input=content, capture_output=True, check=True)
    assert done.stdout == content


@given(st.sampled_from(["name", "type", "shape", "values", "order"]))
def test_the_digest_is_another_when_anything_of_the_arrays_is(changed: str) -> None:
    one = {"a": np.arange(6, dtype=np.float32), "b": np.zeros(2, np.float32)}
    others: dict[str, Arrays] = {
        "name": {"c": one["a"], "b": one["b"]},
        "type": {"a": one["a"].view(np.int32), "b": one["b"]},
        "shape": {"a": one["a"].reshape(2, 3), "b": one["b"]},
        "values": {"a": one["a"] + 1, "b": one["b"]},
        "order": {"b": one["b"], "a": one["a"]},
    }
    assert digest_of(one) != digest_of(others[changed])
    assert digest_of(one) == digest_of(unpack(pack(one)))


@pytest.mark.usefixtures("two_threads")
def test_a_networks_weights_are_all_that_it_predicts_with() -> None:
    import keras  # noqa: PLC0415 - seconds

    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(3, 2, name="conv")(inputs))
    network = keras.Model(inputs, keras.layers.Dropout(0.5)(outputs))
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = network_weights(network)
    assert list(weights) == ["conv/kernel", "conv/bias", *(f"norm/{name}" for name in norm)]
    assert all(map(np.array_equal, weights.values(), network.get_weights()))


def test_weights_for_which_there_is_no_room_name_their_place(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from pipeline.storage import atomic
place, content = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (0, 500, 3000, len(content) - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with atomic.write_folder(place) as folder:
            (folder / "weights").write_bytes(content)
    except OSError as error:
        print(error.filename, list(place.parent.iterdir()))
"""
    (tmp_path / "content").write_bytes(pack(ARRAYS))
    (tmp_path / "here").mkdir()
    place = tmp_path / "here" / "training"
    command = [sys.executable, "-c", program, str(place), str(tmp_path / "content")]
    done = subprocess.run(command, cwd=project.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 4 * f"{place} []\n"
