"""How far a training got: one file, whole or not there, noticed when damaged."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.run.record import Epoch, EpochTime, checked
from pipeline.storage import atomic, lock

State = Mapping[str, NDArray[Any]]

CHECKPOINT = "state"
"""The file, in the folder of a run that trains."""

_MARK = b"conv2d checkpoint 2\n"
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """The state after the last epoch of `history`, as a processor of class `processor` computed it."""

    state: State
    history: tuple[Epoch, ...]
    times: tuple[EpochTime, ...]
    processor: str


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Put the checkpoint at `path` in one rename."""
    said = {
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "times": [asdict(time) for time in checkpoint.times],
        "processor": checkpoint.processor,
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, _said=np.array(json.dumps(said)), **checkpoint.state)
    payload = content.getvalue()
    atomic.write_file(path, _MARK + hashlib.sha256(payload).digest() + payload)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None where there is none.

    Raises ValueError when a byte of it is not what was written, or it is none that this code writes.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    start = len(_MARK) + _DIGEST_BYTES
    payload = content[start:]
    if content[:start] != _MARK + hashlib.sha256(payload).digest():
        raise ValueError(f"{path}: is damaged")
    try:
        return _checkpoint(payload)
    except (KeyError, TypeError, MemoryError, RecursionError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is none of this version ({error})") from None


def usable_checkpoint(path: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint at `path`; one that is damaged is removed and told, as if there were none."""
    try:
        return read_checkpoint(path)
    except ValueError:
        path.unlink()
        tell(f"{path} is damaged: removed, training starts anew")
        return None


def _checkpoint(payload: bytes) -> Checkpoint:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        # np.savez compresses nothing: what is compressed could unpack to any size.
        if sum(member.file_size for member in archive.infolist()) > len(payload):
            raise ValueError("a checkpoint holds more than its bytes")
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        said = json.loads(str(arrays["_said"]))
        state = {name: arrays[name] for name in arrays.files if name != "_said"}
    history, times = checked(tuple[Epoch, ...], said["history"]), checked(tuple[EpochTime, ...], said["times"])
    return Checkpoint(state, history, times, checked(str, said["processor"]))


def remove_checkpoint(work: Path) -> None:
    """Remove the folder of a run's checkpoint, unless another process trains the same run there: it removes it then."""
    if work.exists():
        with lock.if_free(work / "lock") as free:
            if free:
                shutil.rmtree(work, ignore_errors=True)
