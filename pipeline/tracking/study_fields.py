"""What of a study goes to MLflow. Needs no mlflow.

What its own run says of it; and the views of MLflow's page that are saved for people: what its list of runs shows, in
which order. MLflow 3.17 keeps a view in a tag of the experiment and opens it by a link, in place of one that it can't
read its ordinary list.
"""

import base64
import csv
import io
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.config.messages import counted
from pipeline.studies.study import Study
from pipeline.studies.study_summary import (
    best,
    columns,
    count_outcomes,
    differing,
    distinctions,
    in_words,
    lost_in_words,
    rows,
    score_in_words,
    short_names,
    shown_at,
    swept,
    table,
    title,
    titles,
)
from pipeline.tracking.fields import (
    ACCOUNT,
    DESCRIPTION,
    DETAILS,
    MOST_TEXT,
    MULTIPLY_ADDS,
    PARAMETERS,
    SECONDS,
    SETTING,
    SOURCE,
    account,
    as_details,
    score_name,
    texts,
)

BEST_MEAN = "accuracy/best_mean"
"""Of a study: the mean over seeds of its best setting."""

VERDICT = "verdict"
GRID = "grid."
BASELINE_VALUES = "baseline.values"
MOST_ROWS = 40
MOST_TABLE = MOST_TEXT - 1_500
"""Rows and characters of the table in the description: a person reads no more, and servers cut it."""

MOST_MEANT = 4
"""Values that a setting's name is said to stand for."""

VIEW = "mlflow.sharedViewState."
"""Begins the tag of a view."""

TRAINING_PAGES = {"workflowType": "machine_learning"}
"""Of an address: without it MLflow shows its pages for agents."""

STUDIES, RULES = "studies", "rules"
"""The views of all studies, and of those that a rule of thumb rests on: their names begin with `rules_`."""

ABOUT = (
    "Trainings of Conv2D networks. A study (many settings × seeds) is one line, with its runs behind it; other lines "
    "are runs of `dvc repro` and `dvc exp run`. The menu of views above the list has two of each study: its runs, the "
    "best first, and the means over seeds. A study's own page has its verdict, its table and, once it was compared, "
    "its report."
)


def study_tags(study: Study, digest: str = "", verdict: str | None = None, links: str = "") -> dict[str, str]:
    """What was swept and what is best, how it is compared, the settings as the description of the run's page.

    `digest` is that of `table_csv`, `verdict` what was announced last, `links` are Markdown.
    """
    details = {"margin": json.dumps(study.margin), "table": digest, **{f"{GRID}{key}": "" for key in swept(study)}}
    if study.search is not None:
        details["search"] = study.search.sampler
    if study.baseline is not None:
        details |= {"baseline": in_words(study.baseline), **_baseline_values(study)}
    return texts({
        "study": study.name,
        "role": "study",
        "outcome": study.state,
        "scored_on": study.images,
        "swept": swept_in_words(study),
        "best": best_in_words(study),
        "mlflow.source.name": SOURCE,
        DESCRIPTION: study_description(study, verdict, links),
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


def best_in_words(study: Study) -> str | None:
    """`5 × 5 kernels, 64 filters: 91.20 ± 0.15 % (10)`; of a setting with a name also what that stands for, where it is
    a few values.
    """
    if (leader := best(study)) is None:
        return None
    keys = [key for key in _differing(study) if key not in swept(study)]
    values = study.settings[leader.setting].values
    meant = f" ({title(values, short_names(keys))})" if 0 < len(keys) <= MOST_MEANT else ""
    return f"{leader.title}{meant}: {score_in_words(leader)}"


def _differing(study: Study) -> list[str]:
    """The keys in which the settings differ and that all of them have, also those that a name stands for."""
    settings = [setting.values for setting in study.settings.values()]
    return [key for key in differing(settings) if all(key in values for values in settings)]


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
    """The study in Markdown: links, the verdict, else what is best so far; how far it is, the table of its settings."""
    counts, leader = count_outcomes(study.cells), best_in_words(study)
    lost = lost_in_words(counts)
    ended = f"{counts['finished']} of {len(study.cells)} runs finished{lost and f', {lost}'}"
    so_far = "No run has finished yet" if leader is None else f"Best so far: {leader}"
    score = f"accuracy on the {study.images} images, mean ± standard deviation over seeds (number of runs)"
    first = f"**{verdict}**" if verdict else f"**{so_far}**; no verdict yet: `python -m pipeline.compare {study.name}`"
    # Of a text that is folded MLflow's page shows three lines, and lets only the first two be clicked.
    lines = [*([f"{links}  "] if links else []), first, "", f"{study.name}: {ended}; {score}.", ""]
    if astray := [kind for kind in ("collapsed", "diverged") if counts[kind]]:
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


def experiment_tags() -> dict[str, str]:
    """What an experiment says of itself, and the view of all its studies."""
    metrics = [_column("metrics", name) for name in (score_name("test"), BEST_MEAN)]
    columns = [_column("tags", "best"), *metrics, _column("tags", VERDICT), _column("tags", "swept")]
    return {DESCRIPTION: ABOUT, **_view(STUDIES, "studies", columns)}


def view_tags(study: Study) -> dict[str, str]:
    """The views of a study: its runs, the best first, and the means over seeds, the runs of each hidden behind it."""
    # A tag has an end.
    keys = [_column("params", key) for key in _differing(study)[:12]]
    score, *costs = (_column("metrics", name) for name in (score_name(study.images), PARAMETERS, SECONDS))
    runs = f"tags.study = '{study.name}' and tags.role = 'run'"
    if account():
        runs += f" and tags.`{ACCOUNT}` = {json.dumps(account())}"
    only = {"searchFilter": runs, "orderByKey": score, "orderByAsc": False}
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": SETTING}]}
    folded = {f"tag.{SETTING}.{title}": False for title in titles(study).values()}
    of_runs, of_means = study_views(study.name)

    def means(folded: dict[str, bool]) -> dict[str, str]:
        name = f"{study.name}: means over seeds"
        return _view(of_means, name, [score, *keys, *costs], **only, groupBy=group, groupsExpanded=folded)

    columns = [score, *keys, _column("params", "seed"), *costs]
    fits = all(len(text) <= MOST_TEXT for text in means(folded).values())
    views = _view(of_runs, f"{study.name}: runs, the best first", columns, **only) | means(folded if fits else {})
    if study.name.startswith(f"{RULES}_"):
        columns = [_column("tags", name) for name in (VERDICT, "best", "swept")]
        wanted = f"tags.role = 'study' and tags.study LIKE '{RULES}_%'"
        views |= _view(RULES, "rules of thumb", columns, searchFilter=wanted)
    return views


def study_views(study: str) -> tuple[str, str]:
    """The keys of a study's views, its runs and the means over seeds; with accounts each member has its own."""
    # A tag's key takes no other characters.
    whose = re.sub(r"[^\w.-]", "_", f"{study}.{account()}", flags=re.ASCII) if account() else study
    return f"study.{whose}.runs", f"study.{whose}.means"


def study_links(experiment_id: str, study: str, run_id: str, report: str) -> str:
    """The ways to a study's views and, where there is a page of it among its artifacts, to its report; in Markdown."""
    runs, means = (page(experiment_id, view) for view in study_views(study))
    ways = f"[the runs, the best first]({runs}) · [means over seeds]({means})"
    place = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{report}?{urlencode(TRAINING_PAGES)}"
    return f"[The report]({place}) · {ways}" if report else ways


def page(experiment_id: str, view: str | None) -> str:
    """The way to a view, else to the ordinary list, from the address of MLflow's page."""
    wanted = TRAINING_PAGES | ({} if view is None else {"viewStateShareKey": view})
    return f"#/experiments/{experiment_id}/runs?{urlencode(wanted, quote_via=quote)}"


def _view(key: str, name: str, columns: Sequence[str], **state: Any) -> dict[str, str]:
    # Wide enough for their heads; of words there are some 40 letters to read.
    widths = {_column("attributes", "Run Name"): 300} | {
        column: 320 if column.startswith("tags.") else max(90, 8 * len(column) - 40) for column in columns
    }
    values = {"selectedColumns": columns, "columnOrder": [*widths], "columnWidths": widths, **state}
    packed = base64.b64encode(zlib.compress(json.dumps(values).encode(), 9)).decode()
    envelope = {"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return {f"{VIEW}{key}": json.dumps(envelope)}


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
