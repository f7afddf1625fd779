"""Simulated studies, whose truth is known: how often the statistics of `pipeline.statistics` err.

python -m benchmarks.comparison [--studies 4000]

Studies of 9 settings with 3, 5 and 10 seeds each, for nine kinds of noise between seeds. Writes
benchmarks/comparison.json and the table in docs/statistics.md. Ten minutes.
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.differences import FEWEST_SEEDS, MARGIN, Verdict, differences, verdict
from pipeline.statistics.factors import GridEffects, grid_effects
from pipeline.statistics.images import Answers, accuracy_differences
from pipeline.statistics.intervals import ERROR_RATE, Interval, pooled_intervals, t_interval
from pipeline.statistics.scores import SeedDeviation, seed_deviation
from pipeline.statistics.selection import WinnerScore, cheapest_not_worse, corrected_winner, winner
from pipeline.storage import atomic
from pipeline.terminal.progress import console

SETTINGS, DEVIATION, ACCURACY = 9, 0.2, 90.0
SEEDS = 3, 5, 10
RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
RACES_HEADING = "\n## Races\n"
"""From there on the page is that of `benchmarks.races`."""
INTRODUCTION = """\
# What a report's intervals mean

A study trains each setting with several seeds and asks which settings differ from the baseline. Each difference is
taken seed by seed and has an interval. **All intervals of a study together hold the true differences in 95 % of
studies**: in at most one study of twenty is there any false "better" or "worse". True is what the mean over all
possible seeds would be, on these images.

The interval alone decides: better or worse where it leaves out zero; equivalent where it holds zero and lies inside the
margin that the study declares; else the study can't tell. Three seeds in common with the baseline give a verdict.

## The rule

A few seeds often look quieter than they are, and that is where false verdicts come from. So a setting counts as at
least as noisy as the study on average. With n seeds, k differences from the baseline, and their standard deviations s:

- c of the deviations, those up to three times the median (of two, up to nine times the other), are pooled: pool² =
  the mean of s², weighted by n - 1;
- each of these settings uses the larger of s and pool, with (n - 1) · 4c / (c + 3) degrees of freedom (they share the
  baseline, which correlates their deviations); a noisier setting keeps its own s, with n - 1;
- the half width is t(1 - 0.05 / 2k) · deviation / √n. Two settings have the usual paired t interval.

With unequal n the mean n - 1 of those pooled stands in the degrees of freedom. What the seed does not change is not
pooled. The interval of the highest mean and those of the arguments' effects are made by the same rule; that of the
deviation between seeds is a jackknife over seeds. "Seeds that would tell" are those with which a difference is decided
in four of five studies, were it the hardest to tell; that noise is not known exactly is counted.

A contrast that a study declares is a weighted sum of its settings, taken seed by seed, and has an interval by the same
rule: noise is pooled in units of √Σ weight², and c contrasts whose weights correlate by r are worth c² / Σ r²
independent ones. Its claim is supported where all of the interval agrees with it, and refuted where none does. The
contrasts of a study share the error rate, and so do the studies of a declared family.

## How often it errs

`python -m benchmarks.comparison` simulates it: studies of 9 settings in which nothing differs, 4,000 for each noise and
number of seeds ([all figures](../benchmarks/comparison.json)). In %, with 3 / 5 / 10 seeds: studies with any false
verdict, and true differences of 0.3 and of 0.5 points that are found. The deviation between seeds is 0.2 points where
nothing else is said.

"""

COLUMNS = "false verdicts", "0.3 points called better", "0.5 points called better"
OTHER_ROWS = {
    "false verdicts, 3 settings": "false verdicts of studies of 3 settings",
    "false verdicts, 3 to 10 seeds": "false verdicts where settings have 3 to 10 seeds by chance",
    "winner outside": "interval of the highest mean misses what is true of it",
    "deviation outside": "interval of the deviation between seeds misses",
    "a main effect outside": "any interval of a main effect (3 × 3 grid) misses",
    "an interaction outside": "any interval of an interaction, and with it its bound, misses",
    "cheapest is worse by the margin": "the cheapest that is not worse than the highest mean is, by the margin",
    "undecided with the seeds that would tell": "half a margin is still open with the seeds that would tell",
    "difference outside, 1000 images": "difference for other seeds and other images (1,000) misses",
    "new images outside, split by seed": "the same by seeds alone, each of which holds out other images, misses",
    "new images outside, split by seed, corrected": "the same, corrected for the overlap of what they hold out",
}
OTHERS = """

Where half of the settings are five times as noisy as the others, three to five seeds keep no 5 %: a noisy setting whose
few seeds look quiet is pooled with the others. Everywhere else the promise holds.

What else a report states, and how often it is wrong, in % of studies with 3 / 5 / 10 seeds (1,000 each; 4,000 in the
first two rows, 250 for the cheapest):

| | normal noise | worst | where |
|---|---:|---:|---|
{}

The highest mean flatters where one run of twenty loses 3 points: what had no such run in ten seeds does not show that
it will. Runs that name one class or diverge count in no mean and are told apart.

A split that follows the seed does not replace the interval over images: parts of one pool (1,000 of 6,000 images)
overlap, so that seeds alone promise too much for new images, and the correction of Nadeau and Bengio (2003) makes the
interval of ten seeds 1.7 times as wide.
"""

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]
"""Of scores [settings, seeds] around their true means, in points: their mean is zero."""


@dataclass(frozen=True)
class Figure:
    """`value` is the share (0..1) of so many `studies`; it is `promised` to be at most so much, or only measured."""

    what: str
    noise: str
    seeds: int
    value: float
    studies: int
    promised: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise holds, four standard errors granted."""
        if self.promised is None:
            return True
        return self.value <= self.promised + 4 * math.sqrt(self.promised * (1 - self.promised) / self.studies)


def _normal(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return random.normal(0, DEVIATION, shape)


def _shared(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Half of the variance belongs to the seed: good or bad for all settings."""
    return (_normal(random, shape) + _normal(random, (1, shape[1]))) / math.sqrt(2)


def _uneven(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Each setting with its own deviation, 0.1 to 0.4 points."""
    return np.linspace(0.1, 0.4, shape[0])[:, None] * random.normal(size=shape)


def _binomial(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Each run is counted on 10,000 images of its own: steps of 0.01 points, 0.36 points of deviation."""
    return random.binomial(10_000, (ACCURACY + _normal(random, shape)) / 100) / 100 - ACCURACY


def _skewed(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Uneven, and with a long tail of bad runs (skewness -1)."""
    return -np.linspace(0.1, 0.4, shape[0])[:, None] * (random.gamma(4, size=shape) - 4) / 2


def _heavy(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """t with 3 degrees of freedom."""
    return DEVIATION / math.sqrt(3) * random.standard_t(3, size=shape)


def _collapses(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One run of twenty loses 3 points."""
    return _normal(random, shape) - 3 * ((random.random(shape) < 0.05) - 0.05)


def _half_noisy(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Every second setting is five times as noisy, the baseline is not."""
    return np.where(np.arange(shape[0]) % 2, 5, 1)[:, None] * _normal(random, shape)


def _exponential(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Skewness -2."""
    return -DEVIATION * (random.exponential(size=shape) - 1)


NOISES: dict[str, Noise] = {
    "normal": _normal,
    "shared by all settings of a seed": _shared,
    "uneven, 0.1 to 0.4 points": _uneven,
    "binomial": _binomial,
    "skewed and uneven": _skewed,
    "heavy tails": _heavy,
    "5 % of runs lose 3 points": _collapses,
    "half of the settings five times noisier": _half_noisy,
    "exponential": _exponential,
}
PROMISED = frozenset(NOISES) - {"half of the settings five times noisier"}
"""Where false verdicts are promised to be at most 5 %."""


def verdicts(noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """False verdicts where nothing differs; how often a true difference is called better, and half a margin decided.

    An interval moves with its difference: one set of studies answers all.
    """
    random = np.random.default_rng([1, seeds])
    families = [_against_first(NOISES[noise](random, (SETTINGS, seeds))) for _ in range(studies)]
    called = [any(not each.holds_zero() for each in family) for family in families]
    yield _share("false verdicts", noise, seeds, called, ERROR_RATE if noise in PROMISED else None)
    for size in (0.3, 0.5):
        better = [float(np.mean([each.low + size > 0 for each in family])) for family in families]
        yield _share(f"{size} points called better", noise, seeds, better)


def others(noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """The winner, the deviation between seeds, the effects and the cheapest setting."""
    random, draw = np.random.default_rng([2, seeds]), NOISES[noise]
    true_deviation = math.sqrt(draw(random, (SETTINGS, 100_000)).var(axis=1).mean())
    equal = [(ACCURACY + draw(random, (SETTINGS, seeds))).clip(0, 100) for _ in range(studies)]
    best = [corrected_winner(scores) for scores in equal]
    yield _share("winner outside", noise, seeds, [not _holds(each, ACCURACY) for each in best])
    deviations = [seed_deviation(scores) for scores in equal]
    missed = [not _holds(each, true_deviation) for each in deviations]
    yield _share("deviation outside", noise, seeds, missed)
    kernels, filters = zip(*itertools.product((3, 5, 7), (16, 32, 64)), strict=True)
    grids = [grid_effects(scores, {"kernel": kernels, "filters": filters}) for scores in equal]
    yield _share("a main effect outside", noise, seeds, [_misses(grid, interaction=False) for grid in grids])
    yield _share("an interaction outside", noise, seeds, [_misses(grid, interaction=True) for grid in grids])
    truth = np.where(np.arange(SETTINGS) < SETTINGS - 1, -MARGIN, 0.0)
    wrong = [_is_worse(scores, truth) for scores in equal[: studies // 4]]
    yield _share("cheapest is worse by the margin", noise, seeds, wrong)


def unequal(noise: str, studies: int) -> Iterator[Figure]:
    """False verdicts where each setting has the first 3 to 10 seeds, by chance and not by their scores."""
    random = np.random.default_rng(3)
    called = []
    for _ in range(studies):
        scores = NOISES[noise](random, (SETTINGS, max(SEEDS)))
        families = pooled_intervals(
            [(row - scores[0])[: random.integers(FEWEST_SEEDS, 11)] for row in scores[1:]], SETTINGS - 1
        )
        called.append(any(each is not None and not each.holds_zero() for each in families))
    yield _share("false verdicts, 3 to 10 seeds", noise, max(SEEDS), called, ERROR_RATE if noise in PROMISED else None)


def two(noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """False verdicts of studies of three settings, whose two differences have a pool of their own."""
    random = np.random.default_rng([8, seeds])
    families = (_against_first(NOISES[noise](random, (3, seeds))) for _ in range(studies))
    called = [any(not each.holds_zero() for each in family) for family in families]
    yield _share("false verdicts, 3 settings", noise, seeds, called, ERROR_RATE if noise in PROMISED else None)


def decisions(seeds: int, studies: int) -> Iterator[Figure]:
    """Differences of half a margin that could not be told, run again with the seeds that would tell: how many don't."""
    random = np.random.default_rng([4, seeds])
    truth = np.array([0.0] + [MARGIN / 2] * (SETTINGS - 1))[:, None]
    undecided = []
    for _ in range(studies):
        found = differences(ACCURACY + truth + _normal(random, (SETTINGS, seeds)), baseline=0)
        needed = [each.seeds_needed for each in found if each.verdict is Verdict.CANT_TELL and each.seeds_needed]
        if needed:
            family = _against_first(truth + _normal(random, (SETTINGS, needed[0])))
            undecided.append(verdict(family[0], needed[0], MARGIN) is Verdict.CANT_TELL)
    yield _share("undecided with the seeds that would tell", "normal", seeds, undecided, 0.2)


def images(seeds: int, studies: int, count: int = 1000) -> Iterator[Figure]:
    """Intervals over seeds and images, where each study draws both anew, for two equally good settings.

    An answer is right where 1.8 + image + the setting's liking for the image + run + chance > 0, all normal.
    """
    random = np.random.default_rng([5, seeds])
    for spread, kind in ((0.0, "equal seeds"), (0.03, "seeds differ"), (0.12, "seeds differ much")):
        missed = []
        for _ in range(studies):
            image = random.normal(0, 0.9, (1, 1, count)) + random.normal(0, 0.3, (2, 1, count))
            run = random.normal(0, spread, (2, seeds, 1))
            right = (1.8 + image + run + random.normal(0, 0.4, (2, seeds, count)) > 0).reshape(2 * seeds, count)
            answers = Answers(right, np.repeat([0, 1], seeds), np.tile(np.arange(seeds), 2))
            missed.append(not accuracy_differences(answers, baseline=0, comparisons=1)[1].interval.holds_zero())
        yield _share(f"difference outside, {count} images", kind, seeds, missed, ERROR_RATE)


def splits(seeds: int, studies: int, pool: int = 6000, count: int = 1000) -> Iterator[Figure]:
    """Intervals for new images where each seed holds out other images of one pool, for two equally good settings.

    The model is that of `images`. Held-out parts overlap, which the deviation between seeds does not show; corrected,
    the variance is 1 / seeds + held out / trained on times theirs (Nadeau & Bengio, Machine Learning 52, 2003).
    """
    random = np.random.default_rng([9, seeds])
    for spread, kind in ((0.0, "equal seeds"), (0.03, "seeds differ"), (0.12, "seeds differ much")):
        missed = []
        for _ in range(studies):
            image = random.normal(0, 0.9, (1, pool)) + random.normal(0, 0.3, (2, pool))
            held = np.stack([image[:, random.permutation(pool)[:count]] for _ in range(seeds)])
            noise = random.normal(0, spread, (seeds, 2, 1)) + random.normal(0, 0.4, held.shape)
            accuracies = 100 * (1.8 + held + noise > 0).mean(axis=2)
            interval = t_interval(accuracies[:, 0] - accuracies[:, 1])
            assert interval is not None
            half, mean = (interval.high - interval.low) / 2, (interval.high + interval.low) / 2
            corrected = half * math.sqrt(1 + seeds * count / (pool - count))
            missed.append((abs(mean) > half, abs(mean) > corrected))
        naive, right = np.array(missed).T
        yield _share("new images outside, split by seed", kind, seeds, naive)
        yield _share("new images outside, split by seed, corrected", kind, seeds, right)


def simulate(studies: int) -> Iterator[Figure]:
    """All of them, one after the other."""
    for noise in NOISES:
        for seeds in SEEDS:
            yield from verdicts(noise, seeds, studies)
            yield from others(noise, seeds, studies // 4)
            yield from two(noise, seeds, studies)
        yield from unequal(noise, studies)
    for seeds in SEEDS:
        yield from decisions(seeds, studies // 4)
        yield from images(seeds, studies // 4)
        yield from splits(seeds, studies // 4)


def page(figures: Sequence[Figure]) -> str:
    """docs/statistics.md up to the races."""
    values = {(figure.what, figure.noise, figure.seeds): figure.value for figure in figures}
    lines = ["| noise between seeds | false verdicts | 0.3 points found | 0.5 points found |", "|---|---:|---:|---:|"]
    for noise in NOISES:
        cells = [" / ".join(f"{100 * values[what, noise, seeds]:.1f}" for seeds in SEEDS) for what in COLUMNS]
        lines.append(f"| {noise} | {' | '.join(cells)} |")
    return INTRODUCTION + "\n".join(lines) + OTHERS.format("\n".join(_other_rows(figures)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    figures = []
    for figure in simulate(parser.parse_args().studies):
        figures.append(figure)
        promised = "" if figure.promised is None else f"at most {figure.promised:.2f}"
        console.print(
            f"{figure.what:<45} {figure.noise:<40} {figure.seeds:2} {figure.value:.4f}  "
            f"{promised}{'' if figure.kept else ' BROKEN'}"
        )
    document = {"command": "python -m benchmarks.comparison", "figures": [asdict(figure) for figure in figures]}
    atomic.write_file(RESULTS, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    _, heading, races = PAGE.read_text(encoding="utf-8").partition(RACES_HEADING)
    atomic.write_file(PAGE, page(figures) + heading + races)


def read_figures() -> list[Figure]:
    """Those of benchmarks/comparison.json."""
    return [Figure(**figure) for figure in json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]]


def _other_rows(figures: Sequence[Figure]) -> Iterator[str]:
    """A row for each figure that is not a column: with normal noise by seeds, and the worst of all."""
    for what, words in OTHER_ROWS.items():
        own = [figure for figure in figures if figure.what == what]
        normal = {
            figure.seeds: f"{100 * figure.value:.1f}" for figure in own if figure.noise in ("normal", "seeds differ")
        }
        worst = max(own, key=lambda figure: figure.value)
        cells = " / ".join(normal[seeds] for seeds in SEEDS if seeds in normal)
        yield f"| {words} | {cells} | {100 * worst.value:.1f} | {worst.noise}, {worst.seeds} seeds |"


def _share(what: str, noise: str, seeds: int, hits: Sequence[float], promised: float | None = None) -> Figure:
    return Figure(what, noise, seeds, float(np.mean(hits)), len(hits), promised)


def _against_first(scores: Floats) -> list[Interval]:
    """The intervals of all settings but the first against it."""
    intervals = pooled_intervals(list(scores[1:] - scores[0]), comparisons=len(scores) - 1)
    return [each for each in intervals if each is not None]


def _misses(grid: object, *, interaction: bool) -> bool:
    assert isinstance(grid, GridEffects)
    assert grid.interaction is not None
    terms = [grid.interaction] if interaction else grid.main_effects
    return any(not effect.interval.holds_zero() for term in terms for effect in term.effects)


def _is_worse(scores: Floats, truth: Floats) -> bool:
    """Whether the cheapest 'not worse' than the winner truly is by the margin; the dearest setting is the best."""
    moved = scores + truth[:, None]
    chosen = cheapest_not_worse(moved, costs=np.arange(len(moved), dtype=np.float64))
    return bool(truth[chosen] <= truth[winner(moved)] - MARGIN)


def _holds(estimate: WinnerScore | SeedDeviation | None, truth: float) -> bool:
    interval = None if estimate is None else estimate.interval
    return interval is not None and interval.low <= truth <= interval.high


if __name__ == "__main__":
    main()
