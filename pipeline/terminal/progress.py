"""Progress of long work: a live bar on a terminal, nothing where nobody watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# A log has no width of its own; 80 columns would break most tables.
# No mark-up: what others say may hold brackets.
_WATCHED = sys.stdout is not None and sys.stdout.isatty()
console = Console(highlight=False, markup=False, soft_wrap=True, width=None if _WATCHED else 120)


@contextmanager
def bar(unit: str) -> Iterator[Progress]:
    """A bar that counts `unit` ("bytes" are shown as sizes) and disappears when the work is done."""
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
