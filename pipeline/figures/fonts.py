"""Fonts for names of classes in any script: matplotlib's own has no Chinese, Japanese or Korean characters."""

import contextlib
from collections.abc import Sequence
from functools import cache

FIRST = "DejaVu Sans"
"""Comes with matplotlib: what it can draw looks alike everywhere."""

WIDE = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans",
    "IPAexGothic",
    "IPAGothic",
    "TakaoGothic",
    "VL Gothic",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "NanumGothic",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Unifont",
)
"""What systems have for the others, under these names."""


@cache
def families() -> tuple[str, ...]:
    """The fonts for a picture's text: each character is drawn in the first that has it."""
    from matplotlib import font_manager  # noqa: PLC0415 - slow, and verbs without pictures do not need it

    # matplotlib keeps the list of its first start: what was installed since is not in it.
    for path in set(font_manager.findSystemFonts()) - {font.fname for font in font_manager.fontManager.ttflist}:
        # It has its own exceptions for what is no font that it can read.
        with contextlib.suppress(Exception):
            font_manager.fontManager.addfont(path)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return (FIRST, *(name for name in WIDE if name in installed))


def legible(name: str, number: int) -> str:
    """The name of class `number` (from 0), or `class 3` where no font here has all of its characters."""
    return name if _characters().issuperset(map(ord, name)) else f"class {number}"


def note(names: Sequence[str]) -> str | None:
    """One line where `legible` puts numbers in place of names."""
    if all(legible(name, number) == name for number, name in enumerate(names)):
        return None
    return (
        "no font here has all characters of data.class_names: pictures show the number of a class in place of its "
        "name. A font that does is fonts-noto-cjk or unifont of a Linux distribution"
    )


@cache
def _characters() -> frozenset[int]:
    """All that the fonts can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415

    return frozenset(
        number for name in families() for number in get_font(findfont(FontProperties(family=[name]))).get_charmap()
    )
