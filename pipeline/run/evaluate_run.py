"""Score a trained run on images and write the evaluation part of its record."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from pipeline.data.scoring import ScoringSet
from pipeline.figures.network_figures import feature_maps as feature_map_picture
from pipeline.figures.network_figures import kernels, training_curves
from pipeline.figures.prediction_figures import MOST_MISTAKES, Mistakes, calibration, confusion, mistakes
from pipeline.figures.style import png
from pipeline.network.fit import use_threads
from pipeline.network.predict import Predictor, feature_maps
from pipeline.run.identity import scoring_identity
from pipeline.run.metrics import (
    SHARED,
    Probabilities,
    confusion_matrix,
    has_collapsed,
    latency,
    per_class,
    per_class_csv,
    predictions,
    predictions_csv,
    reliability,
    scores,
    surest_mistakes,
)
from pipeline.run.record import (
    EvaluationClock,
    EvaluationPart,
    TrainingPart,
    read_evaluation,
    write_clock,
    write_manifest,
)
from pipeline.run.weights import trained_network
from pipeline.storage import atomic, lock
from pipeline.storage.arrays import as_npy
from pipeline.storage.digest import as_json

if TYPE_CHECKING:
    import keras


def evaluate_run(training: TrainingPart, scored: ScoringSet, target: Path, *, pictured: bool) -> EvaluationPart:
    """Score the run on the images of `scored` and write the part `target`.

    `pictured`: with the table of all predictions, pictures, and a longer measurement of the latency. Raises UserError
    where the record is damaged.
    """
    use_threads(training.run.specification.training.threads)
    network = trained_network(training)
    predictor = Predictor(network)
    images = scored.images
    probabilities = predictor(images.images)
    scoring = scoring_identity(scored.digest, scored.class_names)
    with atomic.write_folder(target) as folder:
        collapsed = _write_scores(folder, probabilities, scored)
        if pictured:
            _write_pictures(folder, training, network, probabilities, scored)
        values: dict[str, JsonValue] = {
            "identity": training.run.identity,
            "images": scored.kind,
            "images_digest": scored.digest,
            "dataset": scored.dataset,
            "class_names": list(scored.class_names),
            "scoring": scoring,
            "collapsed": collapsed,
        }
        write_manifest(folder, "evaluation.json", values)
        milliseconds = _latency(predictor, scored, target.parent, quick=not pictured)
        clock = EvaluationClock(training.run.identity, scoring, milliseconds, time.time_ns() // 1_000_000)
        write_clock(target.parent, target.name, clock)
    return read_evaluation(target)


def _latency(predictor: Predictor, scored: ScoringSet, root: Path, *, quick: bool) -> dict[str, float]:
    """Milliseconds an image for each size of batch; called shared where other runs used the cores meanwhile.

    Quick in a sweep, where it is time that no other run trains in.
    """
    repeats, seconds = (10, 0.1) if quick else (50, 5.0)
    shared = lock.others_at_work(root)
    measured = latency(predictor, scored.images.images, repeats=repeats, seconds=seconds)
    # One may have begun meanwhile.
    name = f"{SHARED if shared or lock.others_at_work(root) else ''}latency_ms_batch_"
    return {f"{name}{size}": round(milliseconds, 4) for size, milliseconds in measured.items()}


def _write_scores(folder: Path, probabilities: Probabilities, scored: ScoringSet) -> bool:
    """metrics.json (a few numbers, for git), scores by class, for each image probabilities and whether it is right.

    Returns whether the network has collapsed.
    """
    labels, answers = scored.images.labels, predictions(probabilities)
    found = scores(probabilities, labels)
    metrics = {
        "accuracy": found.accuracy,
        "loss": found.loss,
        "expected_calibration_error": found.expected_calibration_error,
    }
    (folder / "metrics.json").write_text(as_json(metrics), encoding="utf-8")
    by_class = per_class(confusion_matrix(answers, labels, len(scored.class_names)))
    (folder / "per_class.csv").write_text(per_class_csv(by_class, scored.class_names), encoding="utf-8")
    (folder / "probabilities.npy").write_bytes(as_npy(probabilities))
    (folder / "correct.npy").write_bytes(as_npy(answers == labels))
    return has_collapsed(answers, found.accuracy)


def _write_pictures(
    folder: Path, training: TrainingPart, network: "keras.Model", probabilities: Probabilities, scored: ScoringSet
) -> None:
    """The table of all predictions, and the pictures."""
    class_names, images, labels = scored.class_names, scored.images.images, scored.images.labels
    (folder / "predictions.csv").write_text(predictions_csv(probabilities, labels, class_names), encoding="utf-8")
    outputs = _block_outputs(training)
    maps = feature_maps(network, images[0], list(outputs.values()))
    matrix = confusion_matrix(predictions(probabilities), labels, len(class_names))
    bins = reliability(probabilities, labels)
    pictures = {
        "training_curves": training_curves(training.history, training.run.specification.training),
        "confusion_matrix": confusion(matrix, class_names),
        "calibration": calibration(bins.images, bins.confidence, bins.accuracy, bins.expected_calibration_error),
        "mistakes": mistakes(_surest(probabilities, scored), class_names),
        "kernels": kernels(network.get_layer("block1_conv").kernel.numpy(), "block1_conv"),
        "feature_maps": feature_map_picture(images[0], list(zip(outputs, maps, strict=True))),
    }
    (folder / "pictures").mkdir()
    for name, figure in pictures.items():
        (folder / "pictures" / f"{name}.png").write_bytes(png(figure))


def _surest(probabilities: Probabilities, scored: ScoringSet) -> Mistakes:
    """The surest wrong predictions, as many as a picture shows."""
    images, predicted = scored.images, predictions(probabilities)
    chosen = surest_mistakes(probabilities, images.labels, MOST_MISTAKES)
    return Mistakes(
        images.images[chosen],
        predicted=predicted[chosen],
        actual=images.labels[chosen],
        probability=probabilities[chosen].max(axis=1),
        wrong=int(np.sum(predicted != images.labels)),
        total=len(images.labels),
    )


def _block_outputs(training: TrainingPart) -> dict[str, str]:
    """For each block the layer that it ends with."""
    names = [str(layer["name"]) for layer in training.run.layers]
    return {name.partition("_")[0]: name for name in names if name[:5] == "block" and not name.endswith("_dropout")}
