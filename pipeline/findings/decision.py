"""What the evidence decides: verdicts, the winner, the cheapest setting that is not worse. Reads no file."""

from dataclasses import dataclass

import numpy as np

from pipeline.findings.evidence import Evidence
from pipeline.findings.lacking import why_no_score, why_no_verdict
from pipeline.findings.numbers import counted, enough
from pipeline.findings.statistics.differences import Difference, Verdict, differences
from pipeline.findings.statistics.permutation import seeds_for_verdict
from pipeline.findings.statistics.scores import means
from pipeline.findings.statistics.selection import cheapest_not_worse, winner


@dataclass(frozen=True)
class Decision:
    """Settings by their number in the evidence.

    `highest` has the highest mean. `winner` is what the study speaks for: of the settings that were shown to be better
    than the baseline the one with the highest mean (one whose runs all learned, where there is one); where none was
    shown to be, `highest`. `cheapest` has the fewest multiply-adds of those that are not worse than the winner by the
    margin (the winner itself where no other was shown to be). All three are None where no run has a score.

    `supported`: the study's verdicts carry the winner: it is better than the baseline or equivalent to it, or it is the
    baseline and others got a verdict; and all its runs learned. Else `reason` is a sentence that says why not, and
    `seeds_needed` how many seeds a setting would do, where seeds are what is missing. With `supported` the sentence
    says what the verdict is. `lacking` says why no setting got a verdict, where it is not for too few seeds.
    """

    baseline: int
    differences: tuple[Difference, ...]
    highest: int | None
    winner: int | None
    cheapest: int | None
    supported: bool
    reason: str
    seeds_needed: int | None
    lacking: str = ""

    def against_baseline(self, setting: int) -> Difference | None:
        """The difference of a setting from the baseline; None for the baseline itself."""
        return next((found for found in self.differences if found.setting == setting), None)

    def with_verdict(self, verdict: Verdict) -> tuple[Difference, ...]:
        """The differences with this verdict, the largest first."""
        found = [difference for difference in self.differences if difference.verdict is verdict]
        return tuple(sorted(found, key=lambda difference: -(difference.mean or 0.0)))


def decide(evidence: Evidence) -> Decision:
    """What the evidence supports."""
    scores, base = evidence.scores, evidence.baseline
    found = differences(scores, base, evidence.margin) if len(scores) > 1 else ()
    if np.isnan(scores).all():
        return Decision(base, found, None, None, None, False, why_no_score(evidence), None)
    highest = winner(scores)
    best = _best(evidence, found, highest)
    lacking = why_no_verdict(evidence, found)
    supported, reason, seeds = _support(evidence, found, best, lacking)
    return Decision(base, found, highest, best, _cheapest(evidence, best), supported, reason, seeds, lacking)


def _best(evidence: Evidence, found: tuple[Difference, ...], highest: int) -> int:
    """Of the settings that are better than the baseline the highest mean, before that of a few seeds without one."""
    averages = means(evidence.scores)
    better = [difference.setting for difference in found if difference.verdict is Verdict.BETTER]
    return max(better, key=lambda setting: (not evidence.astray(setting), averages[setting]), default=highest)


def _cheapest(evidence: Evidence, best: int) -> int:
    costs, scores = evidence.cost("multiply_adds"), evidence.scores.copy()
    if not np.isfinite(costs).all():
        return best
    # What collapses now and then is no cheap way to the same accuracy.
    scores[[row for row in range(len(scores)) if row != best and evidence.astray(row)]] = np.nan
    return cheapest_not_worse(scores, costs, evidence.margin, best)


def _support(
    evidence: Evidence, found: tuple[Difference, ...], best: int, lacking: str
) -> tuple[bool, str, int | None]:
    """Whether the verdicts carry the winner, a sentence about it, and the seeds that would where they do not."""
    if not found:
        return False, "It has one setting, and nothing to compare it with.", None
    if lacking:
        return False, f"{lacking[0].upper()}{lacking[1:]}", None
    fewest = seeds_for_verdict(len(found))
    if all(difference.verdict is Verdict.NO_VERDICT for difference in found):
        seeds = len(evidence.seeds)
        return False, f"A verdict needs at least {fewest} seeds a setting; this study has {seeds}.", fewest
    if lost := evidence.astray(best):
        ran = sum(run.setting == best and run.accuracy is not None for run in evidence.runs)
        return False, f"{len(lost)} of its {ran} runs collapsed or diverged, and count in no mean.", None
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
            said = f"The study can't tell it from the baseline; {enough(own.seeds_needed)} a setting would."
            return False, said, own.seeds_needed
        case Verdict.NO_VERDICT:
            return False, f"It shares {counted(own.seeds, 'seed')} with the baseline; a verdict needs {fewest}.", fewest
    return False, "On the seeds that it shares with the baseline it is worse.", None
