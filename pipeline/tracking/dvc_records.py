"""Records that DVC keeps: of every `dvc repro` and `dvc exp run` whose outputs its cache still has.

DVC notes what each stage read and wrote in its run cache (.dvc/cache/runs) and in dvc.lock, of which git keeps one for
each commit and each experiment (refs/exps).
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.run.environment import git
from pipeline.run.record import EVALUATION, TRAINING, EvaluationClock, TrainingClock, read_clock
from pipeline.storage import digest, dvc_files, project
from pipeline.storage.documents import leads_out
from pipeline.terminal.errors import UserError

Files = Mapping[str, str]
"""Path inside a record → its MD5, as DVC writes it."""

TRAINED, SCORED = f"{TRAINING}/run.json", f"{EVALUATION}/evaluation.json"
METRICS = f"{EVALUATION}/metrics.json"


def cached_records() -> list[Files]:
    """Every record that DVC knows of, in the order in which they were made; its files may be gone from the cache.

    A run that was scored several times is there as often; one that never was has its training part alone.
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
    found = {tuple(sorted(record.items())): record for record in (*scored, *unscored)}
    return sorted(found.values(), key=_made)


class Restorer:
    """Puts records together from DVC's cache, and from git, which alone has metrics.json where DVC's was fetched."""

    def __init__(self) -> None:
        self._in_git: dict[str, bytes] | None = None

    def restore(self, record: Files, folder: Path) -> bool:
        """Put the record into the empty `folder`, each file as its MD5 says; False where one can't be had."""
        try:
            return all(self._put(name, md5, folder) for name, md5 in record.items())
        except (ValueError, KeyError, TypeError, FileExistsError, IsADirectoryError, NotADirectoryError):
            # A list of files that DVC has not written.
            return False

    def _put(self, name: str, md5: str, folder: Path) -> bool:
        content = self._content(md5)
        if content is None or leads_out(name):
            return False
        if md5.endswith(digest.DIRECTORY):
            return all(self._put(f"{name}/{entry['relpath']}", entry["md5"], folder) for entry in json.loads(content))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return True

    def _content(self, md5: str) -> bytes | None:
        content = _cached(md5)
        if content is None:
            if self._in_git is None:
                kept = _git_versions(f"{project.RECORD.name}/{METRICS}")
                self._in_git = {hashlib.md5(one, usedforsecurity=False).hexdigest(): one for one in kept}
            content = self._in_git.get(md5)
        return content


def _made(record: Files) -> int:
    """When a record was scored, else when its training ended, in milliseconds; 0 where no clock of it is kept."""
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError, UserError):
        run = json.loads(_cached(record.get(TRAINED, "")) or b"")
        scoring = json.loads(_cached(record.get(SCORED, "")) or b"{}").get("scoring")
        evaluation = read_clock(project.RECORD / EVALUATION, str(run["identity"]), EvaluationClock)
        if evaluation is not None and evaluation.scoring == scoring:
            return evaluation.scored
        training = read_clock(project.RECORD / TRAINING, str(run["identity"]), TrainingClock)
        return 0 if training is None else training.epochs[-1].ended
    return 0


def _cached(md5: str) -> bytes | None:
    """What DVC's cache holds under an MD5; None where it has nothing, or something else."""
    path = dvc_files.place_of(md5)
    return path.read_bytes() if path is not None and path.is_file() and digest.is_as_named(path) else None


def _below_record(files: Any) -> dict[str, str]:
    """Of the files that a stage read or wrote those of the record."""
    found: dict[str, str] = {}
    for file in files if isinstance(files, list) else ():
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            below = file["path"].removeprefix(f"{project.RECORD.name}/")
            if below != file["path"] and isinstance(file["md5"], str):
                found[below] = file["md5"]
    return found


def _stages() -> Iterator[dict[str, Any]]:
    """Every run of a stage of which DVC or git has a note."""
    for path in sorted((project.cache_folder() / "runs").glob("*/*/*")):
        yield from _read([path.read_bytes()])
    for lock in _read(_git_versions("dvc.lock")):
        stages = lock.get("stages")
        if isinstance(stages, dict):
            yield from (stage for stage in stages.values() if isinstance(stage, dict))


def _read(texts: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for text in texts:
        # One that is torn is a note of nothing.
        with contextlib.suppress(yaml.YAMLError, UnicodeError):
            if isinstance(values := yaml.safe_load(text), dict):
                yield values


def _git_versions(name: str) -> list[bytes]:
    """Every content that a file of the project has in a commit that a branch, a tag or an experiment leads to."""
    listed = git("rev-list", "--all", "--full-history", "--objects", "--", name, seconds=None) or b""
    objects = [line.partition(" ") for line in listed.decode(errors="replace").splitlines()]
    blobs = [blob for blob, _, path in objects if path.endswith(name)]
    return _contents(git("cat-file", "--batch", text="\n".join(blobs), seconds=None) or b"") if blobs else []


def _contents(batch: bytes) -> list[bytes]:
    """The objects that `git cat-file --batch` wrote: a line with the size, the content, an end of line."""
    found = []
    while batch:
        head, _, rest = batch.partition(b"\n")
        if head.endswith(b" missing"):
            batch = rest
            continue
        size = int(head.split()[-1])
        found.append(rest[:size])
        batch = rest[size + 1 :]
    return found
