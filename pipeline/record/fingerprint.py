"""Which code decides a result: the modules a module imports, without what only a reader sees."""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def fingerprint(root: Path, module: str, leaving_out: Sequence[str] = ()) -> dict[str, str]:
    """Module name → SHA-256 of its syntax tree, for `module` and all it imports from its own package, sorted.

    Docstrings, comments and layout are no part of it. Modules that start with one of `leaving_out` are passed over.
    """
    package = module.partition(".")[0]
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path(root, name)
        if name in found or path is None or name.startswith(tuple(leaving_out)):
            continue
        tree = ast.parse(path.read_bytes())
        imported = {candidate for candidate in _imports(tree) if candidate.partition(".")[0] == package}
        waiting.extend(imported | {name.rpartition(".")[0]})
        found[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
    return dict(sorted(found.items()))


def _path(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py") if module else ()
    return next((path for path in candidates if path.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            # `from package import module` imports a module too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
