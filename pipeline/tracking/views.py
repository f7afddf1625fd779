"""The views of MLflow's page that are saved for people: which columns its list of runs shows, in which order.

MLflow 3.17 keeps each in a tag of the experiment and opens it by a link; for one that it can't read its ordinary list.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.studies.study import Study
from pipeline.studies.study_summary import swept, titles
from pipeline.tracking.fields import MOST_TEXT, PARAMETERS, SECONDS, SETTING, score_name
from pipeline.tracking.study_fields import BEST_MEAN, VERDICT

VIEW = "mlflow.sharedViewState."
"""Begins the tag of a view."""

STUDIES = "studies"
RUN_NAME = "attributes.`Run Name`"

MOST_COLUMNS = 12
"""Swept keys that a view shows: a tag has an end."""

DESCRIPTION = "mlflow.note.content"
ABOUT = (
    "Trainings of Conv2D networks. A study (many settings × seeds) is one line, with its runs behind it; other lines "
    "are runs of `dvc repro` and `dvc exp run`. The menu of views above the list has two of each study: its runs, the "
    "best first, and the means over seeds. A study's own page has its verdict, its table and, once it was compared, "
    "its report."
)


def experiment_tags() -> dict[str, str]:
    """What an experiment says of itself, and the view of all its studies."""
    columns = [_tag("best"), _metric(score_name("test")), _metric(BEST_MEAN), _tag(VERDICT), _tag("swept")]
    return {DESCRIPTION: ABOUT, **_view(STUDIES, "studies", columns)}


def study_tags(study: Study) -> dict[str, str]:
    """The views of a study: its runs, the best first, and the means over seeds, the runs of each hidden behind it."""
    score = _metric(score_name(study.images))
    settings = study.settings.values()
    keys = [_param(key) for key in swept(study) if all(key in one.values for one in settings)][:MOST_COLUMNS]
    costs = [_metric(PARAMETERS), _metric(SECONDS)]
    only = {
        "searchFilter": f"tags.study = '{study.name}' and tags.role = 'run'",
        "orderByKey": score,
        "orderByAsc": False,
    }
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": SETTING}]}
    folded = {f"tag.{SETTING}.{title}": False for title in titles(study).values()}

    def means(folded: dict[str, bool]) -> dict[str, str]:
        name = f"{study.name}: means over seeds"
        return _view(of_means, name, [score, *keys, *costs], **only, groupBy=group, groupsExpanded=folded)

    of_runs, of_means = study_views(study.name)
    runs = _view(of_runs, f"{study.name}: runs, the best first", [score, *keys, _param("seed"), *costs], **only)
    fits = all(len(text) <= MOST_TEXT for text in means(folded).values())
    return runs | means(folded if fits else {})


def study_views(study: str) -> tuple[str, str]:
    """The keys of a study's views: its runs, and the means over seeds."""
    return f"study.{study}.runs", f"study.{study}.means"


def links(experiment_id: str, study: str) -> str:
    """The ways to a study's views, in Markdown."""
    runs, means = (page(experiment_id, view) for view in study_views(study))
    return f"[The runs, the best first]({runs}) · [means over seeds]({means})"


def page(experiment_id: str, view: str | None) -> str:
    """The way to a view, else to the ordinary list, from the address of MLflow's page."""
    # Without the workflow it would open a page for agents.
    wanted = {"workflowType": "machine_learning"} | ({} if view is None else {"viewStateShareKey": view})
    return f"#/experiments/{experiment_id}/runs?{urlencode(wanted, quote_via=quote)}"


def _view(key: str, name: str, columns: Sequence[str], **state: Any) -> dict[str, str]:
    # Wide enough for their heads; of words there are some 40 letters to read.
    widths = {RUN_NAME: 300} | {
        column: 320 if column.startswith("tags.") else max(90, 8 * len(column) - 40) for column in columns
    }
    values = {"selectedColumns": columns, "columnOrder": [*widths], "columnWidths": widths, **state}
    packed = base64.b64encode(zlib.compress(json.dumps(values).encode(), 9)).decode()
    envelope = {"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return {f"{VIEW}{key}": json.dumps(envelope)}


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _param(name: str) -> str:
    return f"params.`{name}`"


def _tag(name: str) -> str:
    return f"tags.`{name}`"
