"""A study in one file: what its records hold but for what is bulky, the same bytes for the same records.

records.jsonl.gz is lines of JSON. The first has the layout, the name and the text of study.json; each other a run that
has ended: its identity and its files, by their names within the record (.npy in base64). They are the files themselves:
each is sealed, or its digest stands in one that is. A bundle may come from others: see pipeline.storage.documents.
"""

import base64
import contextlib
import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, with_config

from pipeline.run.record import (
    BULKY,
    CLOCK,
    EVALUATION,
    TEST_EVALUATION,
    TRAINING,
    WEIGHTS,
    Name,
    read_evaluation,
    read_training,
)
from pipeline.storage import atomic, documents, lock, project
from pipeline.storage.documents import reason, refuse_links, validate
from pipeline.studies.study import ENDED, STUDY, Study, read_study, update_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

LAYOUT = 1
MOST_BYTES = 400_000_000
"""Of what a bundle unpacks to: ten thousand runs have 250 MB."""

FILE = re.compile(rf"({TRAINING}|{EVALUATION}|{TEST_EVALUATION})/\w+\.(json|csv|npy)", re.ASCII)
MOST_NAMED = 3


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class _Head:
    layout: int
    name: Name
    study: str


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class _Run:
    identity: Name
    files: dict[str, str]


Files = Mapping[str, Path]
"""Name within a record → where the file lies."""


def pack_study(study: Study) -> bytes:
    """The study with all its runs that have ended. Raises UserError where a record is missing or damaged."""
    study = _to_pack(study)
    lines: list[_Head | _Run] = [
        _Head(LAYOUT, study.name, study.document),
        *(_Run(name, _texts(_files_of(project.run_root(name), name, study))) for name in study.ended),
    ]
    content = io.BytesIO()
    with gzip.GzipFile("", "wb", fileobj=content, mtime=0) as file:
        file.writelines(_as_line(asdict(line)) for line in lines)
    return content.getvalue()


def _to_pack(study: Study) -> Study:
    """Whoever unpacks it does not run it, and tracks it elsewhere."""
    return replace(study, state="interrupted" if study.state == "running" else study.state, tracking=None)


def renew_bundle(study: Study) -> bool:
    """Pack a study again whose bundle beside its report holds other runs; whether it did. Raises as `pack_study`."""
    path = project.bundle(study.name)
    with contextlib.suppress(UserError):  # one that can't be read is made anew
        if not path.exists() or bundled_study(path)[0] == _to_pack(study):
            return False
    atomic.write_file(path, pack_study(study))
    return True


def unpack_study(path: Path) -> tuple[Study, int]:
    """Put the runs and the study that a bundle holds where they belong; the study, and how many runs were new.

    What is there already and equal stays. Raises UserError, and has changed nothing, where the bundle is not whole, or
    something that is there differs. Interrupted, it is done by the same call.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        study, runs = extract_study(path, Path(folder))
        refuse_links(project.study(study.name))
        present = project.study(study.name) / STUDY
        if present.exists():
            _join(read_study(present.parent), study)
        differing = [path for identity, files in runs.items() for path in _differing(files, project.run_root(identity))]
        if differing:
            more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
            raise UserError(
                f"{', '.join(map(str, differing[:MOST_NAMED]))}{more}: is not what the bundle has of the same run. "
                "Nothing was unpacked. Move it away, or keep it and do without the bundle."
            )
        new = sum(_put(files, project.run_root(identity)) for identity, files in runs.items())
        return update_study(project.study(study.name), lambda present: _join(present, study)), new


def bundled_study(path: Path) -> tuple[Study, str | None]:
    """The study of a bundle, and what dataset its first run was scored on; no run is checked. Raises UserError."""
    try:
        lines = _lines(path)
        head = validate(_Head, next(lines, {}))
        files = validate(_Run, first).files if (first := next(lines, None)) else {}
        scored = [json.loads(text) for name, text in files.items() if name.endswith("/evaluation.json")]
    except (ValueError, EOFError, RecursionError, OSError, zlib.error) as error:
        raise UserError(f"{path}: is no bundle that this version reads ({reason(error)}).") from None
    with tempfile.TemporaryDirectory(prefix="bundle-") as place:
        folder = Path(place) / head.name
        folder.mkdir()
        (folder / STUDY).write_text(head.study, "utf-8")
        return read_study(folder), next((str(one.get("dataset")) for one in scored), None)


def is_bundled(root: Path) -> bool:
    """Whether a record lies there that came without its weights: what needs them can't be had of it."""
    return (root / TRAINING / "run.json").exists() and not (root / TRAINING / WEIGHTS).exists()


def keep_bundled(study: Study) -> None:
    """Raises UserError for a study that would begin anew without runs of a bundle, which nobody here can make again."""
    if bundled := [root for root in map(project.run_root, study.ended) if is_bundled(root)]:
        commit = read_training(bundled[0] / TRAINING, whole=False).environment.git_commit
        there = f", or add them where these were made: git worktree add ../{study.name} {commit}" if commit else ""
        raise UserError(
            f"study {study.name}: {len(bundled)} of its runs came in a bundle and are of other code, data or versions "
            f"than new ones would be; one study does not mix them. Give the new runs a study of their own "
            f"(study.name=…){there}"
        )


def _files_of(root: Path, identity: str, study: Study, repair: str | None = None) -> dict[str, Path]:
    """The files that a bundle has of the record in `root`, each read and checked. Raises UserError."""
    run = read_training(root / TRAINING, whole=False, repair=repair).run
    parts, own = {TRAINING: ("run.json", run.files)}, {run.identity}
    for part in (EVALUATION, TEST_EVALUATION):
        if (root / part / "evaluation.json").exists():
            scored = read_evaluation(root / part, whole=False, repair=repair)
            parts[part] = "evaluation.json", scored.files
            own.add(scored.identity)
    if own != {identity} or (TEST_EVALUATION if study.images == "test" else EVALUATION) not in parts:
        raise UserError(f"{root}: is no record of run {identity} that was scored on {study.images} images.")
    files: dict[str, Path] = {}
    for part, (manifest, names) in parts.items():
        files |= {f"{part}/{name}": root / part / name for name in (manifest, *names) if not name.startswith(BULKY)}
        if (clock := root / _clock(identity, part)).is_file():
            files[_clock(identity, part)] = clock
    return files


def _clock(identity: str, part: str) -> str:
    return f"{CLOCK}/{identity}.{part}.json"


def _texts(files: Files) -> dict[str, str]:
    contents = {name: path.read_bytes() for name, path in sorted(files.items())}
    return {
        name: base64.b64encode(content).decode() if name.endswith(".npy") else content.decode()
        for name, content in contents.items()
    }


def _as_line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def extract_study(path: Path, place: Path) -> tuple[Study, dict[str, Files]]:
    """Put what a bundle holds below the empty folder `place` (runs/, studies/), each file checked. Raises UserError."""
    try:
        lines = _lines(path)
        first = next(lines, {})
        if first.get("layout", LAYOUT) != LAYOUT:
            raise ValueError(f"its layout is {first['layout']}, and this version reads layout {LAYOUT}")
        head = validate(_Head, first)
        folder = place / "studies" / head.name
        folder.mkdir(parents=True)
        (folder / STUDY).write_text(head.study, "utf-8")
        study = read_study(folder)
        runs: dict[str, Files] = {}
        waited = set(study.ended)
        for line in lines:
            run = validate(_Run, line)
            if run.identity not in waited or run.identity in runs:
                raise ValueError(f"run {run.identity} is none of its study, or there twice")
            runs[run.identity] = _extract_run(run, place / "runs" / run.identity, study)
        if missing := waited - runs.keys():
            raise ValueError(f"{len(missing)} runs of its study are missing")
    except (ValueError, EOFError, RecursionError, gzip.BadGzipFile, zlib.error, UserError) as error:
        said = reason(error).replace(f"{place}/", "").strip()
        raise UserError(
            f"{path}: is no bundle that this version reads ({said}). Nothing was unpacked. Get it again, or unpack it "
            "with the version that packed it."
        ) from None
    return study, runs


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a bundle. Raises ValueError for what is none, gzip's errors, and OSError where there is no file."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    left = MOST_BYTES
    with gzip.open(path) as file:
        while line := file.readline(documents.MOST_BYTES + 1):
            left -= len(line)
            if len(line) > documents.MOST_BYTES or left < 0:
                raise ValueError("it unpacks to more than any study has")
            values = json.loads(line)
            # Nothing but what was written: no key twice, no number that JSON does not have.
            if not isinstance(values, dict) or _as_line(values) != line:
                raise ValueError("a line is not as it was written")
            yield values


def _extract_run(run: _Run, root: Path, study: Study) -> Files:
    """Put the files of a run into `root`, each checked. Raises UserError or ValueError."""
    clocks = {_clock(run.identity, part) for part in (TRAINING, EVALUATION, TEST_EVALUATION)}
    for name, text in run.files.items():
        if name not in clocks and FILE.fullmatch(name) is None:
            raise ValueError(f"run {run.identity} has a file that none has: {name[:100]}")
        content = base64.b64decode(text, validate=True) if name.endswith(".npy") else text.encode()
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    files = _files_of(root, run.identity, study, repair="")
    if files.keys() != run.files.keys():
        raise ValueError(f"run {run.identity} has files of which its record does not say what they are")
    return files


def _differing(files: Files, root: Path) -> list[Path]:
    """Of the files of a run those that are otherwise in `root`; a part is there whole or not at all."""
    refuse_links(root)

    def differs(name: str, path: Path) -> bool:
        is_there = path.exists() or (FILE.match(name) and path.parent.exists())
        return bool(is_there) and not (path.is_file() and path.read_bytes() == files[name].read_bytes())

    return [root / name for name in files if differs(name, root / name)]


def _put(files: Files, root: Path) -> bool:
    """Put the parts of a run that are missing into `root`; whether there were any."""
    new = False
    with lock.only_one(root / ".lock", lambda: console.print(f"waiting for who does run {root.name}")):
        for name in (name for name in files if name.startswith(f"{CLOCK}/") and not (root / name).exists()):
            atomic.write_file(root / name, files[name].read_bytes())
        # What is scored comes before what was trained, by which a run is known to be there.
        for part in (EVALUATION, TEST_EVALUATION, TRAINING):
            own = [path for name, path in files.items() if name.startswith(f"{part}/")]
            if own and not (root / part).exists():
                new = True
                with atomic.write_folder(root / part) as folder:
                    for path in own:
                        (folder / path.name).write_bytes(path.read_bytes())
    return new


def _join(present: Study | None, unpacked: Study) -> Study:
    """Of a study that is there and one of a bundle the one that holds all runs of the other. Raises UserError."""
    # A stranger's bundle does not say to which server this machine speaks.
    unpacked = replace(unpacked, tracking=None if present is None else present.tracking)
    if present is not None and _holds(present, unpacked):
        return present
    if present is None or _holds(unpacked, present):
        return unpacked
    raise UserError(
        f"{project.study(present.name) / STUDY}: has runs that the bundle does not have, or is of another declaration, "
        "code or data. Nothing was unpacked. Move it away, unpack, and type its sweep again: no run is lost."
    )


def _holds(study: Study, other: Study) -> bool:
    """Whether all that has ended of `other` stands in `study`, which is declared alike."""
    one, two = (replace(each, state="finished", settings={}, cells=(), refused=()) for each in (study, other))
    if one.search is not None and two.search is not None:
        # What it has proposed since.
        more = replace(one.search, planned=two.search.planned, trials=one.search.trials[: len(two.search.trials)])
        one = replace(one, search=more)
    ended = [run for run in other.cells if run.state in ENDED]
    return one == two and other.settings.items() <= study.settings.items() and all(run in study.cells for run in ended)
