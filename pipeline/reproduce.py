"""Do a run again, in a temporary place, and say whether it is bit-identical.

python -m pipeline.reproduce record                 the run of `dvc repro`
python -m pipeline.reproduce 5d0a09365891db9c       a run of a sweep, by its identity
python -m pipeline.reproduce 0a1b…                  an MLflow run id: its record, here or in the store

A run of other code than is here is done in a worktree of its commit, where a branch or a tag leads to that. Nothing of
the project changes but what --keep is asked for. Exit status 0: bit-identical, or equal within the seed noise; 2:
different.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipeline.config.load import read_section
from pipeline.config.schema import Data, Tracking
from pipeline.data.prepared import load_training, training_digest
from pipeline.run.environment import environment, variables_note
from pipeline.run.identity import deciding_code, identity
from pipeline.run.record import TRAINING, WEIGHTS, TrainingPart, find_root
from pipeline.run.reproduction import (
    circumstances,
    commit_with_its_code,
    configuration_of,
    is_bit_identical,
    keep_weights,
    parting_epoch,
    read_reproducible,
    repeat_run,
    reproduce_in_worktree,
)
from pipeline.storage import digest, project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.addresses import RUN_ID

DIFFERENT = 2

SEED_NOISE = 0.2
"""Standard deviation between seeds, in points: that of small convolutional networks on Fashion-MNIST (README)."""

NOISE_BOUND = 2 * 2**0.5 * SEED_NOISE
"""Two runs of one setting with different seeds differ by less in 95 of 100 cases (about 2 √2 standard deviations)."""


def main() -> int:
    parser = command.arguments(__doc__, "reproduce")
    parser.add_argument("run", help="a record's folder, an identity, or an MLflow run id")
    parser.add_argument("--keep", action="store_true", help="put the weights into a record that came without them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reproduce-") as place:
        return _reproduce(arguments.run, Path(place), keep=arguments.keep)


def _reproduce(named: str, place: Path, *, keep: bool) -> int:
    data, tracking = read_section(project.PARAMS, Data), read_section(project.PARAMS, Tracking)
    recorded = _find_recorded(named, tracking, place)
    if recorded.run.outcome not in ("finished", "diverged"):
        raise UserError(f"{named}: is {recorded.run.outcome}; only a run that has ended can be done again.")
    if keep and recorded.folder.is_relative_to(place):
        raise UserError(f"{named}: is no record here whose weights could be kept. Leave out --keep.")
    is_here = recorded.run.ingredients["code"] == digest.of_value(dict(deciding_code()))
    if not is_here and (commit := commit_with_its_code(recorded)):
        training_digest(project.PREPARED, data)
        console.print(f"made by other code than is here: done in a worktree of its commit {commit[:12]}")
        return reproduce_in_worktree(commit, recorded, ["--keep"] if keep else [])
    configuration = configuration_of(recorded.run, data, tracking)
    images = load_training(project.PREPARED, data)
    present = identity(configuration, images.digest)
    _print_circumstances(circumstances(recorded, present, environment()))
    if note := variables_note():
        console.print(f"note: {note}")
    again = repeat_run(configuration, present, images, place / "again")
    status = _verdict(recorded, again)
    if keep and is_bit_identical(recorded, again):
        keep_weights(recorded, again)
        print(f"the weights are kept: {recorded.folder / WEIGHTS}")
    return status


def _print_circumstances(differing: Sequence[tuple[str, str, str]]) -> None:
    if not differing:
        console.print("code, data, versions and hardware are as they were")
        return
    table = Table("", "recorded", "here", title="not as it was", title_justify="left")
    for row in differing:
        table.add_row(*row)
    console.print(table)


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


def _find_recorded(named: str, tracking: Tracking, place: Path) -> TrainingPart:
    """The training part of a record's folder, of a run's identity, or of an MLflow run: that is fetched to `place`."""
    if (Path(named) / "run.json").is_file():
        return read_reproducible(Path(named))
    if RUN_ID.fullmatch(named) is None:
        return read_reproducible(find_root(named) / TRAINING)
    from pipeline.tracking.download import download_training  # noqa: PLC0415 - mlflow, only when it is asked

    return read_reproducible(download_training(tracking, named, place))


if __name__ == "__main__":
    command.run(main)
