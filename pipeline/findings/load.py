"""From a study and its records, or from the runs of an MLflow store, to one comparison.

Each record is checked as it is read. All text of a store is untrusted: it is parsed, never followed.
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.data.prepared import load_test, load_training
from pipeline.data.scoring import held_out, held_out_digest
from pipeline.findings.comparison import Comparison, Run, Setting, TrialResult, Values, grid
from pipeline.run.record import (
    EVALUATION,
    TEST_EVALUATION,
    EvaluationClock,
    EvaluationPart,
    Record,
    read_clock,
    read_record,
)
from pipeline.statistics.differences import MARGIN, Contrast
from pipeline.statistics.race import Standing
from pipeline.storage import project
from pipeline.studies.race import as_contrast, last_standing
from pipeline.studies.search import FINALISTS, trial_scores, verdict_line, words_of
from pipeline.studies.study import ENDED, SCORED_ON_TEST, DeclaredContrast, Study, StudyRun, find_baseline
from pipeline.studies.study_summary import as_typed, distinctions
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar
from pipeline.tracking.fields import MULTIPLY_ADDS, PARAMETERS, SECONDS, TIMING, score_name
from pipeline.tracking.study_fields import BASELINE_VALUES, GRID

if TYPE_CHECKING:
    from pipeline.tracking.download import StoredRun

ANEW = "Run the study's sweep again: it does this run anew, and only this one."

ALONE = "latency_ms_batch_1"
"""The latency of an image by itself, of a run beside which no other was at work."""

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
STATES = {"RUNNING": "running", "FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}
OUTCOMES = {*STATES.values(), "diverged", "collapsed"}


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """The images that scored the runs: uint8 [n, h, w, c] and labels [n]; `missing` says why there are none."""

    images: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint8] | None = None
    missing: str = ""


# From records


def from_study(study: Study, runs_folder: Path | None = None) -> Comparison:
    """The comparison of a study's settings, whose records lie in `runs_folder` (None: where sweeps keep them).

    Raises UserError for a study without a run and for a record that is missing or damaged, with its path.
    """
    if not study.cells:
        raise UserError(f"{study.name}: has no run yet. Run the sweep first.")
    names, named = list(study.settings), distinctions(study)
    runs, about = [], dict[str, Any]()
    with bar("records") as progress:
        for cell in progress.track(study.cells, description="reading records"):
            run = Run(names.index(cell.setting), cell.seed, cell.identity, cell.state, cell.reason)
            if cell.state in ENDED:
                record, scored = _record(cell, study.images, runs_folder or project.RUNS)
                run = _recorded_run(run, record, scored, collapsed=cell.collapsed)
                # What a study's runs say of the images is alike.
                about = about or _data(record, scored)
            runs.append(run)
    return _comparison(
        [named[name] for name in names],
        [Setting(one.values | named[name], one.parameters, one.multiply_adds) for name, one in study.settings.items()],
        runs,
        baseline=names.index(find_baseline(study)),
        questions=tuple((contrast, as_contrast(contrast, names)) for contrast in study.contrasts),
        standing=last_standing(study),
        study=study.name,
        images=study.images,
        margin=study.margin,
        baseline_declared=study.baseline is not None,
        commands=_commands(study),
        refused=len(study.refused),
        stop=study.stop,
        search=study.search,
        trials=_trials(study),
        finalists=(min(FINALISTS, len(study.settings)), line) if (line := verdict_line(study)) else None,
        error_rate=study.error_rate,
        **about,
    )


def _trials(study: Study) -> list[TrialResult]:
    """The trials of a search, their settings by number in declared order."""
    names, reasons = list(study.settings), {one["setting"]: one["reason"] for one in study.refused}
    first, trials, best = dict[str, int](), list[TrialResult](), None
    proposed = () if study.search is None else study.search.trials
    for number, (trial, score) in enumerate(zip(proposed, trial_scores(study), strict=True), 1):
        best = score if best is None else max(best, score or 0)
        words = words_of(trial)
        if trial.setting is None:
            remark = f"can't exist: {reasons.get(words, 'it was refused')}"
        elif trial.setting in first:
            remark = f"as trial {first[trial.setting]}"
        else:
            remark, first[trial.setting] = "" if score is not None else "not scored", number
        place = None if trial.setting is None else names.index(trial.setting)
        trials.append(TrialResult(number, words, place, score, best, remark))
    return trials


def _record(cell: StudyRun, images: str, runs_folder: Path) -> tuple[Record, EvaluationPart]:
    root = runs_folder / cell.identity
    part = TEST_EVALUATION if images == "test" else EVALUATION
    try:
        record = read_record(root, part)
        if record.evaluation is None or record.training.run.identity != cell.identity:
            raise UserError(f"{root / part}: is no score of run {cell.identity}.")
    except UserError as error:
        # What is wrong with a sweep's record, and what a sweep does about it.
        raise UserError(f"{str(error).partition(' `dvc')[0]} {ANEW}") from None
    return record, record.evaluation


def _recorded_run(run: Run, record: Record, scored: EvaluationPart, *, collapsed: bool) -> Run:
    """The run with what its record holds."""
    made, history, accuracy = record.training.environment, record.training.history, scored.scores["accuracy"]
    test = read_clock(record.root / TEST_EVALUATION, run.identity, EvaluationClock)
    outcome = record.training.run.outcome
    cores, versions = made.hardware.get("cores"), record.training.run.ingredients.get("versions")
    machine = made.hardware.get("processor_class") or made.hardware.get("system")
    hardware = made.hardware.get("processor"), cores and f"{cores} cores", machine
    return replace(
        run,
        outcome="collapsed" if outcome == "finished" and (collapsed or scored.collapsed) else outcome,
        reason=record.training.run.reason,
        accuracy=None if accuracy is None else 100 * accuracy,
        gap=100 * (history[-1].accuracy - accuracy) if history and accuracy is not None else None,
        seconds=record.training.seconds,
        latency=scored.latency.get(ALONE),
        commit=made.git_commit,
        uncommitted=bool(made.uncommitted_changes),
        hardware=", ".join(str(part) for part in hardware if part),
        versions=", ".join(f"{name} {own}" for name, own in versions.items()) if isinstance(versions, dict) else "",
        images_digest=scored.images_digest,
        scored=scored.scored,
        on_test=test.scored if test is not None and scored.images != "test" else None,
        curve=tuple(100 * own for epoch in history if (own := epoch.validation_accuracy) is not None),
        answers=_answers(scored.folder / "correct.npy"),
    )


def _answers(path: Path) -> NDArray[np.bool_] | None:
    """Which images a run answered rightly, bool [images]; None where nothing is kept. Raises UserError for no such."""
    if not path.exists():
        return None
    try:
        answers: NDArray[np.bool_] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read ({error}). {ANEW}") from None
    if answers.ndim != 1 or answers.dtype != np.bool_:
        raise UserError(f"{path}: must be bool [images], not {answers.dtype} {list(answers.shape)}. {ANEW}")
    return answers


def _data(record: Record, scored: EvaluationPart) -> dict[str, Any]:
    """What a run says of the images. Records of other code say it, too."""
    ingredients = record.training.run.ingredients
    held_out, seed = ingredients.get("validation_images"), ingredients.get("split_seed")
    return {
        "data": str(ingredients.get("data")),
        "split": (held_out, seed) if isinstance(held_out, int) and isinstance(seed, int) else None,
        "class_names": tuple(scored.class_names),
    }


def _commands(study: Study) -> tuple[str, ...]:
    """The study's sweep where conf/ declares it, else no more than how to make this report."""
    declared = study.name.removesuffix(SCORED_ON_TEST)
    on_test = " study.score_on=test" if study.images == "test" else ""
    # A variant in a folder (rules/padding) declares a study of both names (rules_padding).
    variants = [one for one in project.variants("study") if one.replace("/", "_") == declared]
    sweeps = [f"python -m pipeline.sweep +study={one}{on_test}" for one in variants]
    return (*sweeps, f"python -m pipeline.compare {study.name}")


def scored_images(comparison: Comparison) -> ScoredImages:
    """The images that scored the runs, out of the prepared ones; says why where these are missing or others."""
    answered = [run for run in comparison.runs if run.answers is not None]
    if len({run.images_digest for run in answered}) != 1 or answered[0].answers is None:
        return ScoredImages(missing="no run has answers on images.")
    try:
        if comparison.images == "test":
            images = load_test(project.PREPARED)
            digest = images.digest
        elif comparison.split is not None:
            training = load_training(project.PREPARED)
            images, digest = held_out(training, *comparison.split), held_out_digest(training.digest, *comparison.split)
        else:
            return ScoredImages(missing="no run says which images were held out.")
    except UserError as error:
        return ScoredImages(missing=str(error))
    if digest != answered[0].images_digest or len(images.labels) != len(answered[0].answers):
        return ScoredImages(missing="the prepared images are not those that scored the runs.")
    return ScoredImages(images.images, images.labels)


# From an MLflow store


def from_store(stored: "Sequence[StoredRun]", where: str, arguments: str) -> Comparison:
    """The comparison of `stored` runs, read from the store at `where` by compare's `arguments`.

    A study's own run among them gives baseline and margin. Raises UserError where they hold no run, a run has no seed,
    they were scored on different images, or two differ that should be one.
    """
    studies = [run.tags for run in stored if run.tags.get("role") == "study"]
    about = studies[0] if len(studies) == 1 else {}
    if searched := [own.get("study", "") for own in studies if "search" in own]:
        raise UserError(f"{searched[0]}: is a search, whose order no store tells. Compare it where its records are.")
    # Two studies may share a run: it counts once.
    own = {run.tags.get("identity", run.run_id): run for run in stored if run.tags.get("role") != "study"}
    if not own:
        raise UserError(f"{where}: holds no such run. `make ui` shows which there are.")
    scored_on = {run.tags["scored_on"] for run in own.values() if "scored_on" in run.tags}
    if len(scored_on) > 1:
        raise UserError("These runs were scored on different images. Narrow the filter: tags.scored_on = 'validation'")
    images = "test" if scored_on == {"test"} else "validation"
    groups: dict[str, list[StoredRun]] = {}
    for run in own.values():
        groups.setdefault(json.dumps(_values(run), sort_keys=True), []).append(run)
    settings = [_stored_setting(group) for group in groups.values()]
    runs = [_stored_run(run, number, images) for number, group in enumerate(groups.values()) for run in group]
    _check_once(runs)
    values = [setting.values for setting in settings]
    baseline = _stored_baseline(about, values)
    return _comparison(
        _names(about, values),
        settings,
        runs,
        baseline=baseline or 0,
        study=_study_name({run.tags.get("study", "") for run in own.values()}),
        images=images,
        margin=_margin(about),
        baseline_declared=baseline is not None,
        commands=(f"python -m pipeline.compare {arguments}",),
        store=where,
    )


def _values(stored: "StoredRun") -> dict[str, JsonValue]:
    """Its params but the seed: as a number, a truth value or a list where it is one, else as text."""
    values: dict[str, JsonValue] = {}
    for key, text in stored.params.items():
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None if text == "none" else text
        values[key] = text if isinstance(value, float) and not math.isfinite(value) else value
    values.pop("seed", None)
    return values


def _stored_setting(group: "Sequence[StoredRun]") -> Setting:
    parameters, multiply_adds = (
        _median(run.metrics.get(cost) for run in group) for cost in (PARAMETERS, MULTIPLY_ADDS)
    )
    return Setting(_values(group[0]), parameters, multiply_adds)


def _stored_run(stored: "StoredRun", setting: int, images: str) -> Run:
    seed = stored.params.get("seed", "")
    if not re.fullmatch(r"\d{1,18}", seed):
        raise UserError(f"MLflow run {stored.run_id}: has no whole number as param seed, by which runs are paired.")
    outcome = stored.tags.get("outcome", "")
    if outcome not in OUTCOMES:
        outcome = STATES.get(stored.status, "failed")
    if outcome == "finished" and stored.tags.get("collapsed") == "true":
        outcome = "collapsed"
    metrics = {name: value for name, value in stored.metrics.items() if math.isfinite(value)}
    accuracy = metrics.get(score_name(images), -1)
    scored = 0 <= accuracy <= 1 and outcome in (*ENDED, "collapsed")
    return Run(
        setting=setting,
        seed=int(seed),
        identity=stored.tags.get("identity", stored.run_id),
        outcome=outcome,
        reason=stored.tags.get("reason"),
        accuracy=100 * accuracy if scored else None,
        seconds=metrics.get(SECONDS),
        latency=metrics.get(f"{TIMING}{ALONE}"),
        commit=stored.tags.get("git.commit"),
        uncommitted=stored.tags.get("git.uncommitted_changes") == "true",
    )


def _check_once(runs: Sequence[Run]) -> None:
    seen: dict[tuple[int, int], Run] = {}
    for run in runs:
        other = seen.setdefault((run.setting, run.seed), run)
        if other is not run:
            raise UserError(
                f"Runs {other.identity[:40]} and {run.identity[:40]} have the same params and seed {run.seed}: code, "
                "data or versions differ. Narrow the filter to one study: tags.study = '…'"
            )


def _names(about: Mapping[str, str], settings: Sequence[Values]) -> Sequence[Values]:
    """What tells each setting from the others: by the keys of the study's grid, where its runs bear that out."""
    keys = [tag.removeprefix(GRID) for tag in about if tag.startswith(GRID)]
    names = [{key: values[key] for key in keys if key in values} for values in settings]
    return names if len({json.dumps(name, sort_keys=True) for name in names}) == len(names) else settings


def _study_name(names: set[str]) -> str:
    """The name of the report's folder: that of the runs' study, marked as read from a store, or `mlflow`."""
    name = names.pop()
    return f"{name}_from_mlflow" if not names and STUDY_NAME.fullmatch(name) else "mlflow"


def _margin(about: Mapping[str, str]) -> float:
    try:
        margin = float(about.get("margin", MARGIN))
    except ValueError:
        return MARGIN
    return margin if 0 < margin <= 100 else MARGIN


def _stored_baseline(about: Mapping[str, str], settings: Sequence[Values]) -> int | None:
    """The number of the setting that the study's own run names as its baseline; None where it does not."""
    try:
        wanted = {f"{key} {as_typed(value)}" for key, value in json.loads(about[BASELINE_VALUES]).items()}
    except (KeyError, ValueError, AttributeError):
        # Of a time when these had no tag of their own: what people read.
        wanted = set(about.get("baseline", "").split(", "))
    words = [{f"{key} {as_typed(value)}" for key, value in values.items()} for values in settings]
    same = [number for number, own in enumerate(words) if wanted and wanted <= own]
    return same[0] if len(same) == 1 else None


# From both


def _comparison(
    names: Sequence[Values],
    settings: Sequence[Setting],
    runs: Sequence[Run],
    baseline: int,
    questions: Sequence[tuple[DeclaredContrast, Contrast]] = (),
    standing: Standing | None = None,
    trials: Sequence[TrialResult] = (),
    **about: Any,
) -> Comparison:
    """Of settings in declared order: sorted by the levels of what their `names` differ in, and so all about them."""
    layout = grid(names)
    order, rows = list(layout.order), {number: row for row, number in enumerate(layout.order)}
    runs = sorted((replace(run, setting=rows[run.setting]) for run in runs), key=attrgetter("setting", "seed"))
    placed = []
    for row, number in enumerate(order):
        own = [run for run in runs if run.setting == row]
        seconds = _median(run.seconds for run in own if run.outcome not in ("diverged", "failed"))
        costs = replace(settings[number], seconds=seconds, latency=_median(run.latency for run in own))
        placed.append(replace(costs, label=layout.labels[number], levels=layout.levels[number]))
    if standing is not None:
        standing = replace(standing, open=frozenset(rows[number] for number in standing.open))
        if not questions:
            decided = {rows[number]: one for number, one in standing.decided.items()}
            undecided = {rows[number]: one for number, one in standing.undecided.items()}
            standing = replace(standing, decided=decided, undecided=undecided)
    return Comparison(
        baseline=rows[baseline],
        factors=layout.factors,
        settings=tuple(placed),
        seeds=tuple(sorted({run.seed for run in runs})),
        runs=tuple(runs),
        questions=tuple((one, replace(contrast, weights=contrast.weights[order])) for one, contrast in questions),
        standing=standing,
        trials=tuple(one if one.setting is None else replace(one, setting=rows[one.setting]) for one in trials),
        **about,
    )


def _median(values: Iterable[float | None]) -> float:
    """The median of those that are known; NaN where none is."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(known) if known else math.nan
