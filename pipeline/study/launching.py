"""The two ways a study's jobs reach us from Hydra: the whole grid at once, or one by one from another launcher."""

import contextlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.configuration.reading import configured
from pipeline.configuration.schema import Tracking
from pipeline.configuration.validation import validated
from pipeline.experiment.description import close_unfinished
from pipeline.images.prepared import training_digest
from pipeline.record.overview import in_words, labels
from pipeline.record.study import ENDED, present_study, update_study
from pipeline.storage import project
from pipeline.study.conducting import conduct
from pipeline.study.declaration import Declaration
from pipeline.study.enrolment import with_job
from pipeline.study.job import failure, forget_checkpoint, run_job
from pipeline.study.planning import Job, job_of, record_of
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.companion import Companion

STUDY = "study"


def launch_grid(grid: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Conduct the study that `grid` is: overrides as typed, and the values they compose to, `study` among them."""
    jobs = [(overrides, dict(values)) for overrides, values in grid]
    declarations = [values.pop(STUDY) for _, values in jobs]
    declaration = validated(Declaration, declarations[0], prefix=STUDY)
    if any(other != declarations[0] for other in declarations):
        raise UserError("study: is the same for all runs of a sweep; only what is trained can be swept.")
    if any(values["tracking"] != jobs[0][1]["tracking"] for _, values in jobs):
        raise UserError("tracking: is the same for all runs of a sweep; only what is trained can be swept.")
    tracking = validated(Tracking, jobs[0][1]["tracking"], prefix="tracking")
    conduct(jobs, declaration, tracking)


def launch_one(values: Mapping[str, Any]) -> None:
    """Do one job of a study, in this process: what a launcher of Hydra's asks for.

    Raises UserError for a setting that can't exist, and whatever the training raises; what has been done is skipped.
    """
    rest = dict(values)
    declaration = validated(Declaration, rest.pop(STUDY), prefix=STUDY)
    configuration = configured(rest)
    job = job_of(configuration, training_digest(project.PREPARED, configuration.data), declaration)
    folder = project.study(declaration.full_name)
    known = _has_ended(folder, job)
    study = update_study(folder, partial(with_job, job=job, declaration=declaration))
    said = f"{in_words(labels(study)[job.setting])}, seed {job.seed}"
    if record_of(job) is not None:
        console.print(f"{said}: done already")
        forget_checkpoint(job)
        if not known:
            # Another study's run, which joins this one.
            with Companion(configuration.tracking, study.name, job.part) as companion:
                companion.sync_study(folder)
        return
    with Companion(configuration.tracking, study.name, job.part) as companion:
        companion.sync_study(folder)
        reason = None
        try:
            run_job(job, companion.sync)
        except BaseException as error:
            # A disk that is full takes this neither: what is told is why.
            with contextlib.suppress(OSError):
                if isinstance(error, Exception):
                    reason = failure(error).reason
                    companion.sync(close_unfinished(job.configuration, job.identity, "failed", reason))
                update_study(folder, partial(with_job, job=job, declaration=declaration, reason=reason))
                companion.sync_study(folder)
            raise
        update_study(folder, partial(with_job, job=job, declaration=declaration))
        companion.sync_study(folder)


def _has_ended(folder: Path, job: Job) -> bool:
    """Whether the study knows the job's end, and has told MLflow of it."""
    present = present_study(folder)
    cells = () if present is None else present.cells
    return any(cell.identity == job.identity.name and cell.state in ENDED for cell in cells)
