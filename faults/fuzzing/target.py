"""What can be fuzzed, and how bytes that a fuzzer made become choices."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

Choice = TypeVar("Choice")
Mutate = Callable[[bytes], bytes]
"""The engine's own change of bytes: it knows nothing of what they mean."""

LARGEST = 1_000_001
"""Bytes of an input: one more than a megabyte."""


@dataclass(frozen=True)
class Target:
    """`code` names the files under test. `examine` raises when its input shows a fault, and returns whether the input
    was accepted. `seeds` are inputs to begin with, `words` what is worth putting into one. `mutated` changes an input
    so that it keeps its form more often than blind changes would.
    """

    code: Sequence[str]
    examine: Callable[[bytes], bool]
    seeds: Callable[[], Iterable[bytes]]
    words: Callable[[], Iterable[bytes]]
    mutated: Callable[[bytes, Mutate, Random], bytes]


class Choices:
    """Choices spelled by bytes; when they are used up, the first of everything."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """0 … below - 1, of one byte or two."""
        width = 1 if below <= 256 else 2
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken) % below

    def of(self, options: Sequence[Choice]) -> Choice:
        return options[self.number(len(options))]

    def text(self) -> str:
        """Up to 255 bytes as text, whatever they are."""
        length = self.number(256)
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken.decode("utf-8", errors="surrogateescape")


def told(error: Exception, through: Callable[[str], str] = str) -> bool:
    """That an input was refused, with words that a terminal can show once they went `through` what tells them."""
    message = through(str(error))
    if not message.strip() or not all(character.isprintable() or character == "\n" for character in message):
        raise AssertionError(f"can't be shown: {message!r}")
    return False
