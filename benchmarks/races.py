"""Simulated races, whose truth is known, and the committed study raced: how often they err and what they save.

python -m benchmarks.races [--studies 4000]

Races of 9 settings over at most 5 and 10 seeds, for the noises of `benchmarks.comparison`. Writes benchmarks/races.json
and the part of docs/statistics.md that is about races. Ten minutes.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.comparison import ACCURACY, NOISES, PAGE, PROMISED, SETTINGS, Figure
from benchmarks.comparison import RACES_HEADING as HEADING
from pipeline.statistics.differences import FEWEST_SEEDS, MARGIN, Contrast, differences
from pipeline.statistics.intervals import ERROR_RATE, FAR
from pipeline.statistics.race import PAID, Stop, look_level, race
from pipeline.storage import atomic
from pipeline.terminal.progress import console

SEEDS = 5, 10
SIZES = 0.3, 0.5
ORDERS = 500
STOPS: tuple[Stop, ...] = "decided", "best"
RESULTS = Path(__file__).with_suffix(".json")
STUDY = PAGE.parents[1] / "reports" / "kernels_by_filters"

TEXT = """
## Races

`study.stop=decided` adds seeds round by round, and a setting whose verdict stands gets no more. `study.stop=best` asks
only which setting is best: out is what is worse than the setting that leads, or equivalent to it. The baseline stays in
both. There is a look after 3, 4, … seeds up to the last that was declared. **Over all looks together, at most 5 % of
studies get any false verdict**, and as few have any interval that misses. This is how the looks are paid for:

- They spend four fifths of the error rate, each at the same level, that of Pocock (1977) for noise that is known, used
  as the level of t intervals. The last fifth is for what that does not know: settings of unequal noise.
- A setting that is better or worse hands its share on to those that are open (Holm 1979); one that is equivalent does
  not. A race for the best compares all pairs that are left.
- What has stopped stays in the pool, with the seeds it has. What ran after a verdict counts for nothing.
- With contrasts the race is over them: a setting goes on while an open contrast weighs it.

Stopping by hand costs only what is open then: a verdict that stands, stands. But to look at a study without `stop`
after each seed, and to end it when a verdict shows, is paid by nobody: see the last column. A race takes no more seeds
than its looks were planned for, as these shares are spent: a study of its own, with fresh seeds, goes on, and so do
settings that are thought of after a look. To plan all looks anew for twice as many seeds, once, would keep 5 %, too.

`python -m benchmarks.races` simulates 4,000 races of 9 settings for each noise and truth
([all figures](../benchmarks/races.json)). In %, races with any false verdict, where they are most frequent among
{truths} truths; at most 5 and 10 seeds where there are two figures, else 10; contrasts: 1,000 races over four.

| noise between seeds | decided | best | contrasts | 10 seeds extended to 20 | looks that nobody paid for |
|---|---:|---:|---:|---:|---:|
{errors}

What is run, in % of all runs, in the median race with normal noise and 10 seeds:

| true differences from the baseline | decided | best |
|---|---:|---:|
{saved}

The looks cost power: with normal noise a race finds a true difference of 0.3 or 0.5 points in {power} % of races
of 5 seeds and in {power_of_ten} % of races of 10. The first table says what waiting for all seeds finds.

The committed study, its seeds in {orders} orders; for the best, a contradiction is any other, or more than one:

| race | median runs of 90 | orders that contradict all runs, in % |
|---|---:|---:|
{committed}
"""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

OPEN, BETTER, WORSE, EQUIVALENT = 0, 1, -1, 2


@dataclass(frozen=True)
class Truth:
    """True means of the settings less the baseline's, the first, in points, and the margin that the study declares."""

    means: tuple[float, ...]
    margin: float


TRUTHS = {
    "nothing differs": Truth((0.0,) * 9, MARGIN),
    "nothing differs, and the margin is out of reach": Truth((0.0,) * 9, 0.02),
    "half differ, and the margin is out of reach": Truth((0, -2, 0, 1, 0, -1, 0, 2, 0), 0.02),
    "all but one differ, and the margin is out of reach": Truth((0, -2, -1.5, 1, 2, -1, 1.5, 2, 0), 0.02),
    "half differ": Truth((0, -2, 0, 1, 0, -1, 0, 2, 0), MARGIN),
    "all differ by the margin": Truth((0,) + (MARGIN,) * 8, MARGIN),
    "one differs by the margin": Truth((0,) * 8 + (MARGIN,), MARGIN),
}
"""Where a false verdict is most likely, and where much can be saved."""


@dataclass(frozen=True)
class Outcome:
    """How races ended: `verdicts` int64 [studies, settings] against the `references`, after so many `seeds`.

    `lows` and `highs` are the ends of the intervals at each setting's last look.
    """

    verdicts: Integers
    references: Integers
    seeds: Integers
    lows: Floats
    highs: Floats

    def false(self, truth: Truth) -> NDArray[np.bool_]:
        """Whether a study [studies] has any false verdict."""
        true = self._true(truth)
        wrong = (self.verdicts == BETTER) & (true <= 0) | (self.verdicts == WORSE) & (true >= 0)
        wrong |= (self.verdicts == EQUIVALENT) & (np.abs(true) >= truth.margin)
        return np.asarray(wrong.any(axis=1))

    def misses(self, truth: Truth) -> NDArray[np.bool_]:
        """Whether any interval of a study [studies] misses its truth."""
        true = self._true(truth)
        return np.asarray(((self.lows > true + 1e-9) | (self.highs < true - 1e-9)).any(axis=1))

    def _true(self, truth: Truth) -> Floats:
        means = np.array(truth.means)
        return np.asarray(means - means[self.references], dtype=np.float64)


def replay(scores: Floats, stop: Stop, margin: float, *, paid: bool = True) -> Outcome:
    """Many races at once, without failures: `race` written again for scores [studies, settings, seeds].

    The first setting is the baseline. Not `paid`: each look as if it were the only one.
    """
    studies, settings, last = scores.shape
    best = stop == "best"
    of = np.arange(studies)
    verdicts = np.zeros((studies, settings), dtype=np.int64)
    references, seeds = np.zeros_like(verdicts), np.full_like(verdicts, last)
    lows, highs = np.full(verdicts.shape, -np.inf), np.full(verdicts.shape, np.inf)
    left = np.ones(verdicts.shape, dtype=np.bool_)
    left[:, 0] = best
    for look in range(FEWEST_SEEDS, last + 1):
        racing = left.sum(axis=1) > best
        judged = left & racing[:, None]
        seeds[judged] = look
        seeds[racing, 0] = look
        leader = np.where(left, scores[:, :, :look].mean(axis=2), -np.inf).argmax(axis=1) if best else 0 * of
        means, deviations, freedom = _noise(scores[:, :, :look] - scores[of, leader, None, :look], seeds, leader)
        remaining = ((verdicts != BETTER) & (verdicts != WORSE)).sum(axis=1)
        comparisons = remaining * (remaining - 1) // 2 if best else remaining - 1
        levels = np.array([_level(last, each, settings, paid=paid) for each in range(comparisons.max() + 1)])
        half = special.stdtrit(freedom, 1 - levels[comparisons][:, None] / 2) * deviations / np.sqrt(look)
        low, high = means - half, means + half
        says = np.where(low > 0, OPEN if best else BETTER, np.where(high < 0, WORSE, OPEN))
        says[(low <= 0) & (high >= 0) & (low > -margin) & (high < margin)] = EQUIVALENT
        judged[of, leader] = False
        references, lows, highs = (
            np.where(judged, new, old) for new, old in ((leader[:, None], references), (low, lows), (high, highs))
        )
        verdicts[judged] = says[judged]
        left &= verdicts == OPEN
    return Outcome(verdicts, references, seeds, lows, highs)


def _level(last: int, comparisons: int, settings: int, *, paid: bool) -> float:
    return look_level(last, PAID * ERROR_RATE / max(comparisons, 1)) if paid else ERROR_RATE / (settings - 1)


def _noise(paired: Floats, seeds: Integers, leader: Integers) -> tuple[Floats, Floats, Floats]:
    """Means, deviations and degrees of freedom of `pool_noise`, [studies, settings], of the first so many `seeds` of
    paired differences [studies, settings, seeds] from the leader."""
    counted = np.arange(paired.shape[2]) < seeds[:, :, None]
    means = (paired * counted).sum(axis=2) / seeds
    own = np.sqrt((((paired - means[:, :, None]) ** 2) * counted).sum(axis=2) / (seeds - 1))
    own[np.arange(len(own)), leader] = np.nan
    near = own <= FAR * np.nanmedian(own, axis=1, keepdims=True)
    weights, count = np.where(near, seeds - 1, 0), near.sum(axis=1, keepdims=True)
    total = weights.sum(axis=1, keepdims=True)
    pooled = np.sqrt((weights * np.nan_to_num(own) ** 2).sum(axis=1, keepdims=True) / total)
    return (
        means,
        np.where(near, np.fmax(own, pooled), own),
        np.where(near, total / count * 4 * count / (count + 3), seeds - 1),
    )


def draw(noise: str, truth: Truth, studies: int, seeds: int, number: int) -> Floats:
    """Scores [studies, settings, seeds]."""
    random = np.random.default_rng([6, number, seeds])
    scores = np.stack([NOISES[noise](random, (SETTINGS, seeds)) for _ in range(studies)])
    return np.asarray(ACCURACY + scores + np.array(truth.means)[:, None])


def races(stop: Stop, noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """False verdicts, missed truths and what is run, for each truth."""
    promised = ERROR_RATE if noise in PROMISED else None
    for number, (name, truth) in enumerate(TRUTHS.items()):
        outcome = replay(draw(noise, truth, studies, seeds, number), stop, truth.margin)
        yield _share(f"{stop}, false verdicts: {name}", noise, seeds, outcome.false(truth), promised)
        yield _share(f"{stop}, intervals that miss: {name}", noise, seeds, outcome.misses(truth))
        runs = float(np.median(outcome.seeds.sum(axis=1))) / (SETTINGS * seeds)
        yield Figure(f"{stop}, runs of all: {name}", noise, seeds, runs, studies)


def power(noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """How often the one setting that is better is found."""
    for size in SIZES:
        truth = Truth((0.0,) * (SETTINGS - 1) + (size,), 0.02)
        outcome = replay(draw(noise, truth, studies, seeds, number=10), "decided", truth.margin)
        yield _share(f"decided, {size} points called better", noise, seeds, outcome.verdicts[:, -1] == BETTER)


def beyond(noise: str, studies: int) -> Iterator[Figure]:
    """False verdicts of races of 10 seeds that, where any setting is open, go on to 20 with looks planned anew; and of
    looks that nobody paid for."""
    promised = ERROR_RATE if noise in PROMISED else None
    for number, (name, truth) in enumerate(TRUTHS.items()):
        scores = draw(noise, truth, studies, 20, number)
        first, second = (replay(scores[:, :, :seeds], "decided", truth.margin) for seeds in (10, 20))
        left = (first.verdicts[:, 1:] == OPEN).any(axis=1)
        false = np.where(left, second.false(truth), first.false(truth))
        yield _share(f"extended, false verdicts: {name}", noise, 20, false, promised)
        unpaid = replay(scores[:, :, :10], "decided", truth.margin, paid=False)
        yield _share(f"unpaid, false verdicts: {name}", noise, 10, unpaid.false(truth))


def contrasts(noise: str, seeds: int, studies: int) -> Iterator[Figure]:
    """False verdicts on four claims over nine settings, raced, whose truth is at the edge of what they say."""
    grid = np.eye(SETTINGS).reshape(3, 3, SETTINGS)
    kernels, filters = grid.mean(axis=1), grid.mean(axis=0)
    family = [
        Contrast(kernels[1] - kernels[0], "gain", MARGIN),
        Contrast(filters[2] - filters[1], "gain", MARGIN),
        Contrast(grid[0, 0] - grid[1, 1], "no_harm", MARGIN),
        Contrast(grid[2, 2] - grid[1, 1], "no_gain", MARGIN),
    ]
    true_verdicts = {"refuted", "no difference that matters"}, {"supported"}, {"refuted"}, {"refuted"}
    values = np.array([0, MARGIN, -MARGIN - 0.001, MARGIN + 0.001])
    means = np.linalg.pinv(np.stack([contrast.weights for contrast in family])) @ values
    false = []
    for scores in draw(noise, Truth(tuple(means), MARGIN), studies, seeds, number=9):
        decided = race(scores, np.isfinite(scores), 0, MARGIN, "decided", family).decided
        false.append(any(known.verdict not in true_verdicts[place] for place, known in decided.items()))
    yield _share("contrasts, false verdicts", noise, seeds, false, ERROR_RATE if noise in PROMISED else None)


def committed(orders: int) -> Iterator[Figure]:
    """The committed study with its seeds in other orders: the runs it takes, and whether it says what all runs say."""
    scores, baseline = read_committed()
    full: dict[int, str] = {each.setting: each.verdict for each in differences(scores, baseline)}
    best = int(scores.mean(axis=1).argmax())
    settings, seeds = scores.shape
    for stop in STOPS:
        random, runs, contradictions = np.random.default_rng(7), [], []
        for _ in range(orders):
            standing = race(scores[:, random.permutation(seeds)], np.isfinite(scores), baseline, MARGIN, stop)
            decided = standing.decided
            last = {baseline: standing.seeds} | {
                each: known.seeds for each, known in decided.items() if each != baseline
            }
            runs.append(sum(last.get(each, standing.seeds) for each in range(settings)))
            if stop == "best":
                contradictions.append(set(range(settings)) - decided.keys() != {best})
            else:
                contradictions.append(any(known.verdict != full[each] for each, known in decided.items()))
        yield Figure(f"{stop}, runs of all", "committed study", seeds, float(np.median(runs)) / scores.size, orders)
        yield _share(f"{stop}, contradictions", "committed study", seeds, contradictions, ERROR_RATE)


def read_committed() -> tuple[Floats, int]:
    """Accuracies [settings, seeds] of reports/kernels_by_filters, and which of them is the baseline."""
    with (STUDY / "runs.csv").open(encoding="utf-8") as runs, (STUDY / "results.csv").open(encoding="utf-8") as rows:
        accuracies = [(run["setting"], float(run["accuracy"])) for run in csv.DictReader(runs)]
        results = list(csv.DictReader(rows))
    scores = np.array([[score for setting, score in accuracies if setting == row["setting"]] for row in results])
    return scores, next(place for place, row in enumerate(results) if row["baseline"] == "true")


def simulate(studies: int) -> Iterator[Figure]:
    """All of them, one after the other."""
    yield from committed(ORDERS)
    for noise in NOISES:
        for seeds in SEEDS:
            for stop in STOPS:
                yield from races(stop, noise, seeds, studies)
            yield from power(noise, seeds, studies)
        yield from beyond(noise, studies)
        yield from contrasts(noise, max(SEEDS), studies // 4)


def section(figures: Sequence[Figure]) -> str:
    """The part of docs/statistics.md that is about races."""
    values = {(figure.what, figure.noise, figure.seeds): 100 * figure.value for figure in figures}

    def worst(kind: str, noise: str, seeds: Sequence[int]) -> str:
        """Of all truths."""
        return " / ".join(f"{max(values[f'{kind}: {truth}', noise, each] for truth in TRUTHS):.1f}" for each in seeds)

    errors = [
        f"| {noise} | {worst('decided, false verdicts', noise, SEEDS)} | {worst('best, false verdicts', noise, SEEDS)} "
        f"| {values['contrasts, false verdicts', noise, 10]:.1f} | {worst('extended, false verdicts', noise, [20])} "
        f"| {worst('unpaid, false verdicts', noise, [10])} |"
        for noise in NOISES
    ]
    kinds = [f"{stop}, runs of all" for stop in STOPS]
    saved = [
        "| " + " | ".join([truth, *(f"{values[f'{kind}: {truth}', 'normal', 10]:.0f}" for kind in kinds)]) + " |"
        for truth in TRUTHS
    ]
    power_of_five, power_of_ten = (
        " or ".join(f"{values[f'decided, {size} points called better', 'normal', each]:.1f}" for size in SIZES)
        for each in SEEDS
    )
    of_study = [
        f"| {stop} | {0.9 * values[f'{stop}, runs of all', 'committed study', 10]:.0f} "
        f"| {values[f'{stop}, contradictions', 'committed study', 10]:.1f} |"
        for stop in STOPS
    ]
    return TEXT.format(
        truths=len(TRUTHS),
        orders=ORDERS,
        errors="\n".join(errors),
        saved="\n".join(saved),
        power=power_of_five,
        power_of_ten=power_of_ten,
        committed="\n".join(of_study),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    figures = []
    for figure in simulate(parser.parse_args().studies):
        figures.append(figure)
        console.print(
            f"{figure.what:<72} {figure.noise:<40} {figure.seeds:2} {figure.value:.4f}"
            + ("" if figure.kept else " BROKEN")
        )
    write_figures(figures)
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(HEADING)
    atomic.write_file(PAGE, before + section(figures))


def write_figures(figures: Sequence[Figure]) -> None:
    """benchmarks/races.json, a line for each: there are hundreds."""
    lines = ",\n".join(json.dumps(asdict(figure), ensure_ascii=False) for figure in figures)
    atomic.write_file(RESULTS, f'{{"command": "python -m benchmarks.races", "figures": [\n{lines}\n]}}\n')


def read_figures() -> list[Figure]:
    """Those of benchmarks/races.json."""
    return [Figure(**figure) for figure in json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]]


def _share(
    what: str, noise: str, seeds: int, hits: Sequence[bool] | NDArray[np.bool_], promised: float | None = None
) -> Figure:
    return Figure(what, noise, seeds, float(np.mean(hits)), len(hits), promised)


if __name__ == "__main__":
    main()
