"""The verdicts of a study: its declared contrasts and its differences from a setting, as its error rate pays for them.

A race has looked at its scores several times: each look has its share, and a verdict is that of the look that gave it.
"""

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

from pipeline.findings.runs import Comparison
from pipeline.statistics.differences import (
    FEWEST_SEEDS,
    ContrastResult,
    ContrastVerdict,
    Difference,
    Verdict,
    contrast_results,
    differences,
)
from pipeline.statistics.race import Standing
from pipeline.studies.study import DeclaredContrast

OPEN = Verdict.CANT_TELL, Verdict.NO_VERDICT

Result = TypeVar("Result", Difference, ContrastResult)


@dataclass(frozen=True)
class QuestionResult:
    """What became of a declared contrast; `stopped` after so many seeds, where its race was over before the last."""

    declared: DeclaredContrast
    result: ContrastResult
    stopped: int | None


def question_results(comparison: Comparison) -> tuple[QuestionResult, ...]:
    """The declared contrasts: those about one kind of score together, each kind with its share of the error rate."""
    asked, now = comparison.questions, comparison.standing
    results: dict[int, QuestionResult] = {}
    for score in dict.fromkeys(declared.score for declared, _ in asked):
        places = [place for place, (declared, _) in enumerate(asked) if declared.score == score]
        rate = comparison.error_rate * len(places) / len(asked)
        plain = contrast_results(comparison.table(attrgetter(score)), [asked[place][1] for place in places], rate)
        for place, own in zip(places, plain, strict=True):
            declared = asked[place][0]
            results[place] = QuestionResult(declared, own, None)
            if now is not None:
                result, word = _raced(own, place, now, declared.margin)
                stopped = place in now.decided and result.seeds < len(comparison.seeds)
                result = replace(result, verdict=ContrastVerdict(word))
                results[place] = QuestionResult(declared, result, result.seeds if stopped else None)
    return tuple(results[place] for place in range(len(asked)))


def setting_differences(comparison: Comparison, baseline: int) -> tuple[Difference, ...]:
    """Each setting but `baseline` against it, in their order; where it is raced against it as the race has it."""
    margin, now, others = comparison.margin, comparison.standing, len(comparison.scores) - 1
    paid = differences(comparison.scores, baseline, margin, others * comparison.level(others))
    if now is None:
        return paid
    if (comparison.stop, comparison.questions, baseline) == ("decided", (), comparison.baseline):
        raced = (_raced(own, own.setting, now, margin) for own in paid)
        return tuple(replace(own, verdict=Verdict(word)) for own, word in raced)
    return tuple(replace(own, seeds_needed=None) for own in paid)


def _raced(own: Result, place: int, now: Standing, margin: float) -> tuple[Result, str]:
    """The result at the look that decided it, or at the last one, with its verdict. Intervals lie around the mean."""
    decided = now.decided.get(place)
    interval = now.undecided.get(place) if decided is None else decided.interval
    is_open = interval is not None and own.seeds >= FEWEST_SEEDS
    word = ("can't tell" if is_open else "no verdict") if decided is None else decided.verdict.value
    raced = replace(
        own,
        seeds=own.seeds if decided is None else decided.seeds,
        mean=own.mean if interval is None else (interval.low + interval.high) / 2,
        interval=interval,
        negligible=decided is not None and not decided.interval.holds_zero() and decided.interval.inside(margin),
        # Its looks are planned for the seeds that it has.
        seeds_needed=None,
    )
    return raced, word
