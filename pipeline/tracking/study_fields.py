"""What of a study goes to MLflow: what its own run says of it. Needs no mlflow."""

import csv
import io
import json
from collections.abc import Sequence

from pipeline.studies.study import Study
from pipeline.studies.study_summary import (
    best,
    columns,
    count_outcomes,
    counted,
    differing,
    distinctions,
    in_words,
    lost_in_words,
    rows,
    score_in_words,
    shown_at,
    swept,
    table,
)
from pipeline.tracking.fields import DETAILS, MOST_TEXT, MULTIPLY_ADDS, PARAMETERS, SOURCE, as_details, texts

BEST_MEAN = "accuracy/best_mean"
"""Of a study: the mean over seeds of its best setting."""

ASTRAY = "collapsed", "diverged"
"""How runs end that stand in no mean of a study."""

VERDICT = "verdict"
GRID = "grid."
BASELINE_VALUES = "baseline.values"
MOST_ROWS = 40
MOST_TABLE = MOST_TEXT - 1_500
"""Rows and characters of the table in the description: a person reads no more, and servers cut it."""


def study_tags(study: Study, digest: str = "", verdict: str | None = None, links: str = "") -> dict[str, str]:
    """What was swept and what is best, how it is compared, the settings as the description of the run's page.

    `digest` is that of `table_csv`, `verdict` what was announced last, `links` are Markdown.
    """
    leader = best(study)
    details = {"margin": json.dumps(study.margin), "table": digest, **{f"{GRID}{key}": "" for key in swept(study)}}
    if study.baseline is not None:
        details |= {"baseline": in_words(study.baseline), **_baseline_values(study)}
    return texts({
        "study": study.name,
        "role": "study",
        "outcome": study.state,
        "scored_on": study.images,
        "swept": swept_in_words(study),
        "best": None if leader is None else f"{leader.title}: {score_in_words(leader)}",
        "mlflow.source.name": SOURCE,
        "mlflow.note.content": study_description(study, verdict, links),
        DETAILS: as_details(details),
    })  # fmt: skip


def swept_in_words(study: Study) -> str:
    """`kernel_size 3, 5; filters 16, 32; seed 0 to 9`."""
    settings = distinctions(study).values()
    values = {
        short: ", ".join(dict.fromkeys(shown_at(setting, key) for setting in settings))
        for key, short in zip(swept(study), columns(study), strict=True)
    }
    seeds = sorted({cell.seed for cell in study.cells})
    is_range = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    values["seed"] = f"{seeds[0]} to {seeds[-1]}" if is_range else ", ".join(map(str, seeds))
    return "; ".join(f"{short} {words}" for short, words in values.items())


def study_metrics(study: Study) -> dict[str, float]:
    """The best setting's mean, and what it costs; nothing before a run has finished."""
    leader = best(study)
    if leader is None or leader.mean is None:
        return {}
    return {BEST_MEAN: round(leader.mean, 6), PARAMETERS: leader.parameters, MULTIPLY_ADDS: leader.multiply_adds}


def _baseline_values(study: Study) -> dict[str, str]:
    """The values that tell the baseline from the other settings, as a report from the store alone can look for them."""
    settings = study.settings.values()
    keys = dict.fromkeys([*(study.baseline or {}), *differing([setting.values for setting in settings])])
    same = [setting.values for setting in settings if setting.is_at(study.baseline or {})]
    if len(same) != 1:
        return {}
    return {BASELINE_VALUES: json.dumps({key: same[0][key] for key in keys if key in same[0]})}


def study_description(study: Study, verdict: str | None = None, links: str = "") -> str:
    """The study in Markdown: the verdict, else what is best so far; how far it is, and the table of its settings."""
    counts = count_outcomes(study.cells)
    ended = f"{counts['finished']} of {len(study.cells)} runs finished"
    if lost := lost_in_words(counts):
        ended += f", {lost}"
    leader = best(study)
    so_far = "No run has finished yet" if leader is None else f"Best so far: {leader.title}, {score_in_words(leader)}"
    score = f"accuracy on the {study.images} images, mean ± standard deviation over seeds (number of runs)"
    first = f"**{verdict}**" if verdict else f"**{so_far}**; no verdict yet: `python -m pipeline.compare {study.name}`"
    lines = [
        # Of a text that is folded MLflow's page shows little more than the first line.
        f"{first} {links}".strip(),
        "",
        f"{study.name}: {ended}; {score}.",
        "",
    ]
    if astray := [kind for kind in ASTRAY if counts[kind]]:
        lines += [f"Runs that {' or '.join(astray)} stand in no mean.", ""]
    if study.images == "test":
        lines += ["**The test images were opened for this study.**", ""]
    lines += _table(study)
    if study.refused:
        lines += ["", f"{counted(len(study.refused), 'setting')} of the grid can't exist: left out."]
    return "\n".join(lines)


def table_csv(study: Study) -> str:
    """One line a setting: its values, runs, mean and standard deviation of the accuracy, cost."""
    keys = columns(study)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = "finished", "collapsed", "diverged", "failed"
    facts = *counts, "mean", "deviation", "seconds", "parameters", "multiply_adds", "verdict"
    writer.writerow([*keys, *facts])
    for row in rows(study):
        # None is written as nothing.
        writer.writerow([shown_at(row.label, key, missing="") for key in keys] + [getattr(row, fact) for fact in facts])
    return text.getvalue()


def _table(study: Study) -> list[str]:
    """The settings with the highest means, in their order, as many as a person reads."""
    settings, means = table(study), [row.mean or 0 for row in rows(study)]
    if not settings:
        return ["No run yet."]
    lines = [_line(list(settings[0])), f"|{'---|' * len(settings[0])}"]
    room = MOST_TABLE - sum(map(len, lines))
    highest = sorted(range(len(settings)), key=lambda number: -means[number])[:MOST_ROWS]
    for number in sorted(highest):
        line = _line(list(settings[number].values()))
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if len(lines) - 2 < len(settings):
        lines += ["", f"{len(lines) - 2} of {len(settings)} settings; all are in settings.csv under Artifacts."]
    return lines


def _line(cells: Sequence[str]) -> str:
    """A line of a table. MLflow gives its cells no room: an em space after each does."""
    plain = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "".join(f"| {cell}&emsp;" for cell in plain) + "|"
