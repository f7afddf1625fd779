"""Do a run again, in a temporary place, and say whether it is bit-identical.

python -m pipeline.reproduce record                 the run of `dvc repro`
python -m pipeline.reproduce 5d0a09365891db9c       a run of a sweep, by its identity
python -m pipeline.reproduce 0a1b…                  an MLflow run id: its record, here or in the store

A run of other code than is here is done in a worktree of its commit, where a branch or a tag leads to that. Nothing of
the project changes but what --keep is asked for. Exit status 0: bit-identical, or equal within the seed noise; 2:
different.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from rich.table import Table

from pipeline.config.load import configure, read_section
from pipeline.config.schema import Configuration, Data, Tracking
from pipeline.data.prepared import load_training, training_digest
from pipeline.run.checkpoint import NOT_OF_A_RUN
from pipeline.run.environment import Environment, environment, git, variables_note
from pipeline.run.identity import Identity, deciding_code, identity
from pipeline.run.record import HISTORY, TRAINING, WEIGHTS, Run, TrainingPart, find_root, read_training
from pipeline.storage import atomic, digest, project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.addresses import RUN_ID

DIFFERENT = 2
REPAIR = "No run can be done again from there."

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
    from pipeline.run.train_run import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

    root = place / "again"
    train_run(configuration, present, images, root, lambda _root: None, work=root / "work")
    again = read_reproducible(root / TRAINING)
    status = _verdict(recorded, again)
    if keep and is_bit_identical(recorded, again):
        if recorded.run.files.get(WEIGHTS) != again.run.files[WEIGHTS]:
            raise UserError(f"{recorded.folder}: has the same weights in another file: they are not kept.")
        atomic.write_file(recorded.folder / WEIGHTS, (again.folder / WEIGHTS).read_bytes())
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


def read_reproducible(folder: Path) -> TrainingPart:
    """The training part in `folder`, to compare a repetition with; its weights need not be there. Raises UserError."""
    training = read_training(folder, whole=False, repair=REPAIR)
    if not training.history:
        raise UserError(f"{folder}: has no epoch to compare a repetition with. {REPAIR}")
    for name in ("code", "data"):
        if name not in training.run.ingredients:
            raise UserError(f"{folder}: does not say of which {name} it is. {REPAIR}")
    return training


def is_bit_identical(one: TrainingPart, other: TrainingPart) -> bool:
    """Whether weights and history are the same, byte for byte."""
    return (
        one.run.weights == other.run.weights is not None
        and one.run.files.get(HISTORY) == other.run.files.get(HISTORY) is not None
    )


def parting_epoch(one: TrainingPart, other: TrainingPart) -> int | None:
    """The first epoch in which the histories differ, or that only one has; None where they are the same."""
    for epoch, (ours, theirs) in enumerate(zip_longest(one.history, other.history), start=1):
        if repr(ours) != repr(theirs):
            return epoch
    return None


def circumstances(recorded: TrainingPart, present: Identity, here: Environment) -> list[tuple[str, str, str]]:
    """Where code, data, versions or hardware are not what they were: what, as recorded, as it is here."""
    then = _circumstances(recorded.run.ingredients, recorded.environment)
    now = _circumstances(present.ingredients, here)
    before = {what: then.get(what, "not recorded") for what in now}
    return [(what, before[what], value) for what, value in now.items() if before[what] != value]


def _circumstances(ingredients: Mapping[str, JsonValue], environment: Environment) -> dict[str, str]:
    """What a repetition depends on, as far as it is known."""
    known: dict[str, object] = {} if environment.git_commit is None else {"commit": environment.git_commit}
    known |= {f"{name} (digest)": str(ingredients[name])[:12] for name in ("code", "data")}
    for group, values in (("versions", environment.versions), ("hardware", environment.hardware)):
        known |= {f"{group}: {name}": value for name, value in values.items()}
    return {what: str(value) for what, value in known.items()}


def configuration_of(run: Run, data: Data, tracking: Tracking) -> Configuration:
    """The configuration of a recorded run; what a record does not hold is that of `data` and `tracking`.

    Raises ConfigurationError for a record whose configuration is none of this version.
    """
    own = run.configuration.get("data")
    if not isinstance(own, dict):
        raise UserError(f"the record's configuration has no section data. {REPAIR}")
    files: dict[str, Any] = data.model_dump(mode="json", include=set(NOT_OF_A_RUN))
    return configure({**run.configuration, "data": own | files, "tracking": tracking.model_dump(mode="json")})


def commit_with_its_code(recorded: TrainingPart) -> str | None:
    """The commit in whose worktree the run was made, where that is not what lies here.

    None where it is unknown, or where no branch and no tag of this repository leads to it: whoever wrote a record does
    not choose which code runs here.
    """
    commit, here = recorded.environment.git_commit, environment()
    if commit is None or re.fullmatch(r"[0-9a-f]{40}", commit) is None:
        return None
    if here.git_commit == commit and not here.uncommitted_changes:
        return None
    refs = git("for-each-ref", "--contains", commit, "--count=1", "refs/heads", "refs/tags")
    return commit if refs or git("merge-base", "--is-ancestor", commit, "HEAD") is not None else None


def reproduce_in_worktree(commit: str, recorded: TrainingPart, arguments: list[str]) -> int:
    """Let the code of `commit` do the run again, on the images that are prepared here; returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        tree = Path(folder) / "worktree"
        git("worktree", "prune")
        if git("worktree", "add", "--detach", str(tree), commit, seconds=None) is None:
            raise UserError(f"{commit}: git can't check it out. Try: git worktree add --detach ../older {commit}")
        try:
            root = tree / (git("rev-parse", "--show-prefix") or b"").decode().strip()
            (root / "data").mkdir(exist_ok=True)
            (root / "data" / "prepared").symlink_to(project.PREPARED)
            words = [sys.executable, "-P", "-m", "pipeline.reproduce", str(recorded.folder.resolve()), *arguments]
            return subprocess.run(words, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False).returncode
        finally:
            git("worktree", "remove", "--force", str(tree))


if __name__ == "__main__":
    command.run(main)
