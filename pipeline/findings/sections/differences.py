"""The differences from the baseline, their intervals and verdicts."""

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Block, Column, Section, Table, Text
from pipeline.findings.pictures.intervals import difference_picture
from pipeline.findings.sentences import winner_in_words
from pipeline.findings.statistics.differences import Difference, Verdict
from pipeline.findings.statistics.permutation import seeds_for_verdict

SETTING = Column("setting", "text")
DIFFERENCES = (
    SETTING,
    Column("verdict", "verdict"),
    Column("difference", about="mean difference from the baseline in points, paired by seed"),
    Column("simultaneous 95 % interval", about="all intervals of this table hold together, by t with Bonferroni"),
    Column("beats baseline", about="probability that a run of it beats a run of the baseline; a tie is half"),
    Column("seeds", about="in common with the baseline"),
    Column("seeds to tell", about="a setting, with which it would most likely be decided"),
    Column("sign-flip p", about="a test that assumes less; Holm-adjusted"),
)


def differences(evidence: Evidence, decision: Decision) -> Section | None:
    """Differences from the baseline, their intervals and verdicts; None where there is nothing to compare."""
    if not decision.differences:
        return None
    base = evidence.label(decision.baseline)
    marked = {
        row: word
        for row, found in enumerate(decision.differences)
        if (word := marked_settings(decision).get(found.setting))
    }
    rows = tuple(_difference_row(evidence, found) for found in decision.differences)
    fewest = seeds_for_verdict(len(decision.differences))
    margin = f"{evidence.margin:g}"
    rule = (
        "The interval alone decides: better or worse where it leaves out zero; equivalent where it holds zero and lies "
        f"within ± {margin} points; else can't tell. All intervals together hold the truth in 95 % of studies. Below "
        f"{fewest} seeds in common no verdict is given: with fewer, the sign-flip test could not reach its level."
    )
    blocks: list[Block] = [
        Text(f"In points against {base}, each seed against the same seed."),
        difference_picture(evidence, decision),
        Table(DIFFERENCES, rows, marked),
        Text(rule, note=True),
    ]
    disputed = [evidence.label(found.setting) for found in decision.differences if found.disputed]
    if disputed:
        blocks.append(
            Text(
                f"About {numbers.listed(disputed, last='and about')} the sign-flip test, which assumes no normal "
                "noise, says otherwise than the interval: one sees a difference where the other does not. The verdict "
                "is the interval's; take it with care.",
                lead="The two tests disagree.",
            )
        )
    elif any(found.verdict is not Verdict.NO_VERDICT for found in decision.differences):
        blocks.append(Text("The sign-flip test, which assumes no normal noise, agrees with every verdict.", note=True))
    return Section("Differences from the baseline", "differences", tuple(blocks))


def _difference_row(evidence: Evidence, found: Difference) -> tuple[str, ...]:
    return (
        evidence.label(found.setting),
        found.verdict.value + (", but little" if found.negligible else ""),
        numbers.points(found.mean),
        numbers.between(found.interval),
        numbers.share(found.superiority),
        str(found.seeds),
        _seeds_to_tell(found),
        numbers.probability(found.holm_p),
    )


def _seeds_to_tell(found: Difference) -> str:
    if found.seeds_needed is None:
        return ""
    if found.verdict is Verdict.NO_VERDICT:
        return f"at least {found.seeds_needed}"
    return numbers.enough(found.seeds_needed).removesuffix(" seeds")


def marked_settings(decision: Decision) -> dict[int, str]:
    """The settings that stand out, and why."""
    marks: dict[int, list[str]] = {decision.baseline: ["baseline"]} if decision.differences else {}
    if decision.winner is not None and decision.differences:
        marks.setdefault(decision.winner, []).append(winner_in_words(decision))
        if decision.cheapest is not None and decision.cheapest != decision.winner:
            marks.setdefault(decision.cheapest, []).append("cheapest not worse")
    return {setting: ", ".join(words) for setting, words in marks.items()}
