"""docs/reliability.md: which faults were injected how often, and what came of them."""

import json
from collections import Counter

from faults import campaign, freshness, training_speed
from faults.campaign import Row, Trial
from faults.fuzzing import sessions
from faults.rows import ROWS
from pipeline.storage import atomic

TARGET = campaign.FOLDER.parent / "docs" / "reliability.md"
INTRODUCTION = """\
# What happens when something goes wrong

`make faults` injects the faults below into real processes, on the small sample in tests/, and looks at what is left.
Places and moments are drawn from a seed: `python -m faults ROW --trial K` repeats one of them, `python -m faults
--list` names the rows. Every trial is kept in faults/results/, from which this table is written, with the commit that
it was injected into: CI fails where code has changed since then, but for the changes that faults/results/stamps.json
names with a reason (`python -m faults --check`). {long_tests}

| row | fault | injected | held | last on | what came of it | what must hold |
|---|---|---|---|---|---|---|
"""
LONG_TESTS = "The same holds for `make test-long`, which has last passed on {day} at {commit}."

SPEED = """
## Training while MLflow is away

`python -m faults.training_speed` trains the article's network on the sample, in turn with a healthy server and with a
faulty one, and compares the epochs after the first. Medians of the pairs; at most {most:.0%} slower is promised.

| MLflow server | seconds of an epoch | CPU seconds | pairs |
|---|---|---|---|
"""

POWER = """
## What a power cut is taken to be

Every call that changes a file or a folder is written down in its order, over all processes, while a command runs
(faults/journal.c; that the journal misses nothing is checked against what is there at the end). A cut at one of these
calls is then played (faults/power.py): certain is what an fsync made certain, of bytes that of their file, of names
that of their folder; of all the rest it is drawn what is there. Half of the cuts are on an *ordered* file system, as
ext4, XFS and Btrfs are: names are there in the order of the calls, up to one of them, an fsync of anything makes all
earlier names certain, bytes that were not synced are there, missing or cut off. The other half are on a *loose* one,
as POSIX allows: any name may be missing while a later one is there, and any block of what was not synced may be zeros.
ext4's help for files that are replaced by a rename is not counted on.

Not played: a disk that says *synced* and is not, a sector half-written, harm to what had been synced. DVC's index of
the files whose digest it knows goes by a file's number and time, and is of no use after a cut that is played; after a
real one it may be, so that a file whose bytes are zeros and whose size and time are right is taken for the old one by
`dvc repro`. `make verify` reads the bytes and names it.
"""


def write() -> None:
    atomic.write_file(TARGET, page({row: list(campaign.kept(row.name).values()) for row in ROWS}))


def page(trials: dict[Row, list[Trial]]) -> str:
    """The page for the trials of each row."""
    last = freshness.stamps().get("test-long")
    introduction = INTRODUCTION.format(
        long_tests=LONG_TESTS.format(**last) if last else "`make test-long` has not run."
    )
    lines = "".join(_line(row, done) for row, done in trials.items())
    return introduction + lines + POWER + _speed() + sessions.section()


def _speed() -> str:
    """The part that tells how fast a training is while MLflow is away, once that was measured."""
    try:
        measured = json.loads(training_speed.TARGET.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    lines = (
        f"| {fault} | × {found['seconds']:.3f} | × {found['cpu']:.3f} | {len(found['all cpu'])} |\n"
        for fault, found in measured.items()
    )
    return SPEED.format(most=training_speed.PROMISED - 1) + "".join(lines)


def _line(row: Row, trials: list[Trial]) -> str:
    held = sum(trial.held for trial in trials)
    outcomes = Counter(trial.outcome for trial in trials)
    said = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    last = max(trials, key=lambda trial: trial.day, default=None)
    when = f"{last.day} {last.commit}".strip() if last else ""
    return f"| {row.name} | {row.fault} | {len(trials)} of {row.times} | {held} | {when} | {said} | {row.must_hold} |\n"
