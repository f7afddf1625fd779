"""How much there is to read: files and lines of the package, and of what some of its modules import.

python -m benchmarks.structure                                     the package, room by room
python -m benchmarks.structure pipeline.train pipeline.evaluate    what one has read who has read these to the ground
"""

import argparse
import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pipeline"


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
    starts = parser.parse_args().modules
    if unknown := set(starts) - modules().keys():
        parser.error(f"no module of {PACKAGE}: {', '.join(sorted(unknown))}")
    if starts:
        parts = {name: {name} for name in sorted(closure(starts))}
    else:
        rooms = sorted({".".join(name.split(".")[:2]) for name in modules() if name.count(".") > 1})
        parts = {room: {name for name in modules() if name == room or name.startswith(f"{room}.")} for room in rooms}
        parts = {"verbs": modules().keys() - set().union(*parts.values())} | parts
    for name, members in parts.items():
        print(f"{lines(members):6,} lines {len(members):4} files  {name}")
    together = set().union(*parts.values())
    print(f"{lines(together):6,} lines {len(together):4} files  together")


if __name__ == "__main__":
    main()
