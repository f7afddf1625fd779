"""What a power cut leaves: the journal of all changes below a folder (faults/journal.c), and which of them survive it.

A change is on the disk for certain once what it changed was synced: bytes, a size or a mode by an fsync of the file,
names by an fsync of their folder. Whatever was not is there or not, as is drawn, by one of two kinds of file system:

- ordered, as ext4, XFS and Btrfs keep names: in the order of the calls, and an fsync of anything makes all earlier
  names certain. Bytes that were not synced are there, or cut off somewhere, or not there (an empty file).
- loose, as POSIX allows: any name may be missing while a later one is there, and of the bytes any blocks may be there,
  or zeros in their place.

A rename is there as a whole or not at all. No block that was synced is harmed by a later write of another one.
"""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import NamedTuple

SOURCE = Path(__file__).with_name("journal.c")
LEFT_ALONE = "*__pycache__*", ".git", ".git/*", "*.db-shm"
"""What is no result. SQLite makes its shared memory anew after a crash."""

BLOCK = 4096
HEAD = struct.Struct("=IIqQII")

ORDERED, LOOSE = KINDS = "ordered", "loose"


class Operation(IntEnum):
    CREATE = 1
    MKDIR = 2
    SYMLINK = 3
    LINK = 4
    RENAME = 5
    EXCHANGE = 6
    REMOVE = 7
    WRITE = 8
    SIZE = 9
    MODE = 10
    SYNC = 11


@dataclass(frozen=True)
class Change:
    """A call that changed something below the folder, or an fsync; paths are relative to it."""

    operation: Operation
    path: str
    other: str
    offset: int
    mode: int
    data: bytes


@dataclass
class Node:
    """A file (`data`), a folder (`names`) or a link (`target`)."""

    data: bytearray = field(default_factory=bytearray)
    names: dict[str, int] | None = None
    target: str | None = None
    mode: int = 0o644


class Slot(NamedTuple):
    """A name in a folder."""

    folder: int
    name: str


@dataclass(frozen=True)
class Act:
    """A change by what it changes: nodes, not paths. `names` are set together, to a node or to nothing."""

    change: Change
    node: int
    names: tuple[tuple[Slot, int | None], ...] = ()


@dataclass(frozen=True)
class Journal:
    """Where the changes below `root` are written down."""

    library: Path
    root: Path

    @property
    def file(self) -> Path:
        return self.root.with_name(f"{self.root.name}.journal")

    def writing(self) -> dict[str, str]:
        """The environment in which changes are written down anew."""
        self.file.unlink(missing_ok=True)
        return {
            "LD_PRELOAD": str(self.library),
            "JOURNAL_ROOT": str(self.root.resolve()),
            "JOURNAL_EXCEPT": ":".join(LEFT_ALONE),
            "JOURNAL_FILE": str(self.file),
        }


def library(shared: Path) -> Path:
    """The compiled library, made where it is missing."""
    target = shared / "journal.so"
    if not target.exists():
        subprocess.run(("cc", "-shared", "-fPIC", "-O2", "-o", target, SOURCE, "-ldl"), check=True)
    return target


def changes(journal: Path) -> list[Change]:
    """What was written down, in order."""
    content, at, found = journal.read_bytes(), 0, []
    while at < len(content):
        operation, mode, offset, size, path, other = HEAD.unpack_from(content, at)
        at += HEAD.size
        kind = Operation(operation)
        parts = []
        for length in (path, other, size if kind == Operation.WRITE else 0):
            parts.append(content[at : at + length])
            at += length
        found.append(Change(kind, parts[0].decode(), parts[1].decode(), offset, mode, parts[2]))
    return found


class Tree:
    """A folder's files and folders by number; 0 is the folder itself."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {0: Node(names={})}

    def copy(self) -> "Tree":
        other = Tree()
        other.nodes = {
            number: Node(bytearray(node.data), None if node.names is None else dict(node.names), node.target, node.mode)
            for number, node in self.nodes.items()
        }
        return other

    def new(self, node: Node) -> int:
        number = len(self.nodes)
        self.nodes[number] = node
        return number

    def slot(self, path: str) -> Slot | None:
        """The name at the end of a path; None where its folder is not there."""
        parent, _, name = path.rpartition("/")
        folder = self.find(parent)
        return None if folder is None or self.nodes[folder].names is None else Slot(folder, name)

    def find(self, path: str) -> int | None:
        """The node at a path."""
        number: int | None = 0
        for name in path.split("/") if path else ():
            names = self.nodes[number].names if number is not None else None
            number = None if names is None else names.get(name)
        return number

    def put(self, slot: Slot, number: int | None) -> None:
        names = self.nodes[slot.folder].names
        assert names is not None
        if number is None:
            names.pop(slot.name, None)
        else:
            names[slot.name] = number

    def files(self, number: int = 0, path: str = "") -> Iterator[tuple[str, Node]]:
        """Everything that can be reached, with its path; folders before what is in them."""
        for name, child in sorted((self.nodes[number].names or {}).items()):
            yield f"{path}{name}", self.nodes[child]
            yield from self.files(child, f"{path}{name}/")


def read_tree(root: Path, left_alone: tuple[str, ...]) -> Tree:
    """The folder as it is, without the names at its top that are left alone."""
    tree = Tree()

    def read(folder: Path, number: int) -> None:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("__pycache__") or path.name.endswith(".db-shm"):
                continue
            if number == 0 and path.name in left_alone:
                continue
            if path.is_symlink():
                tree.put(Slot(number, path.name), tree.new(Node(target=str(path.readlink()))))
            elif path.is_dir():
                child = tree.new(Node(names={}, mode=path.stat().st_mode & 0o7777))
                tree.put(Slot(number, path.name), child)
                read(path, child)
            else:
                node = Node(bytearray(path.read_bytes()), mode=path.stat().st_mode & 0o7777)
                tree.put(Slot(number, path.name), tree.new(node))

    read(root, 0)
    return tree


def write_tree(tree: Tree, root: Path, left_alone: tuple[str, ...]) -> None:
    """Let the folder be the tree, but for the names at its top that are left alone."""
    for path in root.iterdir():
        if path.name in left_alone:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name, node in tree.files():
        path = root / name
        if node.target is not None:
            path.symlink_to(node.target)
            continue
        if node.names is not None:
            path.mkdir()
        else:
            path.write_bytes(node.data)
        path.chmod(node.mode)


def acts(start: Tree, written: list[Change]) -> tuple[list[Act], Tree]:
    """The changes by the nodes that they change, and the tree after all of them; `start` gets the nodes they made.

    A change of a file that has no name any more is passed over.
    """
    tree, found = start.copy(), []
    for change in written:
        act = _bound(start, tree, change)
        if act is not None:
            _do(tree, act, change.data)
            found.append(act)
    return found, tree


def _bound(start: Tree, tree: Tree, change: Change) -> Act | None:
    slot, other = tree.slot(change.path), tree.slot(change.other)
    node, second = tree.find(change.path), tree.find(change.other)
    match change.operation:
        case Operation.CREATE | Operation.MKDIR | Operation.SYMLINK:
            # It is empty in both, and what is in it then differs.
            start.new(_made(change))
            number = tree.new(_made(change))
            return None if slot is None else Act(change, number, ((slot, number),))
        case Operation.RENAME | Operation.EXCHANGE if slot and other and node is not None:
            back = second if change.operation == Operation.EXCHANGE else None
            return Act(change, node, ((slot, back), (other, node)))
        case Operation.LINK if other and node is not None:
            return Act(change, node, ((other, node),))
        case Operation.REMOVE if slot and node is not None:
            return Act(change, node, ((slot, None),))
        case Operation.WRITE | Operation.SIZE | Operation.MODE | Operation.SYNC if node is not None:
            return Act(change, node)
    return None


def _made(change: Change) -> Node:
    if change.operation == Operation.SYMLINK:
        return Node(target=change.other)
    return Node(names={} if change.operation == Operation.MKDIR else None, mode=change.mode)


def _do(tree: Tree, act: Act, data: bytes) -> None:
    for slot, number in act.names:
        tree.put(slot, number)
    node, change = tree.nodes[act.node], act.change
    if change.operation == Operation.MODE:
        node.mode = change.mode
    elif change.operation == Operation.SIZE:
        _resize(node, change.offset)
    elif change.operation == Operation.WRITE:
        if data and len(node.data) < change.offset:
            _resize(node, change.offset)
        node.data[change.offset : change.offset + len(data)] = data


def _resize(node: Node, size: int) -> None:
    del node.data[size:]
    node.data.extend(bytes(size - len(node.data)))


def after_a_cut(start: Tree, done: list[Act], kind: str, random: Random) -> Tree:
    """What a power cut after the acts `done` leaves on a file system of this kind."""
    certain = _certain(done, kind)
    tree = start.copy()
    share = random.choice((0.0, 0.0, 0.5, 0.9, 1.0))
    names = [number for number, act in enumerate(done) if act.names and number not in certain]
    # In the order of the calls, up to one of them.
    last = names[: round(share * len(names))]
    survivors = set(last) if kind == ORDERED else {number for number in names if random.random() < share}
    fates: dict[int, str] = {}
    for number, act in enumerate(done):
        if act.names:
            if number in certain or number in survivors:
                _do(tree, act, b"")
        elif number in certain:
            _do(tree, act, act.change.data)
        elif act.change.operation != Operation.SYNC:
            fates.setdefault(act.node, random.choice(FATES[kind]))
            _perhaps(tree, act, fates, random)
    return tree


FATES = {
    ORDERED: ("gone", "there", "cut off", "empty"),
    LOOSE: ("gone", "there", "cut off", "empty", "blocks", "zeros"),
}
"""What becomes of the bytes of a file that were not synced, drawn once for each file."""


def _perhaps(tree: Tree, act: Act, fates: dict[int, str], random: Random) -> None:
    """Do a change of a file that was not synced, as its fate has it."""
    change, fate = act.change, fates[act.node]
    if change.operation != Operation.WRITE:
        # A mode is on the disk sooner than bytes are.
        if change.operation == Operation.MODE or fate != "gone":
            _do(tree, act, b"")
    elif fate == "there":
        _do(tree, act, change.data)
    elif fate == "cut off":
        here = random.random() < 0.5
        _do(tree, act, change.data[: random.randrange(len(change.data) + 1)] if here else change.data)
        if here:
            fates[act.node] = "gone"
    elif fate == "zeros":
        _do(tree, act, bytes(len(change.data)))
    elif fate == "blocks":
        for first in range(0, len(change.data), BLOCK):
            if random.random() < 0.5:
                block = change.data[first : first + BLOCK]
                _do(tree, Act(replace(change, offset=change.offset + first), act.node), block)


def _certain(done: list[Act], kind: str) -> set[int]:
    """The acts that were on the disk before the cut."""
    found: set[int] = set()
    synced: set[int] = set()
    anything = False
    for number in range(len(done) - 1, -1, -1):
        act = done[number]
        if act.change.operation == Operation.SYNC:
            synced.add(act.node)
            anything = True
        elif act.names:
            if any(slot.folder in synced for slot, _ in act.names) or (kind == ORDERED and anything):
                found.add(number)
        elif act.node in synced:
            found.add(number)
    return found
