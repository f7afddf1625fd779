"""Numbers as people read them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.findings.statistics.intervals import Interval

UNKNOWN = "–"
MOST_SEEDS = 1000


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


def span(interval: Interval) -> str:
    """An interval on one side of zero by its size, in a sentence: `0.9 to 1.4`; as fine as its smaller end needs."""
    small, large = sorted((abs(interval.low), abs(interval.high)))
    for decimals in (1, 2, 3):
        if round(small, decimals) > 0 and round(small, decimals) < round(large, decimals):
            return f"{small:.{decimals}f} to {large:.{decimals}f}"
    return f"{small:.2g} to {large:.2g}"


def times(ratio: float) -> str:
    """How many times: `3.5 times`, `0.28 times`, `12 times`."""
    if math.isnan(ratio):
        return "unknown times"
    if abs(ratio - 1) < 0.005:
        return "1.0 times"
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2
    return f"{ratio:.{digits}f} times"


def large(value: float) -> str:
    """A count in full below a million, else in millions: `62,346`, `9.06 million`."""
    if math.isnan(value):
        return UNKNOWN
    return f"{value / 1e6:.3g} million" if value >= 1e6 else f"{value:,.0f}"


def whole(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:,.0f}"


def seconds(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.1f}"


def milliseconds(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.2f}"


def probability(value: float | None) -> str:
    """A p value: three decimals below 0.1, else two."""
    if value is None:
        return UNKNOWN
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


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


def counted(number: int, noun: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def enough(seeds: int | None) -> str:
    """How many seeds would tell: `about 14 seeds`; a number that nobody trains is no advice."""
    if seeds is None or seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds"
    return f"about {seeds} seeds"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def runs_of(numbers: Sequence[int]) -> str:
    """Sorted whole numbers, neighbours joined: `0 to 9`, `0, 1, 5 to 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)
