"""From a study and its records to the evidence; each record is checked as it is read."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from pipeline.findings.evidence import ENDED, Evidence, Run, Setting
from pipeline.findings.factors import grid
from pipeline.findings.statistics.factors import Level
from pipeline.run.metrics import predictions
from pipeline.run.record import EVALUATION, TEST_EVALUATION, EvaluationClock, Record, read_clock, read_record
from pipeline.storage import project
from pipeline.studies.study import SCORED_ON_TEST, Cell, Study
from pipeline.studies.study_summary import distinctions
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar

ALONE = "latency_ms_batch_1"
"""The latency of an image by itself, of a run beside which no other was at work."""

ONE_CLASS = 0.95
"""Share of the images from which on a run that gives them all one class counts as collapsed."""


def from_study(study: Study) -> Evidence:
    """The evidence of a study.

    Raises UserError for a study without a run and for a record that is missing or damaged, with its path.
    """
    if not study.cells:
        raise UserError(f"{study.name}: has no run yet. Run the sweep first.")
    names = list(study.settings)
    told = distinctions(study)
    found = grid([told[name] for name in names])
    place = {names[number]: row for row, number in enumerate(found.order)}
    with bar("records") as progress:
        task = progress.add_task("reading records", total=len(study.cells))
        runs: list[Run] = []
        records: list[Record] = []
        for cell in study.cells:
            record = _record(cell, study.images) if cell.state in ENDED else None
            runs.append(_run(cell, record, place[cell.setting]))
            records += [] if record is None else [record]
            progress.advance(task)
    settings = [
        _setting(study, names[number], found.levels[number], found.labels[number], runs, row)
        for row, number in enumerate(found.order)
    ]
    first = place[_baseline(study)]
    return Evidence(
        study=study.name,
        images=study.images,
        margin=study.margin,
        baseline=first,
        baseline_declared=study.baseline is not None,
        factors=found.factors,
        settings=tuple(settings),
        seeds=tuple(sorted({cell.seed for cell in study.cells})),
        runs=tuple(sorted(runs, key=lambda run: (run.setting, run.seed))),
        commands=_commands(study),
        refused=len(study.refused),
        **_data(records),
    )


def _record(cell: Cell, images: str) -> Record:
    root = project.run_root(cell.identity)
    part = TEST_EVALUATION if images == "test" else EVALUATION
    try:
        record = read_record(root, part)
    except UserError as error:
        raise UserError(_repairable(str(error))) from None
    if record.evaluation is None or record.training.run.identity != cell.identity:
        raise UserError(_repairable(f"{root / part}: is no score of run {cell.identity}."))
    return record


def _repairable(message: str) -> str:
    """What is wrong with a sweep's record, and what a sweep does about it."""
    return f"{message.partition(' `dvc')[0]} Run the study's sweep again: it does this run anew, and only this one."


def _run(cell: Cell, record: Record | None, setting: int) -> Run:
    if record is None or record.evaluation is None:
        return Run(setting, cell.seed, cell.identity, cell.state, cell.reason)
    scored, where = record.evaluation, record.training.environment
    accuracy = scored.scores["accuracy"]
    test = read_clock(record.root / TEST_EVALUATION, cell.identity, EvaluationClock)
    answers = scored.folder / "correct.npy"
    return Run(
        setting=setting,
        seed=cell.seed,
        identity=cell.identity,
        state=record.training.run.outcome,
        reason=record.training.run.reason,
        accuracy=None if accuracy is None else 100 * accuracy,
        seconds=record.training.seconds,
        latency=scored.latency.get(ALONE),
        commit=where.git_commit,
        uncommitted=bool(where.uncommitted_changes),
        hardware=_hardware(where.hardware),
        images_digest=scored.images_digest,
        scored=scored.scored,
        on_test=test.scored if test is not None and scored.images != "test" else None,
        answers=answers if answers.exists() else None,
        collapsed=accuracy is not None and names_one_class(scored.folder / "probabilities.npy", accuracy),
    )


def names_one_class(path: Path, accuracy: float) -> bool:
    """Whether the probabilities [images, classes] at `path` name one class for at least ONE_CLASS of the images.

    That is what is left of a network that collapsed: the same answer whatever it sees, and an accuracy near that
    class's share. One that is right so often (all images are of one class) has not. False without such a file.
    """
    try:
        named = predictions(np.load(path, allow_pickle=False))
    except (OSError, ValueError):
        return False
    most = np.unique(named, return_counts=True)[1].max(initial=0)
    return bool(most >= ONE_CLASS * len(named) > accuracy * len(named))


def _hardware(found: dict[str, JsonValue]) -> str:
    parts = found.get("processor"), f"{found.get('cores')} cores", found.get("system")
    return ", ".join(str(part) for part in parts if part)


def _setting(study: Study, name: str, levels: tuple[Level, ...], label: str, runs: Sequence[Run], row: int) -> Setting:
    own = [run for run in runs if run.setting == row]
    return Setting(
        label=label,
        values=study.settings[name].values | distinctions(study)[name],
        levels=levels,
        parameters=study.settings[name].parameters,
        multiply_adds=study.settings[name].multiply_adds,
        seconds=median([run.seconds for run in own if run.state == "finished"]),
        latency=median([run.latency for run in own]),
    )


def median(values: Sequence[float | None]) -> float:
    """The median of those that are known; NaN where none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else float("nan")


def _baseline(study: Study) -> str:
    """The name of the declared baseline, or of the setting that was declared first."""
    wanted = study.baseline or {}
    for name, setting in study.settings.items():
        if setting.is_at(wanted):
            return name
    raise UserError(f"{study.name}: its baseline is none of its settings. Run the sweep again with study.baseline set.")


def _commands(study: Study) -> tuple[str, ...]:
    """The study's sweep where conf/ declares it, else no more than how to make this report."""
    declared = study.name.removesuffix(SCORED_ON_TEST)
    on_test = " study.score_on=test" if study.images == "test" else ""
    is_declared = (project.CONF / "study" / f"{declared}.yaml").exists()
    sweep = (f"python -m pipeline.sweep +study={declared}{on_test}",) if is_declared else ()
    return (*sweep, f"python -m pipeline.compare {study.name}")


def _data(records: Sequence[Record]) -> dict[str, Any]:
    """What the runs say of the images: alike for all, as a study's basis is."""
    if not records:
        return {}
    run = records[0].training.run
    specification = run.specification
    return {
        "data": str(run.ingredients["data"]),
        "split": (specification.validation_images, specification.split_seed),
        "class_names": next((tuple(record.evaluation.class_names) for record in records if record.evaluation), ()),
    }
