"""Measure what docs/performance.md states: contenders side by side, in turn, by medians.

Without names all rows are measured. Each is kept when it is done, in benchmarks/results.json, from which the page is
written; a row that is measured again replaces what was kept of it. On a machine that does nothing else.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import performance
from benchmarks.rows import Row, accuracy, article, epochs, stages, sweeps
from benchmarks.workshop import Workshop, has
from pipeline.terminal.progress import console
from tests.harness.project import ROOT

ROWS: tuple[Row, ...] = (
    article.ROW,
    accuracy.ROW,
    epochs.UTILISATION,
    epochs.OPTIONS_ROW,
    epochs.GROWTH,
    epochs.FILTERS_ROW,
    sweeps.COLD,
    sweeps.RACE,
    sweeps.TINY_ROW,
    sweeps.BESIDE,
    sweeps.PLAN,
    sweeps.FLOOR,
    stages.STAGES,
    stages.MIRROR,
    stages.COMPARISON,
)


def main() -> int:
    options = _parser().parse_args()
    rows = {row.name: row for row in ROWS}
    if unknown := [name for name in options.rows if name not in rows]:
        print(f"error: no row is called {unknown[0]}; there are {', '.join(rows)}", file=sys.stderr)
        return 2
    if not (ROOT / "data" / "prepared").exists():
        print("error: there are no prepared images; make them with `dvc repro preprocess`", file=sys.stderr)
        return 1
    for library in ("torch", "keras_tuner"):
        if not has(library):
            console.print(f"{library} is left out: it is not installed (`make bench` installs it)")
    for row in [rows[name] for name in options.rows] or ROWS:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = row.measure(Workshop(Path(folder), 1 if options.quick else options.rounds, options.quick))
        console.print(f"{row.name}: {found.said} — goal: {row.goal}: {'met' if found.met else 'missed'}")
        if not options.quick:
            performance.keep(row, found)
            performance.write(ROWS)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure; all when none is named")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default 5)")
    parser.add_argument("--quick", action="store_true", help="a fraction of the work, once; nothing is kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
