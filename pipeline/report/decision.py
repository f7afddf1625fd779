"""What the evidence decides: verdicts, the winner, the cheapest setting that is not worse. Reads no file."""

from dataclasses import dataclass

import numpy as np

from pipeline.comparison.differences import Difference, Verdict, differences
from pipeline.comparison.permutation import seeds_for_verdict
from pipeline.comparison.selection import cheapest_not_worse, winner
from pipeline.report.evidence import Evidence


@dataclass(frozen=True)
class Decision:
    """Settings by their number in the evidence.

    `winner` has the highest mean; `cheapest` the fewest multiply-adds of those that are not worse than the winner by
    the margin (the winner itself where no other was shown to be); both are None where no run has a score.

    `supported`: the study's verdicts carry the winner: it is better than the baseline or equivalent to it, or it is the
    baseline and others got a verdict. Else `reason` is a sentence that says why not, and `seeds_needed` how many seeds
    a setting would do, where seeds are what is missing. With `supported` the sentence says what the verdict is.
    """

    baseline: int
    differences: tuple[Difference, ...]
    winner: int | None
    cheapest: int | None
    supported: bool
    reason: str
    seeds_needed: int | None

    def against_baseline(self, setting: int) -> Difference | None:
        """The difference of a setting from the baseline; None for the baseline itself."""
        return next((found for found in self.differences if found.setting == setting), None)

    def with_verdict(self, verdict: Verdict) -> tuple[Difference, ...]:
        """The differences with this verdict, the largest first."""
        found = [difference for difference in self.differences if difference.verdict is verdict]
        return tuple(sorted(found, key=lambda difference: -(difference.mean or 0.0)))


def decide(evidence: Evidence) -> Decision:
    """What the evidence supports."""
    scores = evidence.scores
    found = differences(scores, evidence.baseline, evidence.margin) if len(scores) > 1 else ()
    if np.isnan(scores).all():
        return Decision(evidence.baseline, found, None, None, False, "No run of it has a score.", None)
    best = winner(scores)
    costs = evidence.cost("multiply_adds")
    cheapest = cheapest_not_worse(scores, costs, evidence.margin) if np.isfinite(costs).all() else best
    supported, reason, seeds = _support(evidence, found, best)
    return Decision(evidence.baseline, found, best, cheapest, supported, reason, seeds)


def _support(evidence: Evidence, found: tuple[Difference, ...], best: int) -> tuple[bool, str, int | None]:
    """Whether the verdicts carry the winner, a sentence about it, and the seeds that would where they do not."""
    if not found:
        return False, "It has one setting, and nothing to compare it with.", None
    fewest = seeds_for_verdict(len(found))
    if all(difference.verdict is Verdict.NO_VERDICT for difference in found):
        most = max(difference.seeds for difference in found)
        return False, f"A verdict needs at least {fewest} seeds a setting; this study has {most}.", fewest
    if best == evidence.baseline:
        return True, "The baseline itself has the highest mean.", None
    own = next(difference for difference in found if difference.setting == best)
    return _support_by(own, fewest, evidence.margin)


def _support_by(own: Difference, fewest: int, margin: float) -> tuple[bool, str, int | None]:
    """The same by the winner's own difference from the baseline."""
    match own.verdict:
        case Verdict.BETTER:
            return True, "It is better than the baseline.", None
        case Verdict.EQUIVALENT:
            return True, f"It is equivalent to the baseline, within ± {margin:g} points.", None
        case Verdict.CANT_TELL:
            said = f"The study can't tell it from the baseline; about {own.seeds_needed} seeds a setting would."
            return False, said, own.seeds_needed
        case Verdict.NO_VERDICT:
            seeds = f"{own.seeds} seed{'' if own.seeds == 1 else 's'}"
            return False, f"It shares {seeds} with the baseline; a verdict needs at least {fewest}.", fewest
    return False, "On the seeds that it shares with the baseline it is worse.", None
