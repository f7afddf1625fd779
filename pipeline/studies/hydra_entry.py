"""How a sweep is typed: the words of its line, the Hydra application that composes them, and the grid they make."""

import contextlib
import copy
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.compose import COMPOSITION_ERRORS, explain, values
from pipeline.config.guard import (
    MOST_RUNS,
    check_folder,
    check_once,
    check_override,
    check_swept,
    option_instead,
    parse_override,
)
from pipeline.config.load import leaves
from pipeline.storage import project
from pipeline.studies.search import Dimension, Space
from pipeline.studies.study import Point
from pipeline.studies.study_config import SEEDS_ALONE, StudyConfig, derive_name
from pipeline.terminal.errors import UserError

SHOWING = "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"
"""Hydra's options that show what would run."""

TAKEN = {*SHOWING, "-h", "--help", "--hydra-help", "--version", "--resolve", "-p", "--package", "-m", "--multirun"}
"""Hydra's options that a sweep takes: not those that read a configuration, or a pickle, from elsewhere."""

SHOWN = {"all", "hydra", "job"}
VALUED = {"-p", "--package", "-c", "--cfg"}
INFORMED = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
"""What `--cfg` shows, the options that take a word, and those that `--info` takes where it takes one."""

SEED = "seed="
SETTING = "+study.setting"
"""Where a job says which of the settings that the study names it is."""

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
    """Raises UserError for what no sweep may do, a key that can't be swept, or not as it was typed.

    Hydra runs code by its own section, before it calls ours.
    """
    check_folder(project.CONF)
    words, options = split_arguments(arguments)
    names = [option.partition("=")[0] for option in options]
    for option, name in zip(options, names, strict=True):
        if option.startswith("-") and name not in TAKEN:
            if option.startswith("--") and (instead := option_instead(option, arguments)):
                raise UserError(instead)
            raise UserError(f"{option}: is no option of a sweep. What it reads is conf/sweep.yaml and what it is told.")
    overrides = [parse_override(word) for word in words]
    for override in overrides:
        check_override(override)
    shown = {"-c", "--cfg"}.intersection(names)
    if shown and not SHOWN & {part for option in options for part in option.split("=")}:
        raise UserError(f"{shown.pop()}: shows one of {', '.join(sorted(SHOWN))}. Write --cfg job")
    for override in overrides:
        if override.is_sweep_override() and (showing := [name for name in names if name in SHOWING]):
            raise UserError(f"{override.input_line}: names several runs, but {showing[0]} shows one. Name one value.")
    if "--resolve" in options and not shown:
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
    typed = {one.key_or_group: "deleted" if one.is_delete() else one.value() for one in overrides}
    fixed = {**chosen, **typed}
    named = {key for key in fixed if key == "study.search" or _section(key) not in UNNAMED}
    fixed = {key: value for key, value in fixed.items() if key in named and key not in swept}
    name = derive_name(swept, fixed)
    return [*words, *([f"study.name={name}"] if swept or name != SEEDS_ALONE else []), *options]


def _section(key: str) -> str:
    return key.partition("/")[0].partition(".")[0]


def run_application(arguments: list[str], launch_one: Callable[[Point], None]) -> None:
    """Let Hydra compose what is typed; our launcher does the whole grid, others `launch_one`. Raises UserError."""

    @hydra.main(version_base=None, config_path=str(project.CONF), config_name="sweep")
    def sweep(config: DictConfig) -> None:
        # The job that another launcher does now.
        own = HydraConfig.get()
        launch_one(_point(own.overrides.task, own.overrides.task, values(config), _variants(own.runtime.choices)))

    sys.argv[1:] = without_mode(arguments)
    try:
        # Its folders are relative to where it is called.
        with contextlib.chdir(project.ROOT):
            sweep()
    except COMPOSITION_ERRORS as error:
        raise UserError(explain(error)) from None


def split_grid(overrides: Sequence[Override], config: StudyConfig | None = None) -> list[list[str]]:
    """The jobs of what is typed and declared, each as the words that it sets: every combination of what is swept and of
    the settings that the study names; the values of the keys in `study.zip` go together.

    Where a key is there twice the last counts. Raises UserError for a key that can't be swept so, and for more runs
    than a sweep can hold.
    """
    check_swept(overrides)
    axes: dict[str, list[list[str]]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_interval_sweep():
            way = (
                "A sweep takes a list (0.001,0.01) or a range(start,stop,step); a search (study.search) any in between."
            )
            raise UserError(f"{override.input_line}: names no values. {way}")
        axes[key] = [[f"{key}={value}"] for value in _values(override)]
    if config is not None and config.settings:
        axes[SETTING] = _named_settings(config, {key.lstrip("+~") for key in axes})
    if config is not None and config.zip:
        axes = _zipped(axes, config.zip)
    if (runs := math.prod(map(len, axes.values()))) > MOST_RUNS:
        raise UserError(f"this sweep has {runs:,} runs; a sweep has at most {MOST_RUNS:,}. Split it.")
    return [list(itertools.chain(*job)) for job in itertools.product(*axes.values())]


def search_space(overrides: Sequence[Override], seed: int) -> Space:
    """What a search may propose for each key that is swept, and what all it proposes has in common; `seed` where none
    is typed.

    Where a key is there twice the last counts. Raises UserError for a key that can't be swept so.
    """
    check_swept(overrides)
    last = {override.get_key_element(): override for override in overrides}
    dimensions, words, seeds = dict[str, Dimension](), list[str](), [str(seed)]
    for key, override in last.items():
        if key == "seed":
            seeds = _values(override)
            if not all(text.isdecimal() for text in seeds):
                raise UserError(f"{override.input_line}: must name whole numbers in a search. Write 'seed=0,1'.")
        elif override.is_sweep_override():
            dimensions[key] = _dimension(override)
        else:
            words.append(f"{key}={override.get_value_element_as_str()}")
    return Space(dimensions, tuple(dict.fromkeys(map(int, seeds))), tuple(words))


def _dimension(override: Override) -> Dimension:
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start or 0, value.end or 0
        if (is_log := "log" in value.tags) and low <= 0:
            raise UserError(f"{override.input_line}: must begin above 0 to be searched by its logarithm (tag log).")
        return Dimension(low=low, high=high, is_log=is_log)
    texts = sorted(set(_values(override)))
    try:
        return Dimension(tuple(sorted(texts, key=float)), is_ordered=True)
    except ValueError:
        return Dimension(tuple(texts))


def _values(override: Override) -> list[str]:
    """The values of an override as they are typed, at most as many as a sweep has runs."""
    if override.is_interval_sweep():
        return [str(override.input_line).partition("=")[2]]
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    return list(itertools.islice(override.sweep_string_iterator(), MOST_RUNS + 1))


def _named_settings(config: StudyConfig, others: Collection[str]) -> list[list[str]]:
    """The words of each setting that the study names. They may do what a typed word may, and set what no other sets."""
    axis = []
    for name, setting in config.settings.items():
        words = [f"{key}={_as_typed(value)}" for key, value in setting.items()]
        for key, word in zip(setting, words, strict=True):
            where, override = f"study.settings.{name}.{key}", parse_override(word)
            check_override(override)
            if override.is_delete() or _section(override.key_or_group) in UNNAMED:
                raise UserError(f"{where}: must be a key of what is trained, not {key}. Leave it out.")
            if override.key_or_group in others:
                raise UserError(f"{where}: is set by the sweep too; one of the two would count. Leave one of them out.")
        axis.append([f"{SETTING}={name}", *words])
    return axis


def _as_typed(value: Any) -> str:
    """A value of a YAML file as an override holds it: quoted, a text is no number, and may hold what ends a word."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_as_typed(inner)}' for key, inner in value.items())}}}"
    return f"[{','.join(map(_as_typed, value))}]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def _zipped(axes: Mapping[str, list[list[str]]], keys: Sequence[str]) -> dict[str, list[list[str]]]:
    """The axes with one in place of those of `keys`: first value with first, second with second."""
    together = {name: axis for name, axis in axes.items() if name.lstrip("+") in keys and len(axis) > 1}
    if len(keys) < 2 or len(together) != len(set(keys)):
        missing = [key for key in keys if key not in {name.lstrip("+") for name in together}]
        raise UserError(
            f"study.zip: must name two keys or more that are swept, not {', '.join(missing or keys)}. Sweep "
            "each over a list: model.conv.filters=16,32 model.conv.kernel_size=3,5"
        )
    if len(set(map(len, together.values()))) > 1:
        lengths = ", ".join(f"{name} has {len(axis)}" for name, axis in together.items())
        raise UserError(f"study.zip: must name keys with equally many values, but {lengths}. Write as many for each.")
    first, *others = together
    pairs = [list(itertools.chain(*words)) for words in zip(*together.values(), strict=True)]
    return {name: pairs if name == first else axis for name, axis in axes.items() if name not in others}


def _point(apart: Sequence[str], words: Sequence[str], composed: dict[str, Any], variants: Mapping[str, str]) -> Point:
    """The point that `words` make, `apart` what sets it apart. A setting's name stands for all that it sets."""
    name = composed["study"].pop("setting", None)
    own = set() if name is None else {key.lstrip("+") for key in composed["study"]["settings"][name]}
    keys = (key for key in map(_key, words) if key not in variants and key not in own)
    changed = tuple(key for key in keys if not key.startswith((*NO_SETTING, "seed")))
    if name is not None:
        apart = [name, *(word for word in apart if _key(word) not in own and not word.startswith(SETTING))]
        variants = {**variants, "setting": name}
    return Point(" ".join(apart), composed, variants, changed)


@dataclass(frozen=True)
class _Composed:
    """What a job composes to, which variants it has, and the text of all references in it."""

    values: dict[str, Any]
    variants: dict[str, str]
    references: str

    def is_free(self, keys: Iterable[str]) -> bool:
        """Whether nothing refers to one of these keys, or to a section that it lies in."""
        parts = {part for key in keys for part in key.split(".")}
        return "${." not in self.references and not any(part in self.references for part in parts)

    def with_values(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """Its values, these in place of those at the same dotted keys; a number reaches into a list."""
        changed = copy.deepcopy(self.values)
        for key, value in plain.items():
            *way, last = key.split(".")
            level: Any = changed
            for part in way:
                level = level[int(part) if isinstance(level, list) else part]
            level[int(last) if isinstance(level, list) else last] = copy.deepcopy(value)
        return changed


def composed_grid(
    loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]], shared: Collection[str] = ()
) -> Iterator[Point]:
    """For each job what sets it apart as one line, and the values it composes to, without Hydra's own section.

    Words that are `shared` with jobs that are composed later set none apart.

    Jobs that differ only in plain values of the same keys, such as the seed, are composed once: that takes Hydra long.
    Raises UserError for a reference that can't be followed.
    """
    shared = shared or (set[str]() if len(jobs) == 1 else set.intersection(*map(set, jobs)))
    groups = set(config.hydra.runtime.choices)
    composed: dict[tuple[object, ...], _Composed] = {}
    for job in jobs:
        plain = _plain_values(job, groups)
        alike = frozenset(plain), *(word for word in job if _key(word) not in plain)
        base = composed.get(alike)
        if base is None or not base.is_free(plain):
            base = composed[alike] = _compose(loader, config, job)
        # The name of an ad-hoc study is no word that anybody typed.
        asked = [word for word in job if not word.startswith((SEED, "study.", "+study="))]
        own = [word for word in asked if word not in shared]
        yield _point(own or asked, job, base.with_values(plain), base.variants)


def _compose(loader: ConfigLoader, config: DictConfig, job: Sequence[str]) -> _Composed:
    whole = loader.load_sweep_config(config, list(job))
    variants = _variants(whole.hydra.runtime.choices)
    with open_dict(whole):
        whole.pop("hydra")
    texts = (str(value) for _, value in leaves(OmegaConf.to_container(whole)))
    return _Composed(values(whole), variants, " ".join(text for text in texts if "${" in text))


def _plain_values(job: Sequence[str], groups: Collection[str]) -> dict[str, Any]:
    """Dotted key → value of the words that only put a value in place of another, the last where there are several: not
    those that choose a variant, add, take away, merge or refer, nor what these may change too.
    """
    plain = [(_key(word), value[0]) for word in job if (value := _plain_value(word))]
    others = [f"{_key(word)}." for word in job if not _plain_value(word) and _key(word) not in groups]

    def is_own(key: str) -> bool:
        return not any(key.startswith(other) or other.startswith(key) for other in others)

    return {key: value for key, value in plain if is_own(f"{key}.")}


@lru_cache(maxsize=MOST_RUNS)
def _plain_value(word: str) -> tuple[Any] | None:
    """The value of a word that only puts it in place of another."""
    override = parse_override(word)
    key, value = override.key_or_group, override.value()
    is_key = ("." in key or f"{key}=" == SEED) and not key.startswith("hydra")
    return (value,) if is_key and override.type is OverrideType.CHANGE and _is_plain(value) else None


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, int | float)


def _variants(choices: Mapping[Any, Any]) -> dict[str, str]:
    return {str(group): str(name) for group, name in choices.items() if name and not group.startswith(NO_SETTING)}


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]
