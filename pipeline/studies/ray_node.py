"""What a node of a Ray cluster does of a study, and what travels: files, by their path in the folder of a run.

A node owns nothing that lasts: what it does of a run lies in its own temporary folder, until it has gone home.
"""

import platform
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from pydantic import JsonValue

from pipeline.config.load import leaves
from pipeline.data.prepared import Images
from pipeline.run.checkpoint import CHECKPOINT
from pipeline.run.environment import Environment, device, environment, processor_class, versions
from pipeline.run.identity import deciding_code, identity
from pipeline.run.record import CLOCK, TRAINING
from pipeline.storage import atomic, digest, project
from pipeline.studies.plan import Job
from pipeline.studies.workers import Failure, failure, run_job
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console


@dataclass(frozen=True)
class Grown:
    """What there is of a run's record, or of its checkpoint and the record that grows beside."""

    is_record: bool
    files: Mapping[str, bytes]


def files_of(job: Job, *parts: str, is_record: bool) -> Grown:
    """What lies in a folder of the job's run, or of it in `parts`: no lock, and nothing that is being written."""
    root = _root(job, is_record=is_record)
    paths = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
    whole = {name: path for name, path in paths.items() if name.name[0] != "." and name.name != "lock"}
    files = {name.as_posix(): path.read_bytes() for name, path in whole.items() if not parts or name.parts[0] in parts}
    return Grown(is_record, files)


def put_files(job: Job, grown: Grown) -> None:
    """Put what there is of the job's run into its place, each part in one step, as where it grew: the clock before."""
    root = _root(job, is_record=grown.is_record)
    parts: dict[str, dict[str, bytes]] = {}
    for path, content in grown.files.items():
        part, _, name = path.partition("/")
        if part in (CHECKPOINT, CLOCK):
            atomic.write_file(root / path, content)
        else:
            parts.setdefault(part, {})[name] = content
    for part in sorted(parts, key=lambda part: part != TRAINING):
        with atomic.write_folder(root / part) as folder:
            for name, content in parts[part].items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)


def _root(job: Job, *, is_record: bool) -> Path:
    name = job.identity.name
    return project.run_root(name) if is_record else project.checkpoint(name)


def differing(there: Mapping[str, JsonValue], here: Mapping[str, JsonValue]) -> str:
    """In which ingredients of an identity a node is another than the conductor; nothing where it is none."""
    ours = dict(leaves(here))
    others = [(key, value) for key, value in leaves(there) if value != ours.get(key)]
    return ", ".join(f"{key} is {value!s:.12}, not {ours.get(key)!s:.12}" for key, value in others)


def describe() -> tuple[str, dict[str, JsonValue]]:
    """The class of this node's processor, and what all runs that are trained here have in their identity."""
    code = digest.of_value(dict(deciding_code()))
    return processor_class(), {"code": code, "device": device(), "versions": {**versions()}}


def do(
    job: Job, begun: Sequence[Grown], conductor: Environment, *images: Images | None
) -> Iterator[Grown | Failure | None]:
    """Do a job that has `begun`; yields what there is of it whenever that has grown, at last how it failed, or None.

    `images` are those for training, then those for a test where it is scored on them.
    """
    words: SimpleQueue[Grown | Failure | None] = SimpleQueue()
    given = {kind: one for kind, one in zip(("training", "test"), images, strict=True) if one is not None}

    def act() -> None:
        last: Failure | None = None
        try:
            _do(job, begun, conductor, given, words.put)
        except BaseException as error:
            last = failure(error)
        _remove(job)
        words.put(last)

    Thread(target=act, daemon=True).start()
    while isinstance(word := words.get(), Grown):
        yield word
    yield word


def _do(
    job: Job,
    begun: Sequence[Grown],
    conductor: Environment,
    images: dict[str, Images],
    tell: Callable[[Grown], None],
) -> None:
    console.quiet = True
    warnings.simplefilter("ignore")
    _settle()
    # What one that was killed has left here: what counts came along.
    _remove(job)
    for grown in begun:
        put_files(job, grown)
    here = identity(job.configuration, images["training"].digest)
    if others := differing(here.ingredients, job.identity.ingredients):
        raise UserError(f"the node {platform.node()} would train another run: {others}")
    where = environment()
    where = replace(
        where,
        git_commit=conductor.git_commit,
        uncommitted_changes=conductor.uncommitted_changes,
        hardware={"host": platform.node(), **where.hardware},
    )
    record = project.run_root(job.identity.name)
    run_job(job, lambda root: tell(files_of(job, is_record=root == record)), images.__getitem__, where)


def _remove(job: Job) -> None:
    for is_record in (False, True):
        shutil.rmtree(_root(job, is_record=is_record), ignore_errors=True)


def _settle() -> None:
    """Let runs lie in this node's temporary folder, whatever the place of the code is."""
    import ray  # noqa: PLC0415 - an extra

    node = ray.get_runtime_context()
    root = Path(node.get_temp_dir()) / node.get_session_name() / "conv2d" / node.get_node_id()
    project.RUNS, project.CHECKPOINTS = root / "runs", root / "checkpoints"
