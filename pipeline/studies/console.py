"""What a sweep says: what it is about to do, how far it is, what came of it."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.cells import cell_len
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pipeline.run.environment import precision_note, variables_note
from pipeline.storage import project
from pipeline.studies.estimate import Estimate
from pipeline.studies.plan import Plan, Refused, Repeated
from pipeline.studies.study import Cell, Study
from pipeline.studies.study_summary import (
    Row,
    best,
    columns,
    counted,
    in_words,
    labels,
    outcome,
    rows,
    score_in_words,
    shown_at,
    swept,
)
from pipeline.terminal.progress import console

MOST_REPEATED = 3


def tell_refused(refused: Sequence[Refused]) -> None:
    """Which settings of the grid can't exist, and why."""
    table = Table("setting", "why it can't exist", title="refused", title_justify="left")
    for found in refused:
        table.add_row(found.overrides, found.reason)
    console.print(table)


def tell_plan(study: Study, plan: Plan, estimate: Estimate, count: int) -> None:
    """How many runs, how many are done, about how long and how much disk the rest takes."""
    missing, total = len(estimate.seconds), len(plan.jobs)
    seeds = len({job.seed for job in plan.jobs})
    console.print(
        f"study {study.name}: {counted(total, 'run')} ({counted(len(plan.settings), 'setting')}, "
        f"{counted(seeds, 'seed')}{_again(plan)}), scored on the {study.images} images; {total - missing} done "
        f"already, {missing} to do"
    )
    if plan.repeated:
        more = len(plan.repeated) - MOST_REPEATED
        said = [*map(_repeated, plan.repeated[:MOST_REPEATED]), *([f"and {more} more"] if more > 0 else [])]
        console.print(f"the same runs: {'; '.join(said)}")
    if others := _other_sweeps(study, plan):
        console.print(f"note: {others}")
    if missing:
        basis = "by the runs of this machine" if estimate.measured else "roughly: no such run was measured here yet"
        console.print(
            f"about {duration(estimate.total(count))} with {count} at a time ({basis}), {size(estimate.bytes)} of disk"
        )
        free = shutil.disk_usage(project.ROOT).free
        if free < 2 * estimate.bytes:
            console.print(f"note: only {size(free)} of disk is free")
        precisions = sorted({job.configuration.training.precision for job in plan.jobs})
        for note in filter(None, (variables_note(), *map(precision_note, precisions))):
            console.print(f"note: {note}")


def _again(plan: Plan) -> str:
    """What became of the points of the grid that are no runs of their own."""
    again = sum(found.runs for found in plan.repeated)
    return f"; {len(plan.jobs) + again} asked for, {again} of them a second time" if again else ""


def _repeated(found: Repeated) -> str:
    if found.overrides == found.before:
        return f"{found.overrides} is asked for more than once"
    return f"{found.overrides} is the same as {found.before}"


def _other_sweeps(study: Study, plan: Plan) -> str:
    """In what earlier sweeps of the study differ from this one, beside what either sweeps."""
    others = {name: setting for name, setting in study.settings.items() if name not in plan.settings}
    own = dict(plan.settings)
    varied = {key for settings in (others, own) for key in swept(replace(study, settings=settings))}
    keys = [key for key in swept(study) if key not in varied]
    if not others or not keys:
        return ""
    return (
        f"study {study.name} holds {counted(len(others), 'setting')} more, by earlier sweeps, which differ in "
        f"{', '.join(keys)}; compare takes all of them. study.name=… keeps sweeps apart."
    )


def tell_results(study: Study, others: int = 0) -> None:
    """The table of settings; how many `others` the study holds by earlier sweeps."""
    found = rows(study)
    if not found:
        return
    console.print(_results(study, found))
    console.print(
        f"accuracy on the {study.images} images: mean ± standard deviation over seeds (runs). "
        f"Runs and curves: python -m pipeline.ui --study {study.name}"
    )
    if others:
        console.print(
            f"note: study {study.name} holds {counted(others, 'setting')} more, by earlier sweeps of the same name; "
            "compare takes all of them. study.name=… keeps sweeps apart."
        )


def _results(study: Study, found: Sequence[Row]) -> Table | str:
    """A table as wide as the terminal: without the costs, or as lines, where it would cut off the scores."""
    highest = best(study)
    several = highest is not None and len(found) > 1
    notes = [_notes(row, is_highest=several and row == highest) for row in found]
    keys = columns(study)
    settings = {key: [shown_at(row.label, key) for row in found] for key in keys} or {"setting": ["the one"]}
    accuracy = {"accuracy (runs)": [score_in_words(row) for row in found]}
    costs = {
        "parameters": [f"{row.parameters:,}" for row in found],
        "multiply-adds": [f"{row.multiply_adds:,}" for row in found],
        "seconds": ["" if row.seconds is None else f"{row.seconds:.1f}" for row in found],
    }
    for numbers in (accuracy | costs, accuracy):
        if (table := _table(settings, numbers, notes)) is not None:
            return table
    lines = zip(accuracy["accuracy (runs)"], found, notes, strict=True)
    return "\n".join(f"{score}: {in_words(row.label)}{f' ({note})' if note else ''}" for score, row, note in lines)


def _notes(row: Row, *, is_highest: bool) -> str:
    return ", ".join(filter(None, ("highest mean" if is_highest else "", row.lost)))


def _table(
    texts: Mapping[str, Sequence[str]], numbers: Mapping[str, Sequence[str]], notes: Sequence[str]
) -> Table | None:
    """Columns by name and one of notes, which may wrap; None where the terminal is too narrow to show them whole."""
    columns = {**texts, **numbers}
    widths = [max(map(cell_len, [name, *cells])) for name, cells in columns.items()]
    widths.append(max(cell_len(word) for note in notes for word in ["", *note.split()]))
    # Two spaces and a line beside each column.
    if sum(width + 3 for width in widths) + 1 > console.width:
        return None
    table = Table()
    for name, width in zip(columns, widths, strict=False):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True, min_width=width)
    table.add_column("", min_width=widths[-1])
    for row in zip(*columns.values(), notes, strict=True):
        table.add_row(*row)
    return table


def tell_failures(study: Study, failed: Sequence[Cell]) -> None:
    """Every failure with its reason."""
    names = labels(study)
    table = Table("run", "seed", "reason", title="failed", title_justify="left")
    for cell in failed:
        table.add_row(in_words(names[cell.setting]), str(cell.seed), cell.reason)
    console.print(table)
    traces = [project.checkpoint(cell.identity) / "failure.txt" for cell in failed]
    for trace in (trace for trace in traces if trace.exists()):
        console.print(f"where it was raised: {trace.relative_to(project.ROOT)}")


class Line:
    """The live line of a sweep: done, running, failed of all, the best so far, the time left."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._study: Study | None = None
        self._highest: Row | None = None
        self._task = progress.add_task("", total=total)

    def update(self, study: Study, *, done: int, running: int, failed: int, left: float | None) -> None:
        """`left`: seconds until the end, where that can be told."""
        parts = [f"done {done}", f"running {running}", f"failed {failed}"]
        if study is not self._study:
            self._study, self._highest = study, best(study)
        if self._highest is not None:
            parts.append(f"best {score_in_words(self._highest)}: {in_words(self._highest.label)}")
        if left is not None:
            parts.append(f"{duration(left)} left")
        self._progress.update(self._task, completed=done + failed, description=" · ".join(parts))


@contextmanager
def line(total: int) -> Iterator[Line]:
    """A live line on a terminal; where nobody watches only the line of each run that has ended."""
    columns = BarColumn(20), TextColumn("{task.completed:.0f}/{task.total:.0f} {task.description}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Line(progress, total)


def tell_run(study: Study, cell: Cell, number: int, total: int) -> None:
    """One run that has ended."""
    came = outcome(cell) if outcome(cell) != "finished" else ""
    score = "" if cell.accuracy is None else f"{cell.accuracy:.2%} in {cell.seconds:.1f} s"
    said = " ".join(filter(None, (came, score, cell.reason if cell.state == "failed" else None)))
    console.print(
        f"{number:>{len(str(total))}}/{total}  {in_words(labels(study)[cell.setting])}, seed {cell.seed}: {said}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
