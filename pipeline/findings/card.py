"""The card of a released model, after Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv:1810.03993)."""

import csv
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy

from pipeline.findings.write import data_uri, escape_markdown, page, render
from pipeline.run.record import Record
from pipeline.terminal.errors import UserError

PICTURES = {
    "Which class is taken for which": "pictures/confusion_matrix.png",
    "How far its probabilities can be believed": "pictures/calibration.png",
    "Its surest mistakes": "pictures/mistakes.png",
    "The training": "pictures/training_curves.png",
}
SAID_OF_TRAINING = "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "precision"


def write_card(record: Record, name: str, opened: int) -> tuple[str, str]:
    """The card of the run as Markdown, whose pictures are paths in its record, and as one page that opens offline.

    `name` is the model's; `opened` how many networks the test images have scored. Raises UserError for a run without
    scores on test images, or without pictures.
    """
    scored, run, made = record.evaluation, record.training.run, record.training.environment
    if scored is None or scored.images != "test" or not (scored.folder / "pictures").exists():
        raise UserError(f"{record.root}: has no scores on test images with pictures. Run: dvc repro")
    correct = np.load(scored.folder / "correct.npy", allow_pickle=False)
    by_class = list(csv.DictReader((scored.folder / "per_class.csv").read_text("utf-8").splitlines()))
    training = run.specification.training.model_dump()
    text = render(
        "card.md.jinja", escape_markdown, {"percent": lambda share: f"{100 * float(share):.2f} %"}, name=name,
        opened=opened, scored=scored, run=run, accuracy=correct.mean(), images=len(correct), pictures=PICTURES,
        by_class=by_class,
        interval=scipy.stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson"),
        training=", ".join(f"{key} {training[key]}" for key in SAID_OF_TRAINING), commit=made.git_commit or "unknown",
        shape=" × ".join(map(str, run.specification.image_shape)), uncommitted=made.uncommitted_changes,
        weakest=sorted(by_class, key=lambda row: float(row["f1"]))[:3],
        versions=_named(made.versions), machine=_named(made.hardware),
    )  # fmt: skip
    data = {path: [data_uri("png", (scored.folder / path).read_bytes())] for path in PICTURES.values()}
    return text, page(f"{name}: model card", text, data)


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if isinstance(value, str | int)) or "unknown"
