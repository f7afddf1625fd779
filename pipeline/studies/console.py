"""What a sweep prints: what it is about to do, how far it is, what came of it."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.cells import cell_len
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pipeline.config.messages import counted
from pipeline.run.environment import precision_note, variables_note
from pipeline.statistics.differences import FEWEST_SEEDS
from pipeline.statistics.race import detectable
from pipeline.statistics.scores import means, summaries
from pipeline.storage import project
from pipeline.studies.bundle import bundled_study
from pipeline.studies.estimate import Estimate, known_noise
from pipeline.studies.plan import Job, Plan
from pipeline.studies.race import contrast_verdicts, scores
from pipeline.studies.search import GENERATION, trial_scores, verdict_line, words_of
from pipeline.studies.study import ENDED, STUDY, Study, StudyRun
from pipeline.studies.study_summary import (
    ACCURACY,
    COSTS,
    NOTE,
    Row,
    best,
    rows,
    score_in_words,
    swept,
    table,
    titles,
)
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

MOST_REPEATED, MOST_LEFT = 3, 10

ROOM, FEWEST_LINES = 8, 3
"""Lines of a terminal that stay free of the standings, and those below which these say nothing."""


def print_refused(refused: Mapping[str, str]) -> None:
    """Which settings of the grid can't exist, and why."""
    reasons = Table("setting", "why it can't exist", title="refused", title_justify="left")
    for row in refused.items():
        reasons.add_row(*row)
    console.print(reasons)


def print_plan(study: Study, plan: Plan, estimate: Estimate, count: int, hours: float | None = None) -> None:
    """How many runs, how many are done, about how long and how much disk the rest takes, `count` at a time; what its
    seeds can find, and what is to be known of its questions.
    """
    missing, total = len(estimate.seconds), len(plan.jobs)
    # Of a race, whose study holds no other runs.
    waiting = [run for run in study.cells if run.state not in ENDED and study.stop is not None]
    spared = sum(run.identity not in estimate.seconds for run in waiting)
    seeds = len({job.seed for job in plan.jobs})
    again = sum(plan.repeated.values())
    twice = f"; {total + again} asked for, {again} of them a second time" if again else ""
    excluded = f", {plan.excluded} excluded" if plan.excluded else ""
    console.print(
        f"study {study.name}: {counted(total, 'run')} ({counted(len(plan.settings), 'setting')}{excluded}, "
        f"{counted(seeds, 'seed')}{twice}), scored on the {study.images} images; "
        f"{total - missing - spared} done already, {missing} to do"
        + (f", {spared} not needed, as verdicts stand" if spared else "")
    )
    for line in filter(None, (_race(study, missing), _power(study, seeds)) if missing else ()):
        console.print(line)
    if plan.repeated:
        more = len(plan.repeated) - MOST_REPEATED
        texts = [
            f"{asked} is the same as {before}" if asked != before else f"{asked} is asked for more than once"
            for asked, before in plan.repeated
        ]
        texts[MOST_REPEATED:] = [f"and {more} more"] if more > 0 else []
        console.print(f"the same runs: {'; '.join(texts)}")
    if others := _other_sweeps(study, plan):
        console.print(f"note: {others}")
    for contrast in (contrast for contrast in study.contrasts if contrast.runs_before):
        after = counted(contrast.runs_before, "run")
        console.print(
            f"note: contrast {contrast.name} was declared, as it is now, after {after} had ended: the report marks it. "
            "In advance it is asked with other seeds and another study.name."
        )
    if missing:
        _print_estimate(plan, estimate, count, hours, is_race=study.stop is not None)
    if bundled := _bundled(study.name, estimate.seconds.keys()):
        path = project.bundle(study.name).relative_to(project.ROOT)
        console.print(
            f"note: {bundled} of the runs to do lie in {path}. Without training them (Ctrl-C ends this):\n"
            f"python -m pipeline.bundle --unpack {path}"
        )


def _bundled(study: str, missing: Set[str]) -> int:
    """How many of the missing runs of a study that is not here yet lie in the bundle beside its report."""
    if (project.study(study) / STUDY).exists():
        return 0
    with contextlib.suppress(UserError):  # no bundle, or none that this version reads
        return len(missing & set(bundled_study(project.bundle(study))[0].ended))
    return 0


def print_search(study: Study, plan: Plan, estimate: Estimate, count: int, hours: float | None = None) -> None:
    """How many trials a search has proposed, how many of their runs are done, about how long all trials take."""
    if (search := study.search) is None:
        raise AssertionError("a search")
    missing, seeds = len(estimate.seconds), len(search.seeds)
    to_come = search.unproposed * seeds
    console.print(
        f"study {study.name}: a search ({search.sampler}) of {counted(search.planned, 'trial')} with "
        f"{counted(seeds, 'seed')} each, {GENERATION} proposed at a time, scored on the {study.images} images; "
        f"{counted(len(search.trials), 'trial')} proposed, {len(plan.jobs) - missing} of their runs done already, "
        f"at most {missing + to_come} to do"
    )
    console.print("a search explores: it gives no verdict, and names at its end the line that does")
    if missing:
        each = sum(estimate.seconds.values()) / missing
        more = {f"to come {number}": each for number in range(to_come)}
        size = round(estimate.bytes * (missing + to_come) / missing)
        estimate = replace(estimate, seconds=estimate.seconds | more, bytes=size)
        _print_estimate(plan, estimate, count, hours, is_race=True)


def print_proposed(study: Study, plan: Plan) -> None:
    """The best so far, which trials come next, and which of them can't exist."""
    if study.search is None or plan.search is None:
        raise AssertionError("a search")
    known, trials = study.search.trials, plan.search.trials
    best, words = max(
        ((score, words_of(one)) for score, one in zip(trial_scores(study), known, strict=True) if score is not None),
        default=(None, ""),
    )
    so_far = "no score yet" if best is None else f"best so far {best:.2f} %, {words}"
    console.print(f"trials {len(known) + 1} to {len(trials)} of {study.search.planned}; {so_far}")
    for number, trial in enumerate(trials[len(known) :], len(known) + 1):
        if trial.setting is None:
            console.print(f"trial {number} can't exist: {words_of(trial)}")


def print_finalists(study: Study) -> None:
    """The line that gives a verdict on what a search has found; nothing where there was none."""
    if line := verdict_line(study):
        console.print(f"a search gives no verdict. Its finalists get one from fresh seeds:\n{line}")


def _race(study: Study, missing: int) -> str:
    """How many runs a race may spare."""
    if study.stop is None:
        return ""
    ended = Counter(run.setting for run in study.cells if run.state in ENDED)
    least = sum(max(0, FEWEST_SEEDS - ended[setting]) for setting in study.settings)
    until = "its verdict stands" if study.stop == "decided" else "it is known not to be the best"
    return f"a race: a setting gets seeds until {until}; saves {max(0, missing - least)} of these runs at most"


def _power(study: Study, seeds: int) -> str:
    """What the seeds can find, where the noise is known."""
    settings = len(study.settings)
    if settings > 1 and seeds < FEWEST_SEEDS:
        return f"{counted(seeds, 'seed')}: too few for a verdict, which takes {FEWEST_SEEDS}"
    if settings < 2 or (noise := known_noise(study)) is None:
        return ""
    points = detectable(settings, seeds, noise, is_race=study.stop is not None)
    return f"{seeds} seeds can tell {points:.2g} points apart (by the noise of earlier runs, {noise:.2g} points)"


def _print_estimate(plan: Plan, estimate: Estimate, count: int, hours: float | None, *, is_race: bool) -> None:
    basis = "by the runs of this machine" if estimate.measured else "roughly: no such run was measured here yet"
    most = "at most" if is_race else "about"
    console.print(
        f"{most} {duration(estimate.total(count))} with {count} at a time ({basis}), {size(estimate.bytes)} of disk"
    )
    free = shutil.disk_usage(project.ROOT).free
    precisions = sorted({job.configuration.training.precision for job in plan.jobs})
    low_disk = f"only {size(free)} of disk is free" if free < 2 * estimate.bytes else None
    is_long = hours is not None and estimate.total(count) > 3600 * hours
    too_long = f"not all of it fits into study.hours={hours:g}" if is_long else None
    for note in filter(None, (low_disk, variables_note(), *map(precision_note, precisions), too_long)):
        console.print(f"note: {note}")


def _other_sweeps(study: Study, plan: Plan) -> str:
    """In what earlier sweeps of the study differ from this one, beside what either sweeps."""
    others = {name: setting for name, setting in study.settings.items() if name not in plan.settings}
    if not others:
        return ""
    varied = {key for settings in (others, dict(plan.settings)) for key in swept(replace(study, settings=settings))}
    keys = [key for key in swept(study) if key not in varied]
    return _others_in_words(study, len(others), f", which differ in {', '.join(keys)}") if keys else ""


def _others_in_words(study: Study, count: int, how: str) -> str:
    more = f"study {study.name} holds {counted(count, 'setting')} more, by earlier sweeps{how}"
    return f"{more}; compare takes all of them. study.name=… keeps sweeps apart."


def print_results(study: Study, others: int = 0) -> None:
    """The table of settings; how many `others` the study holds by earlier sweeps; what to type next."""
    lines = table(study)
    if not lines:
        return
    # Without the costs, or as lines, where the terminal would cut off the scores.
    tables = (_table(lines, left_out) for left_out in ((), COSTS))
    plain = (
        f"{line[ACCURACY]}: {title}" + (f" ({line[NOTE]})" if line[NOTE] else "")
        for line, title in zip(lines, titles(study).values(), strict=True)
    )
    console.print(next(filter(None, tables), None) or "\n".join(plain))
    console.print(f"accuracy on the {study.images} images: mean ± standard deviation over seeds (runs)")
    claims = {contrast.name: contrast.claim for contrast in study.contrasts}
    for name, said in contrast_verdicts(study).items():
        console.print(f"contrast {name}, {claims[name]}: {said}")
    if others:
        console.print(f"note: {_others_in_words(study, others, ' of the same name')}")
    console.print(
        "what these runs support, and their curves in MLflow:\n"
        f"python -m pipeline.compare {study.name}\npython -m pipeline.ui --study {study.name}"
    )


def _table(lines: Sequence[Mapping[str, str]], left_out: Sequence[str]) -> Table | None:
    """All columns but those `left_out`; the note may wrap. None where the terminal is too narrow to show them whole."""
    names = [name for name in lines[0] if name not in (*left_out, NOTE)]
    widths = [max(cell_len(text) for text in (name, *(line[name] for line in lines))) for name in names]
    widths.append(max(cell_len(word) for line in lines for word in ["", *line[NOTE].split()]))
    # Two spaces and a line beside each column.
    if sum(width + 3 for width in widths) + 1 > console.width:
        return None
    made = Table()
    for name, width in zip(names, widths, strict=False):
        made.add_column(name, justify="right" if name in (ACCURACY, *COSTS) else "left", no_wrap=True, min_width=width)
    made.add_column("", min_width=widths[-1])
    for line in lines:
        made.add_row(*(line[name] for name in (*names, NOTE)))
    return made


def print_left_open(study: Study, left: Sequence[Job], hours: float) -> None:
    """What the hours of a sweep did not reach."""
    runs = Counter(titles(study)[job.setting] for job in left)
    texts = [f"{title} ({count})" for title, count in runs.items()]
    texts[MOST_LEFT:] = [f"and {len(texts) - MOST_LEFT} settings more"] if len(texts) > MOST_LEFT else []
    console.print(
        f"study.hours={hours:g} leaves {counted(len(left), 'run')} open: {', '.join(texts)}. The same line goes on."
    )


def print_failures(study: Study, failed: Sequence[StudyRun]) -> None:
    """Every failure with its reason."""
    title = titles(study)
    reasons = Table("run", "seed", "reason", title="failed", title_justify="left")
    for run in failed:
        reasons.add_row(title[run.setting], str(run.seed), run.reason)
    console.print(reasons)
    for path in filter(Path.exists, (project.checkpoint(run.identity) / "failure.txt" for run in failed)):
        console.print(f"where it was raised: {path.relative_to(project.ROOT)}")


class LiveStandings(Progress):
    """A live bar with the settings of a study below it."""

    table: Table | None = None

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.table is not None:
            yield self.table

    def show(self, study: Study) -> None:
        """Show how the study stands now, where somebody watches."""
        if not self.disable:
            self.table = standings(study, self.console.height - ROOM)


def standings(study: Study, most: int) -> Table | None:
    """The settings that have a score, the best first, `most` of them; None where there is nothing to compare.

    Means and 95 % intervals in percent, of each setting by itself: a verdict takes the differences.
    """
    points = scores(study).points
    scored = np.flatnonzero(~np.isnan(points).all(axis=1)) if points.size else np.array([], dtype=np.int_)
    if len(scored) < 2 or most < FEWEST_LINES:
        return None
    settings, known = rows(study), summaries(points)
    table = Table("setting", "seeds", "accuracy", "95 % interval", "", box=None, pad_edge=False)
    best_first = scored[np.argsort(-means(points)[scored], kind="stable")]
    for place in best_first[:most].tolist():
        row, summary = settings[place], known[place]
        interval = summary.interval
        # Of two seeds it often reaches beyond what an accuracy can be.
        between = "" if interval is None else f"{max(interval.low, 0):.2f} to {min(interval.high, 100):.2f}"
        said = ", ".join(filter(None, (row.verdict, row.lost)))
        table.add_row(
            row.title, str(summary.seeds), f"{summary.mean:.2f} %", between, said, style="dim" if row.verdict else ""
        )
    if len(best_first) > most:
        table.add_row(f"and {len(best_first) - most} more")
    return table


class SweepLine:
    """The live line of a sweep: done, running, failed of all, the best so far, the time left."""

    def __init__(self, progress: LiveStandings, total: int) -> None:
        self._progress, self._task = progress, progress.add_task("", total=total)
        self._study: Study | None = None
        self._highest: Row | None = None

    def update(self, study: Study, ended: Sequence[StudyRun], running: int, left: float | None) -> None:
        """`ended`: the runs of this sweep; `left`: seconds until its end, where that can be told."""
        failed = sum(run.state == "failed" for run in ended)
        parts = [f"done {len(ended) - failed}", f"running {running}", f"failed {failed}"]
        if study is not self._study:
            self._study, self._highest = study, best(study)
            self._progress.show(study)
        if self._highest is not None:
            parts.append(f"best {score_in_words(self._highest)}: {self._highest.title}")
        if left is not None:
            parts.append(f"{duration(left)} left")
        self._progress.update(self._task, completed=len(ended), description=" · ".join(parts))


@contextmanager
def live_line(total: int) -> Iterator[SweepLine]:
    """A live line on a terminal; where nobody watches only the line of each run that has ended."""
    columns = BarColumn(20), TextColumn("{task.completed:.0f}/{task.total:.0f} {task.description}")
    with LiveStandings(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield SweepLine(progress, total)


def print_run(title: str, run: StudyRun, number: int, total: int) -> None:
    """One run that has ended, of the setting that people call `title`."""
    how = run.outcome if run.outcome != "finished" else ""
    score = "" if run.accuracy is None else f"{run.accuracy:.2%} in {run.seconds:.1f} s"
    text = " ".join(filter(None, (how, score, run.reason if run.state == "failed" else None)))
    console.print(f"{number:>{len(str(total))}}/{total}  {title}, seed {run.seed}: {text}")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
