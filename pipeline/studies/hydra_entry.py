"""The two ways a study's jobs reach us from Hydra: the whole grid at once, or one by one from another launcher.

The name of a study that was typed and not declared.

The Hydra application that a sweep is.

From the overrides of many jobs to the values each composes to.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from pipeline.config.compose import COMPOSITION_ERRORS, told, values
from pipeline.config.guard import check_folder, check_override, check_size, declared_sweep
from pipeline.config.load import configured
from pipeline.config.messages import validated
from pipeline.config.overrides import PREPARED_ONCE, SPLIT, check_once, check_swept, parsed_override
from pipeline.config.schema import Tracking
from pipeline.data.prepared import training_digest
from pipeline.run.train_run import close_unfinished
from pipeline.storage import atomic, project
from pipeline.studies.arguments import SHOWING, TAKEN, shows, without_mode
from pipeline.studies.job import failure, forget_checkpoint, run_job
from pipeline.studies.plan import Job, job_of, record_of, with_job
from pipeline.studies.run_study import conduct
from pipeline.studies.study import ENDED, Point, present_study, update_study
from pipeline.studies.study_config import SEEDS_ALONE, Declaration, name_of
from pipeline.studies.study_summary import in_words, labels
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.mirror_process import MirrorProcess

UNNAMED = "seed", "study", "tracking", "hydra"
"""Sections that tell no sweep from another: more seeds join a study, wherever its runs are tracked."""

VALUED = {"-p", "--package", "-c", "--cfg"}
INFORMED = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
"""Hydra's options that take a word, and what `--info` takes, where it takes one."""


def named(arguments: Sequence[str], chosen: Mapping[str, Any]) -> list[str]:
    """The arguments, with the name of an ad-hoc study, as only the whole line knows it: the keys that are swept, and
    what else was chosen, there or before (`chosen`: what conf/chosen.yaml holds, by key or group).

    What is set comes first, options after: Hydra's parser takes them in one piece only.
    """
    words, options = apart(arguments)
    parsed = [parsed_override(word) for word in words]
    if any(found.key_or_group in ("study", "study.name") for found in parsed):
        return [*words, *options]
    swept = [found.key_or_group for found in parsed if found.is_sweep_override()]
    fixed = {**chosen, **{found.key_or_group: "deleted" if found.is_delete() else found.value() for found in parsed}}
    fixed = {key: value for key, value in fixed.items() if key not in swept and not _is_unnamed(key)}
    name = name_of(swept, fixed)
    return [*words, *options] if not swept and name == SEEDS_ALONE else [*words, f"study.name={name}", *options]


def check_typed(arguments: Sequence[str]) -> None:
    """Raises UserError for a key that can't be swept, or not as it was typed."""
    words, options = apart(without_mode(list(arguments)))
    parsed = [parsed_override(word) for word in words]
    for found in parsed:
        if found.is_sweep_override() and shows(options):
            raise UserError(f"{found.input_line}: names several runs, but {options[0]} shows one. Name one value.")
    if "--resolve" in options and not {"-c", "--cfg"} & {option.partition("=")[0] for option in options}:
        raise UserError("--resolve: says how --cfg shows a configuration. Write --cfg job --resolve, or leave it out.")
    check_once(parsed)
    check_swept(parsed)


def apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is set or swept, and the options with their words."""
    words, options = list[str](), list[str]()
    before = ""
    for word in arguments:
        is_of_option = before in VALUED or (before in ("--info", "-i") and word in INFORMED)
        (options if is_of_option or word.startswith("-") else words).append(word)
        before = "" if is_of_option else word
    return words, options


def _is_unnamed(key: str) -> bool:
    return key.partition("/")[0].partition(".")[0] in UNNAMED


# Hydra then lets exceptions through: they are told here and by `command.run`.
os.environ["HYDRA_FULL_ERROR"] = "1"


def run_application(arguments: list[str], launch_one: Callable[[Mapping[str, Any]], None]) -> None:
    """Let Hydra compose what is typed and launch it: the project's launcher the whole grid, others with `launch_one`.

    Raises UserError for what does not compose.
    """

    @hydra.main(version_base=None, config_path=str(project.CONF), config_name="sweep")
    def sweep(config: DictConfig) -> None:
        launch_one(values(config))

    sys.argv[1:] = without_mode(arguments)
    try:
        # Hydra writes there what was typed, from the folder in which it is called; its errors name no file.
        with contextlib.chdir(project.ROOT), atomic.naming(project.RUNS / ".hydra"):
            sweep()
    except COMPOSITION_ERRORS as error:
        raise UserError(told(error)) from None


def check_arguments(arguments: list[str]) -> None:
    """Raises UserError for what no sweep may do. Hydra runs code by its own section, before it calls ours."""
    check_folder(project.CONF)
    for option in (word for word in arguments if word.startswith("-")):
        if option.partition("=")[0] not in {*TAKEN, *SHOWING}:
            raise UserError(f"{option}: is no option of a sweep. What it reads is conf/sweep.yaml and what it is told.")
    # By its own parser: which word is an option's and which an override is told by its place, not by its text.
    overrides = [parsed_override(word) for word in get_args_parser().parse_intermixed_args(arguments).overrides]
    for override in overrides:
        check_override(override)
    studies = [str(override.value()) for override in overrides if override.key_or_group == "study"]
    check_size([*overrides, *(found for name in studies for found in declared_sweep(project.CONF, name))])


SEED = "seed="
NO_SETTING = "hydra/", "study", "tracking"
"""Groups whose variants are no part of a setting."""


def composed_grid(loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]) -> Iterator[Point]:
    """For each job what sets it apart as one line, and the values it composes to, without Hydra's own section.

    Jobs that differ in their seed only are composed once. Raises UserError for a reference that can't be followed.
    """
    shared = set[str]() if len(jobs) == 1 else set.intersection(*(set(job) for job in jobs))
    settings: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
    for job in jobs:
        setting = tuple(word for word in job if not word.startswith(SEED))
        if setting not in settings:
            found = loader.load_sweep_config(config, list(setting))
            variants = _variants(found.hydra.runtime.choices)
            with open_dict(found):
                found.pop("hydra")
            settings[setting] = found, variants
        unseeded, variants = settings[setting]
        composed = unseeded.copy()
        for word in job:
            if word.startswith(SEED):
                composed.seed = parsed_override(word).value()
        own = [word for word in job if word not in shared and not word.startswith(SEED)]
        asked = [word for word in job if not word.startswith((SEED, "study.", "+study="))]
        yield Point(" ".join(own or asked), values(composed), variants, _changed(setting, variants))


def present_point(composed: dict[str, Any]) -> Point:
    """The job that another launcher of Hydra's does now, as the point of a grid."""
    hydra = HydraConfig.get()
    variants = _variants(hydra.runtime.choices)
    return Point(" ".join(hydra.overrides.task), composed, variants, _changed(hydra.overrides.task, variants))


def _variants(choices: Mapping[Any, Any]) -> dict[str, str]:
    return {str(group): str(name) for group, name in choices.items() if name and not group.startswith(NO_SETTING)}


def _changed(words: Sequence[str], variants: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that `words` set, beside the groups whose variant they choose and what is no part of a setting."""
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    return tuple(key for key in keys if key not in variants and not key.startswith((*NO_SETTING, "seed")))


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
            with MirrorProcess(configuration.tracking, study.name, job.part) as companion:
                companion.sync_study(folder)
        return
    with MirrorProcess(configuration.tracking, study.name, job.part) as companion:
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
