"""The last run in a few lines: test accuracy, which run it is, where its pictures are, how to open the MLflow UI."""

from pipeline.run.metrics import SHARED
from pipeline.run.record import EvaluationPart, TrainingPart, find_record
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.fields import run_name


def main() -> int:
    command.arguments(__doc__, "summary").parse_args()
    record = find_record(whole=True)
    if record.evaluation is None:
        raise UserError(f"{record.root}: is not scored yet. Run: dvc repro")
    print("", *summary(record.training, record.evaluation), sep="\n")
    return 0


def summary(training: TrainingPart, evaluation: EvaluationPart) -> list[str]:
    """The lines that a person wants to read at the end."""
    scores, run = evaluation.scores, training.run
    loss = "not finite" if scores["loss"] is None else f"{scores['loss']:.4f}"
    seconds = "" if training.seconds is None else f" in {training.seconds:.0f} s"
    each = evaluation.latency.items()
    latency = ", ".join(f"{value:.2f} ms an image (batches of {name.rpartition('_')[2]})" for name, value in each)
    beside = ", beside other runs" if any(name.startswith(SHARED) for name, _ in each) else ""
    lines = [
        f"{evaluation.images} accuracy  {scores['accuracy']:.2%} (loss {loss})",
        f"run            {run_name(run)}: its name in MLflow",
        f"network        {run.parameters:,} parameters, {run.multiply_adds:,} multiply-adds an image",
        f"training       {run.epochs} epoch{'s'[: run.epochs > 1]}{seconds}"
        + (f"; prediction takes {latency}{beside}" if latency else ""),
        f"pictures       {(evaluation.folder / 'pictures').relative_to(project.ROOT)}/",
        "MLflow UI      make ui",
    ]
    if run.outcome == "diverged":
        lines.insert(1, f"diverged       the loss was not finite in epoch {run.epochs}; a smaller rate may help")
    return lines


if __name__ == "__main__":
    command.run(main)
