"""Hydra's options that a sweep takes."""

from collections.abc import Iterable

TAKEN = {"-h", "--help", "--hydra-help", "--version", "--resolve", "-p", "--package", "-m", "--multirun"}
"""Hydra's options beside SHOWING: not those that read a configuration, or a pickle, from elsewhere."""

SHOWING = "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"


def shows(arguments: Iterable[str]) -> bool:
    """Whether they ask for what would run, and not to run it."""
    return any(word.partition("=")[0] in SHOWING for word in arguments)


def without_mode(arguments: list[str]) -> list[str]:
    """The arguments; `-m` is what a sweep is, and Hydra refuses it beside `--cfg` and its like."""
    if not shows(arguments):
        return arguments
    return [word for word in arguments if word not in ("-m", "--multirun")]
