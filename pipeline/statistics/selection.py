"""Choosing a setting: the best, the cheapest that is not worse, the front between them, and what the best is worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.differences import MARGIN, Verdict, differences
from pipeline.statistics.intervals import Interval, pooled_intervals
from pipeline.statistics.scores import Scores, check_scores, is_constant, means, present


@dataclass(frozen=True)
class WinnerScore:
    """What the winner's score is worth, in points.

    `mean` is its mean over its own seeds, too high since it was picked by it; `corrected` the mean score, over `seeds`
    seeds, of the setting that the other seeds pick; `picked` the share (0..1) of these picks that are the winner.
    `interval` holds the winner's true mean with 95 %, however it was picked; it lies around `mean`, and is None where
    the winner has a single seed or scores the same with all.
    """

    setting: int
    mean: float
    corrected: float
    interval: Interval | None
    seeds: int
    picked: float


def winner(scores: Scores) -> int:
    """The setting with the highest mean over the seeds it has, the first of several. ValueError without any run."""
    check_scores(scores)
    averages = means(scores)
    if np.isnan(averages).all():
        raise ValueError("scores hold no run: no setting can win")
    return int(np.nanargmax(averages))


def corrected_winner(scores: Scores) -> WinnerScore | None:
    """The winner's score, chosen on some seeds and estimated on the others; None where no seed can be left out.

    Each seed is left out in turn, the others pick a setting among those that have that seed, and its score there counts
    (Stone, JRSS B 36, 1974; Cawley & Talbot, JMLR 11, 2010): unbiased for what a winner of one seed fewer gets with a
    new seed, and so a little low where settings truly differ. The scores left out depend on each other and make no
    interval (Bengio & Grandvalet, JMLR 5, 2004); that is the winner's own, one of as many as there are settings, which
    holds for any that is picked (Berk et al., Annals of Statistics 41, 2013, in its simplest case).

    Raises as `winner`.
    """
    best = winner(scores)
    picks = [(pick, seed) for seed in range(scores.shape[1]) if (pick := _pick_without(scores, seed)) is not None]
    if not picks:
        return None
    held_out = np.array([scores[pick, seed] for pick, seed in picks])
    rows = [present(row) for row in scores]
    varied = [row[:0] if is_constant(row) else row for row in rows]
    return WinnerScore(
        setting=best,
        mean=float(means(scores)[best]),
        corrected=float(held_out.mean()),
        interval=pooled_intervals(varied, comparisons=len(scores))[best],
        seeds=len(picks),
        picked=sum(pick == best for pick, _ in picks) / len(picks),
    )


def cheapest_not_worse(
    scores: Scores, costs: NDArray[np.float64], margin: float = MARGIN, best: int | None = None
) -> int:
    """The cheapest setting that is not worse than the best by the margin (points); of equal costs the better one.

    `best` is the winner where it is not given. Not worse: with seeds enough for a verdict, the simultaneous interval of
    its difference from the best lies above -margin. That the best looks better than it is makes this only stricter.

    `costs` float64 [settings] in any unit. Raises as `differences`, and ValueError for costs that are not finite or not
    one for each setting.
    """
    _check_costs(costs, settings=len(scores))
    best = winner(scores) if best is None else best
    others = differences(scores, baseline=best, margin=margin) if len(scores) > 1 else ()
    has_verdict = [(one.setting, one.interval) for one in others if one.verdict is not Verdict.NO_VERDICT]
    not_worse = [best, *(setting for setting, interval in has_verdict if interval and interval.low > -margin)]
    averages = means(scores)
    return min(not_worse, key=lambda setting: (costs[setting], -averages[setting], setting))


def pareto_front(accuracies: NDArray[np.float64], costs: NDArray[np.float64]) -> tuple[int, ...]:
    """Settings which no other beats in accuracy (to be high) or cost (to be low) without losing in the other.

    Both float64 [settings]; the front is ordered by cost, equal ones by number. A setting without an accuracy (NaN)
    stands in no front. Raises ValueError for costs that are not finite or not one for each setting.
    """
    _check_costs(costs, settings=len(accuracies))

    def is_beaten(setting: int) -> bool:
        as_good = (accuracies >= accuracies[setting]) & (costs <= costs[setting])
        return bool((as_good & ((accuracies > accuracies[setting]) | (costs < costs[setting]))).any())

    there = np.flatnonzero(~np.isnan(accuracies)).tolist()
    return tuple(sorted((each for each in there if not is_beaten(each)), key=lambda each: (costs[each], each)))


def _pick_without(scores: Scores, seed: int) -> int | None:
    """The winner on all seeds but one, among the settings that have that one."""
    others = means(np.delete(scores, seed, axis=1))
    others[np.isnan(scores[:, seed])] = np.nan
    return None if np.isnan(others).all() else int(np.nanargmax(others))


def _check_costs(costs: NDArray[np.float64], settings: int) -> None:
    if costs.shape != (settings,) or not np.isfinite(costs).all():
        raise ValueError(f"costs must be {settings} finite numbers, one for each setting, not {costs}")
