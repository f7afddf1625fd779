"""What the studies of this repository measured, as differences from the network of a page.

A report (reports/<study>/results.csv) names the swept keys, or settings, alone. What these were is what its study says,
here or in the bundle beside the report, or else what conf/study/ declares; and a setting counts only where that costs
the parameters and multiply-adds that the report names.
"""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.config.compose import Choice, compose_with, values
from pipeline.config.layers import layers
from pipeline.config.load import leaves
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Block, Model
from pipeline.run.record import EVALUATION, TEST_EVALUATION, read_evaluation
from pipeline.storage import project
from pipeline.studies.bundle import bundled_study
from pipeline.studies.study import SCORED_ON_TEST, Study, read_study
from pipeline.studies.study_config import declared_studies
from pipeline.terminal.errors import UserError

NAMED = "study.settings"
"""The column of a report with the names of settings, where the study names them."""

COLUMNS = "setting", "seeds", "mean", "interval_low", "interval_high", "parameters", "multiply_adds"

OTHERS = "training.", "data."
REACHED = re.compile(r"model\.(conv\.\w+|pooling|pool_size)")
"""The keys that a page has controls for."""


def measured(page: Model, dataset: str, image_shape: list[int], classes: int) -> Iterator[JsonValue]:
    """Each setting that was measured on the `dataset` with an interval and that the page's controls reach.

    How it differs from the page's network, its score in percent, and how it was trained. Raises UserError for a file of
    conf/ or reports/ that can't be read.
    """
    own = dict(settings_of(page))
    declared = {file["study"]["name"]: (variant, file["study"]) for variant, file, _ in declared_studies()}
    for path in sorted(project.REPORTS.rglob("results.csv")):
        try:
            rows = csv.DictReader(io.StringIO(path.read_text("utf-8")))
            names = list(rows.fieldnames or ())
            if not set(COLUMNS) <= set(names) or names.count("setting") > 1:
                continue
            known = _configurations(path.parent.name, declared).items()
            of_dataset = {name: one for name, one in known if one["data"].get("name", dataset) == dataset}
            for row, model, about in _rows(rows, names, of_dataset):
                if not row["interval_low"] or not _costs_as_reported(model, image_shape, classes, row):
                    continue
                settings = dict(settings_of(model))
                changes = {key: value for key, value in settings.items() if own.get(key, own) != value}
                if all(map(REACHED.fullmatch, changes)) and own.keys() <= settings.keys():
                    scores = {name: float(row[name]) for name in ("mean", "interval_low", "interval_high")}
                    study = path.parent.relative_to(project.REPORTS).as_posix()
                    yield {
                        "study": study,
                        "label": row["setting"],
                        "changes": changes,
                        "seeds": int(row["seeds"]),
                        **scores,
                        **about,
                    }
        except (ValueError, TypeError, csv.Error) as error:
            anew = f"`python -m pipeline.compare {path.parent.name}` writes it anew"
            raise UserError(f"{path}: is not as compare writes it ({error}). {anew}; or take it away.") from None


def _rows(
    rows: Iterable[dict[str, str]], names: list[str], configurations: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, str], Model, dict[str, JsonValue]]]:
    """The lines of a report, each with its model and with how it was trained; what nothing tells is left out."""
    first = dict(leaves(next(iter(configurations.values()), {})))
    for row in rows:
        if (shared := configurations.get(row.get(NAMED, ""))) is None:
            continue
        swept = {key: row[key] for key in names[: names.index("setting")] if key != NAMED}
        others = _others(shared, first) | {key: swept[key] for key in swept if key.startswith(OTHERS)}
        if (model := _changed(shared, swept)) is not None:
            yield row, model, {"others": others, **_training(shared)}


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


def _configurations(report: str, declared: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By the names of a report's settings their configurations but for what else was swept; "" where it names none.

    What nothing tells is left out.
    """
    configurations = dict[str, dict[str, Any]]()
    for path, read in ((project.study(report), _with_dataset), (project.bundle(report), bundled_study)):
        with contextlib.suppress(UserError):  # not there, of another version, or damaged
            study, dataset = read(path)
            for setting in study.settings.values():
                of_dataset = setting.values if dataset is None else {**setting.values, "data.name": dataset}
                configurations.setdefault(setting.variants.get("setting", ""), _nested(of_dataset))
            return configurations
    if (name := report.removesuffix(SCORED_ON_TEST)) in declared:
        variant, of_study = declared[name]
        # What was chosen here since says nothing of a report.
        shared = dict(leaves(values(compose_with(project.CONF, Choice({}, {}), [f"+study={variant}"]))))
        named = {name: own for name, own in of_study.get("settings", {}).items() if all("." in key for key in own)}
        typed = {name: {key.lstrip("+"): value for key, value in own.items()} for name, own in named.items()}
        return {name: _nested({**shared, **own}) for name, own in (typed or {"": {}}).items()}
    return configurations


def _with_dataset(folder: Path) -> tuple[Study, str | None]:
    """The study that lies there, and which dataset its runs were scored on. Raises UserError."""
    study = read_study(folder)
    part = TEST_EVALUATION if study.images == "test" else EVALUATION
    scored = (read_evaluation(project.run_root(run) / part, whole=False).dataset for run in study.ended)
    return study, next(scored, None)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in settings.items():
        *way, last = key.split(".")
        level = root
        for part in way:
            level = level.setdefault(part, {})
        level[last] = dict(value) if isinstance(value, dict) else value
    return root


def _changed(shared: Mapping[str, Any], swept: Mapping[str, str]) -> Model | None:
    """The model of one line of a report; None where it differs in a variant, which names no key."""
    if not all("." in key for key in swept):
        return None
    present = dict(leaves({"model": shared["model"]}))
    read = {key: _plain(text, present.get(key)) for key, text in swept.items() if key.startswith("model.") and text}
    try:
        return validated(Model, _nested({**present, **read})["model"], prefix="model")
    except ConfigurationError:
        return None


def _others(configuration: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What is another training, or other images, than those of the first setting of a study."""
    return {key: own for key, own in leaves(configuration) if key.startswith(OTHERS) and first.get(key) != own}


def _training(configuration: Mapping[str, Any]) -> dict[str, JsonValue]:
    """How a setting was trained, as the page says it."""
    data = configuration["data"]
    said = {key: configuration["training"][key] for key in ("epochs", "batch_size", "precision")}
    return {**said, "held_out": data["validation_images"] or data["held_out"]}


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
