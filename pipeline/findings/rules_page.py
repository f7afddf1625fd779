"""The page of the rules, reports/rules/: report.html, report.md, rules.md (the table for the README), rules.json and a
picture; the whole folder or nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic_core import to_json

from pipeline.config.messages import counted
from pipeline.figures.style import sheet, shortened, styled
from pipeline.findings import wording
from pipeline.findings.figures import LOOKS, NARROW, WIDE, svg
from pipeline.findings.rules import Answer, RuleResult, Rules
from pipeline.findings.write import PICTURES, data_uri, escape_markdown, page, render
from pipeline.statistics.differences import OF_GAIN, ContrastResult, ContrastVerdict
from pipeline.storage import atomic

PICTURE = "rules"
EDGE = 3.0
"""Points: an effect beyond is drawn at the edge, with its number, so that the others keep their room."""

LONGEST_LINE, LONGEST_BOLD = 70, 50


def write_rules(rules: Rules, folder: Path) -> None:
    """Write the page into `folder`, in place of what it held."""
    wide, narrow = (svg(draw_rules(rules, width)) for width in (WIDE, NARROW))
    pictures = {f"{PICTURES}/{PICTURE}.svg": [data_uri("svg+xml", own) for own in (wide, narrow)]}
    text = _rendered("rules.md.jinja", rules, "../", "report.html")
    files = {
        "report.md": _rendered("rules.md.jinja", rules, "../", "report.md"),
        "report.html": page("The rules of thumb, measured", text, pictures),
        "rules.md": readme_table(rules),
        "rules.json": to_json(asdict(rules), indent=1, inf_nan_mode="null").decode() + "\n",
    }
    with atomic.write_folder(folder) as partial:
        for name, content in files.items():
            (partial / name).write_text(content, encoding="utf-8")
        (partial / PICTURES).mkdir()
        (partial / PICTURES / f"{PICTURE}.svg").write_bytes(wide)


def readme_table(rules: Rules) -> str:
    """The table as the README has it."""
    return _rendered("rules_table.md.jinja", rules, brief=True)


def _rendered(template: str, rules: Rules, root: str = "", name: str = "", *, brief: bool = False) -> str:
    def link(words: str, study: str) -> Markup:
        # A study's name has no sign of Markdown that counts within an address.
        return Markup(f"[{escape_markdown(words)}]({root}{study}/{name})")  # noqa: S704

    run = [one for one in rules.rules if one.own is not None]
    whole = _tally("not run yet" if one.verdict is None else one.verdict for one in rules.rules)
    margins = sorted({one.own.margin for one in run if one.own is not None})
    filters: dict[str, Callable[..., object]] = {
        "link": link, "hours": lambda seconds: f"{seconds / 3600:.1f}", "tally": _claims, "also": _also,
        "accuracy": _accuracy,
    }  # fmt: skip
    seeds = sorted({seed for one in run if one.own is not None for seed in one.own.seeds})
    return render(
        template, escape_markdown, filters, rules=rules, run=run, brief=brief, say=wording,
        late=late, with_gap=_with_gap,
        tally=whole, seeds=wording.runs_of(seeds), margins=wording.listed([f"{one:g}" for one in margins], last="or"),
        effects="; ".join(_in_words(one) for one in run) or "no study has been run yet", edge=f"{EDGE:g}",
    )  # fmt: skip


def _tally(verdicts: Iterable[str]) -> str:
    """`2 supported, 1 refuted, 3 not run yet`."""
    counts = Counter(map(str, verdicts))
    return ", ".join(f"{counts[one]} {one}" for one in (*map(str, ContrastVerdict), "not run yet") if counts[one])


def _claims(rule: RuleResult) -> str:
    answers = [] if rule.own is None else rule.own.named(list(rule.claims))
    return _tally(answer.question.result.verdict for answer in answers)


def _also(rule: RuleResult) -> list[Answer]:
    """What is supported or refuted besides: claims that went another way than their rule, and what decides nothing."""
    told = {ContrastVerdict.SUPPORTED, ContrastVerdict.REFUTED}
    return [
        answer
        for answer in (() if rule.own is None else rule.own.answers)
        if answer.question.result.verdict in told - ({rule.verdict} if answer.name in rule.claims else set())
    ]


def _accuracy(rule: RuleResult) -> Answer | None:
    """What the settings of the claim that decides do to the accuracy, where that claim is about something else."""
    if rule.own is None or rule.decided_by is None or rule.decided_by.question.declared.score == "accuracy":
        return None
    weighed = rule.decided_by.question.declared.weights.keys()
    of_same = (answer for answer in rule.own.answers if answer.question.declared.weights.keys() == weighed)
    return next((answer for answer in of_same if answer.question.declared.score == "accuracy"), None)


def late(answer: Answer) -> str:
    """Whether values of it had been seen when it was declared: what is asked then may be what they suggested."""
    return f"declared when {counted(answer.seen, 'seed')} of it had been seen" if answer.seen else ""


def _with_gap(rule: RuleResult) -> bool:
    """Whether the rule is about the gap between training images and those that score."""
    return rule.decided_by is not None and rule.decided_by.question.declared.score == "gap"


def _in_words(rule: RuleResult) -> str:
    effects = ", ".join(
        f"{text} {wording.points(answer.question.result.mean)} ({answer.question.result.verdict})"
        for text, answer, _ in _lines(rule)[1:]
        if answer is not None
    )
    return f"{rule.rule}: {effects}"


def _lines(rule: RuleResult) -> list[tuple[str, Answer | None, bool]]:
    """A rule in the picture: text, what is drawn, whether it decides. First the rule itself; no effect in seconds."""
    lines: list[tuple[str, Answer | None, bool]] = [(rule.rule, None, True)]
    if rule.own is None:
        return [*lines, ("not run yet", None, False)]
    studies = [("", rule.own), *((f"{repeat.words}: ", repeat.own) for repeat in rule.again if repeat.own is not None)]
    lines += [
        (f"{words}{answer.question.declared.claim}", answer, not words and answer.name in rule.claims)
        for words, study in studies
        for answer in study.answers
        if answer.question.declared.score != "seconds" and (not words or answer.name in rule.claims)
    ]
    return lines


@styled
def draw_rules(rules: Rules, width: float = WIDE) -> Figure:
    """Every contrast in points with its interval, rule by rule; its margin is a band, hollow what decides nothing."""
    lines = [line for rule in rules.rules for line in _lines(rule)]
    is_wide = width == WIDE
    figure = sheet(width, 1.7 + (0.26 if is_wide else 0.46) * len(lines), "Every effect, rule by rule")
    axes = figure.subplots()
    axes.axvline(0, color="#444444", linewidth=1)
    for place, (_, answer, decides) in enumerate(lines):
        if answer is not None:
            margin = answer.question.declared.margin
            axes.fill_betweenx([place - 0.5, place + 0.5], -margin, margin, color="#EEEEEE", linewidth=0, zorder=0)
            _draw_effect(axes, place, answer.question.result, is_filled=decides)
    _name_lines(axes, lines, is_wide=is_wide)
    axes.set_xlim(-1.05 * EDGE, 1.05 * EDGE)
    axes.set_xlabel("effect in points")
    verdicts = {answer.question.result.verdict for _, answer, _ in lines if answer is not None}
    for verdict in (one for one in ContrastVerdict if one in verdicts):
        colour, marker = LOOKS[OF_GAIN[verdict]]
        axes.plot([], [], marker, color=colour, linestyle="none", label=verdict.value)
    if verdicts:
        figure.legend(loc="outside lower left", ncols=5 if is_wide else 2, fontsize=10)
    return figure


def _draw_effect(axes: Axes, place: int, result: ContrastResult, *, is_filled: bool) -> None:
    """The interval as a line, the mean as a mark; at the edge, as a number, where it is beyond."""
    colour, marker = LOOKS[OF_GAIN[ContrastVerdict(result.verdict)]]
    if result.mean is None:
        return
    if abs(result.mean) > EDGE:
        is_right, text = result.mean > 0, wording.points(result.mean)
        text, side = (f"{text} ▸", "right") if is_right else (f"◂ {text}", "left")
        axes.text(EDGE if is_right else -EDGE, place, text, ha=side, va="center", color=colour, fontsize=9)
        return
    if result.interval is not None:
        ends = [min(max(end, -EDGE), EDGE) for end in (result.interval.low, result.interval.high)]
        axes.plot(ends, [place] * 2, color=colour, linewidth=2)
    axes.plot(result.mean, place, marker, color=colour, markerfacecolor=colour if is_filled else "white", markersize=6)


def _name_lines(axes: Axes, lines: Sequence[tuple[str, Answer | None, bool]], *, is_wide: bool) -> None:
    """The text of each line beside it, or on a phone above it; rules stand out."""
    for place, (text, answer, decides) in enumerate(lines):
        is_rule = answer is None and decides
        named = axes.text(
            -0.02 if is_wide else 0,
            place if is_wide or is_rule else place - 0.36,
            shortened(text, LONGEST_LINE if is_wide or not is_rule else LONGEST_BOLD),
            transform=axes.get_yaxis_transform(),
            ha="right" if is_wide else "left",
            va="center",
            fontsize=9.5 if is_rule else 9,
            fontweight="bold" if is_rule else "normal",
        )
        # Above its line it takes no room beside.
        named.set_in_layout(is_wide)
    axes.set_yticks([])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
