"""A record as a whole: what was trained, and once it has been scored how."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.run.record import EVALUATION, TRAINING, EvaluationPart, TrainingPart, read_evaluation, read_training


@dataclass(frozen=True)
class Record:
    """A record as a whole; `evaluation` is None until the run has been scored."""

    root: Path
    training: TrainingPart
    evaluation: EvaluationPart | None


def read_record(root: Path, part: str = EVALUATION) -> Record:
    """The record in `root`, scored as its evaluation `part` says.

    Raises UserError where there is none or it is damaged.
    """
    training = read_training(root / TRAINING)
    scored = (root / part / "evaluation.json").exists()
    evaluation = read_evaluation(root / part) if scored else None
    # Between the stages the folder still holds the evaluation of the run before.
    own = evaluation is not None and evaluation.identity == training.run.identity
    return Record(root, training, evaluation if own else None)
