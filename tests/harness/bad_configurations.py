"""Configurations that no door lets in: wrong values of every key, keys that there are not, pairs that contradict."""

import copy
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.load import leaves
from tests.harness.rules import BLOCK_RULES, RULES
from tests.harness.settings import article_values, put

STRANGE: tuple[Any, ...] = "\u202eé\0", "☃" * 600, {"a": {"b": [None]}}, [[]], -0.0001, [1e308] * 3
"""What no key takes, beside what its own rule refuses."""

CONTRADICTIONS: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"model.pool_size": 5, "model.conv.kernel_size": 9}, "model.conv.kernel_size"),
    ({"model.depth": 3, "model.conv.padding": "same", "model.pool_size": 6}, "model.pool_size"),
    ({"training.optimizer": "adam", "training.momentum": 0.9}, "training.momentum"),
    ({"training.schedule": "constant", "training.warmup": 0.1}, "training.warmup"),
    ({"model.conv.strides": 2, "model.conv.dilation_rate": 2}, "model.conv.dilation_rate"),
    ({"model.conv.groups": 3}, "model.conv.groups"),
    ({"model.conv.dilation_rate": 7}, "model.conv.kernel_size"),
    ({"model.filter_growth": 1.03}, "model.filter_growth"),
    ({"model.filter_growth": 16, "model.depth": 3}, "model.filter_growth"),
    ({"model.conv.data_format": "channels_first", "model.conv.activation": "softmax"}, "model.conv.activation"),
    ({"data.validation_images": 60_000}, "data.validation_images"),
    ({"data.image_shape": [4, 4, 1]}, "model.conv.kernel_size"),
    ({"data.class_names": ["a", "a"]}, "data.class_names"),
    ({"training.augmentation.shift": 28}, "training.augmentation.shift"),
    ({"training.augmentation.erasing": 28}, "training.augmentation.erasing"),
    ({"model.dense.units": [4096] * 8}, "model"),
    ({"model.conv.kernel_constraint": {"name": "MinMaxNorm", "min_value": 2.0}}, "model.conv.kernel_constraint"),
    ({"model.conv.bias_constraint": {"name": "MaxNorm", "axis": [1]}}, "model.conv.bias_constraint"),
    ({"model.blocks": {"block9": {"dropout": 0.5}}}, "model.blocks.block9"),
    ({"model.blocks": {"block1": {"depth": 1}}}, "model.blocks.block1.depth"),
)


@dataclass(frozen=True)
class Bad:
    """Changes of the article's configuration by dotted key, and the key that the refusal must name."""

    changes: Mapping[str, Any]
    named: str

    @property
    def said(self) -> str:
        return ", ".join(f"{key}={value!r}"[:120] for key, value in self.changes.items())


def every() -> list[Bad]:
    """All of them, each key's first before any key's second; always in the same order."""
    by_key = [
        [Bad({key: value}, key) for value in (*rule.refuses, *STRANGE)] for key, rule in (RULES | BLOCK_RULES).items()
    ]
    for cases in by_key:
        random.Random(cases[0].named).shuffle(cases)
    pairs = [Bad(changes, named) for changes, named in CONTRADICTIONS]
    columns = [pairs[:10], pairs[10:], list(_unknown()), *by_key]
    return [bad for row in zip_longest(*columns) for bad in row if bad is not None]


def params_yaml(bad: Bad, path: Path) -> None:
    """Change params.yaml by hand."""
    yaml = YAML(typ="safe")
    values = yaml.load(path)
    for key, value in bad.changes.items():
        put(values, key, value)
    yaml.dump(values, path)


def overrides(bad: Bad) -> list[str] | None:
    """As they are typed in Hydra's grammar; None where it has no word for such a value, or no way into a list."""
    words = [_word(value) for value in bad.changes.values()]
    if None in words or any(part.isdigit() for key in bad.changes for part in key.split(".")):
        return None
    return [f"++{key}={word}" for key, word in zip(bad.changes, words, strict=True)]


def variant(bad: Bad) -> tuple[str, dict[str, Any]] | None:
    """A variant that differs by the changes: its group and its values. None where they are in no group, or several.

    A date is none either: Hydra reads it as text, which a name may be.
    """
    if any(isinstance(value, date) for value in bad.changes.values()):
        return None
    groups = {key.partition(".")[0] for key in bad.changes}
    if len(groups) != 1 or not all("." in key for key in bad.changes) or groups - {"data", "model", "training"}:
        return None
    if any(part.isdigit() for key in bad.changes for part in key.split(".")):
        return None
    (group,) = groups
    values: dict[str, Any] = {"defaults": ["sample" if group == "data" else "article"]}
    for key, value in bad.changes.items():
        put(values, key.partition(".")[2], copy.deepcopy(value))
    return group, values


def _unknown() -> Iterator[Bad]:
    """For every key one that is misspelt; and some that are meant elsewhere, or nowhere."""
    keys = [key for key, _ in leaves(article_values()) if not key.endswith(".name")]
    for key in sorted(keys, key=lambda key: random.Random(key).random()):
        head, dot, last = key.rpartition(".")
        yield Bad({f"{head}{dot}{last[:2]}{last[3:]}x": 1}, f"{head}{dot}{last[:2]}{last[3:]}x")
    for key in ("epochs", "model.kernel_size", "training.dropout", "tracking.password", "ключ", "_target_"):
        yield Bad({key: 1}, key)


def _word(value: Any) -> str | None:
    """A value in Hydra's override grammar."""
    if isinstance(value, date) or (isinstance(value, str) and ("\0" in value or "\n" in value)):
        return None
    if isinstance(value, dict):
        words = [(str(name), _word(inner)) for name, inner in value.items()]
        return None if any(word is None for _, word in words) else "{" + ",".join(f"{n}: {w}" for n, w in words) + "}"
    if isinstance(value, list | tuple):
        found = [_word(inner) for inner in value]
        return None if None in found else "[" + ",".join(word or "" for word in found) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{quoted}'"
    return json.dumps(value)
