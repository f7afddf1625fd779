"""How far a training got, kept after each epoch: its checkpoint, and the record that grows beside it.

A checkpoint is one file, whole or not there, noticed when damaged. Nothing here imports TensorFlow: who plans and who
conducts a study reads and writes them too.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from pipeline.config.layers import layers
from pipeline.config.schema import Configuration
from pipeline.run.environment import Environment, environment
from pipeline.run.identity import Identity
from pipeline.run.record import (
    TRAINING,
    WEIGHTS,
    Epoch,
    EpochTime,
    Outcome,
    Run,
    TrainingClock,
    read_training,
    write_clock,
    write_training,
)
from pipeline.storage import atomic, lock, project
from pipeline.storage.arrays import Arrays, pack, unpack
from pipeline.storage.documents import validate
from pipeline.terminal.errors import UserError

CHECKPOINT = "state"
"""The file, in the folder of a run that trains."""

LAYOUT = 2
_MARK = b"conv2d checkpoint "
_DIGEST_BYTES = 32

NOT_OF_A_RUN = "files", "sources", "name", "class_names", "held_out"
"""Of the section data: what images and classes are called is said where they are scored, with the names of that day."""


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
    """The checkpoint at `path`, None for none. Raises ValueError for one that is damaged or not of this version."""
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


def _head(payload: bytes) -> bytes:
    return _MARK + f"{LAYOUT}\n".encode() + hashlib.sha256(payload).digest()


def usable_checkpoint(path: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint at `path`; one that can't be used is removed and told, as if there were none."""
    try:
        return read_checkpoint(path)
    except ValueError as error:
        path.unlink()
        tell(f"{error}: removed, training starts anew")
        return None


def remove_checkpoint(work: Path) -> None:
    """Remove the folder of a run's checkpoint, unless another process trains the same run there: it removes it then."""
    if work.exists():
        with lock.if_free(work / "lock") as free:
            if free:
                shutil.rmtree(work, ignore_errors=True)


def describe_run(
    configuration: Configuration,
    identity: Identity,
    history: Sequence[Epoch],
    outcome: Outcome,
    reason: str | None = None,
) -> Run:
    """What a record says of the run, its network layer by layer."""
    network = layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    return Run(
        identity=identity.name,
        ingredients=identity.ingredients,
        configuration=recorded(configuration),
        outcome=outcome,
        reason=reason,
        epochs=len(history),
        parameters=sum(layer.parameters for layer in network),
        multiply_adds=sum(layer.multiply_adds for layer in network),
        layers=[
            {name: getattr(layer, name) for name in ("name", "kind", "parameters", "multiply_adds")}
            | {"output": " × ".join(map(str, layer.output))}
            for layer in network
        ],
    )


def recorded(configuration: Configuration) -> dict[str, JsonValue]:
    """What of a configuration belongs to a run: not where files come from, not where runs are tracked."""
    return configuration.model_dump(mode="json", exclude={"tracking": True, "data": set(NOT_OF_A_RUN)})


def put_training(
    root: Path,
    run: Run,
    history: Sequence[Epoch],
    times: Sequence[EpochTime],
    where: Environment,
    weights: bytes | None = None,
) -> None:
    """Put the training part, or what there is of it, into `root` in one step: its files belong to one another.

    The clock goes before: whoever reads meanwhile knows the time of every epoch that it sees.
    """
    write_clock(root, TRAINING, TrainingClock(run.identity, tuple(times), where))
    with atomic.write_folder(root / TRAINING) as folder:
        if weights is not None:
            (folder / WEIGHTS).write_bytes(weights)
        write_training(folder, run, history)


def close_unfinished(configuration: Configuration, identity: Identity, outcome: Outcome, reason: str) -> Path:
    """Say in the growing record, whose epochs stay, how a run ended that can't say so itself; returns its folder."""
    work = project.checkpoint(identity.name)
    try:
        before = read_training(work / TRAINING)
        history, times, where = before.history, before.times, before.environment
    except UserError:
        history, times, where = (), (), environment()
    put_training(work, describe_run(configuration, identity, history, outcome, reason), history, times, where)
    return work
