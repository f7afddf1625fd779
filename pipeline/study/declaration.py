"""What is declared of a study beside its settings: the section `study` of conf/sweep.yaml."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pipeline.configuration.fields import Section
from pipeline.configuration.validation import refused, shown
from pipeline.record.overview import short_names
from pipeline.record.study import SCORED_ON_TEST
from pipeline.storage import digest

SEEDS_ALONE = "seeds"
LONGEST_NAME = 100


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


class Declaration(Section):
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
                "must be more than 0, because a sweep scores on the images it holds out, not 0. Use 10000, or ask for "
                "the test images with study.score_on=test.",
            )

    def check_baseline(self, settings: Sequence[dict[str, Any]]) -> None:
        """Raises ConfigurationError where the baseline is not exactly one of the settings (dotted keys → values)."""
        if self.baseline is None:
            return
        same = [
            values
            for values in settings
            if all(key in values and values[key] == at for key, at in self.baseline.items())
        ]
        if len(same) != 1:
            raise refused(
                "study.baseline",
                f"must be exactly one setting of the grid, but {shown(self.baseline)} is {len(same)} of "
                f"{len(settings)}. Name a value for each key that is swept; for variants (model=article,deep) one that "
                "tells them apart (model.depth).",
            )


def name_of(swept: Sequence[str]) -> str:
    """The name of a study from the keys it sweeps, in any order, the seed left out: `filters_by_kernel_size`."""
    keys = [key for key in swept if key != "seed"]
    name = "_by_".join(sorted(short_names(keys).values())) or SEEDS_ALONE
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 10]}_{digest.of_value(name)[:8]}"
