"""A page: what it knows, a network with its weights, images and what Keras said of them and what studies measured; and
its one HTML file, of that and the parts in this folder, which asks nobody for anything.

JavaScript modules become one: they are named in the order in which each needs those before it. The page names the
digest of its script in its Content-Security-Policy, so that no other script runs in it.
"""

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any, get_args

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.config.messages import validated
from pipeline.config.schema import Activation, BiasInitializerName, KernelInitializerName, Model
from pipeline.data.photo import have_light_backgrounds
from pipeline.data.prepared import Images, load_test, load_training
from pipeline.data.scoring import held_out, held_out_digest
from pipeline.explainer.measured import measured, settings_of
from pipeline.run.metrics import predictions, surest_mistakes
from pipeline.run.record import EvaluationPart, Record
from pipeline.run.weights import network_weights, trained_network
from pipeline.storage import project
from pipeline.storage.arrays import Arrays
from pipeline.terminal.errors import UserError

MODULES = ("arithmetic", "network", "weights", "drawing", "pictures", "sliding", "arguments", "inside", "main")
"""The page's modules, each after those that it imports."""

IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export ", re.MULTILINE)

FULL, HALF = 4, 2
"""Bytes of a weight: float32, or float16 where the page would be too large."""

FEW = 4096
"""An array of so many numbers stays float32: biases and statistics cost nothing, and may lie outside of float16."""

OF_EACH_CLASS = 2
MOST_CLASSES = 20
MOST_MISTAKES = 20
MOST_PIXELS = 150_000
"""Images on a page: of so many classes the first that are right, and the surest mistakes; fewer of large ones."""


def content_of(record: Record) -> dict[str, JsonValue]:
    """All that a page knows of a scored run, as JSON.

    Raises UserError for a run that is not scored or has diverged, and where the images that scored it are not here.
    """
    run, evaluation = record.training.run, record.evaluation
    if evaluation is None:
        raise UserError(f"{record.root}: is not scored yet. `dvc repro` or the sweep that made it scores it.")
    # Before TensorFlow is imported.
    scored = _scored(record, evaluation)
    weights = network_weights(trained_network(record.training))
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise UserError(
            f"{record.root}: has weights that are not finite (it has {run.outcome}): there is nothing to see."
        )
    specification = run.specification
    # As it was written; in a specification what has no effect stands at one value.
    model = validated(Model, run.configuration["model"], prefix="model")
    return {
        "identity": run.identity,
        "weights_digest": run.weights,
        "dataset": evaluation.dataset,
        "classes": list(evaluation.class_names),
        "image_shape": [*specification.image_shape],
        "settings": dict(settings_of(model)),
        "training": specification.training.model_dump(mode="json"),
        "scores": {"images": evaluation.images, **evaluation.scores},
        "weights": encoded(weights),
        "light_backgrounds": have_light_backgrounds(scored.images),
        "pictures": _pictures(evaluation, scored),
        "choices": {
            "activation": list(get_args(Activation)),
            "kernel_initializer": sorted(get_args(KernelInitializerName)),
            "bias_initializer": list(get_args(BiasInitializerName)),
        },
        "measured": list(measured(model, evaluation.dataset, specification.image_shape, specification.classes)),
    }


def encoded(weights: Arrays, bytes_each: int = FULL) -> dict[str, JsonValue]:
    """Weights as JSON: base64 of little-endian floats, in large arrays of `bytes_each` bytes."""
    texts: dict[str, JsonValue] = {}
    for name, array in weights.items():
        each = FULL if array.size <= FEW else bytes_each
        text = base64.b64encode(array.astype(f"<f{each}").tobytes()).decode()
        texts[name] = {"shape": list(array.shape), "bytes": each, "base64": text}
    return texts


def weights_in(content: dict[str, Any]) -> Arrays:
    """The weights float32 that a page's content holds."""
    return {
        name: np.frombuffer(base64.b64decode(one["base64"]), f"<f{one['bytes']}").astype("<f4").reshape(one["shape"])
        for name, one in content["weights"].items()
    }


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
    probabilities: NDArray[np.float32] = np.load(evaluation.folder / "probabilities.npy", allow_pickle=False)
    is_right = predictions(probabilities) == scored.labels
    of_classes = [np.flatnonzero(is_right & (scored.labels == label)) for label in range(MOST_CLASSES)]
    right = np.concatenate([images[:OF_EACH_CLASS] for images in of_classes])
    most = max(2, MOST_PIXELS // (2 * scored.images[0].size))
    return {
        kind: [
            {
                "image": int(image),
                "label": int(scored.labels[image]),
                "pixels": base64.b64encode(scored.images[image].tobytes()).decode(),
                "probabilities": [round(float(one), 6) for one in probabilities[image]],
            }
            for image in images[:most]
        ]
        for kind, images in (
            ("right", right),
            ("mistakes", surest_mistakes(probabilities, scored.labels, MOST_MISTAKES)),
        )
    }


def page(content: dict[str, Any]) -> str:
    """The page that shows a content (`content_of`): HTML with style, script, weights and images inside."""
    environment = Environment(undefined=StrictUndefined, autoescape=True, keep_trailing_newline=True)
    code = script()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    # In a script element nothing ends the text but its own end; `<` is another way to write it in JSON.
    known = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = environment.from_string(_part("page.html.jinja"))
    return template.render(style=_part("page.css"), script=code, script_digest=digest, content=known)


def script() -> str:
    """The modules as one, without what imports and exports between them."""
    return "\n".join(EXPORT.sub("", IMPORT.sub("", _part(f"{name}.js"))) for name in MODULES)


def content_in(html: str) -> dict[str, Any]:
    """The content that a page was made of."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.DOTALL)
    if found is None:
        raise ValueError("no page of an explainer")
    content: dict[str, Any] = json.loads(found[1])
    return content


def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")
