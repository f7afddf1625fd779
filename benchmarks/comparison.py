"""Simulated studies, whose truth is known: how often the statistics of `pipeline.findings.statistics` err.

python -m benchmarks.comparison [--studies 4000]

Prints a table and writes benchmarks/comparison.json. Each figure stands beside what is promised and its own standard
error, which comes from the number of studies.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.statistics.differences import MARGIN, Difference, Verdict, differences
from pipeline.findings.statistics.factors import GridEffects, Term, grid_effects
from pipeline.findings.statistics.images import Answers, CrossedMean, accuracy, accuracy_difference
from pipeline.findings.statistics.intervals import ERROR_RATE, Interval
from pipeline.findings.statistics.noise import same_setting_check, seed_deviation
from pipeline.findings.statistics.power import decision_power, detection_power
from pipeline.findings.statistics.selection import cheapest_not_worse, corrected_winner

SETTINGS, SEEDS, DEVIATION = 9, 10, 0.2
ACCURACY = 90.0
EQUAL = np.full(SETTINGS, ACCURACY)
SPREAD = ACCURACY + np.linspace(-0.5, 0.5, SETTINGS)

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, Floats, int], Floats]
"""Scores [settings, seeds] around true means [settings], for a number of seeds."""


@dataclass(frozen=True)
class Figure:
    """`value` of `what`, simulated, with its standard `error`; by its `rule` it is `promised`, or at most or at least.

    With the rule "measured" it is what one would wish for, and no promise.
    """

    what: str
    noise: str
    value: float
    error: float
    rule: str
    promised: float
    studies: int

    @property
    def kept(self) -> bool:
        """Whether the promise holds, four standard errors granted."""
        below, above = self.value <= self.promised + 4 * self.error, self.value >= self.promised - 4 * self.error
        return {"at most": below, "at least": above, "about": below and above, "measured": True}[self.rule]


def normal(random: np.random.Generator, means: Floats, seeds: int) -> Floats:
    return means[:, None] + random.normal(0, DEVIATION, (len(means), seeds))


def shared_seeds(random: np.random.Generator, means: Floats, seeds: int) -> Floats:
    """Half of the variance belongs to the seed: good or bad for all settings."""
    part = DEVIATION / math.sqrt(2)
    return means[:, None] + random.normal(0, part, (1, seeds)) + random.normal(0, part, (len(means), seeds))


def uneven(random: np.random.Generator, means: Floats, seeds: int) -> Floats:
    """Each setting with its own deviation, 0.1 to 0.4 points."""
    deviations = np.linspace(0.1, 0.4, len(means))[:, None]
    return means[:, None] + deviations * random.normal(size=(len(means), seeds))


def skewed(random: np.random.Generator, means: Floats, seeds: int) -> Floats:
    """Uneven, and with a long tail of bad runs (skewness -1)."""
    deviations = np.linspace(0.1, 0.4, len(means))[:, None]
    return means[:, None] - deviations * (random.gamma(4, size=(len(means), seeds)) - 4) / 2


def binomial(random: np.random.Generator, means: Floats, seeds: int) -> Floats:
    """Normal seeds, each run counted on 10,000 images of its own: steps of 0.01 points, 0.36 points of deviation."""
    chances = normal(random, means, seeds) / 100
    return random.binomial(10_000, chances) / 100


NOISES: dict[str, Noise] = {
    "normal": normal,
    "shared seeds": shared_seeds,
    "uneven": uneven,
    "binomial": binomial,
    "skewed, uneven": skewed,
}
NORMAL = frozenset(NOISES) - {"skewed, uneven"}
"""Where t intervals are promised to hold: paired differences are normal, at least nearly."""

EVEN = frozenset({"normal", "binomial"})
"""Where chi-square and F are: one deviation, and runs that don't depend on each other."""


def families(name: str, studies: int) -> Iterator[Figure]:
    """Verdicts where nothing differs, and whether all intervals of a study hold the truth where much does."""
    noise, random = NOISES[name], np.random.default_rng(1)
    equal = [differences(noise(random, EQUAL, SEEDS), baseline=0) for _ in range(studies)]
    called = [any(each.verdict in (Verdict.BETTER, Verdict.WORSE) for each in study) for study in equal]
    yield share("any better or worse, none true", name, called, _rule("at most", name, NORMAL), ERROR_RATE)
    flipped = [any(each.holm_p <= ERROR_RATE for each in study) for study in equal]
    yield share("any sign-flip p ≤ 0.05 (Holm), none true", name, flipped, _rule("at most", name, NORMAL), ERROR_RATE)
    truth = SPREAD[1:] - SPREAD[0]
    spread = [differences(noise(random, SPREAD, SEEDS), baseline=0) for _ in range(studies)]
    covered = [all(_holds(each.interval, true) for each, true in zip(study, truth, strict=True)) for study in spread]
    yield share("all differences in their intervals", name, covered, _rule("at least", name, NORMAL), 1 - ERROR_RATE)
    wrong = [any(_wrong(each, true) for each, true in zip(study, truth, strict=True)) for study in spread]
    yield share("any verdict wrong", name, wrong, _rule("at most", name, NORMAL), ERROR_RATE)


def noise_floor(name: str, studies: int) -> Iterator[Figure]:
    """The interval of the pooled deviation, and the differences of settings from themselves."""
    noise, random = NOISES[name], np.random.default_rng(2)
    truth = float(noise(random, EQUAL, 200_000).var(axis=1).mean()) ** 0.5
    found = [seed_deviation(noise(random, EQUAL, SEEDS)) for _ in range(studies)]
    covered = [each is not None and _holds(each.interval, truth) for each in found]
    yield share("seed deviation in its interval", name, covered, _rule("about", name, EVEN), 1 - ERROR_RATE)
    checks = [same_setting_check(noise(random, EQUAL, SEEDS), halvings=20) for _ in range(studies // 4)]
    called = [check.called for check in checks if check is not None]
    yield average("A/A differences called", name, called, _rule("about", name, NORMAL), ERROR_RATE / (SETTINGS - 1))


def factors(name: str, studies: int) -> Iterator[Figure]:
    """A 3 × 3 grid with two main effects and no interaction."""
    noise, random = NOISES[name], np.random.default_rng(3)
    rows, columns = np.array([-0.4, 0.1, 0.3]), np.array([-0.1, 0.0, 0.1])
    truth = ACCURACY + np.add.outer(rows, columns).ravel()
    kernels, filters = zip(*itertools.product((3, 5, 7), (16, 32, 64)), strict=True)
    grids = [
        grid_effects(noise(random, truth, SEEDS), {"kernel_size": kernels, "filters": filters}) for _ in range(studies)
    ]
    found = [grid for grid in grids if isinstance(grid, GridEffects) and grid.interaction is not None]
    true_effects = [*rows, *columns]
    covered = [_all_hold(list(grid.main_effects), true_effects) for grid in found]
    yield share("all main effects in their intervals", name, covered, _rule("at least", name, NORMAL), 1 - ERROR_RATE)
    interactions = [grid.interaction for grid in found if grid.interaction is not None]
    covered = [_all_hold([term], [0.0] * SETTINGS) for term in interactions]
    yield share(
        "all interaction effects in their intervals", name, covered, _rule("at least", name, NORMAL), 1 - ERROR_RATE
    )
    called = [term.p is not None and term.p <= ERROR_RATE for term in interactions]
    yield share(
        "interaction with F test p ≤ 0.05, none true",
        name,
        called,
        _rule("about", name, EVEN | {"shared seeds"}),
        ERROR_RATE,
    )


def winners(name: str, studies: int) -> Iterator[Figure]:
    """The winner's score against its true mean, where all settings are equal: there picking flatters most."""
    noise, random = NOISES[name], np.random.default_rng(4)
    for seeds, what in ((SEEDS, f"{SEEDS} seeds"), (4, "4 seeds")):
        found = [corrected_winner(noise(random, EQUAL, seeds)) for _ in range(studies)]
        scores = [each for each in found if each is not None]
        yield average(
            f"winner's mean less its truth, {what}", name, [each.mean - ACCURACY for each in scores], "at least", 0
        )
        biases = [each.corrected - ACCURACY for each in scores]
        yield average(f"corrected winner less its truth, {what}", name, biases, _rule("about", name, NORMAL), 0)
        covered = [_holds(each.interval, ACCURACY) for each in scores]
        yield share(
            f"winner's truth in its interval, {what}", name, covered, _rule("at least", name, NORMAL), 1 - ERROR_RATE
        )


def spread_winners(name: str, studies: int) -> Iterator[Figure]:
    """The same where settings lie 0.05 points apart, and the winner is not always the same."""
    noise, random = NOISES[name], np.random.default_rng(5)
    truth = ACCURACY + 0.05 * np.arange(SETTINGS, dtype=np.float64)
    found = [corrected_winner(noise(random, truth, SEEDS)) for _ in range(studies)]
    scores = [each for each in found if each is not None]
    biases = [each.corrected - truth[each.setting] for each in scores]
    yield average("corrected winner less its truth, settings 0.05 apart", name, biases, "at most", 0)
    covered = [_holds(each.interval, truth[each.setting]) for each in scores]
    yield share(
        "winner's truth in its interval, settings 0.05 apart",
        name,
        covered,
        _rule("at least", name, NORMAL),
        1 - ERROR_RATE,
    )


def cheapest(name: str, studies: int) -> Iterator[Figure]:
    """The dearest setting is the best, and all others are worse by just the margin: none of them is allowed."""
    noise, random = NOISES[name], np.random.default_rng(6)
    truth = np.append(np.full(SETTINGS - 1, ACCURACY - MARGIN), ACCURACY)
    costs = np.arange(SETTINGS, dtype=np.float64)
    wrong = [cheapest_not_worse(noise(random, truth, SEEDS), costs) < SETTINGS - 1 for _ in range(studies)]
    yield share("cheapest 'not worse' is worse by the margin", name, wrong, _rule("at most", name, NORMAL), ERROR_RATE)


def power(studies: int) -> Iterator[Figure]:
    """What `pipeline.findings.statistics.power` promises, for 8 comparisons of which one is asked."""
    random = np.random.default_rng(7)
    for size, seeds in ((0.3, 10), (0.3, 16), (0.5, 10)):
        truth = EQUAL + size * (np.arange(SETTINGS) == 1)
        better = [_first(random, truth, seeds).verdict is Verdict.BETTER for _ in range(studies)]
        promised = detection_power(size, DEVIATION, seeds, SETTINGS - 1)
        yield share(f"{size} points called better with {seeds} seeds", "normal", better, "about", promised)
    for seeds in (13, 16):
        truth = EQUAL + MARGIN / 2 * (np.arange(SETTINGS) == 1)
        decided = [_first(random, truth, seeds).verdict is not Verdict.CANT_TELL for _ in range(studies)]
        promised = decision_power(MARGIN, DEVIATION, seeds, SETTINGS - 1)
        yield share(f"half a margin decided with {seeds} seeds", "normal", decided, "at least", promised)


def images(studies: int) -> Iterator[Figure]:
    """Intervals over seeds and images, where each study draws both anew."""
    random = np.random.default_rng(8)
    for seeds, count in ((3, 500), (5, 1000), (10, 1000)):
        for seed_spread, kind in ((0.0, "equal seeds"), (0.03, "seeds differ"), (0.12, "seeds differ much")):
            found = [_crossed(random, seeds, count, seed_spread) for _ in range(studies)]
            what = f"{seeds} seeds × {count} images"
            single, truth = [each[0] for each in found], [each[2] for each in found]
            covered = [
                each is not None and _holds(each.interval, true) for each, true in zip(single, truth, strict=True)
            ]
            yield share(f"accuracy in its interval, {what}", kind, covered, "at least", 1 - ERROR_RATE)
            covered = [each[1] is not None and _holds(each[1].interval, 0) for each in found]
            yield share(f"difference in its interval, {what}", kind, covered, "at least", 1 - ERROR_RATE)


def share(what: str, noise: str, hits: list[bool], rule: str, promised: float) -> Figure:
    """Share of hits; its error is that of a binomial with the promised chance."""
    error = math.sqrt(promised * (1 - promised) / len(hits))
    return Figure(what, noise, float(np.mean(hits)), error, rule, promised, len(hits))


def average(what: str, noise: str, values: list[float], rule: str, promised: float) -> Figure:
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Figure(what, noise, float(np.mean(values)), error, rule, promised, len(values))


def figures(studies: int) -> Iterator[Figure]:
    """All of them, one after the other."""
    for name in NOISES:
        for part in (families, noise_floor, factors, winners, spread_winners, cheapest):
            yield from part(name, studies)
    yield from power(studies)
    yield from images(studies // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    studies = parser.parse_args().studies
    started = time.perf_counter()
    rows = []
    for figure in figures(studies):
        rows.append({**asdict(figure), "kept": figure.kept})
        print(
            f"{figure.what:<62} {figure.noise:<18} {figure.value:8.4f} ± {figure.error:.4f}  "
            f"{figure.rule} {figure.promised:.4f}{'' if figure.kept else '  BROKEN'}",
            flush=True,
        )
    print(f"{studies} studies, {time.perf_counter() - started:.0f} s")
    document = {"command": "python -m benchmarks.comparison", "studies": studies, "figures": rows}
    Path(__file__).with_suffix(".json").write_text(
        json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _rule(rule: str, noise: str, promised_for: frozenset[str]) -> str:
    return rule if noise in promised_for else "measured"


def _first(random: np.random.Generator, truth: Floats, seeds: int) -> Difference:
    """The first of the differences. Only its two settings are simulated in full: the others keep their comparisons."""
    scores = np.full((SETTINGS, seeds), np.nan)
    scores[:2] = normal(random, truth[:2], seeds)
    return differences(scores, baseline=0)[0]


def _crossed(
    random: np.random.Generator, seeds: int, count: int, seed_spread: float
) -> tuple[CrossedMean | None, CrossedMean | None, float]:
    """Two equally good settings whose runs answer the same hard and easy images, and their true accuracy in points.

    An answer is right where 1.8 + image + setting's liking for the image + run + chance > 0, all normal.
    """
    image_spread, liking, chance = 0.9, 0.3, 0.4
    image = random.normal(0, image_spread, (1, 1, count)) + random.normal(0, liking, (2, 1, count))
    run = random.normal(0, seed_spread, (2, seeds, 1))
    right = 1.8 + image + run + random.normal(0, chance, (2, seeds, count)) > 0
    answers = Answers(right.reshape(2 * seeds, count), np.repeat([0, 1], seeds), np.tile(np.arange(seeds), 2))
    spread = math.sqrt(image_spread**2 + liking**2 + seed_spread**2 + chance**2)
    truth = 50 * (1 + math.erf(1.8 / spread / math.sqrt(2)))
    return accuracy(answers, 0), accuracy_difference(answers, 0, 1), truth


def _all_hold(terms: list[Term], truth: list[float]) -> bool:
    effects = [effect for term in terms for effect in term.effects]
    return all(_holds(effect.interval, true) for effect, true in zip(effects, truth, strict=True))


def _wrong(difference: Difference, truth: float) -> bool:
    """Whether the verdict contradicts the true difference; to be negligible is part of it."""
    return {
        Verdict.BETTER: truth <= 0 or (difference.negligible and truth >= MARGIN),
        Verdict.WORSE: truth >= 0 or (difference.negligible and truth <= -MARGIN),
        Verdict.EQUIVALENT: abs(truth) >= MARGIN,
    }.get(difference.verdict, False)


def _holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


if __name__ == "__main__":
    main()
