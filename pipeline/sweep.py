"""Many settings × seeds: train what is missing, score on held-out images, compare in MLflow. A Hydra application."""

import os
import sys

import hydra
from omegaconf import DictConfig

from pipeline.composition.composing import COMPOSITION_ERRORS, told, values
from pipeline.composition.forbidden import check_folder, check_override, check_size, declared_sweep
from pipeline.composition.overrides import parsed_override
from pipeline.storage import atomic, project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

HELP = """\
Train and compare many settings × seeds on held-out images. What is done already is not done again.

  python -m pipeline.sweep -m model.conv.kernel_size=3,5,7 model.conv.filters=16,32,64 'seed=range(3)'
  python -m pipeline.sweep +study=kernels_by_filters          a study declared in conf/study/
  python -m pipeline.sweep … study.leave_out_refused=true     without the settings that can't exist
  python -m pipeline.sweep … study.score_on=test              opens the test images
  python -m pipeline.sweep … hydra/launcher=joblib            another launcher
  python -m pipeline.sweep --cfg job                          what would run

Variants (group=option):

{variants}

Any key of the configuration can be set or swept (README, or --cfg job). Those of the study itself:

  study.name            default: from the keys that are swept
  study.baseline        the setting that others are compared with: {{"model.conv.kernel_size": 5}}
  study.margin          points of accuracy that matter (0.5)
  study.jobs            runs at once (cores / training.threads)
  study.pictures        true: pictures and all files in MLflow, as `dvc repro` has them

A Hydra application (https://hydra.cc): --hydra-help tells its own options."""

# Hydra then lets exceptions through: `command.run` tells them.
os.environ["HYDRA_FULL_ERROR"] = "1"


@hydra.main(version_base=None, config_path=str(project.CONF), config_name="sweep")
def sweep(config: DictConfig) -> None:
    """One job, for launchers other than the project's own."""
    from pipeline.study.launching import launch_one  # noqa: PLC0415 - `--help` and `--cfg` need none of it

    launch_one(values(config))


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        # Hydra would take a second to list the same variants.
        print(HELP.format(variants=variants()))
        return 0
    check_arguments(sys.argv[1:])
    sys.argv[1:] = named(without_mode(sys.argv[1:]))
    try:
        # Hydra writes there what was typed; its errors name no file.
        with atomic.naming(project.RUNS / ".hydra"):
            sweep()
    except COMPOSITION_ERRORS as error:
        raise UserError(told(error)) from None
    return 0


def variants() -> str:
    """A line for each group of conf/, `model: article, deep, small`."""
    options: dict[str, list[str]] = {}
    for path in sorted(project.CONF.glob("*/*.yaml")):
        options.setdefault(path.parent.name, []).append(path.stem)
    return "\n".join(f"{group}: {', '.join(names)}" for group, names in options.items())


TAKEN = {"-h", "--help", "--hydra-help", "--version", "--resolve", "-p", "--package", "-m", "--multirun"}
"""Hydra's options beside SHOWING: not those that read a configuration, or a pickle, from elsewhere."""

SHOWING = "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"


def check_arguments(arguments: list[str]) -> None:
    """Raises UserError for what no sweep may do. Hydra runs code by its own section, before it calls ours."""
    check_folder(project.CONF)
    options = [word for word in arguments if word.startswith("-")]
    for option in options:
        if option.partition("=")[0] not in {*TAKEN, *SHOWING}:
            raise UserError(f"{option}: is no option of a sweep. What it reads is conf/sweep.yaml and what it is told.")
    shown = {arguments[place + 1] for place, word in enumerate(arguments[:-1]) if word in {*SHOWING, "-p", "--package"}}
    overrides = [parsed_override(word) for word in arguments if word not in {*options, *shown}]
    for override in overrides:
        check_override(override)
    studies = [str(override.value()) for override in overrides if override.key_or_group == "study"]
    check_size([*overrides, *(found for name in studies for found in declared_sweep(project.CONF, name))])


def without_mode(arguments: list[str]) -> list[str]:
    """The arguments; `-m` is what a sweep is, and Hydra refuses it beside `--cfg` and its like."""
    shows = any(word.partition("=")[0] in SHOWING for word in arguments)
    return [word for word in arguments if not shows or word not in ("-m", "--multirun")]


def named(arguments: list[str]) -> list[str]:
    """The arguments, with the name of an ad-hoc study: the keys that are swept, as only the whole line knows them."""
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    if any(word.lstrip("+").startswith(("study=", "study.name=")) for word in overrides):
        return arguments
    parsed = [parsed_override(word) for word in overrides]
    swept = [found.key_or_group for found in parsed if found.is_sweep_override()]
    from pipeline.study.declaration import name_of  # noqa: PLC0415 - `--help` needs none of it

    return [*arguments, f"study.name={name_of(swept)}"] if swept else arguments


if __name__ == "__main__":
    command.run(main)
