"""How much there is to read: files and lines of the package, what its modules import, and a picture of its rooms.

python -m benchmarks.structure                                     the package, room by room
python -m benchmarks.structure pipeline.train pipeline.evaluate    what one has read who has read these to the ground
python -m benchmarks.structure --write                             docs/architecture.svg, the tables in architecture.md
"""

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pipeline"
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "architecture.svg"
ONE_RUN = "pipeline.train", "pipeline.evaluate"

VERBS = "verbs"
BOOKS = {
    "one run": ("terminal", "storage", "config", "data", "network", "run", "figures"),
    "many runs": ("statistics", "studies", "tracking"),
    "what they support": ("findings", "explainer"),
    "verbs": (VERBS,),
}
"""The rooms of each book, in the order of reading: a book knows only those before it."""

COLORS = {"one run": "#2f6f9f", "many runs": "#3f8f5f", "what they support": "#9f6f2f", "verbs": "#666666"}
UPWARD = "#c0392b"


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, with its file; a package by its own name, for its __init__."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {_name(path): path for path in paths}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(module: str) -> set[str]:
    """The modules of the package that `module` imports, wherever in its text, for its types too.

    Of the packages on their way those whose __init__ does something.
    """
    known = modules()
    imported: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module`, or else a name that `package` itself holds.
            imported |= {name if name in known else node.module for name in names}
    imported &= known.keys()
    on_the_way = {package for name in imported for package in _packages(name) if _does_something(package)}
    return (imported | on_the_way) - {module}


def closure(starts: Iterable[str]) -> set[str]:
    """`starts` and all modules of the package that they import, those import, and so on."""
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports(module)
    return reached


def lines(names: Iterable[str]) -> int:
    """The lines of these modules."""
    return sum(len(modules()[name].read_text(encoding="utf-8").splitlines()) for name in names)


def rooms() -> dict[str, set[str]]:
    """The modules of each room, the rooms in the order of the books.

    Raises ValueError where BOOKS and the package's folders differ.
    """
    named = [room for book in BOOKS.values() for room in book]
    found: dict[str, set[str]] = {room: set() for room in named}
    for module in modules():
        found.setdefault(_room(module), set()).add(module)
    differing = [room for room, members in found.items() if room not in named or not members]
    if differing:
        raise ValueError(f"benchmarks/structure.py: BOOKS and the folders of {PACKAGE}/ differ: {', '.join(differing)}")
    return found


def room_imports() -> Counter[tuple[str, str]]:
    """How many modules of one room are imported by modules of another: (importing, imported) → pairs of modules."""
    pairs = ((_room(module), _room(imported)) for module in modules() for imported in imports(module))
    # The package's own __init__ sets the environment of whatever is imported first.
    return Counter((one, other) for one, other in pairs if other not in (one, VERBS))


def table() -> str:
    """The rooms, what each says that it is, its files and lines, in Markdown."""
    rows = ["| book | room | what it is | files | lines |", "|---|---|---|---:|---:|"]
    members = rooms()
    for book, names in BOOKS.items():
        for room in names:
            said = "read the arguments, call, write" if room == VERBS else _says(f"{PACKAGE}.{room}")
            rows.append(f"| {book} | `{_place(room)}` | {said} | {len(members[room])} | {lines(members[room]):,} |")
    rows.append(f"| | together | | {len(modules())} | {lines(modules()):,} |")
    return "\n".join(rows)


def reading(page: str) -> str:
    """What the stages train and evaluate import in all, and how much of it the table of `page` names to be read."""
    whole = closure(ONE_RUN)
    paths = {path.relative_to(ROOT).as_posix(): name for name, path in modules().items()}
    named = {paths[path] for path in re.findall(r"^\| \d+ \| `([\w./]+\.py)`", page, re.MULTILINE)}
    return (
        f"The table names {len(named)} files of {lines(named):,} lines. All that `{'` and `'.join(ONE_RUN)}` import, "
        f"to the ground, are {len(whole)} files of {lines(whole):,} lines."
    )


def picture() -> str:
    """The rooms as bars of lines, and beside them the matrix of who imports whom, as SVG text."""
    members, pairs = rooms(), room_imports()
    names = list(members)
    book_of = {room: book for book, rooms_ in BOOKS.items() for room in rooms_}
    longest = max(lines(part) for part in members.values())
    width, height = MATRIX + CELL * len(names) + 20, TOP + ROW * len(names) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {FONT}>',
        "<title>The rooms of pipeline/: lines, and which imports which</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(MATRIX, 20, "imports (modules of the row's room → of the column's)", fill="#444444"),
    ]
    for row, room in enumerate(names):
        color, y = COLORS[book_of[room]], TOP + ROW * row
        if row == 0 or book_of[names[row - 1]] != book_of[room]:
            parts.append(f'<line x1="10" y1="{y}" x2="{width - 20}" y2="{y}" stroke="#bbbbbb"/>')
            parts.append(_text(10, y + 18, book_of[room], fill=color))
        bar = round(BAR * lines(members[room]) / longest)
        parts.append(_text(140, y + 18, _place(room), fill="black"))
        parts.append(f'<rect x="250" y="{y + 6}" width="{bar}" height="{ROW - 12}" fill="{color}"/>')
        parts.append(_text(256 + bar, y + 18, f"{lines(members[room]):,}", fill="#444444"))
        x = MATRIX + CELL * row + CELL // 2
        parts.append(_text(x, TOP - 8, room, fill=color, rest=f' transform="rotate(-40 {x} {TOP - 8})"'))
        parts += _cells(names, row, pairs, color)
    foot = "An import to the right of the diagonal, against the order of reading, is red."
    parts += [_text(10, height - 20, foot, fill="#444444"), "</svg>", ""]
    return "\n".join(parts)


FONT = 'font-family="sans-serif" font-size="13"'
TOP, ROW, CELL, BAR, MATRIX = 90, 28, 40, 170, 480
"""Of the picture, in pixels: where the rows begin, their height, a cell's width, the longest bar, the matrix."""


def _cells(names: list[str], row: int, pairs: Counter[tuple[str, str]], color: str) -> Iterator[str]:
    """The row of the matrix: how many imports go to each other room, red where to one that is read later."""
    y = TOP + ROW * row
    for column, other in enumerate(names):
        x, count = MATRIX + CELL * column, pairs[names[row], other]
        fill = "#dddddd" if column == row else UPWARD if column > row else color
        strength = 1.0 if column >= row else min(1.0, 0.35 + count / 40)
        if column == row or count:
            yield (
                f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{ROW - 2}" fill="{fill}" '
                f'fill-opacity="{strength:.2f}"/>'
            )
        if count:
            ink = "white" if column > row or strength > 0.6 else "#222222"
            yield _text(x + CELL // 2, y + 18, str(count), fill=ink, rest=' text-anchor="middle"')


def _text(x: int, y: int, text: str, *, fill: str, rest: str = "") -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" fill="{fill}"{rest}>{escaped}</text>'


def fill_counts(page: str) -> str:
    """`page` with its counted parts as they are now."""
    for name, text in (("rooms", table()), ("reading", reading(page))):
        begin, end = f"<!-- counted: {name} -->\n", "<!-- end -->"
        page, parts = re.subn(rf"{begin}(?:(?!<!--).*\n)*{end}", f"{begin}{text}\n{end}", page)
        if parts != 1:
            raise ValueError(f"{PAGE}: has no part `<!-- counted: {name} -->` … `<!-- end -->`")
    return page


def _room(module: str) -> str:
    """The folder that a module lies in; a module at the top is a verb."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (modules()[module].name == "__init__.py" and len(parts) > 1) else VERBS


def _place(room: str) -> str:
    return f"{PACKAGE}/*.py" if room == VERBS else f"{room}/"


def _says(package: str) -> str:
    """The first sentence of its docstring."""
    return (ast.get_docstring(_tree(package)) or "").partition(". ")[0].rstrip(".")


def _tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _does_something(package: str) -> bool:
    """Whether its __init__ holds more than a docstring."""
    return len(_tree(package).body) > 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="such as pipeline.train")
    parser.add_argument("--write", action="store_true", help="write the picture, and the tables of the page")
    arguments = parser.parse_args()
    starts = arguments.modules
    if unknown := set(starts) - modules().keys():
        parser.error(f"no module of {PACKAGE}: {', '.join(sorted(unknown))}")
    if arguments.write:
        PICTURE.write_text(picture(), encoding="utf-8")
        PAGE.write_text(fill_counts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    parts = {name: {name} for name in sorted(closure(starts))} if starts else rooms()
    for name, members in parts.items():
        print(f"{lines(members):6,} lines {len(members):4} files  {name}")
    together = set().union(*parts.values())
    print(f"{lines(together):6,} lines {len(together):4} files  together")


if __name__ == "__main__":
    main()
