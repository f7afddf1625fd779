"""The Hydra application that a sweep is."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from pipeline.config.composing import COMPOSITION_ERRORS, told, values
from pipeline.config.forbidden import check_folder, check_override, check_size, declared_sweep
from pipeline.config.overrides import parsed_override
from pipeline.storage import atomic, project
from pipeline.studies.arguments import SHOWING, TAKEN, without_mode
from pipeline.terminal.errors import UserError

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
