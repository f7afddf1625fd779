"""Rules of thumb and what is known of each: conf/rules.yaml, beside what the bundles of its studies support.

A rule has a study in conf/study/rules/, and rests on contrasts that it declares. Numbers are computed from the records
in reports/<study>/; a study without them, or with some of them, has not been run yet.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from pipeline.config.load import read_yaml
from pipeline.config.messages import ConfigurationError, refused, validated
from pipeline.config.schema import Section
from pipeline.findings.comparison import Comparison
from pipeline.findings.load import from_study
from pipeline.findings.results import QuestionResult, question_results, rounded, setting_differences
from pipeline.statistics.differences import ContrastVerdict, Difference
from pipeline.statistics.intervals import Interval, t_interval
from pipeline.statistics.scores import Summary, present, summaries
from pipeline.storage import project
from pipeline.studies.bundle import extract_study
from pipeline.studies.study_config import ContrastConfig, ShortName, StudyName
from pipeline.terminal.errors import UserError

Needs = Literal["all", "any"]
Words = Annotated[str, Field(min_length=1, max_length=200)]

DECIDES: Mapping[Needs, tuple[str, ...]] = {
    "all": ("refuted", "can't tell", "no difference that matters", "supported"),
    "any": ("supported", "can't tell", "no difference that matters", "refuted"),
}
"""A rule has the first of these verdicts that one of its contrasts has."""


# What is declared


class RuleConfig(Section):
    """A rule in words, and the contrasts of `study` (a file of conf/study/rules/) of which it needs all or any.

    `again`: studies with contrasts of the same names, shown beside, and in words what differs in them; `measured`: a
    row of benchmarks/results.json.
    """

    rule: Words
    study: ShortName
    needs: Needs
    contrasts: Annotated[list[ShortName], Field(min_length=1)]
    again: dict[StudyName, Words] = Field(default_factory=dict)
    measured: ShortName | None = None


class PageConfig(Section):
    """`base` is the scope in words; `error_rate` that of the whole page; `followed` a study of two settings, `article`
    and `followed`, on the test images.
    """

    error_rate: Annotated[float, Field(gt=0, le=0.5)]
    base: Words
    followed: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,110}$")] | None = None


class StudyDeclaration(Section):
    """What a rule needs to know of a study that has not been run; the rest is the sweep's."""

    model_config = ConfigDict(extra="ignore")

    name: StudyName
    error_rate: float
    contrasts: dict[ShortName, ContrastConfig]


def read_rules(conf: Path) -> tuple[PageConfig, list[tuple[RuleConfig, StudyDeclaration]]]:
    """The page, its rules and their studies, as the folder `conf` declares them.

    Raises UserError for a file that is missing or none, and ConfigurationError that names the key.
    """
    path = conf / "rules.yaml"
    try:
        values = _mapping(path)
        rules = values.pop("rules", None)
        page = validated(PageConfig, values)
        if not isinstance(rules, list) or not rules:
            raise refused("rules", "must be a list of rules: {rule, study, needs, contrasts}.")
        return page, [_rule(conf, f"rules.{place}", one) for place, one in enumerate(rules)]
    except ConfigurationError as error:
        raise ConfigurationError(error.problems, f"So says {path}.") from None


def _rule(conf: Path, key: str, values: object) -> tuple[RuleConfig, StudyDeclaration]:
    rule = validated(RuleConfig, values, prefix=key)
    path = conf / "study" / "rules" / f"{rule.study}.yaml"
    if not path.exists():
        there = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml")))
        raise refused(f"{key}.study", f"must be a file of {path.parent} ({there}), not {rule.study}.")
    study = validated(StudyDeclaration, _mapping(path).get("study"), prefix=f"{rule.study}: study")
    if unknown := [name for name in rule.contrasts if name not in study.contrasts]:
        there = ", ".join(study.contrasts)
        raise refused(f"{key}.contrasts", f"must be contrasts of study {rule.study} ({there}), not {unknown[0]}.")
    return rule, study


def _mapping(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "It declares which rules there are; docs/report.md says how.")
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a mapping of keys to values. Mend it there.")
    return values


# What is known


@dataclass(frozen=True)
class Answer:
    """What became of a contrast; `seen` of its values, one a seed, were there when it was declared."""

    question: QuestionResult
    seen: int

    @property
    def name(self) -> str:
        return self.question.declared.name

    @property
    def agreement(self) -> float:
        """How far the effect lies on the claim's side of its edge, in the unit of the score; below 0 on the other."""
        declared, mean = self.question.declared, self.question.result.mean
        if mean is None:
            return float("-inf")
        return {"gain": mean, "no_harm": mean + declared.margin, "no_gain": declared.margin - mean}[declared.expects]


@dataclass(frozen=True)
class StudyAnswers:
    """A study's contrasts and what they cost: seconds of training by run. `gap` is the baseline's, in points: its
    accuracy on the training images less that on the scored ones, with a 95 % interval of its own.
    """

    name: str
    error_rate: float
    margin: float
    seeds: tuple[int, ...]
    answers: tuple[Answer, ...]
    seconds: dict[str, float]
    gap: float | None
    gap_interval: Interval | None

    def named(self, names: Sequence[str]) -> list[Answer]:
        """Raises UserError for a contrast that it does not have."""
        own = {answer.name: answer for answer in self.answers}
        if unknown := [name for name in names if name not in own]:
            path = project.bundle(self.name)
            raise UserError(f"{path}: has no contrast {unknown[0]} ({', '.join(own)}), which conf/rules.yaml names.")
        return [own[name] for name in names]


@dataclass(frozen=True)
class Repeat:
    """The contrasts of a rule in another study, what differs there in words; `own` is None while it was not run."""

    study: str
    words: str
    own: StudyAnswers | None


@dataclass(frozen=True)
class RuleResult:
    """A rule and its verdict, which `decided_by` gives: of the contrasts with that verdict the one that agrees least
    with its claim where all are needed, else the most. Without a run there is neither; `claims` are declared.

    `measured` are figures by kind of processor.
    """

    rule: str
    study: str
    needs: Needs
    claims: dict[str, str]
    error_rate: float
    verdict: ContrastVerdict | None
    decided_by: Answer | None
    own: StudyAnswers | None
    again: tuple[Repeat, ...]
    measured: dict[str, dict[str, float]] | None


@dataclass(frozen=True)
class Followed:
    """The article's network and the one that follows what was supported, on the test images; `difference` is the
    latter's gain. All None while the study has not been run.
    """

    study: str
    article: Summary | None = None
    followed: Summary | None = None
    difference: Difference | None = None


@dataclass(frozen=True)
class Rules:
    """`spent` is what the studies have of the `error_rate`; `runs` counts shared ones once, `seconds` is of these."""

    base: str
    error_rate: float
    spent: float
    rules: tuple[RuleResult, ...]
    runs: int
    seconds: float
    followed: Followed | None


def rule_results(conf: Path) -> Rules:
    """All rules with what their studies' bundles say.

    Raises UserError as `read_rules`, and for a bundle that is none.
    """
    page, declared = read_rules(conf)
    rules = tuple(_result(rule, study) for rule, study in declared)
    rates = {one.study: one.own.error_rate if one.own else one.error_rate for one in rules}
    spent, seconds = round(sum(rates.values()), 9), dict[str, float]()
    if spent > page.error_rate:
        way = f"Give each study at most {page.error_rate / len(rates):.2g}."
        raise refused(
            "error_rate", f"must be at least what its studies have, {spent:g}, not {page.error_rate:g}. {way}"
        )
    for one in rules:
        seconds |= one.own.seconds if one.own else {}
    followed = None if page.followed is None else _followed(page.followed)
    whole = Rules(page.base, page.error_rate, spent, rules, len(seconds), sum(seconds.values()), followed)
    settled: Rules = rounded(whole)
    return settled


def decide(needs: Needs, answers: Sequence[Answer]) -> tuple[ContrastVerdict, Answer]:
    """The verdict of a rule by its contrasts, and which of them gives it."""
    verdicts = [str(one.question.result.verdict).replace("no verdict", "can't tell") for one in answers]
    said = next(one for one in DECIDES[needs] if one in verdicts)
    deciding = [one for one, own in zip(answers, verdicts, strict=True) if own == said]
    return ContrastVerdict(said), (min if needs == "all" else max)(deciding, key=attrgetter("agreement"))


def _result(rule: RuleConfig, declared: StudyDeclaration) -> RuleResult:
    own = _answers(declared.name)
    verdict, decided_by = (None, None) if own is None else decide(rule.needs, own.named(rule.contrasts))
    again = tuple(Repeat(name, words, _answers(name)) for name, words in rule.again.items())
    for other in again:
        if other.own is not None:
            other.own.named(rule.contrasts)
    claims = {name: declared.contrasts[name].claim for name in rule.contrasts}
    measured = None if rule.measured is None else _measured(rule.measured)
    about = rule.rule, declared.name, rule.needs, claims, declared.error_rate
    return RuleResult(*about, verdict, decided_by, own, again, measured)


def _answers(study: str) -> StudyAnswers | None:
    """What the bundle of a study says; None as `_bundled`."""
    comparison = _bundled(study)
    if comparison is None:
        return None
    gaps = present(comparison.table(attrgetter("gap"))[comparison.baseline])
    return StudyAnswers(
        name=study,
        error_rate=comparison.error_rate,
        margin=comparison.margin,
        seeds=comparison.seeds,
        answers=tuple(Answer(one, _seen(comparison, place)) for place, one in enumerate(question_results(comparison))),
        seconds={run.identity: run.seconds or 0.0 for run in comparison.runs},
        gap=float(gaps.mean()) if gaps.size else None,
        gap_interval=t_interval(gaps),
    )


def _bundled(study: str) -> Comparison | None:
    """The study in a bundle; None where there is none, or it lacks runs: to look at each new seed is paid by nobody."""
    path = project.bundle(study)
    if not path.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="rules-") as folder:
        own, _ = extract_study(path, Path(folder))
        if own.name != study:
            raise UserError(f"{path}: holds study {own.name}. Put it into reports/{own.name}/.")
        comparison = from_study(own, Path(folder) / "runs")
        return None if comparison.counts()["missing"] else comparison


def _seen(comparison: Comparison, place: int) -> int:
    """How many values of a contrast were known when it was declared: of how many seeds all that it weighs was scored.

    The study's own count is of single runs, and so of those of a base that other studies have done before.
    """
    declared, contrast = comparison.questions[place]
    moment = 1000 * datetime.fromisoformat(declared.declared).timestamp()
    weighed = set(contrast.weights.nonzero()[0].tolist())
    before = {(run.setting, run.seed) for run in comparison.runs if run.scored is not None and run.scored < moment}
    return sum(all((setting, seed) in before for setting in weighed) for seed in comparison.seeds)


def _measured(row: str) -> dict[str, dict[str, float]]:
    """Figures of a row of benchmarks/results.json by kind of processor; empty where it has not been measured."""
    path = project.ROOT / "benchmarks" / "results.json"
    return {kind: one["figures"]["medians"] for kind, one in json.loads(path.read_text("utf-8")).get(row, {}).items()}


def _followed(study: str) -> Followed:
    comparison = _bundled(study)
    if comparison is None:
        return Followed(study)
    rows = {setting.values.get("setting"): row for row, setting in enumerate(comparison.settings)}
    if rows.keys() != {"article", "followed"} or comparison.images != "test":
        raise UserError(
            f"{project.bundle(study)}: must compare settings article and followed, scored on the test images, as "
            "conf/rules.yaml names it under followed."
        )
    article, followed = (summaries(comparison.scores)[rows[name]] for name in ("article", "followed"))
    (difference,) = setting_differences(comparison, rows["article"])
    return Followed(study, article, followed, difference)
