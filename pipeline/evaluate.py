"""Score the trained network on the test images: the evaluation part of the record, and the run in MLflow."""

from pipeline.config.load import read_section
from pipeline.config.schema import Data, Tracking
from pipeline.data.prepared import load_test
from pipeline.data.scoring import test_set
from pipeline.run.checkpoint import remove_checkpoint
from pipeline.run.environment import variables_note
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import EVALUATION, TRAINING, read_training
from pipeline.storage import lock, project
from pipeline.terminal import command
from pipeline.tracking.mirror_process import LONGEST_STAGE_WAIT, MirrorProcess


def main() -> int:
    command.arguments(__doc__, "evaluate").parse_args()
    data, tracking = read_section(project.PARAMS, Data), read_section(project.PARAMS, Tracking)
    with lock.stage():
        return _evaluate(data, tracking)


def _evaluate(data: Data, tracking: Tracking) -> int:
    training = read_training(project.RECORD / TRAINING)
    images = load_test(project.PREPARED, data)
    if note := variables_note():
        print(f"note: {note}")
    from pipeline.figures.run_figures import draw_run  # noqa: PLC0415 - matplotlib and TensorFlow, once the rest is
    from pipeline.run.evaluate_run import evaluate_run  # noqa: PLC0415 - right

    with MirrorProcess(tracking, REPRO_STUDY, EVALUATION, LONGEST_STAGE_WAIT, model=True) as mirror:
        evaluation = evaluate_run(training, test_set(images, data), project.RECORD / EVALUATION, draw_run)
        # DVC has the training part: `dvc repro --force train` shall train.
        remove_checkpoint(project.checkpoint(training.run.identity))
        mirror.sync(project.RECORD)
    if mirror.said:
        print(f"tracking: {mirror.said}. The record is complete; `python -m pipeline.track` brings MLflow up to it.")
    print(f"accuracy {evaluation.scores['accuracy']:.2%} of {len(images.labels):,} test images")
    return 0


if __name__ == "__main__":
    command.run(main)
