"""A page as HTML, self-contained, and as Markdown with its pictures beside it. Whatever the page says is escaped."""

import base64
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape

from pipeline.findings.page import Bullets, Code, Column, Page, Picture, Table, Text

PICTURES = "pictures"

_ANYWHERE = re.compile(r"([\\`*_\[\]|~$])")
_AT_THE_START = re.compile(r"^([-+](?=\s|$)|--|[#=:]|\d+(?=[.)](?:\s|$)))")
"""What Markdown takes for more than text: within a line, and at its start."""


def html(page: Page) -> str:
    """One page that opens offline: style and pictures inside, no script, nothing from elsewhere."""
    return _environment(autoescape=True).get_template("report.html.jinja").render(page=page)


def markdown(page: Page) -> str:
    """The same for a git host; pictures are named as files in `PICTURES`."""
    return _environment(autoescape=False).get_template("report.md.jinja").render(page=page)


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it is, in a paragraph, a list or a cell."""
    plain = str(escape(" ".join(text.split()))).replace("&#39;", "'").replace("&#34;", '"')
    return _AT_THE_START.sub(_escaped_start, _ANYWHERE.sub(r"\\\1", plain))


def _escaped_start(found: re.Match[str]) -> str:
    """A sign, or the point after a number that would begin a list."""
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def fenced(lines: tuple[str, ...]) -> str:
    """Lines of code, in a fence that none of them can close."""
    found = [" ".join(line.split()) for line in lines]
    longest = max((len(ticks) for line in found for ticks in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *found, fence])


def rule(columns: tuple[Column, ...]) -> str:
    """The line below a Markdown table's heading."""
    return f"|{'|'.join('---:' if column.kind == 'number' else '---' for column in columns)}|"


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,  # noqa: S701 - Markdown is escaped by `escaped`
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escaped, "fenced": fenced, "rule": rule, "embedded": _embedded, "slug": _slug}
    environment.globals |= {"pictures": PICTURES}
    environment.tests |= {
        "table": lambda block: isinstance(block, Table),
        "text": lambda block: isinstance(block, Text),
        "bullets": lambda block: isinstance(block, Bullets),
        "picture": lambda block: isinstance(block, Picture),
        "code": lambda block: isinstance(block, Code),
    }
    return environment


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _slug(verdict: str) -> str:
    """The class of a verdict: `cant-tell`."""
    return re.sub(r"[^a-z]+", "-", verdict.partition(",")[0].replace("'", "")).strip("-")
