"""Do a run again, in a temporary place, and say whether it is bit-identical.

python -m pipeline.reproduce record                 the run of `dvc repro`
python -m pipeline.reproduce 5d0a09365891db9c       a run of a sweep, by its identity
python -m pipeline.reproduce 0a1b…                  an MLflow run id: its record, here or in the store

Nothing is checked out and nothing changes. Exit status 0: bit-identical, or equal within the seed noise; 2: different.
"""

import tempfile
from pathlib import Path

from rich.table import Table

from pipeline.config.load import read_section
from pipeline.config.schema import Data, Tracking
from pipeline.data.prepared import load_training
from pipeline.run.environment import environment, variables_note
from pipeline.run.identity import identity
from pipeline.run.record import TRAINING, TrainingPart
from pipeline.run.reproduction import (
    circumstances,
    configuration_of,
    is_bit_identical,
    parting_epoch,
    read_reproducible,
    repeat_run,
)
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

DIFFERENT = 2

SEED_NOISE = 0.2
"""Standard deviation between seeds, in points: that of small convolutional networks on Fashion-MNIST (README)."""

NOISE_BOUND = 2 * 2**0.5 * SEED_NOISE
"""Two runs of one setting with different seeds differ by less in 95 of 100 cases (about 2 √2 standard deviations)."""


def main() -> int:
    parser = command.arguments(__doc__, "reproduce")
    parser.add_argument("run", help="a record's folder, an identity, or an MLflow run id")
    named = parser.parse_args().run
    data, tracking = read_section(project.PARAMS, Data), read_section(project.PARAMS, Tracking)
    recorded = _find_recorded(named, tracking)
    if recorded.run.outcome not in ("finished", "diverged"):
        raise UserError(f"{named}: is {recorded.run.outcome}; only a run that has ended can be done again.")
    configuration = configuration_of(recorded.run, data, tracking)
    images = load_training(project.PREPARED, data)
    present = identity(configuration, images.digest)
    differing = circumstances(recorded, present, environment())
    if differing:
        table = Table("", "recorded", "here", title="not as it was", title_justify="left")
        for row in differing:
            table.add_row(*row)
        console.print(table)
    else:
        console.print("code, data, versions and hardware are as they were")
    if note := variables_note():
        console.print(f"note: {note}")
    return _verdict(recorded, repeat_run(configuration, present, images))


def _verdict(recorded: TrainingPart, again: TrainingPart) -> int:
    if is_bit_identical(recorded, again):
        print(f"bit-identical: the weights and the history (epochs: {len(again.history)}) are the same bytes")
        return 0
    epoch = parting_epoch(recorded, again)
    where = "the histories are the same, the weights are not" if epoch is None else f"histories part in epoch {epoch}"
    then, now = recorded.history[-1], again.history[-1]
    scored = "validation" if then.validation_accuracy is not None else "training"
    before, after = (
        epoch.accuracy if epoch.validation_accuracy is None else epoch.validation_accuracy for epoch in (then, now)
    )
    points = 100 * (after - before)
    said = f"{where}; {scored} accuracy {after:.2%} against {before:.2%} recorded ({points:+.2f} points)"
    if abs(points) <= NOISE_BOUND and len(recorded.history) == len(again.history):
        print(f"not bit-identical, but equal within the seed noise of ± {NOISE_BOUND:.2f} points: {said}")
        return 0
    print(f"different: {said}")
    return DIFFERENT


def _find_recorded(named: str, tracking: Tracking) -> TrainingPart:
    """The training part of a record's folder, of a run's identity, or of an MLflow run."""
    for folder in (Path(named), Path(named) / TRAINING, project.run_root(named) / TRAINING):
        if (folder / "run.json").is_file():
            return read_reproducible(folder)
    from pipeline.tracking.download import fetched_training  # noqa: PLC0415 - mlflow, only when it is asked

    with tempfile.TemporaryDirectory() as place:
        return read_reproducible(fetched_training(tracking, named, Path(place)))


if __name__ == "__main__":
    command.run(main)
