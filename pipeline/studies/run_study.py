"""Conduct a study: do what is missing of a grid, keep the study and MLflow up to it, tell the person who waits."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from pipeline.config.schema import Tracking
from pipeline.data.prepared import load_training
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING, Outcome
from pipeline.run.train_run import close_unfinished
from pipeline.storage import atomic, lock, project
from pipeline.studies.console import line, tell_failures, tell_plan, tell_refused, tell_results, tell_run
from pipeline.studies.estimate import Estimate, estimated
from pipeline.studies.job import check_checkpoint, forget_checkpoint
from pipeline.studies.plan import Job, Plan, cell_of, planned, record_of, with_plan
from pipeline.studies.study import ENDED, Cell, Point, Study, StudyState, came_of, update_study, with_cells
from pipeline.studies.study_config import Declaration
from pipeline.studies.study_summary import counted
from pipeline.studies.workers import Ended, done, workers
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.terminal.signals import undisturbed
from pipeline.tracking.mirror_process import MirrorProcess


def conduct(grid: Sequence[Point], declaration: Declaration, tracking: Tracking) -> None:
    """Do all runs of `grid` that have not been done.

    Raises UserError when a setting can't exist, and at the end when a run has failed.
    """
    plan = planned(grid, declaration)
    if plan.refused:
        tell_refused(plan.refused)
        if not declaration.leave_out_refused:
            raise UserError(
                f"{counted(len(plan.refused), 'setting')} of this grid can't exist; nothing was started. Change the "
                "grid, or go on without: study.leave_out_refused=true"
            )
    if not plan.jobs:
        raise UserError("no setting of this grid can exist; nothing was started.")
    folder = project.study(declaration.full_name)
    part = TEST_EVALUATION if declaration.score_on == "test" else EVALUATION
    study = update_study(folder, partial(with_plan, plan=plan, declaration=declaration))
    with MirrorProcess(tracking, study.name, part) as companion:
        failed = _Conductor(study, plan, companion).conducted(declaration.jobs)
    if companion.said:
        console.print(
            f"tracking: {companion.said}. The records are complete; `python -m pipeline.track {study.name}` brings "
            "MLflow up to them."
        )
    if failed:
        raise UserError(f"{failed} of {len(plan.jobs)} runs failed. The same line tries them again, and only them.")


class _Conductor:
    def __init__(self, study: Study, plan: Plan, companion: MirrorProcess) -> None:
        self.study = study
        self.plan = plan
        self.folder = project.study(study.name)
        self.companion = companion
        self.cells = {cell.identity: cell for cell in study.cells}
        missing = [job for job in plan.jobs if self.cells[job.identity.name].state == "waiting"]
        # Every setting has its first seed before any has its second; the costliest first, to end together.
        self.missing = sorted(missing, key=lambda job: (job.seed, -plan.settings[job.setting].multiply_adds))
        self.running: list[Job] = []
        self.grown: dict[str, int] = {}

    def conducted(self, wanted: int | None) -> int:
        """Do what is missing; returns how many runs failed."""
        estimate = estimated(self.missing, self.plan.settings)
        count = max((workers(job.configuration.training.threads, wanted) for job in self.missing), default=0)
        count = min(count, len(self.missing))
        tell_plan(self.study, self.plan, estimate, count)
        self.companion.sync_study(self.folder)
        for job in self.plan.jobs:
            if self.cells[job.identity.name].state in ENDED:
                forget_checkpoint(job)
        try:
            if self.missing:
                # A byte that is not as it was written is found before any worker starts.
                load_training(project.PREPARED)
                for job in self.missing:
                    check_checkpoint(job, console.print)
                self._do_missing(estimate, wanted)
        except BaseException as error:
            with undisturbed():
                self._interrupt(error)
            raise
        failed = [cell for cell in self.study.cells if cell.state == "failed" and cell.identity in self._planned]
        self._keep([], came_of)
        tell_results(self.own, others=len(self.study.settings) - len(self.plan.settings))
        if failed:
            tell_failures(self.own, failed)
        return len(failed)

    @property
    def own(self) -> Study:
        """Of the study what this grid declares: earlier grids may differ in other keys. Seeds of earlier ones count."""
        cells = tuple(cell for cell in self.study.cells if cell.setting in self.plan.settings)
        return replace(self.study, settings=dict(self.plan.settings), cells=cells)

    @property
    def _planned(self) -> set[str]:
        return {job.identity.name for job in self.plan.jobs}

    def _do_missing(self, estimate: Estimate, wanted: int | None) -> None:
        total, started = len(self.missing), time.monotonic()
        ended = failed = 0
        work_done = 0.0
        work = sum(estimate.seconds.values())
        own = self.own
        with line(total) as bar:
            for running, told in done(self.missing, wanted):
                self.running = running
                for one in told:
                    cell = self._end(one)
                    failed += cell.state == "failed"
                    ended += 1
                    work_done += estimate.seconds[one.job.identity.name]
                    tell_run(own := self.own, cell, ended, total)
                self._tell_growth()
                left = (work - work_done) * (time.monotonic() - started) / work_done if work_done else None
                bar.update(own, done=ended - failed, running=len(running), failed=failed, left=left)

    def _end(self, ended: Ended) -> Cell:
        """Keep how a job ended, in the study and in MLflow."""
        job = ended.job
        if ended.failure is None:
            self.companion.sync(project.run_root(job.identity.name))
            cell = cell_of(job, record_of(job))
        else:
            reason = ended.failure.reason
            self._close_run(job, "failed", reason)
            if ended.failure.traceback:
                atomic.write_file(project.checkpoint(job.identity.name) / "failure.txt", ended.failure.traceback)
            cell = replace(cell_of(job, None), state="failed", reason=reason)
        self._keep([cell])
        return cell

    def _close_run(self, job: Job, outcome: Outcome, reason: str) -> None:
        """Say of a run that its worker left how it ended, unless another sweep goes on with it already."""
        if not lock.is_held(project.checkpoint(job.identity.name) / "lock"):
            self.companion.sync(close_unfinished(job.configuration, job.identity, outcome, reason))

    def _tell_growth(self) -> None:
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
                ended.append(cell_of(job, record))
                self.companion.sync(project.run_root(job.identity.name))
        self._keep(ended, lambda _study: "interrupted")

    def _keep(self, cells: Sequence[Cell], state: Callable[[Study], StudyState] = lambda _study: "running") -> None:
        """Keep `cells` in the study, whose state is then what `state` says of it; another sweep may have part in it."""

        def kept(present: Study | None) -> Study:
            study = with_cells(present or self.study, cells)
            return replace(study, state=state(study))

        self.study = update_study(self.folder, kept)
        self.companion.sync_study(self.folder)
