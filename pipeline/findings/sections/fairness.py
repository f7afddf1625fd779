"""Accuracy against what it costs, capacity, and what the winner's score is worth."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.findings import numbers
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Block, Column, Section, Table, Text
from pipeline.findings.pictures.costs import COSTS, cost_picture
from pipeline.findings.statistics.scores import means
from pipeline.findings.statistics.selection import corrected_winner, pareto_front


def fairness(evidence: Evidence) -> Section | None:
    """Pareto fronts, a note on capacity, the corrected winner; None where no run has a score."""
    averages = means(evidence.scores)
    if np.isnan(averages).all():
        return None
    blocks: list[Block] = []
    fronts = {name: front(evidence, name) for name in COSTS if np.isfinite(evidence.cost(name)).any()}
    if len(evidence.settings) > 1 and fronts:
        blocks += [
            Text("A setting stands on the front if no other is both cheaper and more accurate on average."),
            cost_picture(evidence, fronts),
            _front_table(evidence, averages, fronts),
        ]
    if note := capacity(evidence):
        blocks.append(Text(note, lead="Capacity."))
    blocks.append(_winner(evidence))
    return Section("What accuracy costs", "costs", tuple(blocks))


def front(evidence: Evidence, cost: str) -> tuple[int, ...]:
    """The Pareto front of mean accuracy against a cost, among the settings whose cost is known."""
    costs = evidence.cost(cost)
    known = np.flatnonzero(np.isfinite(costs))
    return tuple(int(known[place]) for place in pareto_front(means(evidence.scores)[known], costs[known]))


def capacity(evidence: Evidence) -> str:
    """A note where the compared settings differ in how many parameters they have; empty where they do not."""
    counts = evidence.cost("parameters")
    if len(evidence.settings) < 2 or not np.isfinite(counts).all() or counts.min() == counts.max():
        return ""
    names = numbers.listed([factor.name for factor in evidence.factors])
    known = ~np.isnan(means(evidence.scores))
    text = (
        f"The settings have from {counts.min():,.0f} to {counts.max():,.0f} parameters. The effect of {names} is mixed "
        "with that of capacity: a setting that does better may do so because it is larger."
    )
    if (
        known.sum() > 2
        and len(set(counts[known].tolist())) > 1
        and len(set(means(evidence.scores)[known].tolist())) > 1
    ):
        rank = _rank_correlation(counts[known], means(evidence.scores)[known])
        text += f" Over these settings, parameters and mean accuracy have a rank correlation of {numbers.points(rank)}."
    return text


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, "The Proof and Measurement of Association between Two Things" (1904)."""
    return float(stats.spearmanr(first, second).statistic)


def _front_table(evidence: Evidence, averages: NDArray[np.float64], fronts: dict[str, tuple[int, ...]]) -> Table:
    members = [
        setting for setting in range(len(evidence.settings)) if any(setting in found for found in fronts.values())
    ]
    columns = (
        Column("setting", "text"),
        Column("mean %"),
        *(Column(f"{COSTS[name]} front", "text") for name in fronts),
    )
    rows = tuple(
        (
            evidence.label(setting),
            numbers.points(float(averages[setting]), sign=False),
            *("on the front" if setting in found else "" for found in fronts.values()),
        )
        for setting in members
    )
    return Table(columns, rows)


def _winner(evidence: Evidence) -> Text:
    found = corrected_winner(evidence.scores)
    lead = "What the highest mean is worth."
    if found is None:
        return Text("With a single seed nothing can be left out to check it.", lead=lead)
    text = (
        f"{evidence.label(found.setting)} has {found.mean:.2f} % and was picked for it, which may flatter. Chosen on "
        f"all seeds but one and scored on that one, in turn, the pick gets {found.corrected:.2f} %; "
        f"{numbers.share(found.picked)} of the picks are this setting."
    )
    if found.interval is not None:
        text += f" Its true mean lies within {numbers.between(found.interval, sign=False)} %, picked or not, with 95 %."
    return Text(text, lead=lead)
