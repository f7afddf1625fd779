"""The configuration: any text as params.yaml, edits of a valid one, overrides of compose."""

import json
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

from omegaconf import OmegaConf

from faults.fuzzing.edits import constants, edited, names, places, valid
from faults.fuzzing.target import LARGEST, Choices, Mutate, Target, told
from pipeline.config.compose import Choice, as_params, as_text, choose, read_choice
from pipeline.config.layers import MOST_PARAMETERS, layers
from pipeline.config.load import configure, parsed
from pipeline.config.schema import Configuration
from pipeline.storage import project
from pipeline.terminal.command import printable
from pipeline.terminal.errors import UserError

NAME = "params.yaml"
GROUPS = "data", "model", "tracking", "training"
TEXT, REPEATED, EDITED, OVERRIDE = range(4)


def examine(data: bytes) -> bool:
    """The first byte says what the others are: a text, one that is repeated up to a megabyte, edits, an override.

    It is refused in a sentence, or what it makes survives being written and read.
    """
    kind, rest = data[0] % 4 if data else TEXT, data[1:]
    try:
        if kind == OVERRIDE:
            _override(rest.decode("utf-8", errors="surrogateescape"))
        else:
            values = edited(Choices(rest)) if kind == EDITED else parsed(_text(kind, rest), NAME)
            _survives(configure(values))
    except UserError as error:
        return told(error, through=printable)
    return True


def _text(kind: int, data: bytes) -> bytes:
    if kind == TEXT:
        return data
    size = int.from_bytes(data[:3]) % LARGEST
    beginning, _, unit = data[3:].partition(b"\xff")
    return beginning + unit * (size // max(len(unit), 1))


def _survives(configuration: Configuration) -> None:
    """A configuration that is accepted is the same after all the ways in which it is written and read."""
    found = layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    assert all(size >= 1 for layer in found for size in layer.output)
    assert sum(layer.parameters for layer in found) <= MOST_PARAMETERS
    plain = configuration.model_dump(mode="json")
    assert configure(json.loads(json.dumps(plain))) == configuration
    assert configure(parsed(as_params(OmegaConf.create(plain)), NAME)) == configuration


def _override(text: str) -> None:
    """What compose keeps of an override is the same when it is read again."""
    kept = choose(Choice({}, {}), [text], GROUPS)
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        path = Path(file.name)
        path.write_text(as_text(kept), encoding="utf-8")
        assert as_text(read_choice(path)) == as_text(kept)


def seeds() -> Iterator[bytes]:
    text = project.PARAMS.read_bytes()
    yield bytes([TEXT]) + text
    yield bytes([TEXT]) + json.dumps(valid()).encode()
    for path in sorted(project.CONF.rglob("*.yaml")):
        yield bytes([TEXT]) + path.read_bytes()
    for word in words():
        yield bytes([TEXT]) + b"a: " + word
        yield bytes([REPEATED, 15, 66, 63]) + b"a: \xff" + word
    for place, number in product(range(len(list(places(valid())))), range(4)):
        yield bytes([EDITED, 0, place, 15]) + Random(place * 4 + number).randbytes(8)
    for number in range(100):
        yield bytes([EDITED]) + Random(number).randbytes(4 + number % 30)
    changes = "seed=3", "model.conv.kernel_size=[3,5]", "+model.blocks.block2.conv={filters: 3}", "model=deep", "~seed"
    for change in changes:
        yield bytes([OVERRIDE]) + change.encode()
    yield bytes([OVERRIDE]) + "++a.b='\\'${seed}',é".encode()


def words() -> Iterator[bytes]:
    """What means something in YAML and in overrides, and the keys and words of the configuration."""
    tags = "str", "int", "float", "bool", "null", "binary", "timestamp", "omap", "pairs", "set", "seq", "map", "merge"
    yield from (f"!!{tag} ".encode() for tag in tags)
    marks = (
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "- ",
        "{a: 1}",
        "[a]",
        "|\n ",
        ">-\n ",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "# ",
        "!<x> ",
    )
    yield from (mark.encode() for mark in marks)
    odd = (
        "0x1f",
        "0o17",
        "0b1",
        "1_0",
        "1e3",
        ".inf",
        ".nan",
        "~",
        "2001-12-14t21:59:43.10-05:00",
        "12:30:45",
        "=",
        "yes",
    )
    yield from (value.encode() for value in odd)
    quoted = (
        '"\\ud800"',
        '"\\U0010ffff"',
        '"\\x00"',
        "'a''b'",
        "${seed}",
        "${oc.env:HOME}",
        "choice(1,2)",
        "range(3)",
        "\ufeff",
    )
    yield from (value.encode() for value in quoted)
    yield from (f"{key}: ".encode() for key in names() if key.isidentifier())
    yield from (word.encode() for word in constants() if isinstance(word, str) and word.isidentifier())


def mutated(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A change of a text in one of its lines, or a blind one: a parser goes no further than the first error."""
    if len(data) < 2 or data[0] % 4 != TEXT or random.random() < 0.5:
        return mutate(data)
    lines = data[1:].split(b"\n")
    at = random.randrange(len(lines))
    lines[at] = mutate(lines[at])[:2000]
    return data[:1] + b"\n".join(lines)


CODE = ("pipeline/config/*.py",)
TARGET = Target(CODE, examine, seeds, words, mutated)
