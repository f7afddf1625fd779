"""A study with the jobs that were asked for now: what it held of the same code and data stays."""

from dataclasses import replace

from pipeline.studies.declaration import Declaration
from pipeline.studies.planning import Job, Plan, basis_of, cell_of, record_of, setting_of
from pipeline.studies.study import Point, Study, with_cells
from pipeline.terminal.progress import console


def with_plan(present: Study | None, plan: Plan, declaration: Declaration) -> Study:
    """The study with the plan's settings and cells, each as its record says."""
    study = _continued(present, plan.basis, declaration)
    refused = tuple({"setting": found.overrides, "reason": found.reason} for found in plan.refused)
    study = replace(study, refused=refused, settings=study.settings | dict(plan.settings))
    return with_cells(study, [cell_of(job, record_of(job)) for job in plan.jobs])


def with_job(
    present: Study | None, job: Job, declaration: Declaration, point: Point | None = None, reason: str | None = None
) -> Study:
    """The study with one job more, for launchers that bring jobs one by one; `reason` where it failed."""
    study = _continued(present, basis_of(job.identity), declaration)
    study = replace(study, settings=study.settings | {job.setting: setting_of(job.configuration, point)})
    cell = cell_of(job, record_of(job))
    if reason is not None:
        cell = replace(cell, state="failed", reason=reason)
    study = with_cells(study, [cell])
    return replace(study, state="failed" if any(one.state == "failed" for one in study.cells) else "finished")


def _continued(present: Study | None, basis: str, declaration: Declaration) -> Study:
    kept = present is not None and (present.basis, present.images) == (basis, declaration.score_on)
    if present is not None and not kept:
        console.print(
            f"study {present.name}: the code, the data or the versions have changed since; of its {len(present.cells)} "
            "runs only those that are declared now and still hold stay in it"
        )
    return Study(
        name=declaration.full_name,
        images=declaration.score_on,
        basis=basis,
        baseline=declaration.baseline,
        margin=declaration.margin,
        settings=present.settings if present is not None and kept else {},
        cells=present.cells if present is not None and kept else (),
    )
