"""Numbers, and lists of words, as a person reads them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.statistics.intervals import Interval

UNKNOWN = "–"
MOST_SEEDS = 1000
MOST_NAMES = 3


def points(value: float | None, *, sign: bool = True) -> str:
    """Points with two decimals and a true minus: `+0.32`, `−0.05`."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval | None, *, sign: bool = True, joined: str = "to") -> str:
    """`+0.12 to +0.51`."""
    ends = () if interval is None else (points(interval.low, sign=sign), points(interval.high, sign=sign))
    return f" {joined} ".join(ends) or UNKNOWN


def span(low: float, high: float) -> str:
    """From one to the other, both on one side of zero, by their size: `0.9 to 1.4`; as fine as the smaller needs."""
    small, large = sorted((abs(low), abs(high)))
    for decimals in (1, 2, 3):
        if 0 < round(small, decimals) < round(large, decimals):
            return f"{small:.{decimals}f} to {large:.{decimals if round(large, 2) <= 0.01 else min(decimals, 2)}f}"
    return f"{small:.2g} to {large:.2g}" if small < large else f"{small:.2g}"


def times(ratio: float) -> str:
    """How many times: `3.5 times`, `0.28 times`, `12 times`."""
    if math.isnan(ratio):
        return "unknown times"
    if abs(ratio - 1) < 0.005:
        return "1.0 times"
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2}f} times"


def large(value: float) -> str:
    """A count in full below a million, else in millions: `62,346`, `9.06 million`."""
    return f"{value / 1e6:.3g} million" if value >= 1e6 else number(value)


def number(value: float, decimals: int = 0) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:,.{decimals}f}"


def share(value: float | None) -> str:
    """A share of a whole: `71 %`, `0.6 %`; never none or all unless it is."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.995 <= value < 1:
        return "> 99 %"
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def moment(milliseconds_since_1970: int) -> str:
    return datetime.fromtimestamp(milliseconds_since_1970 / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def counted(count: int, noun: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def enough(seeds: int | None) -> str:
    """How many seeds would tell: `about 14 seeds`; a number that nobody trains is no advice."""
    if seeds is None or seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds"
    return f"about {seeds} seeds"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def some(words: Sequence[str], most: int = MOST_NAMES) -> str:
    """All of a few, else the first and how many more there are."""
    return listed([*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])])


def runs_of(numbers: Sequence[int]) -> str:
    """Sorted whole numbers, neighbours joined: `0 to 9`, `0, 1, 5 to 7`."""
    parts: list[list[int]] = []
    for one in numbers:
        if parts and one == parts[-1][-1] + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)
