"""All randomness comes from (seed, epoch): no generator is carried from one epoch to the next."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derived(*parts: int | str) -> int:
    """A seed in 0..2³¹-1 for a named purpose, such as `derived(seed, "order", epoch)`."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def order(images: int, seed: int, epoch: int) -> NDArray[np.int32]:
    """The order in which an epoch sees the images: a permutation, int32 [images]."""
    generator = np.random.default_rng(derived(seed, "order", epoch))
    return generator.permutation(images).astype(np.int32)
