"""A row injects one kind of fault again and again; every trial is kept, so that a campaign can be run in parts.

A row is a module in faults/rows that holds `ROW = Row(...)`, and stands in `faults.rows.ROWS`. Its trial gets an
`Injection`, says with `injection.says(...)` what it is about to do (that is kept, and told when it goes wrong), does
it, and returns the outcome in a few words ("resumed", "refused", "nothing left to interrupt"), which the table counts.
What must hold is asserted: an AssertionError, or any other exception, means that something was lost.
"""

import json
import random
import shutil
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.storage import atomic
from pipeline.terminal.progress import bar, console

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


@dataclass
class Injection:
    """One trial: its number, its own random numbers (the same each time), a folder of its own and the row's folder.

    `folder` is empty and removed after the trial (kept in faults/lost when something was lost); `shared` holds what
    `Row.prepare` made.
    """

    number: int
    random: random.Random
    folder: Path
    shared: Path
    said: list[str] = field(default_factory=list)

    def says(self, fault: str) -> None:
        """What is injected, precisely enough to do it by hand."""
        self.said.append(fault)


@dataclass(frozen=True)
class Row:
    """`fault` and `must_hold` are the words of the table; `times` trials make the campaign, `short` of them CI's.

    `jobs` trials may run side by side. `prepare` makes once what all trials of the row need. `needs` names a reason why
    the row can't be run here (a missing tool), or None.
    """

    name: str
    fault: str
    must_hold: str
    times: int
    short: int
    trial: Callable[[Injection], str]
    prepare: Callable[[Path], None] = lambda _shared: None
    jobs: int = 2
    needs: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Trial:
    """What came of an injection: `outcome` in a few words; not `held` when something was lost, `detail` says what."""

    number: int
    fault: str
    outcome: str
    held: bool
    seconds: float
    commit: str
    detail: str = ""
    day: str = ""


def run_row(row: Row, numbers: list[int], seed: int, keep: Callable[[Trial], None]) -> list[Trial]:
    """Run the trials `numbers` of a row; each is given to `keep` when it has ended."""
    done: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix=f"faults-{row.name}-") as name, bar(row.name) as progress:
        shared = Path(name)
        row.prepare(shared)
        task = progress.add_task(row.name, total=len(numbers))
        with ThreadPoolExecutor(row.jobs) as pool:
            futures = [pool.submit(_tried, row, number, seed, shared) for number in numbers]
            for future in as_completed(futures):
                trial = future.result()
                done.append(trial)
                keep(trial)
                progress.advance(task)
                if not trial.held:
                    console.print(f"{row.name} {trial.number}: LOST: {trial.fault}\n{trial.detail}")
    return done


def kept(name: str) -> dict[int, Trial]:
    """The trials of a row that are on disk, by number."""
    try:
        lines = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    trials = [Trial(**json.loads(line)) for line in lines]
    return {trial.number: trial for trial in trials}


def keep(name: str, trial: Trial) -> None:
    """Put a trial among those on disk, in place of an earlier one with its number."""
    trials = kept(name) | {trial.number: trial}
    lines = [json.dumps(asdict(trials[number]), ensure_ascii=False) for number in sorted(trials)]
    atomic.write_file(RESULTS / f"{name}.jsonl", "\n".join(lines) + "\n")


def _tried(row: Row, number: int, seed: int, shared: Path) -> Trial:
    started = time.perf_counter()
    with _folder(row.name, number) as folder:
        injection = Injection(number, random.Random(f"{row.name} {seed} {number}"), folder, shared)
        try:
            outcome, held, detail = row.trial(injection), True, ""
        except Exception:  # whatever it is, this trial did not hold
            outcome, held, detail = "lost", False, traceback.format_exc()[-3000:]
            place = FOLDER / "lost" / f"{row.name}-{number}"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place, symlinks=True)
    fault = "; ".join(injection.said)
    detail = (
        detail.replace(str(folder), "<trial>").replace(str(shared), "<shared>").replace(str(FOLDER.parent), "<project>")
    )
    seconds, day = round(time.perf_counter() - started, 1), datetime.now(UTC).date().isoformat()
    return Trial(number, fault, outcome, held, seconds, commit(), detail, day)


@contextmanager
def _folder(row: str, number: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{row}-{number}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit() -> str:
    """The commit that is checked out, in short."""
    done = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"),
        cwd=FOLDER,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return done.stdout.strip()
