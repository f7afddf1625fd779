"""What is declared of a study beside its settings: the section `study` of conf/sweep.yaml."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pipeline.config.load import read_yaml
from pipeline.config.messages import refused, shown
from pipeline.config.schema import Section
from pipeline.statistics.differences import Expects
from pipeline.statistics.race import Stop
from pipeline.storage import digest, project
from pipeline.studies.study import SCORED_ON_TEST, Point, Sampler, Score, Setting, is_contrast
from pipeline.studies.study_summary import short_names

SEEDS_ALONE = "seeds"
LONGEST_NAME = 100
READABLE_NAME = 60
"""A name that is made of more than fits says the first of it."""


def _not_reserved(name: str) -> str:
    if name.endswith(SCORED_ON_TEST):
        rule = "must not end in {end}, which study.score_on=test adds"
        raise PydanticCustomError("study_name", rule, {"end": SCORED_ON_TEST})
    return name


StudyName = Annotated[
    str,
    StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}$"),
    AfterValidator(_not_reserved),
]
ShortName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$")]


Address = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
"""host:port"""


class WeightConfig(Section):
    """`setting` names one setting of the grid as `study.baseline` does."""

    setting: dict[str, Any]
    weight: Annotated[float, Field(ge=-1000, le=1000)]


class ContrastConfig(Section):
    """A question asked in advance; `margin` (null: the study's) in points, for seconds in seconds."""

    claim: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
    expects: Expects
    weights: Annotated[list[WeightConfig], Field(min_length=2, max_length=1000)]
    score: Score = "accuracy"
    margin: Annotated[float, Field(gt=0, le=1_000_000)] | None = None


class StudyConfig(Section):
    """`jobs` runs at once (null: as many as the cores allow); `score_on: test` opens the test images.

    `address` is that of a Ray cluster's head; without it the executor `ray` begins a cluster of this machine.
    """

    name: StudyName | None
    baseline: dict[str, Any] | None
    margin: Annotated[float, Field(gt=0, le=100)]
    score_on: Literal["validation", "test"]
    leave_out_refused: bool
    jobs: Annotated[int, Field(ge=1, le=256)] | None
    executor: Literal["local", "ray"]
    address: Address | None
    pictures: bool
    zip: list[str]
    settings: dict[ShortName, dict[str, Any]]
    exclude: list[dict[str, Any]]
    contrasts: dict[ShortName, ContrastConfig]
    error_rate: Annotated[float, Field(gt=0, le=0.5)]
    stop: Stop | None
    search: Sampler | None
    trials: Annotated[int, Field(ge=1, le=10_000)] | None
    hours: Annotated[float, Field(gt=0, le=10_000)] | None
    stop_on_failure: bool
    dry_run: bool
    ask: bool

    @property
    def full_name(self) -> str:
        """The study's name; one that opens the test images says so."""
        name = self.name or SEEDS_ALONE
        return f"{name}{SCORED_ON_TEST}" if self.score_on == "test" else name

    def excludes(self, point: Point) -> bool:
        """Whether the study leaves out this point of the grid."""
        return any(point.is_at(wanted) for wanted in self.exclude)

    def check_held_out(self, validation_images: int) -> None:
        """Raises ConfigurationError where there is nothing to score on."""
        if self.score_on == "validation" and validation_images == 0:
            must = "be more than 0, because a sweep scores on the images it holds out, not 0"
            way = "Leave it out, or ask for the test images with study.score_on=test."
            raise refused("data.validation_images", f"must {must}. {way}")

    def check_launcher(self) -> None:
        """Raises ConfigurationError for what only the project's own launcher does, as it alone sees the whole grid."""
        for key in ("contrasts", "stop", "search", "hours", "stop_on_failure", "dry_run", "executor", "address"):
            if getattr(self, key) not in (None, False, {}, "local"):
                raise refused(f"study.{key}", "needs the project's own launcher. Leave out hydra/launcher, or this.")

    def check_search(self) -> None:
        """Raises ConfigurationError for a search without its trials, the other way round, and beside what asks for a
        verdict or names the settings.
        """
        if self.search is None and self.trials is not None:
            raise refused("study.trials", f"must be null without a search, not {self.trials}. Add study.search=tpe.")
        if self.search is None:
            return
        if self.trials is None:
            raise refused("study.trials", "must say how many settings are tried, not null. Write study.trials=20.")
        if self.score_on == "test":
            must = "be validation in a search, not test: what was searched on the test images has no unseen ones left"
            raise refused("study.score_on", f"must {must}.")
        for key in ("stop", "contrasts", "baseline", "zip", "settings", "exclude"):
            if value := getattr(self, key):
                why = "gives no verdict" if key in ("stop", "contrasts", "baseline") else "names the settings itself"
                given = value if isinstance(value, str | list) else dict.fromkeys(value, "…")
                raise refused(f"study.{key}", f"must be left out of a search, which {why}, not {shown(given)}.")

    def check_executor(self) -> None:
        """Raises ConfigurationError for an address that nobody asks."""
        if self.address is not None and self.executor != "ray":
            raise refused(
                "study.address",
                f"must be null where study.executor is {self.executor}, not {self.address}. Add study.executor=ray.",
            )

    def check_grid(self, settings: Mapping[str, Setting], left_out: int = 0) -> None:
        """Raises ConfigurationError where the baseline, or what a contrast weighs, is not exactly one of the settings,
        and for contrasts that compare nothing; `left_out` settings can't exist.
        """
        if self.baseline is not None:
            _find("study.baseline", self.baseline, settings, left_out)
        for name, contrast in self.contrasts.items():
            self._check_contrast(f"study.contrasts.{name}", contrast)
            self.weights(name, settings, left_out)

    def weights(self, contrast: str, settings: Mapping[str, Setting], left_out: int = 0) -> dict[str, float]:
        """The weights of a contrast by the names of settings. Raises ConfigurationError as `check_grid`."""
        weights = dict[str, float]()
        for place, one in enumerate(self.contrasts[contrast].weights):
            key = f"study.contrasts.{contrast}.weights.{place}.setting"
            name = _find(key, one.setting, settings, left_out)
            if name in weights:
                raise refused(key, f"must be weighed once, but {shown(one.setting)} was before. Add up its weights.")
            weights[name] = one.weight
        return weights

    def _check_contrast(self, key: str, contrast: ContrastConfig) -> None:
        weights = [one.weight for one in contrast.weights]
        if not is_contrast(weights):
            rule, total = "must sum to 0 and not all be 0", math.fsum(weights)
            raise refused(f"{key}.weights", f"{rule}, not {shown(weights)} with sum {total:g}. A gain is 1 and -1.")
        if contrast.score == "seconds" and contrast.margin is None:
            raise refused(f"{key}.margin", "must say which seconds matter, not null. Write margin: 1.")
        if self.stop is not None and contrast.score != "accuracy":
            must = f"be accuracy in a race, not {contrast.score}"
            raise refused(f"{key}.score", f"must {must}. Leave out study.stop, or the contrast.")
        if self.stop == "best":
            must = "be decided where contrasts are declared, not best: they are what is asked"
            raise refused("study.stop", f"must {must}.")


def _find(key: str, wanted: Mapping[str, Any], settings: Mapping[str, Setting], left_out: int) -> str:
    """The name of the one setting that `key` asks for."""
    same = [name for name, setting in settings.items() if setting.is_at(wanted)]
    if len(same) != 1:
        others = f", without the {left_out} that can't exist" if left_out else ""
        raise refused(
            key,
            f"must be exactly one setting of the grid, but {shown(wanted)} is {len(same)} of {len(settings)}{others}. "
            "Name a value for each key that is swept, a variant by its group ({model: article}).",
        )
    return same[0]


def derive_name(swept: Sequence[str], fixed: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The name of a study from the keys it sweeps, in any order, and from what else was chosen (`fixed`, by key or
    group), the seed left out: `filters_by_kernel_size`, `filters_with_training_smoke`.
    """
    keys = sorted(key for key in swept if key != "seed")
    names = short_names(list(dict.fromkeys([*keys, *fixed])))
    name = _within("_by_".join(sorted(names[key] for key in keys)) or SEEDS_ALONE)
    if not fixed:
        return name
    # Variants first: they say most.
    keys = sorted(fixed, key=lambda key: ("." in key, names[key]))
    texts = [value if isinstance(value := fixed[key], str) else json.dumps(value, default=str) for key in keys]
    parts = [f"{names[key]}_{text}" for key, text in zip(keys, texts, strict=True)]
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part) for part in parts]
    whole = f"{name}_with_{'_'.join(plain)}"
    if plain == parts and len(whole) <= READABLE_NAME and not whole.endswith(SCORED_ON_TEST):
        return whole
    said = list(itertools.takewhile(lambda part: len(part) <= READABLE_NAME // 4, plain))[:2]
    rest = [f"{len(parts) - len(said)}_more"] if len(said) < len(parts) else []
    mark = digest.of_value([name, *parts])[:6]
    return _within(f"{name}_with_{'_'.join([*said, *rest, mark])}")


def _within(name: str) -> str:
    """The name, cut to the longest; a mark tells those apart that begin alike."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 10]}_{digest.of_value(name)[:8]}"


def declared_studies() -> Iterator[tuple[str, dict[str, Any], list[Path]]]:
    """The files of conf/study/ that name their study: the variant, all that it declares, and the files that do.

    Raises UserError for one that can't be read.
    """
    for variant in project.variants("study"):
        document, paths = _declared(variant)
        own = document.get("study")
        if isinstance(own, dict) and "name" in own:
            yield variant, document, paths


def _declared(variant: str) -> tuple[dict[str, Any], list[Path]]:
    """What a file says over the studies that it begins with, and all these files."""
    path = project.CONF / "study" / f"{variant}.yaml"
    document: Any = read_yaml(path, "It declares a study; docs/sweeps.md says how.")
    if not isinstance(document, dict):
        return {}, [path]
    paths = [path]
    for one in document.get("defaults") or ():
        if isinstance(one, str) and one.startswith("/study/"):
            below, more = _declared(one.removeprefix("/study/"))
            document = OmegaConf.to_container(OmegaConf.merge(below, document))
            paths += more
    return document, paths
