"""Every number of a report, computed once from the runs: what they support and what follows.

A race has looked at its scores several times: each look has its share of the error rate, and a verdict is that of the
look that gave it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.comparison import ASTRAY, Comparison
from pipeline.statistics.differences import (
    FEWEST_SEEDS,
    ContrastResult,
    Difference,
    Verdict,
    contrast_results,
    differences,
    verdict,
)
from pipeline.statistics.factors import GridEffects, IncompleteGrid, Level, Term, grid_effects
from pipeline.statistics.images import Answers, CrossedMean, accuracy_differences, most_disputed
from pipeline.statistics.intervals import ERROR_RATE
from pipeline.statistics.race import Standing
from pipeline.statistics.scores import SeedDeviation, Summary, is_constant, present, seed_deviation, summaries
from pipeline.statistics.selection import WinnerScore, cheapest_not_worse, corrected_winner, pareto_front
from pipeline.studies.study import DeclaredContrast

COSTS = {"parameters": "parameters", "multiply_adds": "multiply-adds", "seconds": "training seconds"}
MOST_IMAGES = 12
OPEN = Verdict.CANT_TELL, Verdict.NO_VERDICT

Result = TypeVar("Result", Difference, ContrastResult)


class Answer(StrEnum):
    """What a study can say of its winner: the first of these that holds; the last ones are its own verdict."""

    NO_SCORE = "no score"
    ONE_SETTING = "one setting"
    EXPLORED = "a search explores"
    CONSTANT = "the seed changes nothing"
    RACING = "the race is not over"
    NOT_ASKED = "the baseline was not run"
    LACKS_RUNS = "lacks runs"
    TOO_FEW_SEEDS = "too few seeds"
    LOST_RUNS = "the winner lost runs"
    BASELINE = "the baseline itself"
    BETTER = "better"
    EQUIVALENT = "equivalent"
    CANT_TELL = "can't tell"
    FEW_IN_COMMON = "no verdict"
    WORSE = "worse"


@dataclass(frozen=True)
class QuestionResult:
    """What became of a declared contrast; `stopped` after so many seeds, where its race was over before the last."""

    declared: DeclaredContrast
    result: ContrastResult
    stopped: int | None


@dataclass(frozen=True)
class SettingResult:
    """A setting's scores in points. `counts` are those of `Comparison.counts`.

    `difference` is that from the baseline, None of the baseline itself; `other_images` the same with an interval that
    holds for other images, too; `only_here`: with that interval the verdict would be another.
    """

    label: str
    summary: Summary
    counts: dict[str, int]
    difference: Difference | None
    other_images: CrossedMean | None
    only_here: bool

    @property
    def astray(self) -> int:
        """How many of its runs ended without having learned."""
        return sum(self.counts.get(word, 0) for word in ASTRAY)

    @property
    def images_differ_more(self) -> bool:
        """Whether which images were drawn is the larger error of its difference, against which seeds were."""
        other = self.other_images
        return other is not None and other.image_error > other.seed_error


@dataclass(frozen=True)
class RunnerUp:
    """The setting with the highest mean but the winner: `ahead`, the winner less it, in points, over `seeds` seeds."""

    setting: int
    ahead: Difference


@dataclass(frozen=True)
class ArgumentEffect:
    """What one swept argument does by itself, in points: the levels with the highest mean and the next.

    `everywhere`: it has the highest mean whatever the other arguments are. `ahead`: by how much, averaged over these;
    `clear` where the intervals of the two keep apart. `doublings`: what each doubling adds, from the least to the most,
    where the levels are doublings that all add or all take away.
    """

    factor: str
    best: Level
    next: Level
    everywhere: bool
    ahead: float
    clear: bool
    share: float
    doublings: tuple[float, float] | None


@dataclass(frozen=True)
class Curve:
    """Accuracy on validation images after each epoch, in points: over the runs that learned mean, lowest, highest."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Disputed:
    """An image by number, the settings whose seeds are right most and least often, and these shares (0..1)."""

    image: int
    best: int
    best_share: float
    worst: int
    worst_share: float


@dataclass(frozen=True, eq=False)
class Results:
    """A study's results. Settings are named by their number in the comparison; `by_mean` has the best first.

    `highest` has the highest mean, the first of several; `tied` are the others that have exactly the winner's. `winner`
    is what the study speaks for: of the settings that were shown to be better than the baseline the one with the
    highest mean (one whose runs all learned, where there is one); where none was shown to be, `highest`. `cheapest` has
    the fewest multiply-adds of those that are not worse than the winner by the margin (the winner itself where no other
    was shown to be). All three are None where no run has a score.

    `answer` is what can be said of the winner, about `lacking` where that setting lacks runs; `seeds_needed` how many
    seeds a setting would do, where seeds are what is missing. `constant` are the settings that score the same with all
    of at least three seeds; `apart` is how far two runs of one setting may be, by two standard deviations; `fronts`
    by cost those that no other beats; `rank_correlation` is that of parameters and means; `curves` are by setting;
    `images` were answered by all runs. What is not known is None or empty.
    """

    comparison: Comparison
    questions: tuple[QuestionResult, ...]
    settings: tuple[SettingResult, ...]
    by_mean: tuple[int, ...]
    answer: Answer
    highest: int | None
    winner: int | None
    tied: tuple[int, ...]
    cheapest: int | None
    lacking: int | None
    seeds_needed: int | None
    runner_up: RunnerUp | None
    corrected: WinnerScore | None
    noise: SeedDeviation | None
    apart: float | None
    constant: tuple[int, ...]
    effects: GridEffects | IncompleteGrid | None
    arguments: tuple[ArgumentEffect, ...]
    fronts: dict[str, tuple[int, ...]]
    rank_correlation: float | None
    curves: dict[int, Curve]
    images: int
    disputed: tuple[Disputed, ...]

    @property
    def supported(self) -> bool:
        """Whether the study's verdicts carry the winner."""
        return self.answer in (Answer.BASELINE, Answer.BETTER, Answer.EQUIVALENT)

    @property
    def differences(self) -> list[Difference]:
        """The differences from the baseline, the largest first."""
        return [difference for row in self.by_mean if (difference := self.settings[row].difference) is not None]

    @property
    def baseline_lacks_runs(self) -> bool:
        """Whether more runs of the baseline would join in, though others have a verdict without them."""
        silent, base = self.answer in (Answer.LACKS_RUNS, Answer.NO_SCORE), self.comparison.baseline
        return not silent and self.settings[base].summary.seeds < self.comparison.planned(base)

    @property
    def more_seeds_tell(self) -> bool:
        """Whether a setting is open for want of seeds."""
        silent = self.answer in (Answer.CONSTANT, Answer.LACKS_RUNS)
        return not silent and any(one.verdict in OPEN for one in self.differences)

    @property
    def commands(self) -> list[str]:
        """What makes the report again and goes on from here; the latter needs the records."""
        comparison = self.comparison
        lines = list(comparison.commands)
        if comparison.store is None and self.winner is not None:
            first = next(run for run in comparison.of(self.winner) if run.learned)
            lines.append(f"python -m pipeline.reproduce {first.identity}")
            # What was selected on test images is not offered for `dvc repro` to score on them again.
            if comparison.images != "test":
                lines.append(f"python -m pipeline.promote {comparison.study}{'' if self.supported else ' --anyway'}")
        return lines

    def mean(self, setting: int) -> float:
        """NaN where it has no score that counts."""
        return float(self.comparison.means[setting])

    def with_verdict(self, verdict: str) -> list[Difference]:
        """The differences with this verdict, the largest first."""
        return [difference for difference in self.differences if difference.verdict == verdict]


def compute_results(comparison: Comparison) -> Results:
    """All that the runs support. Raises ValueError for answers that are not those of images.

    Numbers have nine decimals: the last bits, which are others on other machines, stand in no report.
    """
    scores, averages = comparison.scores, comparison.means
    explores, noise = comparison.search is not None, seed_deviation(scores)
    compared = setting_differences(comparison, comparison.baseline) if len(scores) > 1 and not explores else ()
    answers = None if explores else comparison.answers()
    effects = None if explores else _effects(comparison)
    settings = _settings(comparison, compared, answers)
    highest = None if np.isnan(averages).all() else int(np.nanargmax(averages))
    best = None if highest is None else _best(comparison, settings, highest)
    answer, lacking, needed = _answer(comparison, settings, best)
    results = Results(
        comparison=comparison,
        questions=question_results(comparison),
        settings=settings,
        by_mean=tuple(np.argsort(-np.nan_to_num(averages, nan=-1), kind="stable").tolist()),
        answer=answer,
        highest=highest,
        winner=best,
        tied=tuple(row for row, own in enumerate(averages) if best not in (None, row) and own == averages[best]),
        cheapest=None if best is None or explores else _cheapest(comparison, settings, best),
        lacking=lacking,
        seeds_needed=needed,
        runner_up=None if best is None or explores else _runner_up(comparison, best),
        corrected=None if highest is None or explores else corrected_winner(scores),
        noise=noise,
        # The difference of two runs has √2 of a run's deviation.
        apart=None if noise is None else 2 * math.sqrt(2) * noise.deviation,
        constant=tuple(row for row, own in enumerate(map(present, scores)) if len(own) > 2 and is_constant(own)),
        effects=effects,
        arguments=_arguments(comparison, effects) if isinstance(effects, GridEffects) else (),
        fronts=_fronts(comparison),
        rank_correlation=_rank_correlation(comparison),
        curves=_curves(comparison),
        images=0 if answers is None else answers.correct.shape[1],
        disputed=() if answers is None or len(scores) < 2 else _disputed(answers),
    )
    whole: Results = rounded(results)
    return whole


def question_results(comparison: Comparison) -> tuple[QuestionResult, ...]:
    """The declared contrasts: those about one kind of score together, each kind with its share of the error rate."""
    asked, now = comparison.questions, comparison.standing
    results: dict[int, QuestionResult] = {}
    for score in dict.fromkeys(declared.score for declared, _ in asked):
        places = [place for place, (declared, _) in enumerate(asked) if declared.score == score]
        rate = comparison.error_rate * len(places) / len(asked)
        plain = contrast_results(comparison.table(attrgetter(score)), [asked[place][1] for place in places], rate)
        for place, own in zip(places, plain, strict=True):
            result = own if now is None else _raced(own, place, now, asked[place][0].margin)
            early = now is not None and place in now.decided and result.seeds < len(comparison.seeds)
            results[place] = QuestionResult(asked[place][0], result, result.seeds if early else None)
    return tuple(results[place] for place in range(len(asked)))


def setting_differences(comparison: Comparison, baseline: int) -> tuple[Difference, ...]:
    """Each setting but `baseline` against it, in their order; where it is raced against it as the race has it."""
    margin, now, others = comparison.margin, comparison.standing, len(comparison.scores) - 1
    paid = differences(comparison.scores, baseline, margin, others * comparison.level(others))
    if now is None:
        return paid
    if (comparison.stop, comparison.questions, baseline) == ("decided", (), comparison.baseline):
        return tuple(_raced(own, own.setting, now, margin) for own in paid)
    return tuple(replace(own, seeds_needed=None) for own in paid)


def _raced(own: Result, place: int, now: Standing, margin: float) -> Result:
    """The result at the look that decided it, or at the last one. Intervals lie around the mean."""
    decided = now.decided.get(place)
    interval = now.undecided.get(place) if decided is None else decided.interval
    is_open = interval is not None and own.seeds >= FEWEST_SEEDS
    said = ("can't tell" if is_open else "no verdict") if decided is None else decided.verdict.value
    return replace(
        own,
        seeds=own.seeds if decided is None else decided.seeds,
        mean=own.mean if interval is None else (interval.low + interval.high) / 2,
        interval=interval,
        verdict=type(own.verdict)(said),
        negligible=decided is not None and not decided.interval.holds_zero() and decided.interval.inside(margin),
        # Its looks are planned for the seeds that it has.
        seeds_needed=None,
    )


def rounded(value: Any) -> Any:
    """The value with its numbers to nine decimals, whatever they lie in but the comparison."""
    if isinstance(value, float):
        return float(round(value, 9)) + 0.0
    if isinstance(value, dict):
        return {key: rounded(own) for key, own in value.items()}
    if isinstance(value, tuple):
        return tuple(map(rounded, value))
    if is_dataclass(value) and not isinstance(value, Comparison | type):
        return replace(value, **{field.name: rounded(getattr(value, field.name)) for field in fields(value)})
    return value


def _settings(
    comparison: Comparison, compared: Sequence[Difference], answers: Answers | None
) -> tuple[SettingResult, ...]:
    crossed = {}
    if answers is not None and compared:
        at_once = round(ERROR_RATE / comparison.level(len(compared)), 6)
        crossed = accuracy_differences(answers, comparison.baseline, math.ceil(at_once))
    by_setting = {one.setting: one for one in compared}
    settings = []
    for row, summary in enumerate(summaries(comparison.scores)):
        difference, other = by_setting.get(row), crossed.get(row)
        only_here = (
            difference is not None
            and other is not None
            and difference.verdict not in OPEN
            and verdict(other.interval, difference.seeds, comparison.margin) is not difference.verdict
        )
        counts = dict(comparison.counts(row))
        settings.append(SettingResult(comparison.label(row), summary, counts, difference, other, only_here))
    return tuple(settings)


def _best(comparison: Comparison, settings: Sequence[SettingResult], highest: int) -> int:
    """Of the settings that are better than the baseline the highest mean, before that of a few seeds without one.

    Of a race for the best those that it has dropped are none. Of a search the trial with the highest score.
    """
    scored = [(one.score, one.setting) for one in comparison.trials if one.score is not None]
    if scored:
        return max(scored, key=lambda one: one[0])[1] or 0
    dropped = comparison.standing.decided if comparison.standing is not None and comparison.stop == "best" else {}
    left = [row for row in range(len(settings)) if row not in dropped and not math.isnan(comparison.means[row])]
    better = [row for row in left if (own := settings[row].difference) is not None and own.verdict is Verdict.BETTER]
    if better:
        return max(better, key=lambda row: (not settings[row].astray, comparison.means[row]))
    return max(left, key=lambda row: comparison.means[row]) if dropped and left else highest


def _answer(
    comparison: Comparison, settings: Sequence[SettingResult], best: int | None
) -> tuple[Answer, int | None, int | None]:
    """What can be said of the winner; the setting that keeps all others from a verdict; how many seeds would do."""
    compared = [one.difference for one in settings if one.difference is not None]
    if best is None or comparison.search is not None:
        return Answer.NO_SCORE if best is None else Answer.EXPLORED, None, None
    if not compared:
        return Answer.ONE_SETTING, None, None
    if all(one.verdict is Verdict.NO_VERDICT for one in compared):
        answer, lacking = _no_verdict(comparison, settings, max(one.seeds for one in compared))
        return answer, lacking, FEWEST_SEEDS if answer is Answer.TOO_FEW_SEEDS else None
    own = settings[best].difference
    if settings[best].astray:
        return Answer.LOST_RUNS, None, None
    if own is None:
        return Answer.BASELINE, None, None
    needed = FEWEST_SEEDS if own.verdict is Verdict.NO_VERDICT else own.seeds_needed
    return Answer(own.verdict.value), None, needed


def _no_verdict(comparison: Comparison, settings: Sequence[SettingResult], most: int) -> tuple[Answer, int | None]:
    """Why all settings are without a verdict: seeds that change nothing, runs that are missing, or too few of them.

    `most` seeds are the most that any has in common with the baseline.
    """
    base, due = comparison.baseline, min(FEWEST_SEEDS, len(comparison.seeds))
    if most >= FEWEST_SEEDS:
        return Answer.CONSTANT, None
    if comparison.standing is not None and not comparison.standing.finished:
        return Answer.RACING, None
    if comparison.planned(base) == 0:
        return Answer.NOT_ASKED, None
    if settings[base].summary.seeds < due:
        return Answer.LACKS_RUNS, base
    if most < due:
        others = (row for row in range(len(settings)) if row != base)
        return Answer.LACKS_RUNS, max(others, key=lambda row: settings[row].summary.seeds)
    return Answer.TOO_FEW_SEEDS, None


def _cheapest(comparison: Comparison, settings: Sequence[SettingResult], best: int) -> int:
    costs, scores = comparison.cost("multiply_adds"), comparison.scores.copy()
    if not np.isfinite(costs).all():
        return best
    # What collapses now and then is no cheap way to the same accuracy.
    scores[[row for row, one in enumerate(settings) if row != best and one.astray]] = np.nan
    return cheapest_not_worse(scores, costs, comparison.margin, best)


def _runner_up(comparison: Comparison, best: int) -> RunnerUp | None:
    """The next best by mean, with the interval that holds for all settings at once: which it is was seen, not asked."""
    averages = comparison.means.copy()
    averages[best] = np.nan
    if np.isnan(averages).all():
        return None
    second = int(np.nanargmax(averages))
    return RunnerUp(second, next(one for one in setting_differences(comparison, second) if one.setting == best))


def _effects(comparison: Comparison) -> GridEffects | IncompleteGrid | None:
    """None without a factor, and where the seed changes no score."""
    rows = [row for scores in comparison.scores if len(row := present(scores)) > 1]
    if not comparison.factors or (rows and all(map(is_constant, rows))):
        return None
    columns = zip(*(setting.levels for setting in comparison.settings), strict=True)
    names = (factor.name for factor in comparison.factors)
    return grid_effects(comparison.scores, dict(zip(names, columns, strict=True)))


def _arguments(comparison: Comparison, effects: GridEffects) -> tuple[ArgumentEffect, ...]:
    """What each argument does, the one that explains most first, over the seeds that every setting has."""
    complete = ~np.isnan(comparison.scores).any(axis=0)
    averages = np.round(comparison.scores[:, complete].mean(axis=1), 9)
    cells = {setting.levels: averages[row] for row, setting in enumerate(comparison.settings)}
    arguments = [_argument(place, term, cells) for place, term in enumerate(effects.main_effects)]
    return tuple(sorted(arguments, key=lambda one: -one.share))


def _argument(place: int, term: Term, cells: dict[tuple[Level, ...], float]) -> ArgumentEffect:
    first, second = sorted(term.effects, key=lambda effect: -effect.mean)[:2]
    others: dict[tuple[Level, ...], dict[Level, float]] = {}
    for levels, mean in cells.items():
        others.setdefault(levels[:place] + levels[place + 1 :], {})[levels[place]] = mean
    best = first.levels[0]
    return ArgumentEffect(
        factor=term.factors[0],
        best=best,
        next=second.levels[0],
        everywhere=all(row[best] == max(row.values()) for row in others.values()),
        ahead=first.mean - second.mean,
        clear=first.interval.low > second.interval.high,
        share=term.share,
        doublings=_doublings(term),
    )


def _doublings(term: Term) -> tuple[float, float] | None:
    """What each doubling of the argument adds on average: the least and the most."""
    levels = [effect.levels[0] for effect in term.effects]
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    if len(numbers) < len(levels) or any(high != 2 * low for low, high in itertools.pairwise(numbers)):
        return None
    steps = np.diff([effect.mean for effect in term.effects])
    return (float(steps.min()), float(steps.max())) if (steps > 0).all() or (steps < 0).all() else None


def _fronts(comparison: Comparison) -> dict[str, tuple[int, ...]]:
    """By cost the settings that no other beats in mean accuracy or cost, among those whose cost is known."""
    fronts = {}
    for name in COSTS:
        costs = comparison.cost(name)
        known = np.flatnonzero(np.isfinite(costs))
        if len(known):
            fronts[name] = tuple(int(known[place]) for place in pareto_front(comparison.means[known], costs[known]))
    return fronts


def _rank_correlation(comparison: Comparison) -> float | None:
    """Spearman's, "The Proof and Measurement of Association between Two Things" (1904); None where all are alike."""
    counts, averages = comparison.cost("parameters"), comparison.means
    known = np.isfinite(counts) & np.isfinite(averages)
    if known.sum() < 3 or np.ptp(counts[known]) == 0 or np.ptp(averages[known]) == 0:
        return None
    # As scipy.stats.spearmanr does it, whose import takes longer than the report of a small study.
    return float(np.corrcoef(_ranks(counts[known]), _ranks(averages[known]))[1, 0])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 of values [n]; equal ones share the mean of theirs."""
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(sizes) - (sizes - 1) / 2)[places]
    return ranks


def _curves(comparison: Comparison) -> dict[int, Curve]:
    """By setting, of those whose runs tell; a run that ended early stands in none."""
    curves = {}
    for row in range(len(comparison.settings)):
        own = [run.curve for run in comparison.of(row) if run.learned]
        longest = max(map(len, own), default=0)
        points = np.array([curve for curve in own if len(curve) == longest])
        if longest:
            curves[row] = Curve(*(tuple(ends.tolist()) for ends in (points.mean(0), points.min(0), points.max(0))))
    return curves


def _disputed(answers: Answers) -> tuple[Disputed, ...]:
    settings = np.unique(answers.settings)
    images = most_disputed(answers, MOST_IMAGES)
    shares = np.stack([answers.correct[answers.settings == row][:, images].mean(axis=0) for row in settings])
    columns = images, settings[shares.argmax(0)], shares.max(0), settings[shares.argmin(0)], shares.min(0)
    return tuple(Disputed(*values) for values in zip(*(column.tolist() for column in columns), strict=True))
