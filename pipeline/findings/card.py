"""The card of a released model, after Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv:1810.03993)."""

import base64
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from scipy import stats

from pipeline.findings.write import escape_markdown
from pipeline.run.record import EvaluationPart, Record
from pipeline.terminal.errors import UserError

PICTURES = {
    "Which class is taken for which": "confusion_matrix",
    "How far its probabilities can be believed": "calibration",
    "Its surest mistakes": "mistakes",
    "The training": "training_curves",
}
WEAKEST = 3
SAID_OF_TRAINING = "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "precision"


def write_card(record: Record, name: str, opened: int) -> tuple[str, str]:
    """The card of the run as Markdown, whose pictures are paths in its record, and as one page that opens offline.

    `name` is the model's; `opened` how many networks the test images have scored. Raises UserError for a run without
    scores on test images, or without pictures.
    """
    scored = record.evaluation
    if scored is None or scored.images != "test" or not (scored.folder / "pictures").exists():
        raise UserError(f"{record.root}: has no scores on test images with pictures. Run: dvc repro")
    pictures = [(title, f"pictures/{picture}.png") for title, picture in PICTURES.items()]
    text = _environment().get_template("card.md.jinja").render(_values(record, scored, name, opened), pictures=pictures)
    return text, _page(text, f"{name}: model card", scored.folder)


def _values(record: Record, scored: EvaluationPart, name: str, opened: int) -> dict[str, Any]:
    run = record.training.run
    correct = np.load(scored.folder / "correct.npy", allow_pickle=False)
    right, images = int(correct.sum()), len(correct)
    interval = stats.binomtest(right, images).proportion_ci(method="wilson")
    by_class = list(csv.DictReader((scored.folder / "per_class.csv").read_text("utf-8").splitlines()))
    specification, made = run.specification, record.training.environment
    return {
        "name": name,
        "dataset": scored.dataset,
        "classes": len(scored.class_names),
        "class_names": scored.class_names,
        "accuracy": right / images,
        "low": interval.low,
        "high": interval.high,
        "images": f"{images:,}",
        "opened": opened,
        "parameters": f"{run.parameters:,}",
        "multiply_adds": f"{run.multiply_adds:,}",
        "shape": " × ".join(map(str, specification.image_shape)),
        "by_class": by_class,
        "weakest": sorted(by_class, key=lambda row: float(row["f1"]))[:WEAKEST],
        "calibration": scored.scores.get("expected_calibration_error"),
        "trained": "all training" if not specification.validation_images else "part of the training",
        "identity": run.identity,
        "data": str(run.ingredients["data"]),
        "images_digest": scored.images_digest,
        "training": ", ".join(
            f"{key} {value}" for key, value in specification.training.model_dump().items() if key in SAID_OF_TRAINING
        ),
        "layers": ", ".join(str(layer["name"]) for layer in run.layers),
        "weights": run.weights,
        "commit": f"{made.git_commit or 'unknown'}{' with uncommitted changes' if made.uncommitted_changes else ''}",
        "versions": _named(made.versions),
        "machine": _named(made.hardware),
    }


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if isinstance(value, str | int)) or "unknown"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    # No sign of Markdown either.
    environment.filters["plain"] = lambda text: Markup(escape_markdown(str(text)))  # noqa: S704
    environment.globals["percent"] = lambda share: f"{share:.2%}"
    return environment


def _page(text: str, title: str, folder: Path) -> str:
    """The card as one page: style and pictures inside, no script."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = reader.render(text)
    for picture in PICTURES.values():
        data = base64.b64encode((folder / "pictures" / f"{picture}.png").read_bytes()).decode()
        body = body.replace(f'src="pictures/{picture}.png"', f'src="data:image/png;base64,{data}"')
    page = _environment().get_template("report.html.jinja")
    return page.render(title=title, body=Markup(body))  # noqa: S704 - rendered with html off
