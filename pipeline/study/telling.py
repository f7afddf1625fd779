"""What a sweep says: what it is about to do, how far it is, what came of it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pipeline.record.environment import precision_note, variables_note
from pipeline.record.overview import Row, best, counted, in_words, labels, rows, score_in_words, shown
from pipeline.record.study import Cell, Study
from pipeline.storage import project
from pipeline.study.estimate import Estimate
from pipeline.study.planning import Plan, Refused
from pipeline.terminal.progress import console


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
        f"{counted(seeds, 'seed')}), scored on the {study.images} images; {total - missing} done already, "
        f"{missing} to do"
    )
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


def tell_results(study: Study, others: int = 0) -> None:
    """The table of settings; how many `others` the study holds by earlier sweeps."""
    found = rows(study)
    if not found:
        return
    table = Table()
    for name in found[0].label or ["setting"]:
        table.add_column(name, no_wrap=True)
    for name in ("accuracy (runs)", "parameters", "multiply-adds", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    highest = best(study)
    for row in found:
        values = [shown(value) for value in row.label.values()] or ["the one"]
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        notes = [f"{count} {word}" for count, word in ((row.diverged, "diverged"), (row.failed, "failed")) if count]
        if highest is not None and row.setting == highest.setting and len(found) > 1:
            notes.insert(0, "highest mean")
        cost = f"{row.parameters:,}", f"{row.multiply_adds:,}"
        table.add_row(*values, score_in_words(row), *cost, seconds, ", ".join(notes))
    console.print(table)
    console.print(
        f"accuracy on the {study.images} images: mean ± standard deviation over seeds (runs). "
        f"Runs and curves: python -m pipeline.ui --study {study.name}"
    )
    if others:
        console.print(
            f"note: study {study.name} holds {counted(others, 'setting')} more, by earlier sweeps of the same name; "
            "compare takes all of them. study.name=… keeps sweeps apart."
        )


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
    came = cell.state if cell.state != "finished" else ""
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
