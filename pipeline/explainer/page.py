"""One HTML file of the parts in this folder and a content: it asks nobody for anything.

JavaScript modules become one: they are named in the order in which each needs those before it. The page names the
digest of its script in its Content-Security-Policy, so that no other script runs in it.
"""

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

MODULES = ("arithmetic", "network", "weights", "drawing", "pictures", "sliding", "arguments", "inside", "main")
"""The page's modules, each after those that it imports."""

IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export ", re.MULTILINE)


def page(content: dict[str, Any]) -> str:
    """The page that shows a content (`content_of`): HTML with style, script, weights and images inside."""
    environment = Environment(undefined=StrictUndefined, autoescape=True, keep_trailing_newline=True)
    code = script()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    # In a script element nothing ends the text but its own end; `<` is another way to write it in JSON.
    known = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = environment.from_string(_part("page.html.jinja"))
    return template.render(style=_part("page.css"), script=code, script_digest=digest, content=known)


def script() -> str:
    """The modules as one, without what imports and exports between them."""
    return "\n".join(EXPORT.sub("", IMPORT.sub("", _part(f"{name}.js"))) for name in MODULES)


def content_in(html: str) -> dict[str, Any]:
    """The content that a page was made of."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.DOTALL)
    if found is None:
        raise ValueError("no page of an explainer")
    content: dict[str, Any] = json.loads(found[1])
    return content


def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")
