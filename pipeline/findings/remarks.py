"""The paragraphs of the answer: what was compared, what the best costs, the noise, what is not known."""

import numpy as np

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.factors import shown_level
from pipeline.findings.statistics.differences import Verdict
from pipeline.findings.statistics.noise import seed_deviation
from pipeline.findings.statistics.scores import means
from pipeline.findings.statistics.selection import corrected_winner


def compared(evidence: Evidence) -> str:
    """Settings, seeds, images, baseline, margin."""
    axes = [
        f"{factor.name} {numbers.listed([shown_level(level) for level in factor.levels])}"
        for factor in evidence.factors
    ]
    grid = f" ({'; '.join(axes)})" if axes else ""
    done = sum(run.accuracy is not None for run in evidence.runs)
    seeds = f"{numbers.counted(len(evidence.seeds), 'seed')} ({numbers.runs_of(evidence.seeds)})"
    text = (
        f"{numbers.counted(len(evidence.settings), 'setting')}{grid}, each with {seeds}: {done} of "
        f"{numbers.counted(len(evidence.runs), 'run')} {'has' if done == 1 else 'have'} a score. {_images(evidence)}"
    )
    if len(evidence.settings) < 2:
        return text
    declared = (
        "the baseline that the study declares"
        if evidence.baseline_declared
        else "the setting that was declared first, since the study declares no baseline"
    )
    return (
        f"{text} All are compared with {evidence.label(evidence.baseline)}, {declared}; a difference of "
        f"{evidence.margin:g} points is what matters."
    )


def since(evidence: Evidence) -> str:
    """When the test images were opened, by the first run that was scored on them."""
    scored = [run.scored for run in evidence.runs if run.scored is not None]
    return f"at {numbers.moment(min(scored))}" if scored else "at a time that no record tells"


def at_cost(evidence: Evidence, setting: int) -> str:
    """`at 3.5 times the multiply-adds`."""
    ratio = cost_ratio(evidence, "multiply_adds", setting)
    if abs(ratio - 1) < 0.005:
        return "at the same number of multiply-adds"
    return f"at {numbers.times(ratio)} the multiply-adds"


def cost_ratio(evidence: Evidence, cost: str, setting: int) -> float:
    """The cost of a setting over that of the baseline; NaN where one is unknown."""
    costs = evidence.cost(cost)
    return float(costs[setting] / costs[evidence.baseline]) if costs[evidence.baseline] else float("nan")


def bought(evidence: Evidence, setting: int) -> str:
    """Costs of a setting against those of the baseline, and what its score is worth."""
    own = evidence.settings[setting]
    parts = [
        f"{numbers.large(own.parameters)} parameters ({_times(evidence, 'parameters', setting)} the baseline's)",
        f"{numbers.large(own.multiply_adds)} multiply-adds an image ({_times(evidence, 'multiply_adds', setting)})",
    ]
    if np.isfinite(own.seconds):
        parts.append(f"{own.seconds:.1f} s of training ({_times(evidence, 'seconds', setting)})")
    if np.isfinite(own.latency):
        parts.append(f"{own.latency:.2f} ms for a prediction ({_times(evidence, 'latency', setting)})")
    rough = " Times are rough: runs may have shared the machine." if len(parts) > 2 else ""
    return f"{own.label}: {numbers.listed(parts)}.{rough}{_corrected(evidence, setting)}"


def cheapest(evidence: Evidence, decision: Decision) -> str:
    """The cheapest setting that is not worse than the best."""
    best, least = decision.winner, decision.cheapest
    if best is None or least is None or least == best:
        return f"No cheaper setting was shown to stay within {evidence.margin:g} points of the best."
    costs, averages = evidence.cost("multiply_adds"), means(evidence.scores)
    return (
        f"{evidence.label(least)} is the cheapest setting that was shown to stay within {evidence.margin:g} points of "
        f"the best: {averages[best] - averages[least]:.2f} points below it on average, with "
        f"{numbers.times(costs[least] / costs[best])} its multiply-adds."
    )


def noise(evidence: Evidence) -> str:
    """How far two runs of one setting are apart; empty where no setting has two."""
    found = seed_deviation(evidence.scores)
    if found is None:
        return ""
    # Two standard deviations of the difference of two runs, which has √2 of a run's.
    apart = 2 * 2**0.5 * found.deviation
    return (
        f"The same setting with another seed scores differently: the standard deviation is {found.deviation:.2f} "
        f"points, so that two single runs of one setting are easily {apart:.1f} points apart by chance alone."
    )


def unknown(evidence: Evidence, decision: Decision) -> tuple[str, ...]:
    """What the study can't say, sentence by sentence."""
    parts = [*_without_score(evidence), *_undecided(evidence, decision)]
    if len(set(evidence.cost("parameters").tolist())) > 1:
        parts.append(
            "What is due to capacity: the settings differ in their number of parameters, too, and more of them may be "
            "what helps."
        )
    parts.append(
        "The test images have been used for this comparison: a setting chosen by it has no unseen images left."
        if evidence.images == "test"
        else "How the settings do on the test images: these stay closed until one is chosen."
    )
    return (*parts, "Whether another dataset, another training or a longer one would rank them alike.")


def _images(evidence: Evidence) -> str:
    if evidence.images == "test":
        return f"Scores are shares of the test images answered rightly; these were opened {since(evidence)}."
    count = f"{evidence.split[0]:,} " if evidence.split is not None else ""
    return (
        f"Scores are shares of {count}validation images answered rightly, held out of the training images; this "
        "comparison has not looked at the test images."
    )


def _times(evidence: Evidence, cost: str, setting: int) -> str:
    return numbers.times(cost_ratio(evidence, cost, setting))


def _corrected(evidence: Evidence, setting: int) -> str:
    found = corrected_winner(evidence.scores)
    if found is None or found.setting != setting:
        return ""
    return (
        " It was picked for its mean, which can flatter: chosen on some seeds and scored on the others, the winner "
        f"gets {found.corrected:.2f} %, against {found.mean:.2f} % on all."
    )


def _without_score(evidence: Evidence) -> list[str]:
    found = []
    missing = evidence.without_score()
    if missing:
        failed = sum(run.state == "failed" for run in missing)
        found.append(
            f"{numbers.counted(len(missing), 'run')} {'has' if len(missing) == 1 else 'have'} no score ({failed} "
            f"failed, {len(missing) - failed} not done); failed runs are missing here, not counted as bad."
        )
    return found


def _undecided(evidence: Evidence, decision: Decision) -> list[str]:
    undecided = decision.with_verdict(Verdict.CANT_TELL)
    if not undecided:
        return []
    names = [evidence.label(found.setting) for found in undecided]
    which = " and ".join(names) if len(names) < 3 else f"{len(names)} of the settings"
    most = numbers.enough(max(found.seeds_needed or 0 for found in undecided))
    seeds = f"{most} a setting would most likely (in 4 of 5 studies) tell"
    return [f"How {which} would compare with the baseline: {seeds}."]
