"""A raw file is damaged: as a server sends it, as a folder holds it, or as it lies in data/raw already."""

import gzip
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random

from faults.campaign import Injection, Row
from faults.images import assert_as_without, measured, refused_by, repro, served, whole
from faults.reference import copied
from tests.harness.mirrors import Site, send
from tests.sample import FOLDER, NAMES

MOST_MEMORY = 200
"""MB of a process that reads a damaged file, the interpreter and its libraries included."""

BOMB = 2**30
PAGE = b"<!DOCTYPE html><html><body>Sign in to the network of the airport</body></html>"

Damage = Callable[[bytes, Random], bytes]


def _flipped(data: bytes, random: Random) -> bytes:
    # Not in the beginning of a gzip, which may hold a date that is read by nobody.
    changed = bytearray(data)
    changed[random.randrange(len(data) // 2, len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _pixel(data: bytes, random: Random) -> bytes:
    """One number is another one, in a gzip that is right, or in the file itself."""
    packed = data.startswith(b"\x1f\x8b")
    content = bytearray(gzip.decompress(data) if packed else data)
    content[random.randrange(16, len(content))] ^= 1
    return gzip.compress(bytes(content)) if packed else bytes(content)


DAMAGES: dict[str, Damage] = {
    "cut in its header": lambda data, random: data[: random.randrange(1, 8)],
    "cut in its middle": lambda data, random: data[: random.randrange(8, len(data) - 1)],
    "without its last byte": lambda data, _: data[:-1],
    "one bit flipped": _flipped,
    "one pixel or label changed": _pixel,
    "an HTML page": lambda _data, _random: PAGE,
    "empty": lambda _data, _random: b"",
    "followed by something": lambda data, random: data + random.randbytes(20),
}
FROM_ELSEWHERE = "images and labels swapped", "a gzip bomb"
PLACES = "server", "folder", "data/raw"
TRIALS = list(product((False, True), (*DAMAGES, *FROM_ELSEWHERE), PLACES))


def prepare(shared: Path) -> None:
    whole(shared)
    with gzip.open(shared / "bomb.gz", "wb") as bomb:
        for _ in range(BOMB >> 20):
            bomb.write(bytes(1 << 20))


def trial(injection: Injection) -> str:
    followed, damage, place = TRIALS[injection.number % len(TRIALS)]
    name = injection.random.choice(list(NAMES.values()))
    if place == "server":
        return _in_server(injection, name, damage, followed)
    if place == "folder":
        return _in_folder(injection, name, damage, followed)
    return _in_raw(injection, name, damage, followed)


def _in_server(injection: Injection, name: str, damage: str, followed: bool) -> str:
    injection.says(f"a server sends {name}.gz {damage}{_next(followed)}")
    body = _damaged(injection, f"{name}.gz", damage, (FOLDER / f"{name}.gz").read_bytes())
    with served(lambda request, asked: send(request, body if asked == f"{name}.gz" else _good(asked))) as site:
        return _fetched(injection, site, {"kind": "web", "address": site.address}, name, followed)


def _in_folder(injection: Injection, name: str, damage: str, followed: bool) -> str:
    ending = injection.random.choice(("", ".gz"))
    by_hand = injection.random.choice((True, False))
    place = "data/by_hand" if by_hand else "some folder"
    injection.says(f"{place} holds {name}{ending} {damage}{_next(followed)}")
    folder = injection.folder / ("project/data/by_hand" if by_hand else "elsewhere")
    folder.mkdir(parents=True)
    for other in NAMES.values():
        data = _good(f"{other}{ending}")
        (folder / f"{other}{ending}").write_bytes(
            _damaged(injection, f"{other}{ending}", damage, data) if other == name else data
        )
    source = {"kind": "folder", "path": "data/by_hand" if by_hand else str(folder)}
    return _fetched(injection, None, source, name, followed)


def _fetched(injection: Injection, site: Site | None, source: dict[str, str], name: str, followed: bool) -> str:
    """The damaged source is told and left: for the next one at once, or by a rerun when there is one."""
    project = copied(injection.shared / "start", injection.folder / "project")
    good = {"kind": "folder", "path": str(FOLDER)}
    if followed:
        project.edit_params({"data.sources": [source, good]})
        output = repro(project)
        assert f"{name}: from {FOLDER}/{name}.gz" in output, output
        assert_as_without(project, injection.shared)
        return "next source taken"
    project.edit_params({"data.sources": [source]})
    status, output, megabytes = measured(project, "python", "-m", "pipeline.fetch")
    refused_by(status, output, f"error: {name}: no source serves it.")
    assert megabytes < MOST_MEMORY, f"{megabytes} MB"
    assert not (project.path / "data/raw").exists(), "the bad file lies where the next run takes it"
    assert f"{name}: no source serves it." in repro(project, status=None)
    assert not (project.path / "data/prepared").exists()
    project.edit_params({"data.sources": [good] if site is None else [source, good]})
    repro(project)
    assert_as_without(project, injection.shared)
    return "refused, then made from a good source"


def _in_raw(injection: Injection, name: str, damage: str, followed: bool) -> str:
    """A file that was changed after it was fetched, or that a person put there: never prepared, fetched again."""
    by_hand = injection.random.choice((True, False))
    cached = injection.random.choice((True, False))
    origin = "put there by hand" if by_hand else "as fetched" if cached else "as fetched, DVC's cache is gone"
    injection.says(f"data/raw holds {name} {damage}, {origin}; {'dvc' if followed else 'preprocess, then dvc'} runs")
    project = copied(injection.shared / "whole", injection.folder / "project")
    path = project.path / "data/raw" / name
    path.write_bytes(_damaged(injection, name, damage, path.read_bytes()))
    if by_hand:
        (project.path / "dvc.lock").unlink()
        shutil.rmtree(project.path / "data/prepared")
    if by_hand or not cached:
        shutil.rmtree(project.path / ".dvc/cache")
    if not followed:
        status, output, megabytes = measured(project, "python", "-m", "pipeline.preprocess")
        refused_by(status, output, f"error: {project.path / 'data/raw'}")
        assert megabytes < MOST_MEMORY, f"{megabytes} MB"
    repro(project)
    assert_as_without(project, injection.shared)
    return "fetched again" if followed else "refused by preprocess, then fetched again"


def _damaged(injection: Injection, name: str, damage: str, data: bytes) -> bytes:
    if damage == "a gzip bomb":
        return (injection.shared / "bomb.gz").read_bytes()
    if damage == "images and labels swapped":
        return _good(_other(name))
    return DAMAGES[damage](data, injection.random)


def _other(name: str) -> str:
    """The labels of images, the images of labels."""
    if "images-idx3" in name:
        return name.replace("images-idx3", "labels-idx1")
    return name.replace("labels-idx1", "images-idx3")


def _good(name: str) -> bytes:
    """A file of the sample, as it is or decompressed."""
    if name.endswith(".gz"):
        return (FOLDER / name).read_bytes()
    return gzip.decompress((FOLDER / f"{name}.gz").read_bytes())


def _next(followed: bool) -> str:
    return "; a good source is next" if followed else "; there is no other source"


ROW = Row(
    name="damaged_raw_files",
    fault="a raw file cut off, changed, empty, an HTML page, swapped, a gzip bomb (a megabyte that holds a gigabyte): "
    "sent by a server, in a folder, in data/raw",
    must_hold="refused in a sentence before preprocessing and not left for the next run; the next source is taken; "
    "a rerun ends with the bytes of an undamaged run",
    times=len(TRIALS),
    short=1,
    trial=trial,
    prepare=prepare,
)
