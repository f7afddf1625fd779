"""Results in words, numbers as a person reads them. Computes no statistic: every one is of the results."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pipeline.config.messages import counted
from pipeline.findings.comparison import ASTRAY, LOST, Comparison, Run
from pipeline.findings.results import OPEN, Answer, QuestionResult, Results
from pipeline.statistics.differences import FEWEST_SEEDS, ContrastVerdict, Difference, Verdict
from pipeline.statistics.intervals import Interval
from pipeline.studies.race import TO_THE_BEST
from pipeline.studies.study_summary import as_typed

UNKNOWN = "–"
UNITS = {"accuracy": "points", "gap": "points", "seconds": "s"}
MOST_CLAIMS, MOST_NAMES, MOST_SEEDS = 3, 3, 1000
SWEEP = "python -m pipeline.sweep "


# Numbers, and lists of words


def points(value: float | None, *, sign: bool = True) -> str:
    """Points with two decimals and a true minus: `+0.32`, `−0.05`."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval | None, *, sign: bool = True, joined: str = "to") -> str:
    """`+0.12 to +0.51`."""
    if interval is None:
        return UNKNOWN
    return f"{points(interval.low, sign=sign)} {joined} {points(interval.high, sign=sign)}"


def span(low: float, high: float) -> str:
    """From one to the other, both on one side of zero, by their size: `0.9 to 1.4`; as fine as the smaller needs."""
    small, large = sorted((abs(low), abs(high)))
    for decimals in (1, 2, 3):
        if 0 < round(small, decimals) < round(large, decimals):
            return f"{small:.{decimals}f} to {large:.{decimals if round(large, 2) <= 0.01 else min(decimals, 2)}f}"
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


def enough(seeds: int | None) -> str:
    """How many seeds would tell: `about 14 seeds`; a number that nobody trains is no advice."""
    return f"more than {MOST_SEEDS:,} seeds" if seeds is None or seeds > MOST_SEEDS else f"about {seeds} seeds"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def some(words: Sequence[str]) -> str:
    """All of a few, else the first and how many more there are."""
    return listed([*words[:MOST_NAMES], *([f"{len(words) - MOST_NAMES} more"] if len(words) > MOST_NAMES else [])])


def runs_of(numbers: Sequence[int]) -> str:
    """Sorted whole numbers, neighbours joined: `0 to 9`, `0, 1, 5 to 7`."""
    parts: list[list[int]] = []
    for one in numbers:
        if parts and one == parts[-1][-1] + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)


def tally(names: Iterable[str]) -> str:
    """`one (3 runs); other (2 runs)`, the most frequent first."""
    return "; ".join(f"{name} ({counted(count, 'run')})" for name, count in Counter(names).most_common())


# The answer


def headline(results: Results, most_claims: int = MOST_CLAIMS) -> str:
    """The answer in one sentence, and what must be known beside it: to what was asked in advance, or of the best.

    `Supported: larger kernels help. Can't tell: …`; of more than `most_claims` how many there are of each.
    """
    if not results.questions:
        return best_sentence(results)
    claims: dict[str, list[str]] = {}
    for one in results.questions:
        beside = f" ({late(one)})" if late(one) else ""
        claims.setdefault(one.result.verdict.value, []).append(f"{one.declared.claim.rstrip('.')}{beside}")
    if len(results.questions) > most_claims:
        counts = ", ".join(f"{len(own)} {said}" for said, own in claims.items())
        return f"Of {len(results.questions)} claims: {counts}."
    return " ".join(f"{said[0].upper()}{said[1:]}: {'; '.join(own)}." for said, own in claims.items())


def best_sentence(results: Results) -> str:
    """What can be said of the best setting, or why nothing can."""
    comparison, seeds = results.comparison, len(results.comparison.seeds)
    ended = "that have a score" if any(run.accuracy is not None for run in comparison.runs) else "that ended"
    lost = any(one.astray for one in results.settings)
    without = {
        Answer.NO_SCORE: "Nothing can be said: "
        + (f"all its runs {ended} collapsed or diverged." if lost else "no run of it has a score."),
        Answer.ONE_SETTING: f"One setting, {results.mean(0):.2f} % right: there is nothing to compare it with.",
        Answer.EXPLORED: _explored(results),
        Answer.CONSTANT: "No verdict: the seed changes no score, so that all runs of a setting say no more than one.",
        Answer.RACING: "No verdict yet: the race is not over.",
        Answer.NOT_ASKED: "Not asked: no claim weighs the baseline, and so nothing was compared with it.",
        Answer.LACKS_RUNS: f"No verdict: {lacking(results, results.lacking or 0)}",
        Answer.TOO_FEW_SEEDS: f"No verdict yet: {counted(seeds, 'seed')} a setting {'is' if seeds == 1 else 'are'} too "
        f"few; it takes at least {FEWEST_SEEDS}.",
    }
    if results.answer in without or results.winner is None:
        return without[results.answer]
    lost_runs = _astray(results, results.winner)
    beside = f" But {lost_runs} and count in no mean." if lost_runs else ""
    return f"{_about_winner(results, results.winner)}{_ties(results)}{_open(results)}{_race_for_best(results)}{beside}"


def _explored(results: Results) -> str:
    """What a search has found."""
    comparison = results.comparison
    best = max(
        (one for one in comparison.trials if one.score is not None), key=lambda one: one.score or 0, default=None
    )
    if best is None or best.setting is None:
        return "A search, no verdict: no trial has its score yet."
    return (
        f"A search, no verdict: of {counted(len(comparison.trials), 'trial')} number {best.number} scored highest, "
        f"{best.score:.2f} % over {counted(len(comparison.seeds), 'seed')}: {comparison.label(best.setting)}."
    )


def _about_winner(results: Results, winner: int) -> str:
    comparison, own = results.comparison, results.settings[winner].difference
    best, base = comparison.label(winner), _the_baseline(comparison)
    nothing = f"Nothing was shown to be better than {base}"
    undecided = sum(one.verdict in OPEN for one in results.differences)
    if own is None:
        return f"{nothing}."
    match own.verdict:
        case Verdict.BETTER:
            less = f", which is less than the {comparison.margin:g} that matter here" if own.negligible else ""
            return f"{best}: better than {base} by {_gain(results, own)}{less}, {at_cost(comparison, winner)}."
        case Verdict.EQUIVALENT if undecided:
            open_ = f"{counted(undecided, 'setting')} can't be told from it"
            return f"{nothing}: the highest mean, {best}, is equivalent to it; {open_}."
        case Verdict.EQUIVALENT:
            return f"Nothing to gain that matters: even the best, {best}, is equivalent to {base}."
        case Verdict.WORSE:
            return f"{best} has the highest mean, but is worse than {base} on the seeds that both have."
        case Verdict.CANT_TELL:
            more = f"; {enough(own.seeds_needed)} a setting would tell" if own.seeds_needed else ""
            why = f"between {between(own.interval, joined='and')} points{more}"
        case _:
            why = f"they have {counted(own.seeds, 'seed')} in common; a verdict needs {FEWEST_SEEDS}"
    return f"Can't tell whether the setting with the highest mean, {best}, is better than {base}: {why}."


def _gain(results: Results, difference: Difference) -> str:
    """By how much it is better or worse, and what of that hangs on the images: `0.7 to 1.3 points`."""
    setting, interval = results.settings[difference.setting], difference.interval
    if interval is None:
        raise AssertionError("no verdict without an interval")
    gain, other = f"{span(interval.low, interval.high)} points", setting.other_images
    if setting.only_here:
        return f"{gain} (with other images perhaps none)"
    if other is not None and setting.images_differ_more:
        return f"{gain} ({span(other.interval.low, other.interval.high)} with other images)"
    return gain


def _ties(results: Results) -> str:
    """Who shares the highest mean with the winner, as a sentence with a space before it; or empty."""
    names = [results.settings[row].label for row in results.tied]
    return f" {some(names)} {'has' if len(names) == 1 else 'have'} exactly the same mean." if names else ""


def _open(results: Results) -> str:
    """The settings above the winner about which nothing is decided, as a sentence with a space before it; or empty."""
    above = [
        f"{results.settings[one.setting].label} ({results.mean(one.setting):.2f} %, {counted(one.seeds, 'seed')})"
        for one in results.differences
        if one.verdict in OPEN and results.mean(one.setting) > results.mean(results.winner or 0)
    ]
    return f" Open: the higher mean of {some(above)}." if above else ""


def _race_for_best(results: Results) -> str:
    """Whether a race for the best has found it, as a sentence with a space before it; or empty."""
    comparison, now = results.comparison, results.comparison.standing
    if now is None or comparison.stop != "best":
        return ""
    rivals = [comparison.label(row) for row in results.by_mean if row not in now.decided and row != results.winner]
    if rivals:
        return f" Which is the best is open: {some(rivals)} may be, too."
    return " All others were shown to be worse than the best, or equivalent to it."


def lacking(results: Results, setting: int) -> str:
    """What a setting has too few of, what became of the rest, and what to type."""
    comparison, own = results.comparison, results.settings[setting]
    is_baseline, planned, learned = setting == comparison.baseline, comparison.planned(setting), own.summary.seeds
    label = _the_baseline(comparison) if is_baseline else own.label
    others = "" if is_baseline or len(comparison.settings) < 3 else ", and no other has more that count"
    if own.astray == planned - learned:
        text = f"{label} collapsed or diverged in {own.astray} of {counted(planned, 'run')}{others}."
        return f"{text} They would do so again: it takes other seeds, or another setting."
    done = f"{learned} of {counted(planned, 'seed')} have a score that counts"
    return f"{label} lacks runs: {done} ({lost_counts(own.counts)}){others}. {_line(comparison, setting)}"


def _line(comparison: Comparison, setting: int) -> str:
    """What does a setting's missing runs: the declared study, else its sweep, which no record keeps as it was typed."""
    tried = {run.seed for run in comparison.of(setting) if run.accuracy is not None}
    # More seeds than it declares may have been typed.
    seeds = f"seed={','.join(str(seed) for seed in comparison.seeds if seed not in tried)}"
    sweep = next((line for line in comparison.commands if line.startswith(SWEEP)), None)
    if sweep is not None:
        return f"`{sweep} {seeds}` does what is missing."
    values = comparison.settings[setting].values
    words = [f"{key}={as_typed(values.get(key))}" for factor in comparison.factors for key in factor.keys]
    return f"The study's sweep, typed again with {' '.join([*words, seeds])} among its values, does what is missing."


def winner_name(results: Results) -> str:
    """What the winner is: `highest mean`, or where one of fewer seeds is above it `highest mean shown to be better`."""
    return "highest mean" if results.winner == results.highest else "highest mean shown to be better"


def marks(results: Results) -> dict[int, str]:
    """The settings that stand out, and why."""
    if len(results.settings) < 2:
        return {}
    words = {results.comparison.baseline: ["baseline"]}
    if results.winner is not None and results.cheapest is not None:
        for setting in (results.winner, *results.tied):
            words.setdefault(setting, []).append(winner_name(results))
        if results.cheapest != results.winner:
            words.setdefault(results.cheapest, []).append("cheapest not worse")
    return {setting: ", ".join(parts) for setting, parts in words.items()}


def key_figures(results: Results) -> list[tuple[str, str, str]]:
    """The key figures at the top of the page: what it is, the number, a remark."""
    figures: list[tuple[str, str, str]] = []
    if results.winner is not None:
        best = results.settings[results.winner]
        figures.append((winner_name(results), f"{results.mean(results.winner):.2f} %", best.label))
        own = best.difference
        if own is not None and own.mean is not None:
            none = own.verdict is Verdict.NO_VERDICT
            remark = "so far: no verdict yet" if none else f"{confidence(results.comparison)}: {between(own.interval)}"
            figures.append(("points against the baseline", points(own.mean), remark))
            ratio = results.comparison.ratio("multiply_adds", results.winner)
            parameters = large(results.comparison.settings[results.winner].parameters)
            figures.append(("multiply-adds against the baseline", f"× {ratio:.2g}", f"{parameters} parameters"))
    if results.noise is not None:
        figures.append(("points between seeds", f"± {results.noise.deviation:.2f}", "standard deviation, same setting"))
    return figures


# Claims


def claim_verdict(question: QuestionResult) -> str:
    """In a cell: `supported, by less than matters, stopped after 4 seeds`."""
    own = question.result
    less = ", by less than matters" if own.negligible and own.verdict is not ContrastVerdict.NO_DIFFERENCE else ""
    more = f", {enough(own.seeds_needed)} would" if own.seeds_needed and own.seeds >= FEWEST_SEEDS else ""
    few = f", at least {FEWEST_SEEDS} seeds needed" if own.seeds < FEWEST_SEEDS else ""
    return f"{own.verdict}{less}{more}{few}{_stopped(question.stopped)}"


def claim_effect(question: QuestionResult) -> str:
    """`+0.98 points`."""
    mean = question.result.mean
    return UNKNOWN if mean is None else f"{points(mean)} {UNITS[question.declared.score]}"


def late(question: QuestionResult) -> str:
    """Whether it was declared when runs had been seen: what is asked then may be what they suggested."""
    runs = question.declared.runs_before
    return f"declared after {counted(runs, 'run')}" if runs else ""


def claim_terms(results: Results, number: int) -> str:
    """What a contrast weighs and expects: `5 × 5 kernels − 3 × 3 kernels is above 0`."""
    declared, contrast = results.comparison.questions[number]
    margin = f"{declared.margin:g} {UNITS[declared.score]}"
    expected = {
        "gain": f"is above 0 ({margin} are what matters)",
        "no_harm": f"is not below −{margin}",
        "no_gain": f"is not above +{margin}",
    }[declared.expects]
    terms: list[str] = []
    for one, weight in zip(results.settings, contrast.weights.tolist(), strict=True):
        if weight:
            size = "" if abs(weight) == 1 else f"{abs(weight):.3g} × "
            terms.append(f"{'−' if weight < 0 else '+' if terms else ''} {size}({one.label})".strip())
    return f"{declared.score}: {' '.join(terms)} {expected}"


# Settings


def verdict_sentence(results: Results, difference: Difference) -> str:
    """One setting against the baseline, without an end."""
    comparison, setting = results.comparison, results.settings[difference.setting]
    cost, ends = at_cost(comparison, difference.setting), between(difference.interval, joined="and")
    match difference.verdict:
        case Verdict.BETTER | Verdict.WORSE:
            less = " (less than what matters)" if difference.negligible else ""
            said = f"by {_gain(results, difference)}{less}, {cost}"
        case Verdict.EQUIVALENT if difference.deviation == 0 and difference.mean == 0:
            said = f"the same score with every seed, {cost}"
        case Verdict.EQUIVALENT:
            other = setting.other_images if setting.only_here else None
            wider = "" if other is None else f" on these images, {between(other.interval, joined='and')} on others"
            said = f"between {ends} points{wider}, {cost}"
        case Verdict.CANT_TELL:
            more = f"; {enough(difference.seeds_needed)} would tell" if difference.seeds_needed else ""
            said = f"between {ends} points, {cost}{more}"
        case _ if difference.mean is None:
            said = "no seed in common with the baseline"
        case _:
            said = f"{points(difference.mean)} points so far, over {counted(difference.seeds, 'seed')}, {cost}"
    return f"{setting.label}: {said}{stopped(comparison, difference.setting)}"


def seeds_to_tell(difference: Difference | None) -> str:
    """In a cell of a table: empty where a verdict was given."""
    if difference is None or difference.seeds_needed is None:
        return ""
    if difference.verdict is Verdict.NO_VERDICT:
        return f"at least {difference.seeds_needed}"
    return enough(difference.seeds_needed).removesuffix(" seeds")


def stopped(comparison: Comparison, setting: int) -> str:
    """`, stopped after 4 seeds`; of a race for the best also why; empty where all seeds were run."""
    seeds, now = comparison.stopped(setting), comparison.standing
    why = ""
    if seeds and now is not None and comparison.stop == "best" and setting in now.decided:
        why = f" as {TO_THE_BEST[now.decided[setting].verdict]} so far"
    return f"{_stopped(seeds)}{why}"


def _stopped(seeds: int | None) -> str:
    return f", stopped after {counted(seeds, 'seed')}" if seeds else ""


def at_cost(comparison: Comparison, setting: int, against: int | None = None) -> str:
    """`at 3.5 times the multiply-adds` of the baseline, or of another setting."""
    ratio = comparison.ratio("multiply_adds", setting, against)
    same = abs(ratio - 1) < 0.005
    return "at the same number of multiply-adds" if same else f"at {times(ratio)} the multiply-adds"


def lost_sentence(results: Results, setting: int) -> str:
    """How many runs of a setting ended without having learned, with which seeds and scores."""
    runs = [run for run in results.comparison.of(setting) if run.outcome in ASTRAY]
    ends = sorted(run.accuracy for run in runs if run.accuracy is not None)
    scores = f", at {' to '.join(dict.fromkeys(f'{end:.2f}' for end in (ends[0], ends[-1])))} %" if ends else ""
    seeds = f"seed{'' if len(runs) == 1 else 's'} {runs_of([run.seed for run in runs])}"
    return f"{results.settings[setting].label}: {_astray(results, setting)} ({seeds}{scores})"


def lost_counts(counts: Mapping[str, int]) -> str:
    """`1 failed, 2 not done`; 0 where all learned."""
    words = [f"{counts[word]} {'not done' if word == 'missing' else word}" for word in LOST if counts.get(word)]
    return ", ".join(words) or "0"


def _astray(results: Results, setting: int) -> str:
    """`2 of its 10 runs collapsed and 1 diverged`; empty where all learned."""
    own = results.settings[setting]
    ended = counted(own.counts.get("learned", 0) + own.astray, "run")
    first, *others = [f"{own.counts[word]} {word}" for word in ASTRAY if own.counts.get(word)] or [""]
    return " and ".join([first.replace(" ", f" of its {ended} ", 1), *others])


def _the_baseline(comparison: Comparison) -> str:
    return f"the baseline ({comparison.label(comparison.baseline)})"


# The study


def confidence(comparison: Comparison) -> str:
    """`95 %`: with which probability all verdicts of a study hold."""
    return f"{100 * (1 - comparison.error_rate):g} %"


def more_seeds(comparison: Comparison) -> str:
    """How a study gets them: the looks of a race are planned for those it has."""
    if comparison.standing is None:
        return "More seeds join the same study: type its sweep again with a longer list of seeds."
    return "More seeds need a study of their own, with fresh ones: study.name=… 'seed=range(100,110)'."


def since(comparison: Comparison) -> str:
    """When the test images were opened, by the first run that was scored on them."""
    scored = [run.scored for run in comparison.runs if run.scored is not None]
    return f"at {moment(min(scored))}" if scored else "at a time that no record tells"


def compute(comparison: Comparison) -> str:
    """How long all trainings took together: `1.7 hours of training in all (90 of 90 runs tell)`."""
    known = [run.seconds for run in comparison.runs if run.seconds is not None]
    if not known:
        return UNKNOWN
    hours = sum(known) / 3600
    total = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    return f"{total} of training in all ({len(known)} of {counted(len(comparison.runs), 'run')} tell)"


def commit(run: Run) -> str:
    name = "no commit known" if run.commit is None else f"commit {run.commit}"
    return f"{name}{', with uncommitted changes' if run.uncommitted else ''}"
