"""Do what is missing of a study; keep the study and MLflow up to it, and say so to the person who waits."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from pipeline.config.guard import PREPARED_ONCE, SPLIT
from pipeline.config.messages import counted, validated
from pipeline.config.schema import Tracking
from pipeline.data.prepared import load_training
from pipeline.run.checkpoint import close_unfinished
from pipeline.run.record import TRAINING, Outcome
from pipeline.storage import atomic, lock, project
from pipeline.studies.console import (
    live_line,
    print_failures,
    print_finalists,
    print_left_open,
    print_plan,
    print_proposed,
    print_refused,
    print_results,
    print_run,
    print_search,
)
from pipeline.studies.estimate import Budget, estimate_time
from pipeline.studies.plan import Job, Plan, merge_plan, plan_grid, record_of, study_run_of
from pipeline.studies.race import check_grid, due, final_state, nearness, standing
from pipeline.studies.search import Optimiser, Space
from pipeline.studies.study import Point, Study, StudyRun, StudyState, present_study, update_study, with_runs
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.study_summary import count_outcomes, titles
from pipeline.studies.workers import (
    Ended,
    Executor,
    LocalProcesses,
    check_checkpoint,
    failure,
    forget_checkpoint,
    run_job,
)
from pipeline.terminal.command import undisturbed
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.addresses import check_address
from pipeline.tracking.mirror_process import MirrorProcess, started_early

MOST_UNASKED = 300
"""Runs of a sweep that starts without a question."""

REST = 9
"""Times as long as it took to keep a study until that is done again: it takes the longer the more runs there are."""


def launch_grid(grid: Iterable[Point]) -> None:
    """Run the study that `grid` is; `study` is among the values of its points.

    Raises UserError where its points are not of one study.
    """
    points, config, tracking = _declared(grid)
    run_study(points, config, tracking, _executor(config))


def launch_search(space: Space, compose: Callable[[list[list[str]]], Iterable[Point]]) -> None:
    """Run the study whose settings a search proposes in `space`; `compose` makes points of words, as for a grid."""
    _, config, tracking = _declared(compose([list(space.words)]))
    optimiser = Optimiser(space, lambda jobs: _declared(compose(jobs))[0], config)
    run_study(optimiser, config, tracking, _executor(config))


def _executor(config: StudyConfig) -> Executor:
    config.check_executor()
    if config.executor == "local":
        return LocalProcesses(config.jobs)
    from pipeline.studies.ray_executor import RayCluster  # noqa: PLC0415 - needed by few

    return RayCluster(config.full_name, config.address, config.jobs)


def _declared(grid: Iterable[Point]) -> tuple[list[Point], StudyConfig, Tracking]:
    """The points without the section that declares the study, and what is the same for all of them."""
    points = [point._replace(values=dict(point.values)) for point in grid]
    declared, first = [point.values.pop("study") for point in points], points[0].values
    for name, sections in (("study", declared), ("tracking", [point.values["tracking"] for point in points])):
        if any(section != sections[0] for section in sections):
            raise UserError(f"{name}: is the same for all runs of a sweep; only what is trained can be swept.")
    for point in points:
        # They train on the images that are prepared; how these are split may differ.
        data = point.values["data"]
        for key in {**first["data"], **data}:
            if f"data.{key}" not in SPLIT and data.get(key) != first["data"].get(key):
                raise UserError(f"data.{key}: differs in {point.overrides}, but {PREPARED_ONCE}")
    tracking = validated(Tracking, first["tracking"], prefix="tracking")
    check_address(tracking)
    return points, validated(StudyConfig, declared[0], prefix="study"), tracking


def run_study(source: Sequence[Point] | Optimiser, config: StudyConfig, tracking: Tracking, executor: Executor) -> None:
    """Do all runs of a grid, or of what an optimiser proposes, that are needed and have not been done.

    Raises UserError when a setting of a grid can't exist, and at the end when a run has failed.
    """
    # A grid is checked before anything is started.
    checked = source if isinstance(source, Optimiser) else _checked_plan(source, config)
    tells = tracking.enabled and not config.dry_run
    with started_early() if tells else contextlib.nullcontext():
        _do_plans(checked, config, tracking, executor)


def _do_plans(source: Plan | Optimiser, config: StudyConfig, tracking: Tracking, executor: Executor) -> None:
    folder, optimiser = project.study(config.full_name), source if isinstance(source, Optimiser) else None

    def declare(present: Study | None) -> tuple[Study, Plan]:
        plan = source if isinstance(source, Plan) else source.start(present)
        return _tracked(merge_plan(present, plan, config), tracking), plan

    before = present_study(folder)
    study, plan = declare(before)
    runner = _Runner(study, plan, config, executor, optimiser)
    tell_plan = print_plan if optimiser is None else print_search
    tell_plan(study, plan, runner.estimate, executor.slots(runner.missing), config.hours)
    if config.dry_run:
        console.print("study.dry_run: nothing was started, and nothing written")
        return
    if config.ask and runner.total > MOST_UNASKED:
        _ask(runner.total)

    def merge(present: Study | None) -> Study:
        # Another sweep may have changed it since.
        return study if present == before else declare(present)[0]

    if (merged := update_study(folder, merge)) is not study:
        runner = _Runner(merged, plan if optimiser is None else declare(merged)[1], config, executor, optimiser)
    with MirrorProcess(tracking, config.full_name, plan.jobs[0].part) as companion:
        failed = runner.run(companion)
    if companion.said:
        console.print(
            f"tracking: {companion.said}. The records are complete; `python -m pipeline.track {config.full_name}` "
            "brings MLflow up to them."
        )
    if failed:
        stopped = " No other was started after it (study.stop_on_failure)." if config.stop_on_failure else ""
        raise UserError(
            f"{failed} of {len(runner.plan.jobs)} runs failed.{stopped} The same line tries them again, and only them."
        )


def _checked_plan(grid: Sequence[Point], config: StudyConfig) -> Plan:
    """The plan for a grid that can be run. Raises UserError."""
    plan = plan_grid(grid, config)
    if plan.refused:
        print_refused(plan.refused)
        if not config.leave_out_refused:
            raise UserError(
                f"{counted(len(plan.refused), 'setting')} of this grid can't exist; nothing was started. Change the "
                "grid, or go on without: study.leave_out_refused=true"
            )
    if not plan.jobs:
        raise UserError("no setting of this grid can exist; nothing was started.")
    config.check_grid(plan.settings, left_out=len(plan.refused))
    if config.stop is not None:
        check_grid(len(plan.settings), len({job.seed for job in plan.jobs}), len(plan.jobs))
    return plan


def _ask(missing: int) -> None:
    """Ask before a large grid. Raises UserError unless the answer is yes."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            f"{missing} runs: a sweep of more than {MOST_UNASKED} is started with --yes; nothing was started."
        )
    answer = ""
    with contextlib.suppress(EOFError):
        answer = input(f"{missing} runs. Start them? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError("nothing was started.")


def _tracked(study: Study, tracking: Tracking) -> Study:
    """The study that remembers where it is tracked: what is done with it later goes there."""
    return replace(study, tracking=tracking.model_dump(mode="json")) if tracking.enabled else study


class _Runner:
    """What is missing of a study, done by an executor."""

    def __init__(
        self, study: Study, plan: Plan, config: StudyConfig, executor: Executor, optimiser: Optimiser | None
    ) -> None:
        self.study, self.plan, self.config, self.executor = study, plan, config, executor
        self.optimiser = optimiser
        self.folder = project.study(study.name)
        self.given_up = set[str]()
        self.missing = self._needed()
        self.estimate = estimate_time(self.missing, plan.settings)
        self.running: list[Job] = []
        self.ended: list[StudyRun] = []
        self.unkept: list[StudyRun] = []
        self.grown: dict[str, int] = {}

    def run(self, companion: MirrorProcess) -> int:
        """Do what is missing; returns how many runs failed."""
        self.companion = companion
        self.companion.sync_study(self.folder)
        done = set(self.study.ended)
        for job in self.plan.jobs:
            if job.identity.name in done:
                forget_checkpoint(job)
        try:
            if self.total:
                # A byte that is not as it was written is found before any worker starts.
                load_training(project.PREPARED)
                for job in self.missing:
                    check_checkpoint(job, console.print)
                self._do_missing()
        except BaseException as error:
            with undisturbed():
                self._interrupt(error)
            raise
        self._keep(state=final_state)
        print_results(self.own, others=len(self.study.settings) - len(self.plan.settings))
        if self.config.hours is not None and (left := self._needed()):
            print_left_open(self.own, left, self.config.hours)
        planned = {job.identity.name for job in self.plan.jobs}
        failed = [run for run in self.study.cells if run.state == "failed" and run.identity in planned]
        if failed:
            print_failures(self.own, failed)
        print_finalists(self.study)
        return len(failed)

    @property
    def total(self) -> int:
        """How many runs there are to do, with those of the trials that a search has still to propose at most."""
        return len(self.missing) + self.unproposed

    @property
    def unproposed(self) -> int:
        search = self.study.search
        return 0 if search is None else search.unproposed * len(search.seeds)

    @property
    def own(self) -> Study:
        """Of the study what this grid declares: earlier grids may differ in other keys. Seeds of earlier ones count."""
        runs = tuple(run for run in self.study.cells if run.setting in self.plan.settings)
        return replace(self.study, settings=dict(self.plan.settings), cells=runs)

    def _needed(self) -> list[Job]:
        """What has not ended, the first to be done first; of a race not what its verdicts spare."""
        ended = self.given_up.union(self.study.ended)
        now = standing(self.study, self.given_up)
        names = list(self.study.settings)
        is_open = set(names) if now is None else set() if now.finished else {names[place] for place in now.open}
        left = [job for job in self.plan.jobs if job.identity.name not in ended and job.setting in is_open]
        near = {} if now is None else nearness(self.study)
        # Every setting has its first seed before any has its second; of a race those that are nearest to a verdict
        # first; the costliest first, to end together.
        cost = self.plan.settings
        return sorted(left, key=lambda job: (job.seed, near.get(job.setting, 0), -cost[job.setting].multiply_adds))

    def _round(self) -> list[Job]:
        """What can be done before a race looks at its scores, or an optimiser does; else all that is needed."""
        needed = self._needed()
        if self.study.stop is None:
            return needed or self._extend()
        wanted = due(self.study, self.given_up)
        return [job for job in needed if (job.setting, job.seed) in wanted]

    def _extend(self) -> list[Job]:
        """Let the optimiser propose until there is something to do; nothing where the search is over."""
        jobs = list[Job]()
        while self.optimiser is not None and self.unproposed and not jobs:
            if self.config.stop_on_failure and self.given_up:
                break
            self.study = update_study(self.folder, partial(self._propose, self.optimiser, self.study))
            self.companion.sync_study(self.folder)
            jobs = self._needed()
            for job in jobs:
                check_checkpoint(job, console.print)
            self.estimate.seconds.update(estimate_time(jobs, self.plan.settings).seconds)
        return jobs

    def _propose(self, optimiser: Optimiser, known: Study, present: Study | None) -> Study:
        """The study with the next generation: of its own, or of another sweep that was here first."""
        study = present or known
        is_ahead = study.search is not None and known.search is not None and study.search.trials != known.search.trials
        self.plan = optimiser.start(study) if is_ahead else optimiser.extend(study)
        print_proposed(study, self.plan)
        there = {run.identity for run in study.cells}
        new = replace(self.plan, jobs=tuple(job for job in self.plan.jobs if job.identity.name not in there))
        return merge_plan(study, new, self.config)

    def _may_start(self, job: Job) -> bool:
        return self.budget.fits(job) and not (self.config.stop_on_failure and self.given_up)

    def _do_missing(self) -> None:
        seconds = self.estimate.seconds
        self.budget, started = Budget(self.config.hours, seconds), time.monotonic()
        total, due = self.total, started
        with live_line(total) as line:
            while jobs := self._round():
                before, own = len(self.ended), self.own
                title = titles(own)
                left = sum(seconds.get(job.identity.name, 0.0) for job in self._needed())
                # What will be proposed is like what was.
                left += self.unproposed * sum(seconds.values()) / max(1, len(seconds))
                for running, ends in self.executor.run(jobs, self._may_start):
                    self.running = running
                    self.budget.watch(running, [end.job for end in ends])
                    for end in ends:
                        self.ended.append(self._end(end))
                        left -= seconds.get(end.job.identity.name, 0.0)
                        print_run(title[end.job.setting], self.ended[-1], len(self.ended), total)
                    self._sync_growth()
                    work = sum(seconds.get(run.identity, 0.0) for run in self.ended)
                    now = time.monotonic()
                    pace = (now - started) / work if work else None
                    if is_due := bool(self.unkept) and now >= due:
                        self._keep()
                        own = self.own
                    line.update(own, self.ended, len(running), None if pace is None else left * pace)
                    if is_due:
                        due = time.monotonic() + REST * (time.monotonic() - now)
                if self.unkept:
                    self._keep()
                if len(self.ended) - before < len(jobs):
                    # Some may not start any more.
                    return

    def _end(self, ended: Ended) -> StudyRun:
        """Tell MLflow how a job ended, and let the study know when it is kept the next time.

        Until then the run's record says it, also to the same line after a kill.
        """
        job = ended.job
        if ended.failure is None:
            self.companion.sync(project.run_root(job.identity.name))
            run = study_run_of(job, record_of(job))
        else:
            reason = ended.failure.reason
            self._close_run(job, "failed", reason)
            if ended.failure.traceback:
                atomic.write_file(project.checkpoint(job.identity.name) / "failure.txt", ended.failure.traceback)
            run = _failed(job, reason)
            self.given_up.add(job.identity.name)
        self.unkept.append(run)
        return run

    def _close_run(self, job: Job, outcome: Outcome, reason: str) -> None:
        """Say of a run that its worker left how it ended, unless another sweep goes on with it already."""
        if not lock.is_held(project.checkpoint(job.identity.name) / "lock"):
            self.companion.sync(close_unfinished(job.configuration, job.identity, outcome, reason))

    def _sync_growth(self) -> None:
        """Tell the companion which running jobs have done another epoch."""
        for job in self.running:
            work = project.checkpoint(job.identity.name)
            try:
                changed = (work / TRAINING / "run.json").stat().st_mtime_ns
            except OSError:
                continue
            if self.grown.get(job.identity.name) != changed:
                self.grown[job.identity.name] = changed
                self.companion.sync(work)

    def _interrupt(self, error: BaseException) -> None:
        """The workers are gone: say so of the runs they left."""
        reason = "the sweep was interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else str(error)
        ended = []
        for job in self.running:
            if (record := record_of(job)) is None:
                self._close_run(job, "interrupted", reason)
            else:
                # It ended in this moment.
                ended.append(study_run_of(job, record))
                self.companion.sync(project.run_root(job.identity.name))
        self._keep(ended, lambda _study: "interrupted")
        planned = {job.identity.name for job in self.plan.jobs}
        with contextlib.suppress(OSError):
            done = len(planned & set(self.study.ended))
            console.print(f"stopped: {done} of {counted(len(planned), 'run')} done. The same line goes on.")

    def _keep(
        self, runs: Sequence[StudyRun] = (), state: Callable[[Study], StudyState] = lambda _study: "running"
    ) -> None:
        """Keep what has ended, and `runs`, in the study, whose state is then what `state` says of it; another sweep may
        have part in it.
        """

        def merge(present: Study | None) -> Study:
            study = with_runs(present or self.study, [*self.unkept, *runs])
            return replace(study, state=state(study))

        self.study = update_study(self.folder, merge)
        self.unkept.clear()
        self.companion.sync_study(self.folder)


def launch_one(point: Point) -> None:
    """Do one job of a study, in this process: what a launcher of Hydra's asks for.

    Raises UserError for a setting that can't exist, and whatever the training raises; what has been done is skipped.
    """
    (bare,), config, tracking = _declared([point])
    config.check_launcher()
    if config.excludes(bare):
        console.print(f"{bare.overrides}: excluded")
        return
    # What it excludes elsewhere in the grid is none of this point's.
    config = config.model_copy(update={"exclude": []})
    plan = plan_grid([bare], config)
    for overrides, reason in plan.refused.items():
        if not config.leave_out_refused:
            raise UserError(reason)
        console.print(f"{overrides}: left out. {reason}")
        return
    _run_one(plan, config, tracking)


def _run_one(plan: Plan, config: StudyConfig, tracking: Tracking) -> None:
    (job,) = plan.jobs

    def merge(present: Study | None, reason: str | None = None) -> Study:
        study = _tracked(merge_plan(present, plan, config), tracking)
        if reason is not None:
            study = with_runs(study, [_failed(job, reason)])
        return replace(study, state="failed" if count_outcomes(study.cells)["failed"] else "finished")

    folder = project.study(config.full_name)
    before, study = present_study(folder), update_study(folder, merge)
    if is_done := record_of(job) is not None:
        console.print(f"{titles(study)[job.setting]}, seed {job.seed}: done already")
        forget_checkpoint(job)
        if before is not None and job.identity.name in before.ended:
            return
    # A run that another study has done joins this one.
    with MirrorProcess(tracking, study.name, job.part) as companion:
        companion.sync_study(folder)
        if not is_done:
            _do_one(job, companion, lambda reason: update_study(folder, partial(merge, reason=reason)))
            companion.sync_study(folder)


def _failed(job: Job, reason: str) -> StudyRun:
    return replace(study_run_of(job, None), state="failed", reason=reason)


def _do_one(job: Job, companion: MirrorProcess, keep: Callable[[str | None], Study]) -> None:
    """Do a job, and `keep` how it ended. Raises what the training raises."""
    try:
        run_job(job, companion.sync)
    except BaseException as error:
        # A disk that is full takes this neither: what is told is why.
        with contextlib.suppress(OSError):
            reason = failure(error).reason if isinstance(error, Exception) else None
            if reason is not None:
                companion.sync(close_unfinished(job.configuration, job.identity, "failed", reason))
            companion.sync_study(project.study(keep(reason).name))
        raise
    keep(None)
