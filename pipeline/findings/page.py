"""A report as plain values, before it is HTML or Markdown. All text is plain: whoever renders it escapes it."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "number", "verdict"]


@dataclass(frozen=True)
class Text:
    """A paragraph; `lead` stands before it in bold; `note` is small print."""

    text: str
    lead: str = ""
    note: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list; `verdict`, where there is one, is that of all its items."""

    items: tuple[str, ...]
    title: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading, how its cells are set, and `about`, what they are, for who asks."""

    name: str
    kind: Kind = "number"
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells as text; `marked` are the numbers of rows that stand out, each with a word for why.

    `folded` tables are long: HTML shows them when they are asked for, under their `title`; Markdown names `file`.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: dict[int, str] = field(default_factory=dict)
    title: str = ""
    folded: bool = False
    file: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture: `name`.png, what it shows for who can't see it, and a caption."""

    name: str
    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """Lines that a person can type."""

    lines: tuple[str, ...]


Block = Text | Bullets | Table | Picture | Code


@dataclass(frozen=True)
class Figure:
    """A key figure: the number, what it is, and a remark."""

    number: str
    what: str
    remark: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """`headline` is the answer in one sentence, `warning` what must be known before it is believed."""

    study: str
    subtitle: str
    headline: str
    answer: tuple[Block, ...]
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
    warning: str = ""
