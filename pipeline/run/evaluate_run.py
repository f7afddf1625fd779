"""Score a trained run on images and write the evaluation part of its record."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from pipeline.data.scoring import ScoringSet
from pipeline.network.fit import use_threads
from pipeline.network.predict import Predictor
from pipeline.run import metrics
from pipeline.run.identity import scoring_identity
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

Draw = Callable[[TrainingPart, "keras.Model", metrics.Probabilities, ScoringSet], Mapping[str, bytes]]
"""What makes pictures of a run that was scored: each a PNG, by its name."""


def evaluate_run(training: TrainingPart, scored: ScoringSet, target: Path, draw: Draw | None = None) -> EvaluationPart:
    """Score the run on the images of `scored` and write the part `target`.

    With `draw` there are its pictures, the table of all predictions, and a longer measurement of the latency. Raises
    UserError where the record is damaged.
    """
    use_threads(training.run.specification.training.threads)
    network = trained_network(training)
    predictor = Predictor(network)
    probabilities = predictor(scored.images.images)
    scoring = scoring_identity(scored.digest, scored.class_names)
    with atomic.write_folder(target) as folder:
        collapsed = _write_scores(folder, probabilities, scored)
        if draw is not None:
            table = metrics.predictions_csv(probabilities, scored.images.labels, scored.class_names)
            (folder / "predictions.csv").write_text(table, encoding="utf-8")
            (folder / "pictures").mkdir()
            for name, png in draw(training, network, probabilities, scored).items():
                (folder / "pictures" / f"{name}.png").write_bytes(png)
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
        milliseconds = _latency(predictor, scored, target.parent, quick=draw is None)
        clock = EvaluationClock(training.run.identity, scoring, milliseconds, time.time_ns() // 1_000_000)
        write_clock(target.parent, target.name, clock)
    return read_evaluation(target)


def _write_scores(folder: Path, probabilities: metrics.Probabilities, scored: ScoringSet) -> bool:
    """metrics.json (a few numbers, for git), scores by class, for each image probabilities and whether it is right.

    Returns whether the network has collapsed.
    """
    labels, answers = scored.images.labels, metrics.predictions(probabilities)
    scores = metrics.scores(probabilities, labels)
    by_class = metrics.per_class(metrics.confusion_matrix(answers, labels, len(scored.class_names)))
    (folder / "metrics.json").write_text(as_json(asdict(scores)), encoding="utf-8")
    (folder / "per_class.csv").write_text(metrics.per_class_csv(by_class, scored.class_names), encoding="utf-8")
    (folder / "probabilities.npy").write_bytes(as_npy(probabilities))
    (folder / "correct.npy").write_bytes(as_npy(answers == labels))
    return metrics.has_collapsed(answers, scores.accuracy)


def _latency(predictor: Predictor, scored: ScoringSet, root: Path, *, quick: bool) -> dict[str, float]:
    """Milliseconds an image for each size of batch; called shared where other runs used the cores meanwhile.

    Quick in a sweep, where it is time that no other run trains in.
    """
    repeats, seconds = (10, 0.1) if quick else (50, 5.0)
    shared = lock.others_at_work(root)
    measured = metrics.latency(predictor, scored.images.images, repeats=repeats, seconds=seconds)
    # One may have begun meanwhile.
    name = f"{metrics.SHARED if shared or lock.others_at_work(root) else ''}latency_ms_batch_"
    return {f"{name}{size}": round(milliseconds, 4) for size, milliseconds in measured.items()}
