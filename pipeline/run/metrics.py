"""Scores of predictions, as numbers and as CSV text, and how long a prediction takes.

A diverged network gives probabilities that are not finite. Such an image is answered with no class (`NO_CLASS`): it
counts as wrong, stands in no confusion matrix, and leaves loss and calibration without a value.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_CLASS = -1
CALIBRATION_BINS = 15

ONE_CLASS = 0.95
"""Share of the images from which on a run that gives them all one class counts as collapsed."""

Probabilities = NDArray[np.float32]
"""Probabilities float32 [n, classes] in 0..1."""

Labels = NDArray[np.uint8] | NDArray[np.int64]
"""Numbers of classes [n], from 0."""


@dataclass(frozen=True)
class Scores:
    """What predictions are worth: metrics.json has these names, and so has MLflow.

    `accuracy` is the share answered rightly, `loss` the mean cross-entropy in nats, `expected_calibration_error` that
    of `Reliability`, in 0..1. Loss and calibration are None where a probability is not finite.
    """

    accuracy: float
    loss: float | None
    expected_calibration_error: float | None


@dataclass(frozen=True)
class Reliability:
    """Images grouped by the probability of their predicted class, in bins of equal width from 0 to 1.

    `images` int64 [bins], `confidence` (mean probability) and `accuracy` float64 [bins], 0 where a bin is empty.
    """

    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def expected_calibration_error(self) -> float | None:
        """Mean distance of confidence and accuracy, weighted by images; None without images.

        Guo et al., "On Calibration of Modern Neural Networks" (2017, arXiv:1706.04599), equation 3.
        """
        if self.images.sum() == 0:
            return None
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.images))


def scores(probabilities: Probabilities, labels: Labels) -> Scores:
    """Scores of probabilities [n, classes] against labels [n].

    Raises ValueError where there is no image, or not one label for each.
    """
    if probabilities.ndim != 2 or len(labels) == 0 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities must be [n, classes] and labels [n] with n at least 1, "
            f"not {probabilities.shape} and {labels.shape}"
        )
    finite = bool(np.isfinite(probabilities).all())
    return Scores(
        accuracy=float(np.mean(predictions(probabilities) == labels)),
        loss=_cross_entropy(probabilities, labels) if finite else None,
        expected_calibration_error=reliability(probabilities, labels).expected_calibration_error if finite else None,
    )


def predictions(probabilities: Probabilities) -> NDArray[np.int64]:
    """The most probable class of each image, int64 [n]; the first of several, NO_CLASS where one is not finite."""
    answered = np.isfinite(probabilities).all(axis=1)
    return np.where(answered, probabilities.argmax(axis=1), NO_CLASS).astype(np.int64)


def has_collapsed(predicted: NDArray[np.int64], accuracy: float) -> bool:
    """Whether the classes [n] that a network names are the same one for at least ONE_CLASS of the images.

    That is what is left of a network that collapsed: the same answer whatever it sees, and an accuracy near that
    class's share. One that is right so often (all images are of one class) has not.
    """
    most = np.unique(predicted, return_counts=True)[1].max()
    return bool(most >= ONE_CLASS * len(predicted) > accuracy * len(predicted))


def confusion_matrix(predicted: NDArray[np.int64], labels: Labels, classes: int) -> NDArray[np.int64]:
    """Images by actual class (rows) and predicted class (columns), int64 [classes, classes].

    Images predicted as NO_CLASS stand nowhere. Raises ValueError for any other number that is no class.
    """
    answered = predicted != NO_CLASS
    rows, columns = labels[answered].astype(np.int64), predicted[answered]
    cells = np.ravel_multi_index((rows, columns), (classes, classes))
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def per_class(confusion: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """From a confusion matrix with actual classes as rows, for each class [classes]: precision, recall and F1 in 0..1,
    and its images (support).

    Precision is 0 for a class never predicted, recall 0 for a class without images, F1 0 for one with neither.
    """
    right = confusion.diagonal()
    actual, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, actual),
        "f1": _ratio(2 * right, actual + predicted),
        "support": actual,
    }


def surest_mistakes(probabilities: Probabilities, labels: Labels, count: int) -> NDArray[np.int64]:
    """Indices int64 [at most count] of the wrong predictions, the most probable first, ties by index.

    Images predicted as NO_CLASS have no probability and are left out.
    """
    predicted = predictions(probabilities)
    wrong = np.flatnonzero((predicted != labels) & (predicted != NO_CLASS))
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:count].astype(np.int64)


def reliability(probabilities: Probabilities, labels: Labels, bins: int = CALIBRATION_BINS) -> Reliability:
    """Confidence and accuracy in `bins` bins; a bin holds its upper edge, as in Guo et al. (2017).

    Images predicted as NO_CLASS are left out.
    """
    predicted = predictions(probabilities)
    answered = predicted != NO_CLASS
    confidence = probabilities[answered].max(axis=1).astype(np.float64)
    right = (predicted == labels)[answered]
    number = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    images = np.bincount(number, minlength=bins).astype(np.int64)
    return Reliability(
        images=images,
        confidence=_ratio(np.bincount(number, weights=confidence, minlength=bins), images),
        accuracy=_ratio(np.bincount(number, weights=right, minlength=bins), images),
    )


def _cross_entropy(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of -log of the probability of the actual class, in nats; a probability of 0 counts as float32's tiny."""
    actual = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(actual, np.finfo(np.float32).tiny)).mean())


def _ratio(
    part: NDArray[np.int64] | NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def predictions_csv(probabilities: Probabilities, labels: Labels, class_names: Sequence[str]) -> str:
    """One line for each image: its number, actual and predicted class by name, the probability of the predicted one.

    Probabilities float32 [n, classes] and labels [n] → columns image, actual, predicted, probability (6 decimals),
    correct (true or false). Predicted and probability are empty where a probability is not finite.
    """
    named = zip(labels.tolist(), predictions(probabilities).tolist(), probabilities.max(axis=1).tolist(), strict=True)
    rows = (
        (image, class_names[label], class_names[answer], f"{sureness:.6f}", "true" if label == answer else "false")
        if answer != NO_CLASS
        else (image, class_names[label], "", "", "false")
        for image, (label, answer, sureness) in enumerate(named)
    )
    return _csv(("image", "actual", "predicted", "probability", "correct"), rows)


def per_class_csv(columns: Mapping[str, NDArray[Any]], class_names: Sequence[str]) -> str:
    """One line for each class: its name, and what `per_class` says of it, shares with 6 decimals."""
    lines = zip(class_names, *columns.values(), strict=True)
    rows = ((name, *(f"{share:.6f}" for share in shares), int(support)) for name, *shares, support in lines)
    return _csv(("class", *columns), rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


WARM_UPS = 3
FEWEST_REPEATS = 5

SHARED = "shared_"
"""Begins the name of a latency that was measured while other runs used the cores: it says little of the network."""


def latency(
    predict: Callable[[NDArray[Any]], object],
    images: NDArray[Any],
    *,
    batch_sizes: Sequence[int] = (1, 256),
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Batch size → milliseconds an image: the median of timed calls of `predict`, which takes images [batch, …].

    Each batch size is called WARM_UPS times untimed (the first call compiles), then `repeats` times, or until
    `seconds` have passed and FEWEST_REPEATS calls are timed. Fewer images than a batch are used more than once.
    """
    milliseconds = {}
    for size in batch_sizes:
        batch = images[np.arange(size) % len(images)]
        for _ in range(WARM_UPS):
            predict(batch)
        durations: list[float] = []
        while len(durations) < repeats and (sum(durations) < seconds or len(durations) < FEWEST_REPEATS):
            start = clock()
            predict(batch)
            durations.append(clock() - start)
        milliseconds[size] = 1000 * float(np.median(durations)) / size
    return milliseconds
