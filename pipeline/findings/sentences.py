"""The answer in words that need no statistics."""

from pipeline.findings import cautions, numbers, remarks
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Block, Bullets, Figure, Text
from pipeline.findings.statistics.differences import Difference, Verdict
from pipeline.findings.statistics.noise import seed_deviation
from pipeline.findings.statistics.permutation import seeds_for_verdict
from pipeline.findings.statistics.scores import means

MOST_ITEMS = 12
"""Settings of one verdict that are named before the table."""


def headline(evidence: Evidence, decision: Decision) -> str:
    """The answer in one sentence."""
    if decision.winner is None:
        return f"Nothing can be said: {decision.reason[0].lower()}{decision.reason[1:]}"
    if not decision.differences:
        return f"One setting, {means(evidence.scores)[0]:.2f} % right: there is nothing to compare it with."
    if decision.lacking:
        return f"No verdict: {decision.lacking}"
    if all(found.verdict is Verdict.NO_VERDICT for found in decision.differences):
        seeds = len(evidence.seeds)
        return (
            f"No verdict yet: {numbers.counted(seeds, 'seed')} a setting {'is' if seeds == 1 else 'are'} too few; "
            f"with {len(evidence.settings)} settings it takes at least {decision.seeds_needed}."
        )
    own = decision.against_baseline(decision.winner)
    if own is None:
        said = f"Nothing was shown to be better than the baseline ({evidence.label(decision.baseline)})."
        return f"{said}{cautions.lost(evidence, decision.winner)}"
    beside = f"{cautions.still_open(evidence, decision)}{cautions.lost(evidence, decision.winner)}"
    return f"{_about_winner(evidence, decision, own)}{beside}"


def answer(evidence: Evidence, decision: Decision) -> tuple[Block, ...]:
    """The answer at more length: what was compared, the verdicts, what the best costs, what is not known."""
    compared = Text(remarks.compared(evidence), lead="What was compared.")
    unknown = Bullets(remarks.unknown(evidence, decision), "What is not known")
    astray = cautions.astray(evidence)
    findings: list[Block] = [Bullets(astray, cautions.ASTRAY_TITLE)] if astray else []
    if same := cautions.same_for_all_seeds(evidence):
        findings.append(Text(same, lead="With care."))
    if decision.winner is None:
        return *findings, compared, unknown
    blocks: list[Block] = [*_verdicts(evidence, decision), *findings, compared]
    if decision.differences and decision.winner != decision.baseline:
        lead = f"What the {winner_in_words(decision)} costs."
        blocks.append(Text(remarks.bought(evidence, decision.winner), lead=lead))
    if decision.differences:
        blocks.append(Text(remarks.cheapest(evidence, decision), lead="If cost matters."))
    if noise := remarks.noise(evidence):
        blocks.append(Text(noise, lead="Noise."))
    return (*blocks, unknown)


def figures(evidence: Evidence, decision: Decision) -> tuple[Figure, ...]:
    """The key figures at the top of the page."""
    found: list[Figure] = []
    if decision.winner is not None:
        average = means(evidence.scores)[decision.winner]
        found.append(Figure(f"{average:.2f} %", winner_in_words(decision), evidence.label(decision.winner)))
        own = decision.against_baseline(decision.winner)
        if own is not None and own.mean is not None:
            no_verdict = own.verdict is Verdict.NO_VERDICT
            remark = "so far: no verdict yet" if no_verdict else f"95 %: {numbers.between(own.interval)}"
            found.append(Figure(numbers.points(own.mean), "points against the baseline", remark))
            ratio = remarks.cost_ratio(evidence, "multiply_adds", decision.winner)
            parameters = numbers.large(evidence.settings[decision.winner].parameters)
            found.append(Figure(f"× {ratio:.2g}", "multiply-adds of the baseline", f"{parameters} parameters"))
    deviation = seed_deviation(evidence.scores)
    if deviation is not None:
        found.append(Figure(f"± {deviation.deviation:.2f}", "points between seeds", "standard deviation, same setting"))
    return tuple(found)


def winner_in_words(decision: Decision) -> str:
    """What the winner is: `highest mean`, or where one of fewer seeds is above it `highest mean shown to be better`."""
    return "highest mean" if decision.winner == decision.highest else "highest mean shown to be better"


def verdict_in_words(evidence: Evidence, found: Difference) -> str:
    """One setting against the baseline, as a sentence without an end."""
    name, cost = evidence.label(found.setting), remarks.at_cost(evidence, found.setting)
    ends = numbers.between(found.interval, joined="and")
    match found.verdict:
        case Verdict.BETTER | Verdict.WORSE if found.interval is not None:
            less = " (less than what matters)" if found.negligible else ""
            return f"{name}: by {numbers.span(found.interval)} points{less}, {cost}"
        case Verdict.EQUIVALENT:
            same = found.deviation == 0 and found.mean == 0
            return f"{name}: {'the same score with every seed' if same else f'between {ends} points'}, {cost}"
        case Verdict.CANT_TELL:
            return f"{name}: between {ends} points, {cost}; {numbers.enough(found.seeds_needed)} would tell"
    if found.mean is None:
        return f"{name}: no seed in common with the baseline"
    return f"{name}: {numbers.points(found.mean)} points so far, over {numbers.counted(found.seeds, 'seed')}, {cost}"


def _about_winner(evidence: Evidence, decision: Decision, own: Difference) -> str:
    best, base = evidence.label(own.setting), evidence.label(decision.baseline)
    cost = remarks.at_cost(evidence, own.setting)
    if own.verdict is Verdict.BETTER and own.interval is not None:
        less = f", which is less than the {evidence.margin:g} that matter here" if own.negligible else ""
        return f"{best}: better than the baseline ({base}) by {numbers.span(own.interval)} points{less}, {cost}."
    if own.verdict is Verdict.EQUIVALENT:
        undecided = sum(one.verdict in (Verdict.CANT_TELL, Verdict.NO_VERDICT) for one in decision.differences)
        if undecided:
            return (
                f"Nothing was shown to be better than the baseline ({base}): the highest mean, {best}, is equivalent "
                f"to it; {numbers.counted(undecided, 'setting')} can't be told from it."
            )
        return f"Nothing to gain that matters: even the best, {best}, is equivalent to the baseline ({base})."
    return f"Can't tell whether the setting with the highest mean, {best}, is better than the baseline ({base})."


def _verdicts(evidence: Evidence, decision: Decision) -> list[Block]:
    """A list for each verdict that was given."""
    fewest = seeds_for_verdict(max(len(decision.differences), 1))
    titles = {
        Verdict.BETTER: "Better than the baseline",
        Verdict.EQUIVALENT: f"Equivalent to the baseline (within ± {evidence.margin:g} points)",
        Verdict.CANT_TELL: "Can't tell",
        Verdict.WORSE: "Worse than the baseline",
        Verdict.NO_VERDICT: f"No verdict: fewer than {fewest} seeds in common with the baseline"
        if all(found.seeds < fewest for found in decision.with_verdict(Verdict.NO_VERDICT))
        else "No verdict",
    }
    blocks: list[Block] = []
    for verdict, title in titles.items():
        found = decision.with_verdict(verdict)
        items = [verdict_in_words(evidence, difference) for difference in found[:MOST_ITEMS]]
        if len(found) > MOST_ITEMS:
            items.append(f"{len(found) - MOST_ITEMS} more: see the table of differences")
        if items:
            blocks.append(Bullets(tuple(items), title, verdict.value))
    return blocks
