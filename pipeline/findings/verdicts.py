"""The verdicts of a study: its declared contrasts and its differences from a setting, as its error rate pays for them.

A race has looked at its scores several times: each look has its share, and a verdict is that of the look that gave it.
"""

from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from pipeline.findings.runs import Comparison
from pipeline.statistics.contrasts import Contrast, ContrastResult, ContrastVerdict, contrast_results
from pipeline.statistics.differences import Difference, Verdict, differences, verdict
from pipeline.statistics.intervals import ERROR_RATE
from pipeline.statistics.race import Decided
from pipeline.studies.study import DeclaredContrast

OPEN = Verdict.CANT_TELL, Verdict.NO_VERDICT


@dataclass(frozen=True)
class QuestionResult:
    """What became of a declared contrast; `stopped` after so many seeds, where its race was over before the last."""

    declared: DeclaredContrast
    result: ContrastResult
    stopped: int | None


def question_results(comparison: Comparison) -> tuple[QuestionResult, ...]:
    """The declared contrasts: those about one kind of score together, each kind with its share of the error rate."""
    asked, decided = comparison.questions, {} if comparison.standing is None else comparison.standing.decided
    results: dict[int, QuestionResult] = {}
    for score in dict.fromkeys(declared.score for declared, _ in asked):
        places = [place for place, (declared, _) in enumerate(asked) if declared.score == score]
        rate = comparison.error_rate / comparison.looks * len(places) / len(asked)
        plain = contrast_results(comparison.table(attrgetter(score)), [asked[place][1] for place in places], rate)
        for place, result in zip(places, plain, strict=True):
            results[place] = _question(asked[place][0], result, decided.get(place), len(comparison.seeds))
    return tuple(results[place] for place in range(len(asked)))


def _question(declared: DeclaredContrast, own: ContrastResult, decided: Decided | None, seeds: int) -> QuestionResult:
    if decided is None:
        return QuestionResult(declared, own, None)
    result = replace(_as_decided(own, decided, declared.margin), verdict=ContrastVerdict(decided.verdict.value))
    return QuestionResult(declared, result, decided.seeds if decided.seeds < seeds else None)


def setting_differences(comparison: Comparison, baseline: int) -> tuple[Difference, ...]:
    """Each setting but `baseline` against it, in their order; where it is raced against it as the race has it."""
    scores, margin, now = comparison.scores, comparison.margin, comparison.standing
    plain = differences(scores, baseline, margin)
    rate = comparison.error_rate / comparison.looks
    if rate == ERROR_RATE:
        return plain
    is_raced = now is not None and comparison.stop == "decided" and not comparison.questions
    decided = now.decided if now is not None and is_raced and baseline == comparison.baseline else {}
    units = np.eye(len(scores))
    gains = [Contrast(units[own.setting] - units[baseline], "gain", margin) for own in plain]
    return tuple(
        _paid(own, result, decided.get(own.setting), margin)
        for own, result in zip(plain, contrast_results(scores, gains, rate), strict=True)
    )


def _paid(own: Difference, result: ContrastResult, decided: Decided | None, margin: float) -> Difference:
    """A difference with the interval that is paid for, or that of the look that decided it."""
    if decided is not None:
        result = _as_decided(result, decided, margin)
    said = verdict(result.interval, result.seeds, margin) if decided is None else Verdict(decided.verdict.value)
    return replace(
        own,
        seeds=result.seeds,
        mean=result.mean,
        interval=result.interval,
        verdict=said,
        negligible=said in (Verdict.BETTER, Verdict.WORSE) and result.negligible,
        seeds_needed=result.seeds_needed if said in OPEN else None,
    )


def _as_decided(own: ContrastResult, decided: Decided, margin: float) -> ContrastResult:
    """The result at the look that decided it: its interval lies around its mean."""
    interval = decided.interval
    return replace(
        own,
        seeds=decided.seeds,
        mean=(interval.low + interval.high) / 2,
        interval=interval,
        negligible=not interval.holds_zero() and interval.inside(margin),
        seeds_needed=None,
    )
