"""The name of a study that was typed and not declared."""

from pipeline.composition.overrides import parsed_override
from pipeline.study.declaration import name_of


def named(arguments: list[str]) -> list[str]:
    """The arguments, with the name of an ad-hoc study: the keys that are swept, as only the whole line knows them."""
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    if any(word.lstrip("+").startswith(("study=", "study.name=")) for word in overrides):
        return arguments
    parsed = [parsed_override(word) for word in overrides]
    swept = [found.key_or_group for found in parsed if found.is_sweep_override()]
    return [*arguments, f"study.name={name_of(swept)}"] if swept else arguments
