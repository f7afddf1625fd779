"""What each swept argument does, where every combination of its levels with the others was run: main effects, their
interaction, and the share of variance of each, with seeds as blocks.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.findings.statistics.intervals import Interval, t_interval
from pipeline.findings.statistics.scores import Scores, check_scores

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

    Its row of the analysis of variance: `sum_of_squares` in squared points, `degrees_of_freedom`, `p` of the F test
    against the residual (not adjusted for several terms; None where nothing is left to the residual), and `share`
    (0..1) of the variance, omega squared.
    """

    factors: tuple[str, ...]
    effects: tuple[Effect, ...]
    sum_of_squares: float
    degrees_of_freedom: int
    p: float | None
    share: float


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

    An effect is computed for each seed by itself and has the t interval of these values: settings may have noise of
    different size and share seeds. The intervals of all main effects together hold their truth with 95 %, and so do
    those of the interaction. F tests and shares of variance do take one residual deviation for all settings.

    Omega squared = (sum of squares - degrees of freedom × residual mean square) / (total sum of squares + residual mean
    square) (Hays, "Statistics for Psychologists", 1963; Olejnik & Algina, Psychological Methods 8, 2003), and 0 where
    that is negative: unlike eta squared, it gives a factor without effect no share on average but for that cut.

    Raises as `check_scores`, and ValueError for no factor, a factor without a level for each setting or with the same
    level everywhere, and two settings with the same levels.
    """
    check_scores(scores, settings=2)
    settings = _settings_by_cell(levels, len(scores))
    axes = [tuple(dict.fromkeys(values)) for values in levels.values()]
    runs = (~np.isnan(scores)).sum(axis=1)
    cells = list(itertools.product(*axes))
    missing = tuple(cell for cell in cells if cell not in settings or runs[settings[cell]] == 0)
    found: Scores = scores[[settings[cell] for cell in cells if cell not in missing]]
    complete = [seed for seed in range(scores.shape[1]) if not np.isnan(found[:, seed]).any()]
    if missing or len(complete) < 2:
        return IncompleteGrid(tuple(levels), missing, len(complete) if len(found) else 0)
    grid = found[:, complete].reshape([len(axis) for axis in axes] + [-1])
    return _effects(grid, tuple(levels), axes)


def _effects(grid: NDArray[np.float64], names: tuple[str, ...], axes: list[Cell]) -> GridEffects:
    """Effects of scores float64 [levels of factor 1, levels of factor 2, …, seeds] without gaps."""
    factors = range(len(axes))
    grand = grid.mean(axis=tuple(factors), keepdims=True)
    mains = [grid.mean(axis=tuple(set(factors) - {factor}), keepdims=True) - grand for factor in factors]
    beyond = grid - grand - sum(mains, np.zeros(1))
    variance = _variance(grid)
    effects = sum(len(axis) for axis in axes)
    main_effects = tuple(
        _term((name,), [(level,) for level in axis], main, variance, degrees_of_freedom=len(axis) - 1, together=effects)
        for name, axis, main in zip(names, axes, mains, strict=True)
    )
    cells = list(itertools.product(*axes))
    left = len(cells) - 1 - sum(term.degrees_of_freedom for term in main_effects)
    seed_squares = len(cells) * float(((grand - grid.mean()) ** 2).sum())
    return GridEffects(
        seeds=grid.shape[-1],
        grand_mean=float(grid.mean()),
        main_effects=main_effects,
        interaction=_term(names, cells, beyond, variance, left, together=len(cells)) if len(axes) > 1 else None,
        seed_share=variance.share(seed_squares, grid.shape[-1] - 1),
        residual_share=variance.residual_share,
    )


@dataclass(frozen=True)
class _Variance:
    """The total sum of squares of `runs` runs, and the residual's mean square and degrees of freedom."""

    runs: int
    total: float
    residual: float
    degrees_of_freedom: int

    def share(self, squares: float, degrees_of_freedom: int) -> float:
        """Omega squared, 0 where it is negative or all scores are equal."""
        if self.total + self.residual == 0:
            return 0.0
        return max((squares - degrees_of_freedom * self.residual) / (self.total + self.residual), 0.0)

    @property
    def residual_share(self) -> float:
        return self.runs * self.residual / (self.total + self.residual) if self.residual > 0 else 0.0

    def p(self, squares: float, degrees_of_freedom: int) -> float | None:
        if self.residual == 0:
            return None
        ratio = squares / degrees_of_freedom / self.residual
        return float(stats.f.sf(ratio, degrees_of_freedom, self.degrees_of_freedom))


def _variance(grid: NDArray[np.float64]) -> _Variance:
    mean = grid.mean()
    cells, seeds = grid.mean(axis=-1, keepdims=True), grid.mean(axis=tuple(range(grid.ndim - 1)))
    squares = [float((part**2).sum()) for part in (grid - mean, grid - cells - seeds + mean)]
    # Scores near 100 carry rounding errors near 1e-14: what they leave of equal scores is no variance.
    total, residual = (value if value > 1e-20 * grid.size else 0.0 for value in squares)
    degrees_of_freedom = (cells.size - 1) * (seeds.size - 1)
    return _Variance(grid.size, total, residual / degrees_of_freedom, degrees_of_freedom)


def _term(
    factors: tuple[str, ...],
    levels: list[Cell],
    values: NDArray[np.float64],
    variance: _Variance,
    degrees_of_freedom: int,
    together: int,
) -> Term:
    """The term whose `values` [levels …, seeds] are its effects seed by seed; `together` intervals hold at once."""
    rows = values.reshape(len(levels), -1)
    squares = variance.runs / len(levels) * float((rows.mean(axis=1) ** 2).sum())
    return Term(
        factors=factors,
        effects=tuple(_effect(cell, row, together) for cell, row in zip(levels, rows, strict=True)),
        sum_of_squares=squares,
        degrees_of_freedom=degrees_of_freedom,
        p=variance.p(squares, degrees_of_freedom),
        share=variance.share(squares, degrees_of_freedom),
    )


def _effect(levels: Cell, values: NDArray[np.float64], intervals: int) -> Effect:
    interval = t_interval(values, comparisons=intervals)
    if interval is None:
        raise AssertionError("grid_effects returns before there are fewer than two seeds")
    return Effect(levels, float(values.mean()), interval)


def _settings_by_cell(levels: Mapping[str, Sequence[Level]], settings: int) -> dict[Cell, int]:
    """The setting of each cell; checks the levels."""
    if not levels:
        raise ValueError("levels must name at least one factor")
    for name, values in levels.items():
        if len(values) != settings:
            raise ValueError(f"levels of {name}: one for each of {settings} settings, not {len(values)}")
        if len(set(values)) < 2:
            raise ValueError(f"levels of {name}: a factor has at least two, not only {values[0]}")
    cells = list(zip(*levels.values(), strict=True))
    by_cell = {cell: setting for setting, cell in enumerate(cells)}
    if len(by_cell) < settings:
        twice = next(cell for setting, cell in enumerate(cells) if by_cell[cell] != setting)
        raise ValueError(f"levels of {', '.join(levels)}: {twice} belongs to two settings")
    return by_cell
