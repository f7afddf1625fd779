"""Numbers and verdicts in words. Computes nothing: every number is one of the results."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pipeline.findings.factors import shown_level
from pipeline.findings.results import OPEN, Answer, Results
from pipeline.findings.runs import ASTRAY, LOST, Comparison, Run
from pipeline.statistics.differences import FEWEST_SEEDS, Difference, Verdict
from pipeline.statistics.factors import Cell
from pipeline.statistics.intervals import Interval
from pipeline.studies.study_summary import shown

UNKNOWN = "–"
MOST_SEEDS = 1000
MOST_NAMES = 3
LOST_WORDS = {"missing": "not done"}
SWEEP = "python -m pipeline.sweep "


# Numbers


def points(value: float | None, *, sign: bool = True) -> str:
    """Points with two decimals and a true minus: `+0.32`, `−0.05`."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval | None, *, sign: bool = True, joined: str = "to") -> str:
    """`+0.12 to +0.51`."""
    ends = () if interval is None else (points(interval.low, sign=sign), points(interval.high, sign=sign))
    return f" {joined} ".join(ends) or UNKNOWN


def span(low: float, high: float) -> str:
    """From one to the other, both on one side of zero, by their size: `0.9 to 1.4`; as fine as the smaller needs."""
    small, large = sorted((abs(low), abs(high)))
    for decimals in (1, 2, 3):
        if round(small, decimals) > 0 and round(small, decimals) < round(large, decimals):
            return f"{small:.{decimals}f} to {large:.{decimals}f}"
    return f"{small:.2g} to {large:.2g}" if small < large else f"{small:.2g}"


def times(ratio: float) -> str:
    """How many times: `3.5 times`, `0.28 times`, `12 times`."""
    if math.isnan(ratio):
        return "unknown times"
    if abs(ratio - 1) < 0.005:
        return "1.0 times"
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2}f} times"


def large(value: float) -> str:
    """A count in full below a million, else in millions: `62,346`, `9.06 million`."""
    return f"{value / 1e6:.3g} million" if value >= 1e6 else number(value)


def number(value: float, decimals: int = 0) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:,.{decimals}f}"


def share(value: float | None) -> str:
    """A share of a whole: `71 %`, `0.6 %`; never none or all unless it is."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.995 <= value < 1:
        return "> 99 %"
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def moment(milliseconds_since_1970: int) -> str:
    return datetime.fromtimestamp(milliseconds_since_1970 / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def counted(count: int, noun: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def enough(seeds: int | None) -> str:
    """How many seeds would tell: `about 14 seeds`; a number that nobody trains is no advice."""
    if seeds is None or seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds"
    return f"about {seeds} seeds"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def some(words: Sequence[str], most: int = MOST_NAMES) -> str:
    """All of a few, else the first and how many more there are."""
    return listed([*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])])


def runs_of(numbers: Sequence[int]) -> str:
    """Sorted whole numbers, neighbours joined: `0 to 9`, `0, 1, 5 to 7`."""
    parts: list[list[int]] = []
    for one in numbers:
        if parts and one == parts[-1][-1] + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)


# The answer


def headline(results: Results) -> str:
    """The answer in one sentence, and what must be known beside it."""
    comparison, said = results.comparison, reason(results)
    seeds = len(comparison.seeds)
    few = f"{counted(seeds, 'seed')} a setting {'is' if seeds == 1 else 'are'} too few"
    without = {
        Answer.NO_SCORE: f"Nothing can be said: {said[0].lower()}{said[1:]}",
        Answer.ONE_SETTING: f"One setting, {results.mean(0):.2f} % right: there is nothing to compare it with.",
        Answer.CONSTANT: f"No verdict: {said[0].lower()}{said[1:]}",
        Answer.LACKS_RUNS: f"No verdict: {lacking(results, results.lacking or 0)}",
        Answer.TOO_FEW_SEEDS: f"No verdict yet: {few}; it takes at least {FEWEST_SEEDS}.",
    }
    if results.answer in without or results.winner is None:
        return without[results.answer]
    own = results.settings[results.winner].difference
    nothing = f"Nothing was shown to be better than {_the_baseline(comparison)}."
    words = nothing if own is None else _about_winner(results, own)
    lost = _astray(results, results.winner)
    beside = f" But {lost} and count in no mean." if lost else ""
    return f"{words}{_ties(results)}{still_open(results)}{beside}"


def reason(results: Results) -> str:
    """What the study's verdicts say of the winner, or why they say nothing."""
    comparison, settings, winner = results.comparison, results.settings, results.winner or 0
    own = settings[winner].difference
    common = counted(0 if own is None else own.seeds, "seed")
    scored = any(run.accuracy is not None for run in comparison.runs)
    return {
        Answer.NO_SCORE: f"{'All its runs that have a score' if scored else 'All its runs that ended'} collapsed or "
        "diverged."
        if any(one.astray for one in settings)
        else "No run of it has a score.",
        Answer.ONE_SETTING: "It has one setting, and nothing to compare it with.",
        Answer.CONSTANT: "The seed changes no score, so that all runs of a setting say no more than one.",
        Answer.LACKS_RUNS: sentence(lacking(results, results.lacking or 0)),
        Answer.TOO_FEW_SEEDS: f"A verdict needs at least {FEWEST_SEEDS} seeds a setting; this study has "
        f"{len(comparison.seeds)}.",
        Answer.LOST_RUNS: f"{settings[winner].astray} of its {_ended(results, winner)} runs collapsed or diverged, and "
        "count in no mean.",
        Answer.BASELINE: f"The baseline itself has the highest mean.{_ties(results)}",
        Answer.BETTER: "It is better than the baseline.",
        Answer.EQUIVALENT: f"It is equivalent to the baseline, within ± {comparison.margin:g} points.",
        Answer.CANT_TELL: f"The study can't tell it from the baseline; {enough(results.seeds_needed)} a setting would.",
        Answer.FEW_IN_COMMON: f"It shares {common} with the baseline; a verdict needs {FEWEST_SEEDS}.",
        Answer.WORSE: "On the seeds that it shares with the baseline it is worse.",
    }[results.answer]


def winner_name(results: Results) -> str:
    """What the winner is: `highest mean`, or where one of fewer seeds is above it `highest mean shown to be better`."""
    return "highest mean" if results.winner == results.highest else "highest mean shown to be better"


def still_open(results: Results) -> str:
    """The settings above the winner about which nothing is decided, as a sentence with a space before it; or empty."""
    winner = results.winner
    if winner is None:
        return ""
    above = [
        f"{results.settings[one.setting].label} ({results.mean(one.setting):.2f} %, {counted(one.seeds, 'seed')})"
        for one in results.differences
        if one.verdict in OPEN and results.mean(one.setting) > results.mean(winner)
    ]
    return f" Open: the higher mean of {some(above)}." if above else ""


def marks(results: Results) -> dict[int, str]:
    """The settings that stand out, and why."""
    if len(results.settings) < 2:
        return {}
    words = {results.comparison.baseline: ["baseline"]}
    if results.winner is not None:
        for setting in (results.winner, *results.tied):
            words.setdefault(setting, []).append(winner_name(results))
        if results.cheapest is not None and results.cheapest != results.winner:
            words.setdefault(results.cheapest, []).append("cheapest not worse")
    return {setting: ", ".join(parts) for setting, parts in words.items()}


def verdict_sentence(results: Results, difference: Difference) -> str:
    """One setting against the baseline, without an end."""
    setting = results.settings[difference.setting]
    name, cost = setting.label, at_cost(results.comparison, difference.setting)
    ends = between(difference.interval, joined="and")
    match difference.verdict:
        case Verdict.BETTER | Verdict.WORSE:
            less = " (less than what matters)" if difference.negligible else ""
            return f"{name}: by {_gain(results, difference)}{less}, {cost}"
        case Verdict.EQUIVALENT if difference.deviation == 0 and difference.mean == 0:
            return f"{name}: the same score with every seed, {cost}"
        case Verdict.EQUIVALENT:
            other = setting.other_images if setting.only_here else None
            wider = "" if other is None else f" on these images, {between(other.interval, joined='and')} on others"
            return f"{name}: between {ends} points{wider}, {cost}"
        case Verdict.CANT_TELL:
            return f"{name}: between {ends} points, {cost}; {enough(difference.seeds_needed)} would tell"
    if difference.mean is None:
        return f"{name}: no seed in common with the baseline"
    return f"{name}: {points(difference.mean)} points so far, over {counted(difference.seeds, 'seed')}, {cost}"


def verdict_titles(results: Results) -> dict[Verdict, str]:
    """What stands above the settings of each verdict that was given."""
    without = results.with_verdict(Verdict.NO_VERDICT)
    few = f"No verdict: fewer than {FEWEST_SEEDS} seeds in common with the baseline"
    titles = {
        Verdict.BETTER: "Better than the baseline",
        Verdict.EQUIVALENT: f"Equivalent to the baseline (within ± {results.comparison.margin:g} points)",
        Verdict.CANT_TELL: "Can't tell",
        Verdict.WORSE: "Worse than the baseline",
        Verdict.NO_VERDICT: few if all(one.seeds < FEWEST_SEEDS for one in without) else "No verdict",
    }
    return {verdict: title for verdict, title in titles.items() if results.with_verdict(verdict)}


def seeds_to_tell(difference: Difference | None) -> str:
    """In a cell of a table: empty where a verdict was given."""
    if difference is None or difference.seeds_needed is None:
        return ""
    if difference.verdict is Verdict.NO_VERDICT:
        return f"at least {difference.seeds_needed}"
    return enough(difference.seeds_needed).removesuffix(" seeds")


def at_cost(comparison: Comparison, setting: int, against: int | None = None) -> str:
    """`at 3.5 times the multiply-adds` of the baseline, or of another setting."""
    ratio = comparison.ratio("multiply_adds", setting, against)
    same = abs(ratio - 1) < 0.005
    return "at the same number of multiply-adds" if same else f"at {times(ratio)} the multiply-adds"


def key_figures(results: Results) -> list[tuple[str, str, str]]:
    """The key figures at the top of the page: what it is, the number, a remark."""
    figures: list[tuple[str, str, str]] = []
    if results.winner is not None:
        best = results.settings[results.winner]
        figures.append((winner_name(results), f"{results.mean(results.winner):.2f} %", best.label))
        own = best.difference
        if own is not None and own.mean is not None:
            none = own.verdict is Verdict.NO_VERDICT
            remark = "so far: no verdict yet" if none else f"95 %: {between(own.interval)}"
            figures.append(("points against the baseline", points(own.mean), remark))
            ratio = results.comparison.ratio("multiply_adds", results.winner)
            parameters = large(results.comparison.settings[results.winner].parameters)
            figures.append(("multiply-adds of the baseline", f"× {ratio:.2g}", f"{parameters} parameters"))
    if results.noise is not None:
        figures.append(("points between seeds", f"± {results.noise.deviation:.2f}", "standard deviation, same setting"))
    return figures


# What must be known beside it


def since(comparison: Comparison) -> str:
    """When the test images were opened, by the first run that was scored on them."""
    scored = [run.scored for run in comparison.runs if run.scored is not None]
    return f"at {moment(min(scored))}" if scored else "at a time that no record tells"


def lost_sentence(results: Results, setting: int) -> str:
    """How many runs of a setting ended without having learned, with which seeds and scores."""
    runs = [run for run in results.comparison.of(setting) if run.outcome in ASTRAY]
    ends = sorted(run.accuracy for run in runs if run.accuracy is not None)
    scores = f", at {' to '.join(dict.fromkeys(f'{end:.2f}' for end in (ends[0], ends[-1])))} %" if ends else ""
    seeds = f"seed{'' if len(runs) == 1 else 's'} {runs_of([run.seed for run in runs])}"
    return f"{results.settings[setting].label}: {_astray(results, setting)} ({seeds}{scores})"


def lost_counts(counts: Mapping[str, int]) -> str:
    """`1 failed, 2 not done`; 0 where all learned."""
    return ", ".join(f"{counts[word]} {LOST_WORDS.get(word, word)}" for word in LOST if counts.get(word)) or "0"


def cell(factors: Sequence[str], levels: Cell) -> str:
    """`kernel_size 3, filters 16`."""
    return ", ".join(f"{name} {shown_level(level)}" for name, level in zip(factors, levels, strict=True))


def tally(names: Iterable[str]) -> str:
    """`one (3 runs); other (2 runs)`, the most frequent first."""
    return "; ".join(f"{name} ({counted(count, 'run')})" for name, count in Counter(names).most_common())


def commit(run: Run) -> str:
    name = "no commit known" if run.commit is None else f"commit {run.commit}"
    return f"{name}{', with uncommitted changes' if run.uncommitted else ''}"


def _about_winner(results: Results, own: Difference) -> str:
    comparison = results.comparison
    best, base = comparison.label(own.setting), _the_baseline(comparison)
    undecided = sum(one.verdict in OPEN for one in results.differences)
    cant_tell = f"Can't tell whether the setting with the highest mean, {best}, is better than {base}"
    match own.verdict:
        case Verdict.BETTER:
            less = f", which is less than the {comparison.margin:g} that matter here" if own.negligible else ""
            return f"{best}: better than {base} by {_gain(results, own)}{less}, {at_cost(comparison, own.setting)}."
        case Verdict.EQUIVALENT if undecided:
            return (
                f"Nothing was shown to be better than {base}: the highest mean, {best}, is equivalent to it; "
                f"{counted(undecided, 'setting')} can't be told from it."
            )
        case Verdict.EQUIVALENT:
            return f"Nothing to gain that matters: even the best, {best}, is equivalent to {base}."
        case Verdict.WORSE:
            return f"{best} has the highest mean, but is worse than {base} on the seeds that both have."
        case Verdict.CANT_TELL:
            seeds = f"{enough(own.seeds_needed)} a setting would tell"
            return f"{cant_tell}: between {between(own.interval, joined='and')} points; {seeds}."
    return f"{cant_tell}: they have {counted(own.seeds, 'seed')} in common; a verdict needs {FEWEST_SEEDS}."


def _gain(results: Results, difference: Difference) -> str:
    """By how much it is better or worse, and what of that hangs on the images: `0.7 to 1.3 points`."""
    setting, interval = results.settings[difference.setting], difference.interval
    if interval is None:
        raise AssertionError("no verdict without an interval")
    gain, other = f"{span(interval.low, interval.high)} points", setting.other_images
    if setting.only_here:
        return f"{gain} on these images (with others it could be none)"
    if other is not None and setting.images_differ_more:
        return f"{gain} on these images ({span(other.interval.low, other.interval.high)} on others like them)"
    return gain


def _ties(results: Results) -> str:
    """Who shares the highest mean with the winner, as a sentence with a space before it; or empty."""
    names = [results.settings[row].label for row in results.tied]
    return f" {some(names)} {'has' if len(names) == 1 else 'have'} exactly the same mean." if names else ""


def _the_baseline(comparison: Comparison) -> str:
    return f"the baseline ({comparison.label(comparison.baseline)})"


def sentence(text: str) -> str:
    """With a capital letter, unless it begins with a label."""
    return f"T{text[1:]}" if text.startswith("the baseline") else text


def _ended(results: Results, setting: int) -> int:
    """How many runs of a setting came to their end."""
    counts = results.settings[setting].counts
    return counts.get("learned", 0) + results.settings[setting].astray


def _astray(results: Results, setting: int) -> str:
    """`2 of its 10 runs collapsed and 1 diverged`; empty where all learned."""
    counts = results.settings[setting].counts
    first, *others = [f"{counts[word]} {word}" for word in ASTRAY if counts.get(word)] or [""]
    return " and ".join([first.replace(" ", f" of its {counted(_ended(results, setting), 'run')} ", 1), *others])


def lacking(results: Results, setting: int) -> str:
    """What a setting has too few of, what became of the rest, and what to type."""
    comparison, counts = results.comparison, results.settings[setting].counts
    is_baseline, seeds = setting == comparison.baseline, counted(len(comparison.seeds), "run")
    label = _the_baseline(comparison) if is_baseline else comparison.label(setting)
    others = "" if is_baseline or len(comparison.settings) < 3 else ", and no other has more that count"
    astray = results.settings[setting].astray
    if astray == len(comparison.seeds) - counts.get("learned", 0):
        text = f"{label} collapsed or diverged in {astray} of {seeds}{others}."
        return f"{text} They would do so again: it takes other seeds, or another setting."
    done = f"{counts.get('learned', 0)} of {counted(len(comparison.seeds), 'seed')}"
    text = f"{label} lacks runs: {done} have a score that counts ({lost_counts(counts)}){others}."
    return f"{text} {_line(comparison, setting)}"


def _line(comparison: Comparison, setting: int) -> str:
    """What does a setting's missing runs: the declared study, else its sweep, which no record keeps as it was typed."""
    tried = {run.seed for run in comparison.of(setting) if run.accuracy is not None}
    # More seeds than it declares may have been typed.
    seeds = f"seed={','.join(str(seed) for seed in comparison.seeds if seed not in tried)}"
    sweep = next((line for line in comparison.commands if line.startswith(SWEEP)), None)
    if sweep is not None:
        return f"`{sweep} {seeds}` does what is missing."
    values = comparison.settings[setting].values
    words = [f"{key}={shown(values.get(key))}" for factor in comparison.factors for key in factor.keys]
    words.append(seeds)
    return f"The study's sweep, typed again with {' '.join(words)} among its values, does what is missing."
