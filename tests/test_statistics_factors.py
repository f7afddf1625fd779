"""Effects of factors against sums by hand and the analysis of variance of statsmodels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.statistics.factors import GridEffects, IncompleteGrid, Level, Term, grid_effects
from pipeline.statistics.intervals import t_quantile

NAN = float("nan")
TWO_BY_TWO: dict[str, tuple[Level, ...]] = {"kernel": (3, 3, 5, 5), "filters": (16, 32, 16, 32)}


def _effects(scores: NDArray[np.float64], levels: dict[str, tuple[Level, ...]]) -> GridEffects:
    result = grid_effects(scores, levels)
    assert isinstance(result, GridEffects)
    return result


def _grid(*sizes: int) -> dict[str, tuple[Level, ...]]:
    """Levels of every cell of a grid of factors a, b, … with so many levels each."""
    columns = zip(*itertools.product(*(range(size) for size in sizes)), strict=True)
    return dict(zip("abcd", columns, strict=False))


def _means(term: Term | None) -> list[float]:
    assert term is not None
    return [effect.mean for effect in term.effects]


def test_effects_of_a_two_by_two_grid_by_hand() -> None:
    # Cell means 1, 3, 5, 11 around 5: kernel -3 and 3, filters -2 and 2; the rest is ± 1.
    scores = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0], [10.0, 12.0]])
    result = _effects(scores, TWO_BY_TWO)
    kernel, filters = result.main_effects
    assert (result.seeds, result.grand_mean) == (2, 5)
    assert (kernel.factors, filters.factors) == (("kernel",), ("filters",))
    assert [effect.levels for effect in kernel.effects] == [(3,), (5,)]
    assert (_means(kernel), _means(filters)) == ([-3, 3], [-2, 2])
    assert _means(result.interaction) == [1, -1, -1, 1]
    assert result.interaction is not None
    assert [effect.levels for effect in result.interaction.effects] == [(3, 16), (3, 32), (5, 16), (5, 32)]
    # Sums of squares: 72, 32 and 8, of the seeds 8, and nothing is left.
    assert [term.share for term in (kernel, filters, result.interaction)] == pytest.approx(
        [72 / 120, 32 / 120, 8 / 120]
    )


def test_intervals_of_effects_are_those_of_the_seeds_one_by_one() -> None:
    # By seed, the level 5 of the kernel adds 1, 2 and 3 points; of 2 + 2 intervals each is one of four. That level 3
    # takes the same away is no second look at the noise: 2 degrees of freedom.
    scores = np.array([[50.0, 50, 50], [50, 50, 50], [52, 54, 56], [52, 54, 56]])
    effect = _effects(scores, TWO_BY_TWO).main_effects[0].effects[1]
    half = t_quantile(2, comparisons=4) / math.sqrt(3)
    assert (effect.mean, effect.interval.low, effect.interval.high) == pytest.approx((2, 2 - half, 2 + half))


def test_the_effects_of_three_levels_pool_their_noise() -> None:
    # Less each seed's mean the effects are (-1, -1), (0, 2), (1, -1): deviations 0, √2 and √2. Two of the three are
    # free, so that pooled they have 2 × (2 - 1) degrees of freedom; each has the larger of √(4 / 3) and its own.
    scores = np.array([[49.0, 49], [50, 52], [51, 49]])
    effects = _effects(scores, {"kernel": (3, 5, 7)}).main_effects[0].effects
    halves = [effect.interval.high - effect.mean for effect in effects]
    quantile = stats.t.isf(0.05 / 6, 2)
    assert halves == pytest.approx(
        [quantile * deviation / math.sqrt(2) for deviation in (math.sqrt(4 / 3), 2**0.5, 2**0.5)]
    )


def test_the_interaction_has_a_bound_in_points() -> None:
    # By seed, the interaction is ± 1, ± 2, ± 3: the four cells show one noise, with 2 degrees of freedom.
    scores = np.array([[51.0, 52, 53], [49, 48, 47], [49, 48, 47], [51, 52, 53]])
    interaction = _effects(scores, TWO_BY_TWO).interaction
    assert interaction is not None
    half = t_quantile(2, comparisons=4) / math.sqrt(3)
    assert [effect.interval.high for effect in interaction.effects] == pytest.approx(
        [2 + half, half - 2, half - 2, 2 + half]
    )
    assert interaction.bound == pytest.approx(2 + half)
    assert max(abs(effect.mean) for effect in interaction.effects) == 2


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(2, 3), (3, 3), (2, 2, 3), (4,)]), st.integers(2, 4))
def test_the_analysis_of_variance_is_that_of_statsmodels(number: int, sizes: tuple[int, ...], seeds: int) -> None:
    # Every worker of a test run imports this file, and one needs these seconds.
    import pandas as pd  # noqa: PLC0415
    from statsmodels.formula.api import ols  # noqa: PLC0415
    from statsmodels.stats.anova import anova_lm  # noqa: PLC0415

    random = np.random.default_rng(number)
    levels = _grid(*sizes)
    scores = 50 + random.normal(0, 1, (math.prod(sizes), seeds)) + random.normal(0, 1, (math.prod(sizes), 1))
    scores += random.normal(0, 0.5, seeds)
    ours = _effects(scores, levels)
    frame = pd.DataFrame({name: np.repeat(np.array(values), seeds) for name, values in levels.items()})
    frame["score"], frame["seed"] = scores.ravel(), np.tile(np.arange(seeds), len(scores))
    table = anova_lm(ols(f"score ~ C(seed) + {' * '.join(f'C({name})' for name in levels)}", frame).fit())
    residual, total = table.loc["Residual"], table.sum_sq.sum()
    mean_square = residual.sum_sq / residual.df

    def omega(squares: float, degrees_of_freedom: float) -> float:
        return max(float((squares - degrees_of_freedom * mean_square) / (total + mean_square)), 0)

    for name, term in zip(levels, ours.main_effects, strict=True):
        row = table.loc[f"C({name})"]
        assert (term.degrees_of_freedom, term.share) == pytest.approx((row.df, omega(row.sum_sq, row.df)))
    rest = table[[":" in name for name in table.index]]
    if ours.interaction is None:
        assert len(sizes) == 1
    else:
        share = omega(rest.sum_sq.sum(), rest.df.sum())
        assert (ours.interaction.degrees_of_freedom, ours.interaction.share) == pytest.approx((rest.df.sum(), share))
    seed_row = table.loc["C(seed)"]
    assert ours.seed_share == pytest.approx(omega(seed_row.sum_sq, seed_row.df))
    assert ours.residual_share == pytest.approx(scores.size * mean_square / (total + mean_square))


def test_shares_sum_to_one_where_none_is_cut() -> None:
    random = np.random.default_rng(3)
    scores = 50 + np.array([0.0, 1, 2, 9])[:, None] + np.array([0.0, 1, 2, 3, 4, 5]) + random.normal(0, 0.3, (4, 6))
    result = _effects(scores, TWO_BY_TWO)
    assert result.interaction is not None
    shares = [*(term.share for term in result.main_effects), result.interaction.share]
    assert min(shares) > 0
    assert sum(shares) + result.seed_share + result.residual_share == pytest.approx(1)


def test_a_factor_without_effect_has_no_share_on_average_but_for_the_cut() -> None:
    # Without the cut the mean is 0; eta squared would be 2 / 26 on average, the cut keeps less than half of that.
    random = np.random.default_rng(1)
    shares = [_effects(random.normal(50, 1, (9, 3)), _grid(3, 3)).main_effects[0].share for _ in range(200)]
    assert np.mean(shares) < 0.04


def test_equal_scores_have_no_variance_to_share() -> None:
    result = _effects(np.full((4, 3), 90.1), TWO_BY_TWO)
    assert [term.share for term in result.main_effects] == [0, 0]
    assert (result.seed_share, result.residual_share) == (0, 0)


def test_seeds_that_a_cell_lacks_are_left_out_for_all() -> None:
    scores = np.random.default_rng(0).normal(90, 1, (4, 5))
    with_gap = scores.copy()
    with_gap[2, 1] = NAN
    assert _effects(with_gap, TWO_BY_TWO) == _effects(np.delete(scores, 1, axis=1), TWO_BY_TWO)


def test_an_incomplete_grid_names_its_missing_cells() -> None:
    levels: dict[str, tuple[Level, ...]] = {"kernel": (3, 3, 5), "filters": (16, 32, 16)}
    result = grid_effects(np.array([[90.0, 91.0, 90.0], [NAN, NAN, NAN], [90.0, NAN, 91.0]]), levels)
    assert result == IncompleteGrid(("kernel", "filters"), ((3, 32), (5, 32)), seeds=2)


def test_a_grid_with_one_common_seed_is_incomplete() -> None:
    scores = np.array([[90.0, NAN], [90.0, 91.0], [90.0, 91.0], [90.0, 91.0]])
    assert grid_effects(scores, TWO_BY_TWO) == IncompleteGrid(("kernel", "filters"), (), seeds=1)


def test_a_study_without_runs_misses_all_cells() -> None:
    result = grid_effects(np.full((4, 2), NAN), TWO_BY_TWO)
    assert isinstance(result, IncompleteGrid)
    assert (len(result.missing), result.seeds) == (4, 0)


@pytest.mark.parametrize(
    "levels",
    [
        {},
        {"kernel": (3, 5)},
        {"kernel": (3, 5, 7, 9), "filters": (16, 16, 16, 16)},
        {"kernel": (3, 3, 5, 5)},
    ],
)
def test_levels_that_make_no_grid_are_refused(levels: dict[str, tuple[Level, ...]]) -> None:
    with pytest.raises(ValueError, match="levels of 4 settings"):
        grid_effects(np.full((4, 3), 90.0), levels)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_settings_and_level_of_seeds_do_not_matter_to_effects(number: int) -> None:
    random = np.random.default_rng(number)
    scores, order = random.normal(50, 1, (6, 4)), random.permutation(6)
    levels = _grid(2, 3)
    other = _effects(
        scores[order] + random.uniform(-5, 5, 4),
        {name: tuple(values[place] for place in order) for name, values in levels.items()},
    )
    ours = _effects(scores, levels)
    for term, other_term in zip(ours.main_effects, other.main_effects, strict=True):
        theirs = {effect.levels: effect for effect in other_term.effects}
        for effect in term.effects:
            assert effect.mean == pytest.approx(theirs[effect.levels].mean)
            assert effect.interval.low == pytest.approx(theirs[effect.levels].interval.low)
        assert term.bound == pytest.approx(other_term.bound)
