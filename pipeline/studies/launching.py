"""The two ways a study's jobs reach us from Hydra: the whole grid at once, or one by one from another launcher."""

import contextlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config.overrides import PREPARED_ONCE, SPLIT
from pipeline.config.reading import configured
from pipeline.config.schema import Tracking
from pipeline.config.validation import validated
from pipeline.data.prepared import training_digest
from pipeline.run.description import close_unfinished
from pipeline.storage import project
from pipeline.studies.conducting import conduct
from pipeline.studies.declaration import Declaration
from pipeline.studies.enrolment import with_job
from pipeline.studies.job import failure, forget_checkpoint, run_job
from pipeline.studies.overview import in_words, labels
from pipeline.studies.planning import Job, job_of, record_of
from pipeline.studies.study import ENDED, Point, present_study, update_study
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.companion import Companion

STUDY = "study"


def launch_grid(grid: Iterable[Point]) -> None:
    """Conduct the study that `grid` is; `study` is among the values of its points."""
    points = [point._replace(values=dict(point.values)) for point in grid]
    declarations = [point.values.pop(STUDY) for point in points]
    declaration = validated(Declaration, declarations[0], prefix=STUDY)
    if any(other != declarations[0] for other in declarations):
        raise UserError("study: is the same for all runs of a sweep; only what is trained can be swept.")
    first = points[0].values
    if any(point.values["tracking"] != first["tracking"] for point in points):
        raise UserError("tracking: is the same for all runs of a sweep; only what is trained can be swept.")
    for point in points:
        _check_data(first["data"], point)
    conduct(points, declaration, validated(Tracking, first["tracking"], prefix="tracking"))


def _check_data(first: Any, point: Point) -> None:
    """The runs of a sweep train on the images that are prepared; how these are split may differ."""
    data = point.values["data"]
    for key in {**first, **data}:
        if f"data.{key}" not in SPLIT and data.get(key) != first.get(key):
            raise UserError(f"data.{key}: differs in {point.overrides}, but {PREPARED_ONCE}")


def launch_one(point: Point) -> None:
    """Do one job of a study, in this process: what a launcher of Hydra's asks for.

    Raises UserError for a setting that can't exist, and whatever the training raises; what has been done is skipped.
    """
    rest = dict(point.values)
    declaration = validated(Declaration, rest.pop(STUDY), prefix=STUDY)
    configuration = configured(rest)
    job = job_of(configuration, training_digest(project.PREPARED, configuration.data), declaration)
    folder = project.study(declaration.full_name)
    known = _has_ended(folder, job)
    study = update_study(folder, partial(with_job, job=job, declaration=declaration, point=point))
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
                update_study(folder, partial(with_job, job=job, declaration=declaration, point=point, reason=reason))
                companion.sync_study(folder)
            raise
        update_study(folder, partial(with_job, job=job, declaration=declaration, point=point))
        companion.sync_study(folder)


def _has_ended(folder: Path, job: Job) -> bool:
    """Whether the study knows the job's end, and has told MLflow of it."""
    present = present_study(folder)
    cells = () if present is None else present.cells
    return any(cell.identity == job.identity.name and cell.state in ENDED for cell in cells)
