"""Why a study gives no verdict at all, where the reason is not too few seeds; and what gives one."""

import numpy as np

from pipeline.findings import numbers
from pipeline.findings.evidence import Evidence
from pipeline.findings.statistics.differences import Difference, Verdict
from pipeline.findings.statistics.permutation import seeds_for_verdict
from pipeline.studies.study_summary import shown

SWEEP = "python -m pipeline.sweep "


def why_no_score(evidence: Evidence) -> str:
    """Why no setting has a mean."""
    if any(run.accuracy is not None for run in evidence.runs):
        return "All its runs that have a score collapsed or diverged."
    return "No run of it has a score."


def why_no_verdict(evidence: Evidence, found: tuple[Difference, ...]) -> str:
    """What keeps all settings from a verdict but too few seeds: runs that are missing, seeds that change nothing.

    Empty where there is a verdict, where nothing is compared, and where more seeds are all that it takes.
    """
    if not found or any(difference.verdict is not Verdict.NO_VERDICT for difference in found):
        return ""
    fewest, most = seeds_for_verdict(len(found)), max(difference.seeds for difference in found)
    if most >= fewest:
        return "the seed changes no score, so that all runs of a setting say no more than one."
    due = min(fewest, len(evidence.seeds))
    more = f" A verdict needs at least {fewest} seeds a setting." if due < fewest else ""
    if _learned(evidence, evidence.baseline) < due:
        base = evidence.baseline
        return f"the baseline ({evidence.label(base)}) {_missing(evidence, base)}{more}"
    if most < due:
        fullest = max((one.setting for one in found), key=lambda setting: _learned(evidence, setting))
        others = ", and no other has more that count" if len(found) > 1 else ""
        return f"{evidence.label(fullest)} {_missing(evidence, fullest, others)}{more}"
    return ""


def _learned(evidence: Evidence, setting: int) -> int:
    """The seeds with a score that counts."""
    return int((~np.isnan(evidence.scores[setting])).sum())


def _missing(evidence: Evidence, setting: int, others: str = "") -> str:
    """What a setting has too few of, what became of the rest, and what to type: goes on after its name."""
    astray = evidence.astray(setting)
    failed = sum(run.setting == setting and run.state == "failed" for run in evidence.without_score())
    done = _learned(evidence, setting)
    counts = {
        "failed": failed,
        "collapsed or diverged": len(astray),
        "not done": len(evidence.seeds) - done - failed - len(astray),
    }
    parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if len(astray) == len(evidence.seeds) - done:
        text = f"collapsed or diverged in {len(astray)} of {numbers.counted(len(evidence.seeds), 'run')}{others}."
        return f"{text} They would do so again: it takes other seeds, or another setting."
    text = f"lacks runs: {done} of {numbers.counted(len(evidence.seeds), 'seed')} have a score that counts ({parts})"
    return f"{text}{others}. {_line(evidence, setting)}"


def _line(evidence: Evidence, setting: int) -> str:
    """What does a setting's missing runs: the declared study, else its sweep, which no record keeps as it was typed."""
    sweep = next((line for line in evidence.commands if line.startswith(SWEEP)), None)
    if sweep is not None:
        return f"`{sweep}` does what is missing."
    tried = {run.seed for run in evidence.runs if run.setting == setting and run.accuracy is not None}
    values = evidence.settings[setting].values
    words = [f"{key}={shown(values.get(key))}" for factor in evidence.factors for key in factor.keys]
    words.append(f"seed={','.join(str(seed) for seed in evidence.seeds if seed not in tried)}")
    return f"The study's sweep, typed again with {' '.join(words)} among its values, does what is missing."
