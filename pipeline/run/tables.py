"""Predictions and scores as CSV text, the same bytes for the same values."""

import csv
import io
from collections.abc import Iterable, Sequence

from pipeline.run.metrics import NO_CLASS, ClassScores, Labels, Probabilities, predictions


def predictions_csv(probabilities: Probabilities, labels: Labels, class_names: Sequence[str]) -> str:
    """One line for each image: its number, actual and predicted class by name, the probability of the predicted one.

    Probabilities float32 [n, classes] and labels [n] → columns image, actual, predicted, probability (6 decimals),
    correct (true or false). Predicted and probability are empty where a probability is not finite.
    """
    actual = labels.tolist()
    predicted = predictions(probabilities).tolist()
    probability = probabilities.max(axis=1).tolist()
    rows = (
        (image, class_names[label], class_names[answer], f"{sureness:.6f}", "true" if label == answer else "false")
        if answer != NO_CLASS
        else (image, class_names[label], "", "", "false")
        for image, (label, answer, sureness) in enumerate(zip(actual, predicted, probability, strict=True))
    )
    return _csv(("image", "actual", "predicted", "probability", "correct"), rows)


def per_class_csv(class_scores: ClassScores, class_names: Sequence[str]) -> str:
    """One line for each class: columns class, precision, recall, f1 (6 decimals), support (images)."""
    columns = (class_scores.precision, class_scores.recall, class_scores.f1)
    rows = (
        (name, *(f"{column[number]:.6f}" for column in columns), int(class_scores.support[number]))
        for number, name in enumerate(class_names)
    )
    return _csv(("class", "precision", "recall", "f1", "support"), rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
