"""What the page knows: a network with its weights, images and what Keras said of them, and what studies measured."""

import base64
import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.config.compose import composed, values
from pipeline.config.layers import layers
from pipeline.config.load import configure, read_yaml
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Activation, BiasInitializer, Configuration, KernelInitializer, Model
from pipeline.data.prepared import Images, load_test, load_training
from pipeline.data.scoring import held_out, held_out_digest
from pipeline.run.metrics import predictions, surest_mistakes
from pipeline.run.record import EvaluationPart, Record
from pipeline.run.weights import network_weights, trained_network
from pipeline.storage import project
from pipeline.storage.arrays import Arrays
from pipeline.terminal.errors import UserError

FULL, HALF = 4, 2
"""Bytes a weight: float32, or float16 where the page would be too large."""

FEW = 4096
"""An array of so many numbers stays float32: biases and statistics cost nothing, and may lie outside of float16."""

OF_EACH_CLASS = 2
MOST_MISTAKES = 20
MOST_CLASSES = 20
"""Images on the page: of each of so many classes the first that are answered rightly, and the surest mistakes."""

STUDIES = "study"


def content_of(record: Record, bytes_each: int = FULL) -> dict[str, JsonValue]:
    """All that the page knows of a scored run, as JSON; large arrays of weights with `bytes_each` bytes a number.

    Raises UserError for a run that is not scored or has diverged, and where the images that scored it are not here.
    """
    run, evaluation = record.training.run, record.evaluation
    if evaluation is None:
        raise UserError(f"{record.root}: is not scored yet. `dvc repro` or the sweep that made it scores it.")
    weights = network_weights(trained_network(record.training))
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise UserError(f"{record.root}: has weights that are not finite (it is {run.outcome}): nothing can be shown.")
    specification = run.specification
    # As it was written; in a specification what has no effect stands at one value.
    model = validated(Model, run.configuration["model"], prefix="model")
    return {
        "identity": run.identity,
        "weights_digest": run.weights,
        "dataset": evaluation.dataset,
        "classes": list(evaluation.class_names),
        "image_shape": list(specification.image_shape),
        "settings": dict(settings_of(model)),
        "training": specification.training.model_dump(mode="json"),
        "scores": {"images": evaluation.images, **evaluation.scores},
        "weights": {name: _encoded(array, bytes_each) for name, array in weights.items()},
        "pictures": _pictures(evaluation, _scored(record, evaluation)),
        "choices": {
            "activation": list(get_args(Activation)),
            "kernel_initializer": sorted(_names(KernelInitializer)),
            "bias_initializer": list(get_args(BiasInitializer)),
        },
        "measured": list(_measured(model, specification.image_shape, specification.classes)),
    }


def weights_in(content: dict[str, Any]) -> Arrays:
    """The weights that a page's content holds, as float32."""
    return {
        name: np.frombuffer(base64.b64decode(one["base64"]), f"<f{one['bytes']}").astype("<f4").reshape(one["shape"])
        for name, one in content["weights"].items()
    }


def _names(choice: Any) -> Iterator[str]:
    """The texts of a Literal that may hold other Literals."""
    for one in get_args(choice):
        yield from [one] if isinstance(one, str) else _names(one)


def _encoded(array: NDArray[Any], bytes_each: int) -> JsonValue:
    each = FULL if array.size <= FEW else bytes_each
    text = base64.b64encode(array.astype(f"<f{each}").tobytes()).decode()
    return {"shape": list(array.shape), "bytes": each, "base64": text}


def _scored(record: Record, evaluation: EvaluationPart) -> Images:
    """The images that scored the run. Raises UserError where what is prepared are others."""
    if evaluation.images == "test":
        images = load_test(project.PREPARED)
        digest = images.digest
    else:
        specification = record.training.run.specification
        chosen = specification.validation_images, specification.split_seed or 0
        training = load_training(project.PREPARED)
        images, digest = held_out(training, *chosen), held_out_digest(training.digest, *chosen)
    if digest != evaluation.images_digest:
        raise UserError(f"{project.PREPARED}: what is prepared are not the images that scored {record.root}.")
    return images


def _pictures(evaluation: EvaluationPart, scored: Images) -> JsonValue:
    """Some images with their labels and probabilities: of each class the first that are right, the surest mistakes."""
    path = evaluation.folder / "probabilities.npy"
    probabilities = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    predicted = predictions(probabilities)
    right = [np.flatnonzero((scored.labels == label) & (predicted == label)) for label in range(MOST_CLASSES)]
    mistakes = surest_mistakes(probabilities, scored.labels, MOST_MISTAKES)
    chosen = {
        "right": [int(image) for images in right for image in images[:OF_EACH_CLASS]],
        "mistakes": [int(image) for image in mistakes],
    }
    return {
        kind: [
            {
                "image": image,
                "label": int(scored.labels[image]),
                "pixels": base64.b64encode(scored.images[image].tobytes()).decode(),
                "probabilities": [round(float(one), 6) for one in probabilities[image]],
            }
            for image in images
        ]
        for kind, images in chosen.items()
    }


def _measured(page: Model, image_shape: list[int], classes: int) -> Iterator[JsonValue]:
    """What studies of the network on the page measured: of each setting how it differs from the page's, and its score.

    A report names the swept keys alone: what they were changed in is what conf/study/ says, as far as it costs the same
    parameters and multiply-adds.
    """
    own = dict(settings_of(page))
    for path in sorted(project.REPORTS.rglob("results.csv")):
        study = path.parent.relative_to(project.REPORTS).as_posix()
        configuration = _study(path.parent.name)
        if configuration is None:
            continue
        for row in csv.DictReader(io.StringIO(path.read_text("utf-8"))):
            model = _changed(configuration, row)
            if model is None or not row["mean"] or not _costs_as_reported(model, image_shape, classes, row):
                continue
            changes = {key: value for key, value in settings_of(model) if key not in own or own[key] != value}
            yield {
                "study": study,
                "label": row["setting"],
                "changes": changes,
                "others": {key: row[key] for key in row if key.startswith(("training.", "data."))},
                "seeds": int(row["seeds"]),
                **{name: _number(row[name]) for name in ("mean", "interval_low", "interval_high")},
                "epochs": configuration.training.epochs,
                "batch_size": configuration.training.batch_size,
                "precision": configuration.training.precision,
            }


def _study(report: str) -> Configuration | None:
    """What the settings of a report's study share, as conf/study/ declares it; None for one that is not declared."""
    for path in sorted((project.CONF / STUDIES).rglob("*.yaml")):
        declared: Any = read_yaml(path)
        if report.removesuffix("_on_test") == (declared.get("study") or {}).get("name"):
            variant = path.relative_to(project.CONF / STUDIES).with_suffix("").as_posix()
            composition = values(composed(project.CONF, [f"+{STUDIES}={variant}"]))
            del composition[STUDIES]
            return configure(composition)
    return None


def _changed(configuration: Configuration, row: dict[str, str]) -> Model | None:
    """The model of one line of a results.csv; None where it differs in a variant, which names no key."""
    changed = configuration.model.model_dump(mode="json")
    swept = list(row)[: list(row).index("setting")]
    for key in swept:
        section, *parts = key.split(".")
        if not parts:
            return None
        if section == "model" and row[key]:
            level = changed
            for part in parts[:-1]:
                level = level.setdefault(part, {})
            level[parts[-1]] = _plain(row[key], level.get(parts[-1]))
    try:
        return validated(Model, changed, prefix="model")
    except ConfigurationError:
        return None


def _plain(text: str, present: object) -> Any:
    """A value as results.csv writes it: JSON, or text as it is; `none` in place of a mapping is null."""
    if text == "none" and not isinstance(present, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _costs_as_reported(model: Model, image_shape: list[int], classes: int, row: dict[str, str]) -> bool:
    try:
        built = layers(model, image_shape, classes)
    except ConfigurationError:
        return False
    costs = sum(layer.parameters for layer in built), sum(layer.multiply_adds for layer in built)
    return costs == (_number(row["parameters"]), _number(row["multiply_adds"]))


def settings_of(model: Model) -> Iterator[tuple[str, JsonValue]]:
    """The model by dotted keys, as a person types them; a regularizer or constraint is one value."""

    def flat(key: str, value: Any) -> Iterator[tuple[str, JsonValue]]:
        if isinstance(value, dict) and "name" not in value:
            for name, inner in value.items():
                yield from flat(f"{key}.{name}", inner)
        else:
            yield key, value

    return flat("model", model.model_dump(mode="json"))


def _number(text: str) -> float | None:
    number = float(text) if text else math.nan
    return number if math.isfinite(number) else None
