"""Bad configurations through every door, each a real command."""

import shutil
from pathlib import Path

from faults.campaign import Injection, Row
from faults.reference import copied
from tests.harness.bad_configurations import every
from tests.harness.doors import DOORS, prepared, refused, through

TIMES = 200
"""Each key's first comes before any key's second: all keys are among them."""


def prepare(shared: Path) -> None:
    # Composed once: Hydra has one state for all threads.
    every()
    prepared(shared / "project")


def trial(injection: Injection) -> str:
    bad = every()[injection.number]
    injection.says(bad.said)
    slowest = doors = 0.0
    for door in DOORS:
        folder = injection.folder / door
        answer = through(door, bad, copied(injection.shared / "project", folder))
        if answer is not None:
            refused(answer, bad.named)
            doors += 1
            slowest = max(slowest, answer.seconds)
        shutil.rmtree(folder)
    injection.says(f"{doors:.0f} doors, the slowest took {slowest:.2f} s")
    return f"refused by {doors:.0f} doors"


ROW = Row(
    name="bad_configurations",
    fault="a wrong value of each key, unknown and misspelt keys, contradictory pairs, through params.yaml, an override "
    "of compose and of sweep, a variant in conf/",
    must_hold="refused with the key named, no traceback, nothing written, no MLflow run",
    times=TIMES,
    short=1,
    trial=trial,
    prepare=prepare,
)
