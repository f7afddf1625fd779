"""What the studies of this repository measured, as differences from the network of a page.

A report (reports/<study>/results.csv) names the swept keys alone. What they were changed in is what its study says,
where that is here, or else what conf/study/ declares; and a setting counts only where that costs the parameters and
multiply-adds that the report names.
"""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from pipeline.config.compose import Choice, compose_with, values
from pipeline.config.layers import layers
from pipeline.config.load import leaves, read_yaml
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Block, Model, Training
from pipeline.storage import project
from pipeline.studies.study import SCORED_ON_TEST, STUDY, read_study
from pipeline.terminal.errors import UserError

COLUMNS = "setting", "seeds", "mean", "interval_low", "interval_high", "parameters", "multiply_adds"

REACHED = re.compile(r"model\.(conv\.\w+|pooling|pool_size)")
"""The keys that a page has controls for."""


def measured(page: Model, image_shape: list[int], classes: int) -> Iterator[JsonValue]:
    """Each setting that was measured with an interval and that the page's controls reach.

    How it differs from the page's network, its score in percent, and how it was trained. Raises UserError for a file of
    conf/ that can't be read.
    """
    own = dict(settings_of(page))
    for path in sorted(project.REPORTS.rglob("results.csv")):
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8")))
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            continue
        shared = _shared(path.parent.name)
        if shared is None:
            continue
        training = validated(Training, shared["training"], prefix="training")
        for row in rows:
            model = _changed(shared["model"], row)
            if model is None or not row["interval_low"] or not _costs_as_reported(model, image_shape, classes, row):
                continue
            changes = {key: value for key, value in settings_of(model) if own.get(key, own) != value}
            if not all(map(REACHED.fullmatch, changes)) or own.keys() - dict(settings_of(model)).keys():
                continue
            yield {
                "study": path.parent.relative_to(project.REPORTS).as_posix(),
                "label": row["setting"],
                "changes": changes,
                "others": {key: value for key, value in row.items() if key.startswith(("training.", "data."))},
                "seeds": int(row["seeds"]),
                **{name: float(row[name]) for name in ("mean", "interval_low", "interval_high")},
                **training.model_dump(mode="json", include={"epochs", "batch_size", "precision"}),
            }


def settings_of(model: Model) -> Iterator[tuple[str, JsonValue]]:
    """The model by dotted keys, as a person types them; a regularizer, constraint or initializer is one value."""

    def flat(key: str, value: Any) -> Iterator[tuple[str, JsonValue]]:
        if isinstance(value, dict) and "name" not in value:
            for name, inner in value.items():
                yield from flat(f"{key}.{name}", inner)
        else:
            yield key, value

    blocks = {name: _changes(model, changes) for name, changes in model.blocks.items()}
    return flat("model", model.model_dump(mode="json") | {"blocks": blocks})


def _changes(model: Model, changes: dict[str, Any]) -> dict[str, Any]:
    """What is said of one block, as its values stand for all: `l2` is {name: l2, l2: 0.01}."""
    own = changes.get("conv", {})
    base = model.model_dump(include=set(Block.model_fields))
    block = Block.model_validate(base | changes | {"conv": base["conv"] | own}).model_dump(mode="json")
    return {name: {key: block[name][key] for key in own} if name == "conv" else block[name] for name in changes}


def _shared(report: str) -> dict[str, Any] | None:
    """The configuration that the settings of a report share but for what was swept; None where nothing tells it."""
    if (project.study(report) / STUDY).exists():
        with contextlib.suppress(UserError):  # of another version, or damaged
            return _nested(next(iter(read_study(project.study(report)).settings.values())).values)
    folder = project.CONF / "study"
    for path in sorted(folder.rglob("*.yaml")):
        declared: Any = read_yaml(path)
        if report.removesuffix(SCORED_ON_TEST) == (declared.get("study") or {}).get("name"):
            variant = path.relative_to(folder).with_suffix("").as_posix()
            # What was chosen here since says nothing of a report.
            return values(compose_with(project.CONF, Choice({}, {}), [f"+study={variant}"]))
    return None


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in settings.items():
        *way, last = key.split(".")
        level = root
        for part in way:
            level = level.setdefault(part, {})
        level[last] = dict(value) if isinstance(value, dict) else value
    return root


def _changed(shared: Mapping[str, Any], row: Mapping[str, str]) -> Model | None:
    """The model of one line of a report; None where it differs in a variant, which names no key."""
    keys = list(row)[: list(row).index("setting")]
    if not all("." in key for key in keys):
        return None
    present = dict(leaves({"model": shared}))
    swept = {key: _plain(row[key], present.get(key)) for key in keys if key.startswith("model.") and row[key]}
    try:
        return validated(Model, _nested({**present, **swept})["model"], prefix="model")
    except ConfigurationError:
        return None


def _plain(text: str, present: object) -> Any:
    """A value as a report writes it: JSON, or text as it is; `none` where no text stands is null."""
    if text == "none" and not isinstance(present, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _costs_as_reported(model: Model, image_shape: list[int], classes: int, row: Mapping[str, str]) -> bool:
    try:
        built = layers(model, image_shape, classes)
    except ConfigurationError:
        return False
    costs = sum(layer.parameters for layer in built), sum(layer.multiply_adds for layer in built)
    return costs == (float(row["parameters"] or 0), float(row["multiply_adds"] or 0))
