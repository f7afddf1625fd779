"""What each swept argument does where every combination of levels was run: main effects, interaction, shares."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.intervals import Interval, pooled_intervals
from pipeline.statistics.scores import Scores, check_scores

Level = int | float | str | bool | None | tuple[int, ...]
"""A value of a swept argument."""

Cell = tuple[Level, ...]
"""One level of each factor, in the order of the factors."""


@dataclass(frozen=True)
class Effect:
    """What one level of a factor adds to the grand mean, in points, averaged over the levels of all other factors.

    Of an interaction: what the cell has beyond the grand mean and the main effects of its levels. `levels` has one
    level for each factor of the term.
    """

    levels: Cell
    mean: float
    interval: Interval


@dataclass(frozen=True)
class Term:
    """A main effect (one of `factors`) or the interaction (all of them), with an effect for each level or cell.

    `degrees_of_freedom` and `share` (0..1, omega squared) are those of the analysis of variance.
    """

    factors: tuple[str, ...]
    effects: tuple[Effect, ...]
    degrees_of_freedom: int
    share: float

    @property
    def bound(self) -> float:
        """So many points at most, with 95 %, is any true effect away from zero: of an interaction, from additivity."""
        return max(max(-effect.interval.low, effect.interval.high) for effect in self.effects)


@dataclass(frozen=True)
class GridEffects:
    """The terms of a complete grid over `seeds` seeds that every cell has; `grand_mean` in points.

    `interaction` is None for a single factor. `seed_share` and `residual_share` (0..1) are the shares of variance of
    the seeds and of what nothing explains.
    """

    seeds: int
    grand_mean: float
    main_effects: tuple[Term, ...]
    interaction: Term | None
    seed_share: float
    residual_share: float


@dataclass(frozen=True)
class IncompleteGrid:
    """Why there are no effects: `missing` cells without any run, or fewer than two `seeds` that every cell has."""

    factors: tuple[str, ...]
    missing: tuple[Cell, ...]
    seeds: int


def grid_effects(scores: Scores, levels: Mapping[str, Sequence[Level]]) -> GridEffects | IncompleteGrid:
    """Effects of factors over scores [settings, seeds]; `levels` has, by factor, the level of each setting.

    A randomised complete block design (Montgomery, "Design and Analysis of Experiments", 8th ed. 2013, section 5.6):
    score = grand mean + seed + main effects + interaction + residual. All that main effects leave unexplained of the
    cells is one term, the interaction, for three factors as for two. Seeds that a cell lacks are left out for all.

    An effect is computed for each seed by itself and has an interval of these values, so that settings may have noise
    of different size and share seeds; the noise of a term's effects is pooled as that of differences. The intervals of
    all main effects together hold their truth with 95 %, and so do those of the interaction.

    Raises as `check_scores`, and ValueError for levels that make no grid.
    """
    check_scores(scores, settings=2)
    settings = _settings_by_cell(levels, len(scores))
    axes = [tuple(dict.fromkeys(values)) for values in levels.values()]
    runs = (~np.isnan(scores)).sum(axis=1)
    cells = list(itertools.product(*axes))
    missing = tuple(cell for cell in cells if cell not in settings or runs[settings[cell]] == 0)
    of_cells: Scores = scores[[settings[cell] for cell in cells if cell not in missing]]
    complete = [seed for seed in range(scores.shape[1]) if not np.isnan(of_cells[:, seed]).any()]
    if missing or len(complete) < 2:
        return IncompleteGrid(tuple(levels), missing, len(complete) if len(of_cells) else 0)
    grid = of_cells[:, complete].reshape([len(axis) for axis in axes] + [-1])
    return _effects(grid, tuple(levels), axes)


def _effects(grid: NDArray[np.float64], names: tuple[str, ...], axes: list[Cell]) -> GridEffects:
    """Effects of scores float64 [levels of factor 1, levels of factor 2, …, seeds] without gaps."""
    factors, seeds = range(len(axes)), grid.shape[-1]
    grand = grid.mean(axis=tuple(factors), keepdims=True)
    mains = [grid.mean(axis=tuple(set(factors) - {factor}), keepdims=True) - grand for factor in factors]
    cells = list(itertools.product(*axes))
    left = grid - grand - (grid - grand).mean(axis=-1, keepdims=True)
    noise = float((left**2).sum()) / ((len(cells) - 1) * (seeds - 1))
    total = float(((grid - grid.mean()) ** 2).sum())

    def share(part: float, freedom: int) -> float:
        """Omega squared of what varies by `part`, a mean square over runs (Hays, "Statistics for Psychologists", 1963).

        0 where that is negative: unlike eta squared, it gives no factor without effect a share but for that cut.
        """
        # Scores near 100 carry rounding errors near 1e-14: what they leave of equal scores is no variance.
        is_noise = total < 1e-20 * grid.size
        return 0.0 if is_noise else max((grid.size * part - freedom * noise) / (total + noise), 0.0)

    together = sum(map(len, axes))
    beyond, freedom = grid - grand - sum(mains, np.zeros(1)), len(cells) - 1 - together + len(axes)
    return GridEffects(
        seeds=seeds,
        grand_mean=float(grid.mean()),
        main_effects=tuple(
            _term((name,), [(level,) for level in axis], main, len(axis) - 1, together, share)
            for name, axis, main in zip(names, axes, mains, strict=True)
        ),
        interaction=_term(names, cells, beyond, freedom, len(cells), share) if len(axes) > 1 else None,
        seed_share=share(float(grand.var()), seeds - 1),
        residual_share=share(noise, 0),
    )


def _term(
    factors: tuple[str, ...],
    levels: list[Cell],
    values: NDArray[np.float64],
    freedom: int,
    together: int,
    share: Callable[[float, int], float],
) -> Term:
    """The term whose `values` [levels …, seeds] are its effects seed by seed; `together` intervals hold at once."""
    rows = values.reshape(len(levels), -1)
    # Effects sum to zero: the noise of two levels is the same, and known no better than that of one.
    intervals = pooled_intervals(list(rows), together, independent=freedom)
    effects = [
        Effect(cell, float(row.mean()), interval)
        for cell, row, interval in zip(levels, rows, intervals, strict=True)
        if interval is not None
    ]
    return Term(factors, tuple(effects), freedom, share(float((rows.mean(axis=1) ** 2).mean()), freedom))


def _settings_by_cell(levels: Mapping[str, Sequence[Level]], settings: int) -> dict[Cell, int]:
    """The setting of each cell; checks the levels."""
    cells = list(zip(*levels.values(), strict=True))
    by_cell = {cell: setting for setting, cell in enumerate(cells)}
    if len(cells) != settings or len(by_cell) < settings or any(len(set(values)) < 2 for values in levels.values()):
        raise ValueError(f"levels of {settings} settings: two of each factor, no combination twice, not {cells}")
    return by_cell
