"""Do what is missing of a study; keep the study and MLflow up to it, and say so to the person who waits."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.config.guard import PREPARED_ONCE, SPLIT
from pipeline.config.load import configure
from pipeline.config.messages import validated
from pipeline.config.schema import Tracking
from pipeline.data.prepared import load_training, training_digest
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING, Outcome
from pipeline.run.train_run import close_unfinished
from pipeline.storage import atomic, lock, project
from pipeline.studies.console import (
    live_line,
    print_failures,
    print_plan,
    print_refused,
    print_results,
    print_run,
)
from pipeline.studies.estimate import Estimate, estimate_time
from pipeline.studies.plan import Job, Plan, job_of, merge_job, merge_plan, plan_grid, record_of, study_run_of
from pipeline.studies.study import (
    ENDED,
    Point,
    Study,
    StudyRun,
    StudyState,
    final_state,
    present_study,
    update_study,
    with_runs,
)
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.study_summary import counted, titles
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
from pipeline.tracking.mirror_process import MirrorProcess

STUDY = "study"
"""The section of a grid's values that declares the study."""


def launch_grid(grid: Iterable[Point]) -> None:
    """Run the study that `grid` is; `study` is among the values of its points.

    Raises UserError where its points are not of one study.
    """
    points = [point._replace(values=dict(point.values)) for point in grid]
    declared = [point.values.pop(STUDY) for point in points]
    first = points[0].values
    for name, sections in ((STUDY, declared), ("tracking", [point.values["tracking"] for point in points])):
        if any(section != sections[0] for section in sections):
            raise UserError(f"{name}: is the same for all runs of a sweep; only what is trained can be swept.")
    for point in points:
        _check_data(first["data"], point)
    config = validated(StudyConfig, declared[0], prefix=STUDY)
    run_study(points, config, validated(Tracking, first["tracking"], prefix="tracking"), LocalProcesses(config.jobs))


def _check_data(first: Any, point: Point) -> None:
    """The runs of a sweep train on the images that are prepared; how these are split may differ."""
    data = point.values["data"]
    for key in {**first, **data}:
        if f"data.{key}" not in SPLIT and data.get(key) != first.get(key):
            raise UserError(f"data.{key}: differs in {point.overrides}, but {PREPARED_ONCE}")


def run_study(grid: Sequence[Point], config: StudyConfig, tracking: Tracking, executor: Executor) -> None:
    """Do all runs of `grid` that have not been done.

    Raises UserError when a setting can't exist, and at the end when a run has failed.
    """
    check_address(tracking)
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

    def merge(present: Study | None) -> Study:
        return _tracked(merge_plan(present, plan, config), tracking)

    study = update_study(project.study(config.full_name), merge)
    with MirrorProcess(tracking, study.name, _part(config)) as companion:
        failed = _Runner(study, plan, companion, executor).run()
    if companion.said:
        console.print(
            f"tracking: {companion.said}. The records are complete; `python -m pipeline.track {study.name}` brings "
            "MLflow up to them."
        )
    if failed:
        raise UserError(f"{failed} of {len(plan.jobs)} runs failed. The same line tries them again, and only them.")


def _tracked(study: Study, tracking: Tracking) -> Study:
    """The study that remembers where it is tracked: what is done with it later goes there."""
    return replace(study, tracking=tracking.model_dump(mode="json")) if tracking.enabled else study


def _part(config: StudyConfig) -> str:
    return TEST_EVALUATION if config.score_on == "test" else EVALUATION


class _Runner:
    def __init__(self, study: Study, plan: Plan, companion: MirrorProcess, executor: Executor) -> None:
        self.study = study
        self.plan = plan
        self.folder = project.study(study.name)
        self.companion = companion
        self.executor = executor
        states = {run.identity: run.state for run in study.cells}
        self.done = [job for job in plan.jobs if states[job.identity.name] in ENDED]
        missing = [job for job in plan.jobs if states[job.identity.name] not in ENDED]
        # Every setting has its first seed before any has its second; the costliest first, to end together.
        self.missing = sorted(missing, key=lambda job: (job.seed, -plan.settings[job.setting].multiply_adds))
        self.running: list[Job] = []
        self.grown: dict[str, int] = {}

    def run(self) -> int:
        """Do what is missing; returns how many runs failed."""
        estimate = estimate_time(self.missing, self.plan.settings)
        print_plan(self.study, self.plan, estimate, self.executor.slots(self.missing))
        self.companion.sync_study(self.folder)
        for job in self.done:
            forget_checkpoint(job)
        try:
            if self.missing:
                # A byte that is not as it was written is found before any worker starts.
                load_training(project.PREPARED)
                for job in self.missing:
                    check_checkpoint(job, console.print)
                self._do_missing(estimate)
        except BaseException as error:
            with undisturbed():
                self._interrupt(error)
            raise
        own = {job.identity.name for job in self.plan.jobs}
        failed = [run for run in self.study.cells if run.state == "failed" and run.identity in own]
        self._keep([], final_state)
        print_results(self.own, others=len(self.study.settings) - len(self.plan.settings))
        if failed:
            print_failures(self.own, failed)
        return len(failed)

    @property
    def own(self) -> Study:
        """Of the study what this grid declares: earlier grids may differ in other keys. Seeds of earlier ones count."""
        runs = tuple(run for run in self.study.cells if run.setting in self.plan.settings)
        return replace(self.study, settings=dict(self.plan.settings), cells=runs)

    def _do_missing(self, estimate: Estimate) -> None:
        started = time.monotonic()
        ended = list[StudyRun]()
        work, work_done = sum(estimate.seconds.values()), 0.0
        own = self.own
        with live_line(len(self.missing)) as line:
            for running, ends in self.executor.run(self.missing):
                self.running = running
                for end in ends:
                    ended.append(self._end(end))
                    work_done += estimate.seconds[end.job.identity.name]
                    print_run(own := self.own, ended[-1], len(ended), len(self.missing))
                self._sync_growth()
                left = (work - work_done) * (time.monotonic() - started) / work_done if work_done else None
                line.update(own, ended, running=len(self.running), left=left)

    def _end(self, ended: Ended) -> StudyRun:
        """Keep how a job ended, in the study and in MLflow."""
        job = ended.job
        if ended.failure is None:
            self.companion.sync(project.run_root(job.identity.name))
            run = study_run_of(job, record_of(job))
        else:
            reason = ended.failure.reason
            self._close_run(job, "failed", reason)
            if ended.failure.traceback:
                atomic.write_file(project.checkpoint(job.identity.name) / "failure.txt", ended.failure.traceback)
            run = replace(study_run_of(job, None), state="failed", reason=reason)
        self._keep([run])
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

    def _keep(self, runs: Sequence[StudyRun], state: Callable[[Study], StudyState] = lambda _study: "running") -> None:
        """Keep `runs` in the study, whose state is then what `state` says of it; another sweep may have part in it."""

        def merge(present: Study | None) -> Study:
            study = with_runs(present or self.study, runs)
            return replace(study, state=state(study))

        self.study = update_study(self.folder, merge)
        self.companion.sync_study(self.folder)


def launch_one(point: Point) -> None:
    """Do one job of a study, in this process: what a launcher of Hydra's asks for.

    Raises UserError for a setting that can't exist, and whatever the training raises; what has been done is skipped.
    """
    values = dict(point.values)
    config = validated(StudyConfig, values.pop(STUDY), prefix=STUDY)
    configuration = configure(values)
    check_address(configuration.tracking)
    job = job_of(configuration, training_digest(project.PREPARED, configuration.data), config)
    folder = project.study(config.full_name)
    before = present_study(folder)
    ended = () if before is None else [run.identity for run in before.cells if run.state in ENDED]
    merge = partial(merge_job, job=job, config=config, point=point)
    study = update_study(folder, lambda present: _tracked(merge(present), configuration.tracking))
    is_done = record_of(job) is not None
    if is_done:
        console.print(f"{titles(study)[job.setting]}, seed {job.seed}: done already")
        forget_checkpoint(job)
        if job.identity.name in ended:
            return
    # A run that another study has done joins this one.
    with MirrorProcess(configuration.tracking, study.name, job.part) as companion:
        companion.sync_study(folder)
        if is_done:
            return
        try:
            run_job(job, companion.sync)
        except BaseException as error:
            # A disk that is full takes this neither: what is told is why.
            with contextlib.suppress(OSError):
                reason = failure(error).reason if isinstance(error, Exception) else None
                if reason is not None:
                    companion.sync(close_unfinished(job.configuration, job.identity, "failed", reason))
                update_study(folder, partial(merge, reason=reason))
                companion.sync_study(folder)
            raise
        update_study(folder, merge)
        companion.sync_study(folder)
