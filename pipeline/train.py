"""Train the network that params.yaml describes and write the training part of the record.

A training that was interrupted goes on after its last whole epoch.
"""

from pipeline.config.load import read_params
from pipeline.config.schema import Configuration
from pipeline.data.prepared import load_training
from pipeline.run.environment import precision_note, variables_note
from pipeline.run.identity import REPRO_STUDY, identity
from pipeline.run.record import EVALUATION
from pipeline.storage import lock, project
from pipeline.terminal import command
from pipeline.terminal.progress import console
from pipeline.tracking.mirror_process import MirrorProcess


def main() -> int:
    command.arguments(__doc__, "train").parse_args()
    configuration = read_params(project.PARAMS)
    with lock.stage():
        return _train(configuration)


def _train(configuration: Configuration) -> int:
    images = load_training(project.PREPARED, configuration.data)
    for note in filter(None, (variables_note(), precision_note(configuration.training.precision))):
        console.print(f"note: {note}")
    with MirrorProcess(configuration.tracking, REPRO_STUDY, EVALUATION) as mirror:
        from pipeline.run.train_run import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

        run = train_run(configuration, identity(configuration, images.digest), images, project.RECORD, mirror.sync)
    if mirror.said:
        print(f"tracking: {mirror.said}. The record is complete; `python -m pipeline.track` brings MLflow up to it.")
    if run.outcome == "diverged":
        print(f"the loss was not finite in epoch {run.epochs}: this run diverged. A smaller learning rate may help.")
    return 0


if __name__ == "__main__":
    command.run(main)
