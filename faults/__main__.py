"""Inject faults into the pipeline and look at what is left.

Without names all rows are run. Trials that are kept in faults/results/ and held are not run again, but for a tenth of
each row where code that it covers has changed since; docs/reliability.md is written from all that is kept.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping

from faults import campaign, freshness, reliability
from faults.campaign import Row, Trial
from faults.rows import ROWS
from pipeline.terminal.progress import console


def main() -> int:
    # Where this runs in the background of a shell SIGINT is ignored, and what it starts would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = _parser().parse_args()
    rows = {row.name: row for row in ROWS}
    if unknown := [name for name in options.rows if name not in rows]:
        print(f"error: no row is called {unknown[0]}; there are {', '.join(rows)}", file=sys.stderr)
        return 2
    if options.list:
        for row in ROWS:
            print(f"{row.name:24}{row.times:>5}  {row.fault}")
        return 0
    if options.check:
        return _check()
    if options.stamp:
        freshness.stamp()
        reliability.write()
        return 0
    part, parts = map(int, options.part.split("/"))
    chosen = [rows[name] for name in options.rows] or list(ROWS[part - 1 :: parts])
    lost = sum(_run(row, options) for row in chosen)
    if not options.short:
        reliability.write()
    return 1 if lost else 0


def _check() -> int:
    """Whether everything was run on the code that is here."""
    said = freshness.problems({row: list(campaign.kept(row.name).values()) for row in ROWS})
    print("\n".join(said) or "the campaign and the long tests were run on the code that is here")
    return 1 if said else 0


def _run(row: Row, options: argparse.Namespace) -> int:
    """Run what is missing of a row; the number of trials in which something was lost."""
    if reason := row.needs():
        console.print(f"{row.name}: not run, because {reason}")
        return 0
    times = options.times or (row.short if options.short else row.times)
    before = {} if options.short or options.again else campaign.kept(row.name)
    numbers = options.trial or _to_run(row, before, times)
    keep: Callable[[Trial], None] = _forget if options.short else lambda trial: campaign.keep(row.name, trial)
    trials = campaign.run_row(row, numbers, options.seed, keep) if numbers else []
    lost = sum(not trial.held for trial in trials)
    console.print(f"{row.name}: {len(trials)} injected, {lost} lost; {times - len(numbers)} done before")
    return lost


def _to_run(row: Row, before: Mapping[int, Trial], times: int) -> list[int]:
    """The trials that are missing or did not hold, and so many that a share of them is of the code that is here."""
    held = [number for number in range(times) if number in before and before[number].held]
    missing = [number for number in range(times) if number not in held]
    stale = [number for number in held if not freshness.is_fresh(before[number])]
    wanted = freshness.share(row) - len(missing) - (len(held) - len(stale))
    return sorted(missing + stale[: max(0, wanted)])


def _forget(_trial: Trial) -> None:
    pass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to run; all when none is named")
    parser.add_argument("--list", action="store_true", help="what rows there are")
    parser.add_argument("--short", action="store_true", help="a few trials of each row; nothing is kept")
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="every Nth row, from the Kth: N of them side by side"
    )
    parser.add_argument("--times", type=int, metavar="N", help="the first N trials in place of the row's own number")
    parser.add_argument("--trial", type=int, action="append", metavar="K", help="trial K alone (may be repeated)")
    parser.add_argument("--again", action="store_true", help="also what has been done before")
    parser.add_argument("--check", action="store_true", help="what has to be run again, since code has changed")
    parser.add_argument("--stamp", action="store_true", help="write down that the long tests have passed on this code")
    parser.add_argument("--seed", type=int, default=0, help="another seed injects elsewhere (default 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
