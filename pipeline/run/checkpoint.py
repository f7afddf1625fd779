"""How far a training got: one file, whole or not there, noticed when damaged."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.run.record import Epoch, EpochTime
from pipeline.storage import atomic, lock
from pipeline.storage.arrays import Arrays, pack, unpack
from pipeline.storage.documents import validate

CHECKPOINT = "state"
"""The file, in the folder of a run that trains."""

LAYOUT = 2
_MARK = b"conv2d checkpoint "
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """The state after the last epoch of `history`, as a processor of class `processor` computed it."""

    state: Arrays
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
    payload = pack({"_said": np.array(json.dumps(said)), **checkpoint.state})
    atomic.write_file(path, _head(payload) + payload)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None where there is none.

    Raises ValueError when a byte of it is not what was written, or it is none that this code writes.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    mark, _, rest = content.partition(b"\n")
    layout = mark.removeprefix(_MARK).decode(errors="replace")
    if mark.startswith(_MARK) and layout.isdecimal() and len(layout) < 4 and int(layout) < LAYOUT:
        raise ValueError(f"{path}: is a checkpoint of layout {layout}, but this version reads layout {LAYOUT}")
    payload = rest[_DIGEST_BYTES:]
    if content != _head(payload) + payload:
        raise ValueError(f"{path}: is damaged")
    try:
        arrays = unpack(payload)
        said = json.loads(str(arrays.pop("_said")))
        history, times = validate(tuple[Epoch, ...], said["history"]), validate(tuple[EpochTime, ...], said["times"])
        return Checkpoint(arrays, history, times, validate(str, said["processor"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: is none of this version ({error})") from None


def usable_checkpoint(path: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint at `path`; one that can't be used is removed and told, as if there were none."""
    try:
        return read_checkpoint(path)
    except ValueError as error:
        path.unlink()
        tell(f"{error}: removed, training starts anew")
        return None


def _head(payload: bytes) -> bytes:
    return _MARK + f"{LAYOUT}\n".encode() + hashlib.sha256(payload).digest()


def remove_checkpoint(work: Path) -> None:
    """Remove the folder of a run's checkpoint, unless another process trains the same run there: it removes it then."""
    if work.exists():
        with lock.if_free(work / "lock") as free:
            if free:
                shutil.rmtree(work, ignore_errors=True)
