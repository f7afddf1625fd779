"""How a sweep is typed: the words of its line, the Hydra application that composes them, and the grid they make."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from pipeline.config.compose import COMPOSITION_ERRORS, told, values
from pipeline.config.guard import (
    check_folder,
    check_once,
    check_override,
    check_size,
    check_swept,
    declared_sweep,
    parse_override,
)
from pipeline.storage import atomic, project
from pipeline.studies.study import Point
from pipeline.studies.study_config import SEEDS_ALONE, name_of
from pipeline.terminal.errors import UserError

SHOWING = "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"
"""Hydra's options that show what would run."""

TAKEN = {*SHOWING, "-h", "--help", "--hydra-help", "--version", "--resolve", "-p", "--package", "-m", "--multirun"}
"""Hydra's options that a sweep takes: not those that read a configuration, or a pickle, from elsewhere."""

VALUED = {"-p", "--package", "-c", "--cfg"}
INFORMED = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
"""Hydra's options that take a word, and what `--info` takes, where it takes one."""

SEED = "seed="
NO_SETTING = "hydra/", "study", "tracking"
"""Groups whose variants are no part of a setting."""

UNNAMED = "seed", "study", "tracking", "hydra"
"""Sections that tell no sweep from another: more seeds join a study, wherever its runs are tracked."""

# Hydra then lets exceptions through: they are told here and by `command.run`.
os.environ["HYDRA_FULL_ERROR"] = "1"


def shows(arguments: Iterable[str]) -> bool:
    """Whether they ask for what would run, and not to run it."""
    return any(word.partition("=")[0] in SHOWING for word in arguments)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises UserError for what no sweep may do. Hydra runs code by its own section, before it calls ours."""
    check_folder(project.CONF)
    words, options = split_arguments(arguments)
    for option in options:
        if option.startswith("-") and option.partition("=")[0] not in TAKEN:
            raise UserError(f"{option}: is no option of a sweep. What it reads is conf/sweep.yaml and what it is told.")
    overrides = [parse_override(word) for word in words]
    for override in overrides:
        check_override(override)
    studies = [str(override.value()) for override in overrides if override.key_or_group == "study"]
    check_size([*overrides, *(swept for name in studies for swept in declared_sweep(project.CONF, name))])


def check_typed(arguments: Sequence[str]) -> None:
    """Raises UserError for a key that can't be swept, or not as it was typed."""
    words, options = split_arguments(without_mode(arguments))
    overrides = [parse_override(word) for word in words]
    for override in overrides:
        if override.is_sweep_override() and shows(options):
            raise UserError(f"{override.input_line}: names several runs, but {options[0]} shows one. Name one value.")
    if "--resolve" in options and not {"-c", "--cfg"} & {option.partition("=")[0] for option in options}:
        raise UserError("--resolve: says how --cfg shows a configuration. Write --cfg job --resolve, or leave it out.")
    check_once(overrides)
    check_swept(overrides)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is set or swept, and the options with their words, told apart by their place as Hydra's parser does."""
    words, options = list[str](), list[str]()
    before = ""
    for word in arguments:
        is_of_option = before in VALUED or (before in ("--info", "-i") and word in INFORMED)
        (options if is_of_option or word.startswith("-") else words).append(word)
        before = "" if is_of_option else word
    return words, options


def without_mode(arguments: Sequence[str]) -> list[str]:
    """The arguments; `-m` is what a sweep is, and Hydra refuses it beside `--cfg` and its like."""
    return [word for word in arguments if word not in ("-m", "--multirun") or not shows(arguments)]


def name_study(arguments: Sequence[str], chosen: Mapping[str, Any]) -> list[str]:
    """The arguments, with the name of an ad-hoc study, as only the whole line knows it: the keys that are swept, and
    what else was chosen, there or before (`chosen`: what conf/chosen.yaml holds, by key or group).

    What is set comes first, options after: Hydra's parser takes them in one piece only.
    """
    words, options = split_arguments(arguments)
    overrides = [parse_override(word) for word in words]
    if any(override.key_or_group in ("study", "study.name") for override in overrides):
        return [*words, *options]
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    fixed = dict(chosen)
    for override in overrides:
        fixed[override.key_or_group] = "deleted" if override.is_delete() else override.value()
    fixed = {key: value for key, value in fixed.items() if key not in swept and _section(key) not in UNNAMED}
    name = name_of(swept, fixed)
    return [*words, *([f"study.name={name}"] if swept or name != SEEDS_ALONE else []), *options]


def _section(key: str) -> str:
    return key.partition("/")[0].partition(".")[0]


def run_application(arguments: list[str], launch_one: Callable[[Point], None]) -> None:
    """Let Hydra compose what is typed and launch it: the project's launcher the whole grid, others with `launch_one`.

    Raises UserError for what does not compose.
    """

    @hydra.main(version_base=None, config_path=str(project.CONF), config_name="sweep")
    def sweep(config: DictConfig) -> None:
        launch_one(_present_point(values(config)))

    sys.argv[1:] = without_mode(arguments)
    try:
        # Hydra writes there what was typed, from the folder in which it is called; its errors name no file.
        with contextlib.chdir(project.ROOT), atomic.naming(project.RUNS / ".hydra"):
            sweep()
    except COMPOSITION_ERRORS as error:
        raise UserError(told(error)) from None


def _present_point(composed: dict[str, Any]) -> Point:
    """The job that another launcher of Hydra's does now, as the point of a grid."""
    config = HydraConfig.get()
    variants = _variants(config.runtime.choices)
    return Point(" ".join(config.overrides.task), composed, variants, _changed(config.overrides.task, variants))


def composed_grid(loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]) -> Iterator[Point]:
    """For each job what sets it apart as one line, and the values it composes to, without Hydra's own section.

    Jobs that differ in their seed only are composed once. Raises UserError for a reference that can't be followed.
    """
    shared = set[str]() if len(jobs) == 1 else set.intersection(*(set(job) for job in jobs))
    settings: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
    for job in jobs:
        setting = tuple(word for word in job if not word.startswith(SEED))
        if setting not in settings:
            settings[setting] = _composed(loader, config, setting)
        unseeded, variants = settings[setting]
        composed = unseeded.copy()
        for word in job:
            if word.startswith(SEED):
                composed.seed = parse_override(word).value()
        # The name of an ad-hoc study is no word that anybody typed.
        asked = [word for word in job if not word.startswith((SEED, "study.", "+study="))]
        own = [word for word in asked if word not in shared]
        yield Point(" ".join(own or asked), values(composed), variants, _changed(setting, variants))


def _composed(loader: ConfigLoader, config: DictConfig, setting: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    composed = loader.load_sweep_config(config, list(setting))
    variants = _variants(composed.hydra.runtime.choices)
    with open_dict(composed):
        composed.pop("hydra")
    return composed, variants


def _variants(choices: Mapping[Any, Any]) -> dict[str, str]:
    return {str(group): str(name) for group, name in choices.items() if name and not group.startswith(NO_SETTING)}


def _changed(words: Sequence[str], variants: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that `words` set, beside the groups whose variant they choose and what is no part of a setting."""
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    return tuple(key for key in keys if key not in variants and not key.startswith((*NO_SETTING, "seed")))
