"""What each swept argument does by itself, and together with the others."""

from collections.abc import Sequence

from pipeline.findings import numbers
from pipeline.findings.evidence import Evidence
from pipeline.findings.factors import shown_level
from pipeline.findings.page import Block, Column, Section, Table, Text
from pipeline.findings.pictures.effects import effects_picture
from pipeline.findings.statistics.factors import Cell, GridEffects, IncompleteGrid, Term, grid_effects
from pipeline.findings.statistics.scores import is_constant, present

MOST_CELLS = 20
TITLE, ANCHOR = "What each argument does", "factors"


def factors(evidence: Evidence) -> Section | None:
    """Main effects, interaction, shares of variance; of an incomplete grid the missing cells; None without a factor."""
    if not evidence.factors:
        return None
    levels = {
        factor.name: [setting.levels[place] for setting in evidence.settings]
        for place, factor in enumerate(evidence.factors)
    }
    rows = [row for scores in evidence.scores if len(row := present(scores)) > 1]
    if rows and all(map(is_constant, rows)):
        return Section(TITLE, ANCHOR, (Text("Effects need seeds that differ; here the seed changes no score."),))
    found = grid_effects(evidence.scores, levels)
    together = [factor.name for factor in evidence.factors if len(factor.keys) > 1]
    blocks: list[Block] = []
    if together:
        blocks.append(
            Text(f"{numbers.listed(together)}: always changed together, so that their effects can't be told apart.")
        )
    blocks += _incomplete(found) if isinstance(found, IncompleteGrid) else _complete(evidence, found)
    return Section(TITLE, ANCHOR, tuple(blocks))


def _incomplete(found: IncompleteGrid) -> list[Block]:
    if not found.missing:
        seeds = numbers.counted(found.seeds, "seed")
        return [Text(f"Effects need two seeds that every setting has; these have {seeds} in common.")]
    cells = [cell_in_words(found.factors, cell) for cell in found.missing]
    shown = "; ".join(cells[:MOST_CELLS]) + (f"; and {len(cells) - MOST_CELLS} more" if len(cells) > MOST_CELLS else "")
    word = "combination has" if len(cells) == 1 else "combinations have"
    return [
        Text(
            f"Effects are told only for a complete grid. {len(cells)} {word} no score: {shown}.",
            lead="The grid is incomplete.",
        )
    ]


def _complete(evidence: Evidence, found: GridEffects) -> list[Block]:
    terms = [*found.main_effects, *([found.interaction] if found.interaction is not None else [])]
    blocks: list[Block] = [
        Text(_shares(found, terms), lead="Where the differences between runs come from."),
        effects_picture(evidence, found),
        Text(
            "Effects in points against the mean of all settings; the intervals of all of them hold together with 95 %."
        ),
        _effects_table(found),
        _variance_table(found, terms),
    ]
    seeds = numbers.counted(found.seeds, "seed")
    blocks.append(
        Text(
            f"Over the {seeds} that every setting has, seeds as blocks. Shares are omega squared; p is that of the F "
            "test, which takes one residual deviation for all settings.",
            note=True,
        )
    )
    return blocks


def _shares(found: GridEffects, terms: Sequence[Term]) -> str:
    parts = [f"{' × '.join(term.factors)} {numbers.share(term.share)}" for term in found.main_effects]
    if found.interaction is not None:
        parts.append(f"their interaction {numbers.share(found.interaction.share)}")
    parts += [f"the seed {numbers.share(found.seed_share)}", f"chance {numbers.share(found.residual_share)}"]
    text = f"Shares of the variance: {', '.join(parts)}."
    if found.interaction is not None and found.interaction.p is not None:
        text += (
            " What one argument does depends on the other."
            if found.interaction.p <= 0.05
            else " No sign that what one argument does depends on the other."
        )
    return text if terms else ""


def _effects_table(found: GridEffects) -> Table:
    columns = (
        Column("argument", "text"),
        Column("value", "text"),
        Column("effect", about="points against the mean of all settings"),
        Column("95 % interval", about="simultaneous"),
    )
    rows = tuple(
        (term.factors[0], shown_level(effect.levels[0]), numbers.points(effect.mean), numbers.between(effect.interval))
        for term in found.main_effects
        for effect in term.effects
    )
    return Table(columns, rows)


def _variance_table(found: GridEffects, terms: Sequence[Term]) -> Table:
    columns = (
        Column("source", "text"),
        Column("share of variance"),
        Column("degrees of freedom"),
        Column("p"),
    )
    rows = [
        (
            " × ".join(term.factors) + (" (interaction)" if term is found.interaction else ""),
            numbers.share(term.share),
            str(term.degrees_of_freedom),
            numbers.probability(term.p),
        )
        for term in terms
    ]
    cells = len(found.interaction.effects) if found.interaction is not None else len(found.main_effects[0].effects)
    rows.append(("seed", numbers.share(found.seed_share), str(found.seeds - 1), numbers.UNKNOWN))
    left = (cells - 1) * (found.seeds - 1)
    rows.append(("chance (residual)", numbers.share(found.residual_share), str(left), numbers.UNKNOWN))
    return Table(columns, tuple(rows))


def cell_in_words(factors: Sequence[str], cell: Cell) -> str:
    return ", ".join(f"{name} {shown_level(level)}" for name, level in zip(factors, cell, strict=True))
