"""Verdicts in words. Computes no statistic: every one is of the results."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipeline.findings.formatting import (
    UNKNOWN,
    between,
    counted,
    enough,
    large,
    moment,
    points,
    runs_of,
    some,
    span,
    times,
)
from pipeline.findings.results import Answer, Results
from pipeline.findings.runs import ASTRAY, LOST, Comparison, Run
from pipeline.findings.verdicts import OPEN, QuestionResult
from pipeline.statistics.differences import FEWEST_SEEDS, ContrastVerdict, Difference, Verdict
from pipeline.studies.race import TO_THE_BEST
from pipeline.studies.study_summary import shown

LOST_WORDS = {"missing": "not done"}
UNITS = {"accuracy": "points", "gap": "points", "seconds": "s"}
MOST_CLAIMS = 3
SWEEP = "python -m pipeline.sweep "


# The answer


def headline(results: Results) -> str:
    """The answer in one sentence, and what must be known beside it: to what was asked in advance, or of the best."""
    return _claims(results.questions) if results.questions else best_sentence(results)


def best_sentence(results: Results) -> str:
    """What can be said of the best setting."""
    comparison, said = results.comparison, reason(results)
    seeds = len(comparison.seeds)
    few = f"{counted(seeds, 'seed')} a setting {'is' if seeds == 1 else 'are'} too few"
    without = {
        Answer.NO_SCORE: f"Nothing can be said: {said[0].lower()}{said[1:]}",
        Answer.ONE_SETTING: f"One setting, {results.mean(0):.2f} % right: there is nothing to compare it with.",
        Answer.CONSTANT: f"No verdict: {said[0].lower()}{said[1:]}",
        Answer.RACING: "No verdict yet: the race is not over.",
        Answer.NOT_ASKED: f"Not asked: {said[0].lower()}{said[1:]}",
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
    return f"{words}{_ties(results)}{still_open(results)}{_race_for_best(results)}{beside}"


def _claims(questions: Sequence[QuestionResult]) -> str:
    """`Supported: larger kernels help. Can't tell: …`; of many how many there are of each."""
    claims: dict[str, list[str]] = {}
    for one in questions:
        beside = " (asked after runs were seen)" if one.declared.runs_before else ""
        claims.setdefault(one.result.verdict.value, []).append(f"{one.declared.claim.rstrip('.')}{beside}")
    if len(questions) > MOST_CLAIMS:
        return f"Of {len(questions)} claims: {', '.join(f'{len(own)} {said}' for said, own in claims.items())}."
    return " ".join(f"{said[0].upper()}{said[1:]}: {'; '.join(own)}." for said, own in claims.items())


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
    return points(mean) if mean is None else f"{points(mean)} {UNITS[question.declared.score]}"


def claim_sentence(question: QuestionResult, confidence: str) -> str:
    """A claim with its verdict and what it rests on, without an end."""
    own = question.result
    interval = "" if own.interval is None else f" ({confidence}: {between(own.interval)})"
    said = f"{question.declared.claim.rstrip('.')}: {claim_verdict(question)}"
    return f"{said}; {claim_effect(question)}{interval} over {counted(own.seeds, 'seed')}{late(question)}"


def late(question: QuestionResult) -> str:
    """Whether it was declared when runs had been seen: what is asked then may be what they suggested."""
    runs = question.declared.runs_before
    return f", declared after {counted(runs, 'run')} had been seen" if runs else ""


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


def more_seeds(comparison: Comparison) -> str:
    """How a study gets them: the looks of a race are planned for those it has."""
    if comparison.standing is None:
        return "More seeds join the same study: type its sweep again with a longer list of seeds."
    return "More seeds need a study of their own, with fresh ones: study.name=… 'seed=range(100,110)'."


def race_sentence(results: Results) -> str:
    """How seeds were given out, and what that has saved."""
    comparison, now = results.comparison, results.comparison.standing
    if now is None:
        return ""
    ended = sum(run.outcome not in ("waiting", "failed") for run in comparison.runs)
    over = {"best": "was shown to be worse than the best so far, or equivalent to it,"}.get(
        str(comparison.stop), "had its verdict"
    )
    what = "what no open claim weighs" if comparison.questions else f"a setting that {over}"
    return (
        f"This was a race: after each seed from the third on, {what} got no more. It took {ended} of "
        f"{counted(len(comparison.settings) * len(comparison.seeds), 'run')}. Its {counted(comparison.looks, 'look')} "
        f"were planned, and share the error rate: over all of them at most {100 * comparison.error_rate:g} % of "
        "studies get any false verdict."
    )


def open_race(comparison: Comparison) -> str:
    """Who gets the next seed: `5 × 5 kernels and 7 × 7 kernels are open`."""
    now = comparison.standing
    rows = sorted(now.open - {comparison.baseline}) if now is not None else []
    return f"{some([comparison.label(row) for row in rows])} {'is' if len(rows) == 1 else 'are'} open"


def _stopped(seeds: int | None) -> str:
    return f", stopped after {counted(seeds, 'seed')}" if seeds else ""


def stopped(comparison: Comparison, setting: int) -> str:
    """`, stopped after 4 seeds`; of a race for the best also why; empty where all seeds were run."""
    seeds, now = comparison.stopped(setting), comparison.standing
    why = ""
    if seeds and now is not None and comparison.stop == "best" and setting in now.decided:
        why = f" as {TO_THE_BEST[now.decided[setting].verdict]} so far"
    return f"{_stopped(seeds)}{why}"


def _race_for_best(results: Results) -> str:
    """Whether a race for the best has found it, as a sentence with a space before it; or empty."""
    comparison, now, winner = results.comparison, results.comparison.standing, results.winner
    if now is None or comparison.stop != "best" or winner is None:
        return ""
    rivals = [row for row in results.by_mean if row not in now.decided and row != winner]
    if rivals:
        return f" Which is the best is open: {some([results.settings[row].label for row in rivals])} may be, too."
    return " All others were shown to be worse than the best, or equivalent to it."


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
        Answer.RACING: "Its race is not over.",
        Answer.NOT_ASKED: "No claim weighs the baseline, and so nothing was compared with it.",
        Answer.LACKS_RUNS: sentence(lacking(results, results.lacking or 0)),
        Answer.TOO_FEW_SEEDS: f"A verdict needs at least {FEWEST_SEEDS} seeds a setting; this study has "
        f"{len(comparison.seeds)}.",
        Answer.LOST_RUNS: f"{settings[winner].astray} of its {_ended(results, winner)} runs collapsed or diverged, and "
        "count in no mean.",
        Answer.BASELINE: f"The baseline itself has the highest mean.{_ties(results)}",
        Answer.BETTER: "It is better than the baseline.",
        Answer.EQUIVALENT: f"It is equivalent to the baseline, within ± {comparison.margin:g} points.",
        Answer.CANT_TELL: "The study can't tell it from the baseline"
        + (f"; {enough(results.seeds_needed)} a setting would." if results.seeds_needed else "."),
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
    return f"{_against_baseline(results, difference)}{stopped(results.comparison, difference.setting)}"


def _against_baseline(results: Results, difference: Difference) -> str:
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
            more = f"; {enough(difference.seeds_needed)} would tell" if difference.seeds_needed else ""
            return f"{name}: between {ends} points, {cost}{more}"
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


def confidence(comparison: Comparison) -> str:
    """`95 %`: with which probability all verdicts of a study hold."""
    return f"{100 * (1 - comparison.error_rate):g} %"


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


def compute(comparison: Comparison) -> str:
    """How long all trainings took together: `1.7 hours of training in all (90 of 90 runs tell)`."""
    known = [run.seconds for run in comparison.runs if run.seconds is not None]
    hours = sum(known) / 3600
    total = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    return (
        f"{total} of training in all ({len(known)} of {counted(len(comparison.runs), 'run')} tell)"
        if known
        else UNKNOWN
    )


def combinations(comparison: Comparison) -> int:
    """How many combinations the levels of all factors have."""
    return math.prod(len(factor.levels) for factor in comparison.factors)


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
            seeds = f"; {enough(own.seeds_needed)} a setting would tell" if own.seeds_needed else ""
            return f"{cant_tell}: between {between(own.interval, joined='and')} points{seeds}."
    return f"{cant_tell}: they have {counted(own.seeds, 'seed')} in common; a verdict needs {FEWEST_SEEDS}."


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
    words = [f"{key}={shown(values.get(key))}" for factor in comparison.factors for key in factor.keys]
    words.append(seeds)
    return f"The study's sweep, typed again with {' '.join(words)} among its values, does what is missing."
