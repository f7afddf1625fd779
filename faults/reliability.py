"""docs/reliability.md: which faults were injected how often, and what came of them."""

import json
from collections import Counter

from benchmarks import outages
from faults import campaign
from faults.campaign import Row, Trial
from faults.fuzzing import sessions
from faults.rows import ROWS
from pipeline.storage import atomic

TARGET = campaign.FOLDER.parent / "docs" / "reliability.md"
INTRODUCTION = """\
# What happens when something goes wrong

`make faults` injects the faults below into real processes, on the small sample in tests/, and looks at what is left.
Places and moments are drawn from a seed: `python -m faults ROW --trial K` repeats one of them, `python -m faults
--list` names the rows. Every trial is kept in faults/results/, from which this table is written.

| row | fault | injected | held | what came of it | what must hold |
|---|---|---|---|---|---|
"""

SPEED = """
## Training while MLflow is away

`python -m benchmarks.outages` trains the article's network on the sample, in turn with a healthy server and with a
faulty one, and compares the epochs after the first. Medians of the pairs; at most {most:.0%} slower is promised.

| MLflow server | seconds of an epoch | CPU seconds | pairs |
|---|---|---|---|
"""


def write() -> None:
    atomic.write_file(TARGET, page({row: list(campaign.kept(row.name).values()) for row in ROWS}))


def page(trials: dict[Row, list[Trial]]) -> str:
    """The page for the trials of each row."""
    return INTRODUCTION + "".join(_line(row, done) for row, done in trials.items()) + _speed() + sessions.section()


def _speed() -> str:
    """The part that tells how fast a training is while MLflow is away, once that was measured."""
    try:
        measured = json.loads(outages.TARGET.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    lines = (
        f"| {fault} | × {found['seconds']:.3f} | × {found['cpu']:.3f} | {len(found['all cpu'])} |\n"
        for fault, found in measured.items()
    )
    return SPEED.format(most=outages.PROMISED - 1) + "".join(lines)


def _line(row: Row, trials: list[Trial]) -> str:
    held = sum(trial.held for trial in trials)
    outcomes = Counter(trial.outcome for trial in trials)
    said = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    return f"| {row.name} | {row.fault} | {len(trials)} of {row.times} | {held} | {said} | {row.must_hold} |\n"
