"""What the studies of this repository measured, as differences from the network of a page.

A report (reports/<study>/results.csv) names the swept keys alone: what they were changed in is what conf/study/ says,
and a setting counts only where that costs the parameters and multiply-adds that the report names.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from pipeline.config.compose import composed, values
from pipeline.config.layers import layers
from pipeline.config.load import configure, read_yaml
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Configuration, Model
from pipeline.storage import project

GROUP = "study"
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
        configuration = _declared(path.parent.name)
        if configuration is None:
            continue
        for row in rows:
            model = _changed(configuration, row)
            if model is None or not row["interval_low"] or not _costs_as_reported(model, image_shape, classes, row):
                continue
            changes = {key: value for key, value in settings_of(model) if own.get(key, own) != value}
            if not all(map(REACHED.fullmatch, changes)) or own.keys() - dict(settings_of(model)).keys():
                continue
            training = configuration.training
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
    """The model by dotted keys, as a person types them; a regularizer or constraint is one value."""

    def flat(key: str, value: Any) -> Iterator[tuple[str, JsonValue]]:
        if isinstance(value, dict) and "name" not in value:
            for name, inner in value.items():
                yield from flat(f"{key}.{name}", inner)
        else:
            yield key, value

    return flat("model", model.model_dump(mode="json"))


def _declared(report: str) -> Configuration | None:
    """What the settings of a report's study share; None for a study that is not declared in conf/study/."""
    folder = project.CONF / GROUP
    for path in sorted(folder.rglob("*.yaml")):
        declared: Any = read_yaml(path)
        if report.removesuffix("_on_test") == (declared.get("study") or {}).get("name"):
            variant = path.relative_to(folder).with_suffix("").as_posix()
            composition = values(composed(project.CONF, [f"+{GROUP}={variant}"]))
            return configure({name: section for name, section in composition.items() if name != "study"})
    return None


def _changed(configuration: Configuration, row: Mapping[str, str]) -> Model | None:
    """The model of one line of a report; None where it differs in a variant, which names no key."""
    model = configuration.model.model_dump(mode="json")
    keys = list(row)[: list(row).index("setting")]
    if not all("." in key for key in keys):
        return None
    for key in keys:
        section, *way, last = key.split(".")
        if section == "model" and row[key]:
            level = model
            for part in way:
                level = level.setdefault(part, {})
            level[last] = _plain(row[key], level.get(last))
    try:
        return validated(Model, model, prefix="model")
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
