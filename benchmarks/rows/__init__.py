"""What is measured: a row each of docs/performance.md."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.workshop import Workshop


@dataclass(frozen=True)
class Finding:
    """What came of a row: in words, whether its goal is met, all figures; `bars` for the picture (label → seconds)."""

    said: str
    met: bool
    figures: Mapping[str, object]
    bars: dict[str, float] | None = None


@dataclass(frozen=True)
class Row:
    """`what` is measured and `goal` are the table's words."""

    name: str
    what: str
    goal: str
    measure: Callable[[Workshop], Finding]
