"""Inputs made to do harm, and the command that takes each. None may have an effect outside of its own run's folder."""

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.run.record import WEIGHTS
from pipeline.storage.digest import sealed
from tests.harness.forged import forge, forge_file
from tests.harness.project import Project
from tests.harness.studies import cell, study

VARIABLE, KNOWN = "SECRET_TOKEN", "sesame-42-opens"
"""A variable of the environment that must be found nowhere."""

LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


@dataclass(frozen=True)
class Hostile:
    """What it is, the verb that takes it, and what is done to a project first, which may name a folder outside."""

    said: str
    command: tuple[str, ...]
    done: Callable[[Project, Path], None] = field(default=lambda _project, _outside: None)


def every() -> list[Hostile]:
    return [*_texts(), *_yaml(), *_overrides(), *_arguments(), *_records(), *_bundles(), *_stores()]


def _texts() -> list[Hostile]:
    payloads = (
        "$(touch canary)",
        "`touch canary`",
        "; touch canary",
        "a\ntouch canary",
        f"${{oc.env:{VARIABLE}}}",
        "../..",
    )

    def edit(key: str, text: str) -> Callable[[Project, Path], None]:
        return lambda project, _outside: project.edit_params({key: text})

    keys = "data.name", "model.conv.activation", "training.optimizer", "tracking.address", "tracking.experiment"
    return [
        Hostile(f"params.yaml: {key}={text!r}", ("check",), edit(key, text)) for key in keys for text in payloads[:5]
    ]


def _yaml() -> list[Hostile]:
    texts = {
        "aliases for 10^11 values": LAUGHS,
        "5,000 levels": "a: " + "[" * 5_000 + "]" * 5_000 + "\n",
        "an object of Python": "a: !!python/object/apply:os.system [touch canary]\n",
        "a number of 100,000 digits": f"seed: {'9' * 100_000}\n",
        "100 MB": "#" * 100_000_000 + "\n",
    }

    def put(path: str, text: str) -> Callable[[Project, Path], None]:
        def made(project: Project, _outside: Path) -> None:
            (project.path / path).write_text(text)

        return made

    return [
        Hostile(f"{path}: {said}", command, put(path, text))
        for said, text in texts.items()
        for path, command in (("params.yaml", ("check",)), ("conf/model/small.yaml", ("compose", "model=small")))
    ]


def _overrides() -> list[Hostile]:
    words = (
        f"model=${{oc.env:{VARIABLE}}}",
        f"tracking.experiment='${{${{data.name}}:{VARIABLE}}}'",
        "+_target_=os.system",
        "model.blocks={a: {_target_: os.system}}",
        "hydra.sweep.dir=../outside",
        "hydra.launcher._target_=os.system",
        "++hydra.hydra_logging.handlers.a.class=subprocess.Popen",
        "+model=../../outside/a",
        "seed=range(1000000000)",
    )
    doors = ("compose",), ("sweep", "-m")
    return [Hostile(f"{door[0]} {word}", (*door, word)) for word in words for door in doors] + [
        Hostile("sweep reads a pickle", ("sweep", "--experimental-rerun", "../outside/config.pickle"))
    ]


def _arguments() -> list[Hostile]:
    names = "../../outside", "/etc", "x" * 300, "$(touch canary)", "a' or '1'='1", "\x1b[31mred"
    bundle = ("bundle",), ("bundle", "--unpack")
    verbs = ("compare",), ("promote",), ("reproduce",), ("track",), ("ui", "--port", "1", "--study"), *bundle
    return [Hostile(f"{verb[0]} {name!r}"[:60], (*verb, name)) for verb in verbs for name in names]


def _run(changes: dict[str, object]) -> Callable[[Project, Path], None]:
    return lambda project, _outside: forge(project.path / "record" / "training" / "run.json", changes)


def _linked_out(project: Project, outside: Path) -> None:
    path = project.path / "record" / "training" / "history.csv"
    path.rename(outside.parent / "history.csv")
    path.symlink_to(outside.parent / "history.csv")


def _study_called(name: str) -> Callable[[Project, Path], None]:
    def made(project: Project, _outside: Path) -> None:
        folder = project.path / "studies" / "kernels"
        folder.mkdir(parents=True)
        found = asdict(study({"a": {}}, [cell("a", 0)])) | {"name": name}
        (folder / "study.json").write_text(sealed({"layout": 2} | found))

    return made


def _weights(content: bytes) -> Callable[[Project, Path], None]:
    return lambda project, _outside: forge_file(project.path / "record" / "training", WEIGHTS, content)


def _weights_of_a_gigabyte(project: Project, outside: Path) -> None:
    # Made only where it is used: to compress it takes seconds.
    _weights(_archive(bytes(1_000_000_000), zipfile.ZIP_DEFLATED))(project, outside)


def _archive(member: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        file.writestr("block1_conv/kernel.npy", member)
    return content.getvalue()


def _npy(shape: str, kind: str, values: bytes) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values


_PICKLE = b"\x80\x04cos\nsystem\n(S'touch canary'\ntR."


def _deep(levels: int) -> object:
    return [_deep(levels - 1)] if levels else 0


def _records() -> list[Hostile]:
    return [
        *(
            Hostile(f"run.json: identity {name!r}", ("evaluate",), _run({"identity": name}))
            for name in ("..", "", "/etc")
        ),
        *(
            Hostile(f"a study called {name!r}", ("compare", "kernels"), _study_called(name))
            for name in ("..", "../../x")
        ),
        Hostile("run.json: files elsewhere", ("evaluate",), _run({"files": {"../../../outside/secret": "0" * 64}})),
        Hostile("run.json: 400 levels", ("reproduce", "record"), _run({"configuration": {"a": _deep(400)}})),
        Hostile("a record with a link", ("track",), _linked_out),
        Hostile("weights of 4 TB", ("evaluate",), _weights(_archive(_npy("(1000000, 1000000)", "<f4", b"")))),
        Hostile("weights that unpack to 1 GB", ("evaluate",), _weights_of_a_gigabyte),
        Hostile("weights that hold a pickle", ("evaluate",), _weights(_archive(_npy("(1,)", "|O", _PICKLE)))),
        Hostile("weights that are a pickle", ("evaluate",), _weights(_PICKLE)),
    ]


def _bundles() -> list[Hostile]:
    name, text = "runs/0123/training/run.json", sealed({"layout": 2} | asdict(study({"a": {}}, [cell("a", 0)])))
    head = {"layout": 1, "name": "kernels", "study": text}

    def lines(*values: object) -> bytes:
        return b"".join(json.dumps(value).encode() + b"\n" for value in values)

    def written(content: bytes) -> Callable[[Project, Path], None]:
        def write(project: Project, _outside: Path) -> None:
            (project.path / "a.gz").write_bytes(gzip.compress(content, 1))

        return write

    def linked(project: Project, outside: Path) -> None:
        (project.path / "a.gz").symlink_to(outside / "secret")

    bundles = {
        "is for a study elsewhere": lines(head | {"name": "../../outside"}),
        "is for a run elsewhere": lines(head, {"identity": "../../outside", "files": {name: "x"}}),
        "has a file elsewhere": lines(head, {"identity": "a-0", "files": {"../../../outside/canary": "x"}}),
        "has a file by its whole path": lines(head, {"identity": "a-0", "files": {"/etc/canary": "x"}}),
        "has code": lines(head, {"identity": "a-0", "files": {"../../pipeline/compare.py": "canary"}}),
        "is a pickle": _PICKLE,
        "unpacks to 1 GB": bytes(1_000_000_000),
    }
    unpack = "bundle", "--unpack", "a.gz"
    return [
        *(Hostile(f"a bundle {said}", unpack, written(content)) for said, content in bundles.items()),
        Hostile("a bundle that is a link to a secret", unpack, linked),
    ]


def _stores() -> list[Hostile]:
    def changed(statement: str, value: str) -> Callable[[Project, Path], None]:
        def change(project: Project, outside: Path) -> None:
            with sqlite3.connect(project.path / "mlflow.db") as database:
                database.execute(statement, (value.format(outside=outside),))
            database.close()
            # There is something to write: a record that the store has not seen.
            forge(project.path / "record" / "training" / "run.json", {"reason": "another"})

        return change

    places = "file://{outside}", "{outside}", "file:///etc"
    return [
        *(
            Hostile(
                f"an experiment in {place}", ("track",), changed("UPDATE experiments SET artifact_location = ?", place)
            )
            for place in places
        ),
        *(
            Hostile(f"a run in {place}", ("track",), changed("UPDATE runs SET artifact_uri = ?", place))
            for place in places
        ),
        Hostile(
            "a run fetched from elsewhere", ("reproduce", "RUN"), changed("UPDATE runs SET artifact_uri = ?", places[0])
        ),
    ]


def moved(project: Project, source: Path) -> None:
    """The store of a copied project, with its artifacts where the copy has them."""
    with sqlite3.connect(project.path / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            query = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608 - our own words
            database.execute(query, (str(source), str(project.path)))
    database.close()


def run_id(project: Project) -> str:
    """The MLflow run of the project's record."""
    with sqlite3.connect(project.path / "mlflow.db") as database:
        (found,) = database.execute("SELECT run_uuid FROM runs LIMIT 1").fetchone()
    database.close()
    return str(found)


def harmed(project: Project, outside: Path, said: str) -> str | None:
    """What a hostile input has brought about: None where nothing."""
    if canaries := list(project.path.parent.rglob("canary*")):
        return f"made {canaries[0].name}"
    if sorted(path.name for path in outside.rglob("*")) != ["secret"] or (outside / "secret").read_text() != KNOWN:
        return "changed what lies outside"
    if KNOWN in said:
        return "told the secret"
    written = (path for path in project.path.rglob("*") if path.is_file() and not path.is_symlink())
    if found := [path.name for path in written if KNOWN.encode() in path.read_bytes()]:
        return f"wrote the secret into {found[0]}"
    return "a traceback" if "Traceback" in said else None
