"""All studies and runs of this project at once: what an emptied store held before is there again.

Beside records and studies it reads what DVC keeps of every `dvc repro` and `dvc exp run`. DVC notes what each stage
read and wrote in its run cache (.dvc/cache/runs) and in dvc.lock, of which git keeps one for each commit and each
experiment (refs/exps); its cache has the files, as long as nobody clears it.
"""

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.run.environment import git
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import (
    EVALUATION,
    TRAINING,
    EvaluationClock,
    TrainingClock,
    read_clock,
    read_record,
)
from pipeline.storage import digest, dvc_files, project
from pipeline.storage.documents import leads_out
from pipeline.studies.study import STUDY, read_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar
from pipeline.tracking.mirror import Mirror, StudyMirror, unfinished
from pipeline.tracking.store import Store

Files = Mapping[str, str]
"""Path inside a record → its MD5, as DVC writes it."""

TRAINED, SCORED = f"{TRAINING}/run.json", f"{EVALUATION}/evaluation.json"


@dataclass
class Restored:
    """The runs of `dvc repro` and `dvc exp run`, those in DVC's cache among them, and the studies with theirs.

    `runs` are the MLflow runs that hold the first, `studies` the names of the second; of `lost` records DVC's cache
    has not every file, `unreadable` ones are another version's; `problems` says what else could not be read.
    """

    runs: set[str] = field(default_factory=set)
    studies: list[str] = field(default_factory=list)
    lost: int = 0
    unreadable: int = 0
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def keep_problem(self) -> Iterator[None]:
        """What is damaged shall not keep the rest out of the store."""
        try:
            yield
        except UserError as error:
            self.problems.append(str(error))


def restore(store: Store) -> Restored:
    """Bring the store up to all that this project knows; called again it adds nothing. Raises StoreUnreachableError."""
    restored, mirror = Restored(), Mirror(store, REPRO_STUDY)
    studies = []
    for path in sorted(project.STUDIES.glob(f"*/{STUDY}")):
        with restored.keep_problem():
            studies.append(read_study(path.parent))
    # The oldest first, as they were made: of what a clock measured twice the store keeps the first.
    with restored.keep_problem():
        _restore_cached(restored, mirror)
    if (project.RECORD / TRAINED).exists():
        with restored.keep_problem():
            restored.runs.add(mirror.bring_up(read_record(project.RECORD), model=True))
    swept = {cell.identity for study in studies for cell in study.cells}
    for work in sorted(project.CHECKPOINTS.glob("*")):
        with restored.keep_problem():
            if work.name not in swept and (record := unfinished(work.name)) is not None:
                restored.runs.add(mirror.bring_up(record))
    for study in studies:
        with restored.keep_problem():
            restored.studies.append(study.name)
            StudyMirror(store, study.name).bring_up_study(study, all_runs=True)
    return restored


def _restore_cached(restored: Restored, mirror: Mirror) -> None:
    """Raises UserError where DVC's configuration can't be read."""
    in_git = metrics_in_git()
    with bar("records") as progress:
        for files in progress.track(cached_records(), description="DVC's cache"):
            with tempfile.TemporaryDirectory(prefix="record-") as folder:
                if not put_together(files, Path(folder), in_git):
                    restored.lost += 1
                    continue
                try:
                    restored.runs.add(mirror.bring_up(read_record(Path(folder)), model=True))
                except UserError:
                    restored.unreadable += 1


def cached_records() -> list[Files]:
    """Every record that DVC knows of, in the order in which they were made; its files may be gone from the cache.

    A run that was scored several times is there as often; one that never was has its training part alone. Raises
    UserError where DVC's configuration can't be read.
    """
    stages = [(_below_record(stage.get("deps")), _below_record(stage.get("outs"))) for stage in _stages()]
    trained = sorted((wrote for _, wrote in stages if TRAINED in wrote), key=_made)
    scored: list[Files] = []
    unscored = trained.copy()
    for read, wrote in stages:
        if SCORED in wrote:
            ours = [training for training in trained if read and read.items() <= training.items()]
            if ours:
                # What was trained again, to the same bits, was scored when it was trained first.
                scored.append({**ours[0], **wrote})
            unscored = [training for training in unscored if training not in ours]
    records = {tuple(sorted(record.items())): record for record in (*scored, *unscored)}
    return sorted(records.values(), key=_made)


def put_together(record: Files, folder: Path, in_git: Mapping[str, bytes]) -> bool:
    """Put the record into the empty `folder` out of DVC's cache or `in_git` (by MD5); False where a file is gone."""
    try:
        return all(_put(name, md5, folder, in_git) for name, md5 in record.items())
    except (ValueError, KeyError, TypeError, FileExistsError, IsADirectoryError, NotADirectoryError):
        # A list of files that DVC has not written.
        return False


def _put(name: str, md5: str, folder: Path, in_git: Mapping[str, bytes]) -> bool:
    if (content := _cached(md5)) is None:
        content = in_git.get(md5)
    if content is None or leads_out(name):
        return False
    if md5.endswith(digest.DIRECTORY):
        entries = json.loads(content)
        return all(_put(f"{name}/{entry['relpath']}", entry["md5"], folder, in_git) for entry in entries)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True


def metrics_in_git() -> dict[str, bytes]:
    """Every metrics.json that git has, by its MD5: where DVC's cache was fetched, git alone has it."""
    versions = _git_versions(f"{project.RECORD.name}/{EVALUATION}/metrics.json")
    return {hashlib.md5(content, usedforsecurity=False).hexdigest(): content for content in versions}


def _made(record: Files) -> int:
    """When a record was scored, else when its training ended, in milliseconds; 0 where no clock of it is kept."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, IndexError, UserError):
        identity = str(json.loads(_cached(record.get(TRAINED, "")) or b"")["identity"])
        scoring = json.loads(_cached(record.get(SCORED, "")) or b"{}").get("scoring")
        evaluation = read_clock(project.RECORD / EVALUATION, identity, EvaluationClock)
        if evaluation is not None and evaluation.scoring == scoring:
            return evaluation.scored
        training = read_clock(project.RECORD / TRAINING, identity, TrainingClock)
        return 0 if training is None else training.epochs[-1].ended
    return 0


def _cached(md5: str) -> bytes | None:
    """What DVC's cache holds under an MD5; None where it has nothing, or something else."""
    path = dvc_files.place_of(md5)
    return path.read_bytes() if path is not None and path.is_file() and digest.is_as_named(path) else None


def _below_record(files: Any) -> dict[str, str]:
    """Of the files that a stage read or wrote those of the record."""
    below: dict[str, str] = {}
    for file in files if isinstance(files, list) else ():
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            name = file["path"].removeprefix(f"{project.RECORD.name}/")
            if name != file["path"] and isinstance(file["md5"], str):
                below[name] = file["md5"]
    return below


def _stages() -> Iterator[dict[str, Any]]:
    """Every run of a stage of which DVC or git has a note."""
    yield from _read(path.read_bytes() for path in dvc_files.runs())
    for lock in _read(_git_versions("dvc.lock")):
        stages = lock.get("stages")
        if isinstance(stages, dict):
            yield from (stage for stage in stages.values() if isinstance(stage, dict))


def _read(texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for text in texts:
        # One that is torn is a note of nothing.
        with contextlib.suppress(yaml.YAMLError, ValueError):
            if isinstance(values := yaml.safe_load(text), dict):
                yield values


def _git_versions(name: str) -> Iterator[bytes]:
    """Every content that a file of the project has in a commit that a branch, a tag or an experiment leads to."""
    listed = git("rev-list", "--all", "--full-history", "--objects", "--", name, seconds=None) or b""
    objects = (line.split(b" ", 1) for line in listed.splitlines())
    blobs = [f"{one[0].decode()}\n" for one in objects if one[-1].endswith(name.encode())]
    answers = io.BytesIO(git("cat-file", "--batch", given="".join(blobs).encode(), seconds=None) or b"")
    # A line `digest blob size`, then the content and an end of line; `digest missing` of one that a clone left out.
    while head := answers.readline().split():
        if head[1] == b"blob":
            yield answers.read(int(head[2]))
            answers.readline()
