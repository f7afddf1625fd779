"""What is declared of a study beside its settings: the section `study` of conf/sweep.yaml."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pipeline.config.messages import refused, shown
from pipeline.config.schema import Section
from pipeline.storage import digest
from pipeline.studies.study import SCORED_ON_TEST, Setting
from pipeline.studies.study_summary import short_names

SEEDS_ALONE = "seeds"
LONGEST_NAME = 100
READABLE_NAME = 60
"""A name that is made of more than fits says the first of it."""


def _not_reserved(name: str) -> str:
    if name.endswith(SCORED_ON_TEST):
        raise PydanticCustomError(
            "study_name", "must not end in {end}, which study.score_on=test adds", {"end": SCORED_ON_TEST}
        )
    return name


StudyName = Annotated[
    str,
    StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}$"),
    AfterValidator(_not_reserved),
]


class StudyConfig(Section):
    """`jobs` runs at once (null: as many as the cores allow); `score_on: test` opens the test images."""

    name: StudyName | None
    baseline: dict[str, Any] | None
    margin: Annotated[float, Field(gt=0, le=100)]
    score_on: Literal["validation", "test"]
    leave_out_refused: bool
    jobs: Annotated[int, Field(ge=1, le=256)] | None
    pictures: bool

    @property
    def full_name(self) -> str:
        """The study's name; one that opens the test images says so."""
        name = self.name or SEEDS_ALONE
        return f"{name}{SCORED_ON_TEST}" if self.score_on == "test" else name

    def check_held_out(self, validation_images: int) -> None:
        """Raises ConfigurationError where there is nothing to score on."""
        if self.score_on == "validation" and validation_images == 0:
            raise refused(
                "data.validation_images",
                "must be more than 0, because a sweep scores on the images it holds out, not 0. Leave it out, or ask "
                "for the test images with study.score_on=test.",
            )

    def check_baseline(self, settings: Sequence[Setting], left_out: int = 0) -> None:
        """Raises ConfigurationError where the baseline is not exactly one of the settings; `left_out` can't exist."""
        if self.baseline is None:
            return
        same = [setting for setting in settings if setting.is_at(self.baseline)]
        if len(same) != 1:
            others = f", without the {left_out} that can't exist" if left_out else ""
            raise refused(
                "study.baseline",
                f"must be exactly one setting of the grid, but {shown(self.baseline)} is {len(same)} of "
                f"{len(settings)}{others}. Name a value for each key that is swept, a variant by its group "
                "({model: article}).",
            )


def name_of(swept: Sequence[str], fixed: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The name of a study from the keys it sweeps, in any order, and from what else was chosen (`fixed`, by key or
    group), the seed left out: `filters_by_kernel_size`, `filters_with_training_smoke`.
    """
    keys = sorted(key for key in swept if key != "seed")
    names = short_names(list(dict.fromkeys([*keys, *fixed])))
    name = _within("_by_".join(sorted(names[key] for key in keys)) or SEEDS_ALONE, LONGEST_NAME)
    if not fixed:
        return name
    # Variants first: they say most.
    parts = [f"{names[key]}_{_text(fixed[key])}" for key in sorted(fixed, key=lambda key: ("." in key, names[key]))]
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part) for part in parts]
    whole = f"{name}_with_{'_'.join(plain)}"
    if plain == parts and len(whole) <= READABLE_NAME and not whole.endswith(SCORED_ON_TEST):
        return whole
    said = list(itertools.takewhile(lambda part: len(part) <= READABLE_NAME // 4, plain))[:2]
    rest = [f"{len(parts) - len(said)}_more"] if len(said) < len(parts) else []
    mark = digest.of_value([name, *parts])[:6]
    return _within(f"{name}_with_{'_'.join([*said, *rest, mark])}", LONGEST_NAME)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _within(name: str, longest: int) -> str:
    """The name, cut to a length; a mark tells those apart that begin alike."""
    return name if len(name) <= longest else f"{name[: longest - 10]}_{digest.of_value(name)[:8]}"
