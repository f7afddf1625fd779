"""Which code decides a result, without what only a reader sees."""

import ast
import hashlib
from collections.abc import Sequence
from pathlib import Path


def fingerprint(root: Path, places: Sequence[str]) -> dict[str, str]:
    """Path below `root` → SHA-256 of its syntax tree, for every file that a pattern in `places` names, sorted.

    Docstrings, comments, layout and the words of an exception are no part of it. Raises FileNotFoundError for a
    pattern that names no file: code that was moved away would decide unseen.
    """
    found: dict[str, str] = {}
    for place in places:
        paths = sorted(root.glob(place))
        if not paths:
            raise FileNotFoundError(f"{root / place}: there is no such code")
        for path in paths:
            tree = _Wordless().visit(ast.parse(path.read_bytes()))
            found[path.relative_to(root).as_posix()] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return dict(sorted(found.items()))


class _Wordless(ast.NodeTransformer):
    """Leaves out docstrings, and of `raise Error("…")` what it says: neither can change a weight."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)
