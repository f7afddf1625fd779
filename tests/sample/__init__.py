"""The sample of Fashion-MNIST beside this file, as a `data` section names it."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent

NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
TRAINING_EACH, TEST_EACH = 60, 20


def sample_data_config() -> dict[str, Any]:
    """What differs in a configuration's `data` section: `files` with the sample's sizes and digests, `sources`, and
    how many of its 600 images a sweep holds out.
    """
    return {
        "held_out": 100,
        "files": {part: _described(name) for part, name in NAMES.items()},
        "sources": [{"kind": "folder", "path": str(FOLDER)}],
    }


def content(part: str) -> bytes:
    """The decompressed bytes of a file: train_images, train_labels, test_images, test_labels."""
    return gzip.decompress((FOLDER / f"{NAMES[part]}.gz").read_bytes())


def _described(name: str) -> dict[str, Any]:
    data = gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
    return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
