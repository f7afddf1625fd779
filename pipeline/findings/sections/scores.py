"""Each setting by itself, and the noise floor."""

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import ASTRAY, Evidence
from pipeline.findings.page import Block, Column, Section, Table, Text
from pipeline.findings.pictures.intervals import settings_picture
from pipeline.findings.sections.differences import SETTING, marked_settings
from pipeline.findings.statistics.noise import same_setting_check, seed_deviation
from pipeline.findings.statistics.scores import summaries

SCORES = (
    SETTING,
    Column("seeds", about="runs that have a score and learned"),
    Column("failed", about="runs that failed, collapsed, diverged, or have not been done"),
    Column("mean %", about="mean accuracy over seeds"),
    Column("± sd", about="standard deviation between seeds, in points"),
    Column("95 % interval", about="of the mean, by t, for this setting by itself"),
    Column("lowest to highest"),
)
COSTS = (
    SETTING,
    Column("parameters"),
    Column("multiply-adds", about="for one image"),
    Column("training s", about="median over runs"),
    Column("latency ms", about="of an image by itself, median over the runs that were measured alone"),
)


def settings(evidence: Evidence, decision: Decision) -> Section:
    """Per setting: seeds, failures, mean, deviation, interval, range; then what it costs."""
    marked = marked_settings(decision)
    blocks: list[Block] = [
        Text(
            f"Accuracy on the {evidence.images} images in percent, mean ± standard deviation over seeds. Each interval "
            "is that of one setting by itself: to compare two, read the differences below."
        ),
        settings_picture(evidence),
        Table(SCORES, tuple(_score_row(evidence, row) for row in range(len(evidence.settings))), marked),
        Table(COSTS, tuple(_cost_row(evidence, row) for row in range(len(evidence.settings))), marked),
    ]
    if any(run.seconds is not None for run in evidence.runs):
        blocks.append(
            Text(
                "Seconds were measured while runs may have shared the machine: read them as rough, and only against "
                "each other. Latency is that of runs beside which no other was at work; – where there is none.",
                note=True,
            )
        )
    return Section("Each setting", "settings", tuple(blocks))


def _score_row(evidence: Evidence, row: int) -> tuple[str, ...]:
    found = summaries(evidence.scores[row : row + 1])[0]
    return (
        evidence.label(row),
        str(found.seeds),
        _failures(evidence, row),
        numbers.points(found.mean, sign=False),
        numbers.points(found.deviation, sign=False),
        numbers.between(found.interval, sign=False),
        numbers.between(found.range, sign=False),
    )


def _cost_row(evidence: Evidence, row: int) -> tuple[str, ...]:
    setting = evidence.settings[row]
    return (
        setting.label,
        numbers.whole(setting.parameters),
        numbers.whole(setting.multiply_adds),
        numbers.seconds(setting.seconds),
        numbers.milliseconds(setting.latency),
    )


def noise(evidence: Evidence) -> Section:
    """The noise floor and the A/A check."""
    found = seed_deviation(evidence.scores)
    if found is None:
        text = Text("No setting has two seeds with scores that differ: the noise between seeds is not known.")
        return Section("The noise floor", "noise", (text,))
    blocks: list[Block] = [
        Text(
            "The standard deviation between seeds of the same setting, pooled over all settings, is "
            f"{found.deviation:.2f} points (95 % interval {numbers.between(found.interval, sign=False)}, if seeds are "
            "independent between settings). A difference between two single runs that is not clearly larger "
            "says nothing."
        )
    ]
    check = same_setting_check(evidence.scores)
    if check is None:
        blocks.append(Text("It takes four seeds of a setting to compare it with itself.", lead="A/A check."))
    else:
        blocks.append(
            Text(
                f"Each setting against itself, on two halves of its own seeds ({check.seeds} against {check.seeds}), "
                f"{check.differences:,} times: chance alone puts {check.root_mean_square:.2f} points between the "
                f"halves, and {numbers.share(check.called)} of these comparisons would be called better or worse, all "
                f"of them wrongly; the rule allows itself {numbers.share(check.expected)}.",
                lead="A/A check.",
            )
        )
    return Section("The noise floor", "noise", tuple(blocks))


def _failures(evidence: Evidence, setting: int) -> str:
    """How many runs failed, collapsed, diverged, are not done: 0 where all is well."""
    own = [run for run in evidence.runs if run.setting == setting]
    counts = {
        "failed": sum(run.accuracy is None and run.state == "failed" for run in own),
        **{word: sum(run.outcome == word for run in own) for word in ASTRAY},
        "not done": sum(run.accuracy is None and run.state not in ("failed", "diverged") for run in own),
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "0"
