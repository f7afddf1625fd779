"""The name of a study that was typed and not declared."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.overrides import check_once, check_swept, parsed_override
from pipeline.studies.arguments import shows, without_mode
from pipeline.studies.declaration import SEEDS_ALONE, name_of
from pipeline.terminal.errors import UserError

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
