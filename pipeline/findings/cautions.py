"""What must be known beside a verdict: runs that did not learn, seeds that change nothing, higher means left open."""

from collections.abc import Sequence

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import ASTRAY, ENDED, Evidence, Run
from pipeline.findings.statistics.differences import Verdict
from pipeline.findings.statistics.scores import is_constant, means, present
from pipeline.studies.study_summary import ONE_CLASS

ASTRAY_TITLE = (
    "Runs that did not learn, counted here and in no mean, difference or noise (collapsed: one class for at least "
    f"{100 * ONE_CLASS:.0f} % of the images; diverged: a loss that is not finite)"
)


MOST_NAMES = 3


def still_open(evidence: Evidence, decision: Decision) -> str:
    """The settings above the winner about which nothing is decided, as a sentence with a space before it; or empty."""
    best = decision.winner
    if best is None:
        return ""
    averages = means(evidence.scores)
    undecided = Verdict.CANT_TELL, Verdict.NO_VERDICT
    above = [one for one in decision.differences if one.verdict in undecided and averages[one.setting] > averages[best]]
    names = [
        f"{evidence.label(one.setting)} ({averages[one.setting]:.2f} %, {numbers.counted(one.seeds, 'seed')})"
        for one in above[:MOST_NAMES]
    ]
    if len(above) > MOST_NAMES:
        names.append(f"{len(above) - MOST_NAMES} more")
    return f" Open: the higher mean of {numbers.listed(names)}." if names else ""


def lost(evidence: Evidence, setting: int | None) -> str:
    """How many runs of a setting did not learn, as a sentence with a space before it; or empty."""
    found = () if setting is None else evidence.astray(setting)
    if setting is None or not found:
        return ""
    return f" But {_share_astray(evidence, setting, found)} and count in no mean."


def astray(evidence: Evidence) -> tuple[str, ...]:
    """By setting, how many of its runs ended without having learned, with which seeds and scores."""
    found = []
    for row in range(len(evidence.settings)):
        if runs := evidence.astray(row):
            ends = [run.accuracy for run in runs if run.accuracy is not None]
            scores = f", at {min(ends):.2f} to {max(ends):.2f} %" if len(set(ends)) > 1 else ""
            scores = f", at {ends[0]:.2f} %" if len(set(ends)) == 1 else scores
            seeds = f"seed{'' if len(runs) == 1 else 's'} {numbers.runs_of([run.seed for run in runs])}"
            found.append(f"{evidence.label(row)}: {_share_astray(evidence, row, runs)} ({seeds}{scores})")
    return tuple(found)


def same_for_all_seeds(evidence: Evidence) -> str:
    """A warning for settings that score the same with every one of at least three seeds; empty where none does."""
    rows = [present(row) for row in evidence.scores]
    found = [row for row, scores in enumerate(rows) if len(scores) > 2 and is_constant(scores)]
    if not found:
        return ""
    names = [evidence.label(row) for row in found] if len(found) < 4 else [f"{len(found)} of the settings"]
    return (
        f"{numbers.listed(names)}: all seeds score exactly the same. The seed changes nothing there, many runs say no "
        "more than one, and a standard deviation of 0 is no measure of noise."
    )


def _share_astray(evidence: Evidence, setting: int, astray: Sequence[Run]) -> str:
    """`2 of its 10 runs collapsed`."""
    ended = sum(run.setting == setting and run.state in ENDED for run in evidence.runs)
    counts = {word: sum(run.outcome == word for run in astray) for word in ASTRAY}
    first, *others = [f"{count} {word}" for word, count in counts.items() if count]
    return " and ".join([first.replace(" ", f" of its {numbers.counted(ended, 'run')} ", 1), *others])
