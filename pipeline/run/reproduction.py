"""Do a recorded run again in a temporary place, and say how it differs: nothing of the project changes."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.config.load import configure
from pipeline.config.schema import Configuration, Data, Tracking
from pipeline.data.prepared import Images
from pipeline.run.checkpoint import NOT_OF_A_RUN
from pipeline.run.environment import Environment, environment, git
from pipeline.run.identity import Identity
from pipeline.run.record import HISTORY, TRAINING, WEIGHTS, Run, TrainingPart, read_training
from pipeline.storage import atomic, project
from pipeline.terminal.errors import UserError

REPAIR = "No run can be done again from there."


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


def repeat_run(configuration: Configuration, identity: Identity, images: Images, root: Path) -> TrainingPart:
    """Train the run again in the empty folder `root` and return what the new record says. Raises UserError."""
    from pipeline.run.train_run import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

    train_run(configuration, identity, images, root, lambda _root: None, work=root / "work")
    return read_reproducible(root / TRAINING)


def keep_weights(recorded: TrainingPart, again: TrainingPart) -> None:
    """Put the weights of a bit-identical repetition into the record that came without them. Raises UserError."""
    if recorded.run.files.get(WEIGHTS) != again.run.files[WEIGHTS]:
        raise UserError(f"{recorded.folder}: has the same weights in another file: they are not kept.")
    atomic.write_file(recorded.folder / WEIGHTS, (again.folder / WEIGHTS).read_bytes())


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
            command = [sys.executable, "-P", "-m", "pipeline.reproduce", str(recorded.folder.resolve()), *arguments]
            return subprocess.run(
                command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False
            ).returncode
        finally:
            git("worktree", "remove", "--force", str(tree))
