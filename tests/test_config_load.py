"""Texts that are no configuration, or made to exhaust whoever reads them."""

import tracemalloc
from pathlib import Path

import pytest

from pipeline.config.load import parsed, read_yaml
from pipeline.terminal.errors import UserError

BILLION = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 2001-99-99", "is no YAML (month must be in 1..12)"),
        ("a: 2001-12-14t21:59:43.10-99:99", "is no YAML (offset must be"),
        ("a: !!int many", "is no YAML (invalid literal for int()"),
        ("a: !!float x", "is no YAML (could not convert string to float"),
        ("a: !!bool maybe", "is no YAML ('maybe')"),
        ("a: " + "9" * 5000, "line 1, has a value of more than 1,000 characters"),
        ("a: 0x" + "f" * 5000, "line 1, has a value of more than 1,000 characters"),
        ('a: "\\UFFFFFFFF"', "is no YAML (Python int too large"),
        ("a: \0", "is no YAML (unacceptable character"),
        (b"a: \xff", "is no YAML"),
        ("a: 1\n# b\u2028c: 2", "line 2, holds the character U+2028, which ends a line for some readers of YAML"),
        ("# b\u2029c: 2".encode(), "line 1, holds the character U+2029"),
        ("a: 'b\x85'", "line 1, holds the character U+0085"),
        ("[" * 190_000, "line 1, is more than 32 levels deep"),
        ("- " * 90_000, "line 1, is more than 32 levels deep"),
        ("[" + "a," * 90_000, "line 1, holds more than 5,000 values"),
        ("!s" + "a~--\nactivity: ...!bl" * 9_000, "holds more than 5,000 values"),
        ("a: &a [*a]", "line 1, write the value itself in place of *a"),
        (BILLION, "line 2, write the value itself in place of *a"),
        (MERGED, "line 2, write the value itself in place of *a"),
        ("!" * 190_000, "line 1, could not determine a constructor for the tag"),
        ("a" * 200_001, "is larger than 200,000 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_that_is_no_configuration_is_refused_in_a_sentence(text: str | bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(text, "params.yaml")
    assert str(caught.value).startswith("params.yaml:")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_an_endless_file_only_the_beginning_is_read() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is larger than"):
            read_yaml(Path("/dev/zero"))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
