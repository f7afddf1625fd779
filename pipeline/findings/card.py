"""The card of a released model, after Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv:1810.03993)."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from pydantic import JsonValue

from pipeline.findings.write import data_uri, escape_markdown, page, render
from pipeline.run.record import EvaluationPart, TrainingPart

PICTURES = {
    "Which class is taken for which": "confusion_matrix.png",
    "How far its probabilities can be believed": "calibration.png",
    "Its surest mistakes": "mistakes.png",
    "The training": "training_curves.png",
}
MISTAKES = 3


def write_card(
    training: TrainingPart, scored: EvaluationPart, model: str, run_id: str, opened: int
) -> tuple[str, dict[str, str]]:
    """The card of a run that was scored on test images: as Markdown without pictures, and as files by their names,
    Markdown that names the pictures where they lie beside it in MLflow, and one page that holds them.

    `model` is the name and the number of the version, `run_id` that of its MLflow run, `opened` how many networks the
    test images have scored.
    """
    run, made = training.run, training.environment
    correct = np.load(scored.folder / "correct.npy", allow_pickle=False)
    by_class = [row | {"interval": _interval(row)} for row in _rows(scored.folder / "per_class.csv")]
    values = {
        "model": model, "name": model.partition("/")[0], "run_id": run_id, "opened": opened, "scored": scored,
        "run": run, "accuracy": correct.mean(), "images": len(correct), "by_class": by_class,
        "interval": _interval({"recall": correct.mean(), "support": len(correct)}),
        "mistakes": _commonest_mistakes(scored.folder / "predictions.csv"),
        "training": _named(run.specification.training.model_dump()), "versions": _named(run.ingredients["versions"]),
        "blocks": [_named(block) for block in run.specification.model.model_dump()["blocks"]],
        "shape": " × ".join(map(str, run.specification.image_shape)), "machine": _named(made.hardware),
        "commit": made.git_commit, "uncommitted": made.uncommitted_changes,
        "weakest": sorted(by_class, key=lambda row: float(row["f1"]))[:3],
    }  # fmt: skip
    filters = {"percent": lambda share: f"{100 * float(share):.2f} %"}
    pictures = {title: f"../{scored.folder.name}/pictures/{name}" for title, name in PICTURES.items()}
    markdown = render("card.md.jinja", escape_markdown, filters, pictures=pictures, **values)
    data = {
        path: [data_uri("png", (scored.folder / "pictures" / Path(path).name).read_bytes())]
        for path in pictures.values()
    }
    description = render("card.md.jinja", escape_markdown, filters, pictures={}, **values)
    return description, {"card.md": markdown, "card.html": page(f"{model}: model card", markdown, data)}


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Wilson's 95 % interval of the share of images of a class that are found; None for a class without images."""
    images = int(row["support"])
    if images == 0:
        return None
    low, high = scipy.stats.binomtest(round(float(row["recall"]) * images), images).proportion_ci(method="wilson")
    return float(low), float(high)


def _commonest_mistakes(path: Path) -> list[tuple[str, str, int]]:
    """(actual, predicted, images) of the pairs of classes that are confused most often."""
    pairs = Counter((row["actual"], row["predicted"]) for row in _rows(path) if row["correct"] == "false")
    return [(*pair, images) for pair, images in pairs.most_common(MISTAKES)]


def _named(values: JsonValue) -> str:
    """What is on, by name: `epochs 10, optimizer adam`."""
    if not isinstance(values, dict):
        return ""
    said = (_named(value) if isinstance(value, dict) else f"{name} {value}" for name, value in values.items() if value)
    return ", ".join(filter(None, said))
