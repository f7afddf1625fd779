"""From runs of an MLflow store to the evidence. All their text is untrusted: it is parsed, never followed."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from pipeline.findings.evidence import Evidence, Run, Setting
from pipeline.findings.factors import Grid, grid
from pipeline.findings.records import ALONE, median
from pipeline.findings.statistics.differences import MARGIN
from pipeline.studies.study_summary import shown
from pipeline.terminal.errors import UserError
from pipeline.tracking.fields import BASELINE_VALUES

if TYPE_CHECKING:
    from pipeline.tracking.download import StoredRun

SEED = "seed"
STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
STATES = {"RUNNING": "running", "FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}

Values = Mapping[str, JsonValue]


def from_store(stored: "Sequence[StoredRun]", where: str, arguments: str) -> Evidence:
    """The evidence of `stored` runs, read from the store at `where` by compare's `arguments`.

    A study's own run among them gives baseline and margin. Raises UserError where they hold no run, a run has no seed,
    they were scored on different images, or two differ that should be one.
    """
    studies = [run for run in stored if run.tags.get("role") == "study"]
    found = _once([run for run in stored if run.tags.get("role") != "study"])
    if not found:
        raise UserError(f"{where}: holds no such run. `make ui` shows which there are.")
    images = _images(found)
    values = [{key: _value(text) for key, text in run.params.items() if key != SEED} for run in found]
    texts = [json.dumps(value, sort_keys=True) for value in values]
    declared = list(dict.fromkeys(texts))
    settings = [values[texts.index(text)] for text in declared]
    laid = grid(settings)
    place = {declared[number]: row for row, number in enumerate(laid.order)}
    runs = [_run(run, place[text], images) for run, text in zip(found, texts, strict=True)]
    _check_once(runs)
    study = studies[0] if len(studies) == 1 else None
    baseline = _baseline(study, settings)
    return Evidence(
        study=_name(found),
        images=images,
        margin=_margin(study),
        baseline=place[declared[baseline or 0]],
        baseline_declared=baseline is not None,
        factors=laid.factors,
        settings=_settings(laid, settings, runs, found),
        seeds=tuple(sorted({run.seed for run in runs})),
        runs=tuple(sorted(runs, key=lambda run: (run.setting, run.seed))),
        commands=(f"python -m pipeline.compare {arguments}",),
        store=where,
    )


def _once(stored: "Sequence[StoredRun]") -> "list[StoredRun]":
    """Each run once: two studies may share one."""
    return list({run.tags.get("identity", run.run_id): run for run in stored}.values())


def _settings(
    laid: Grid, settings: Sequence[Values], runs: Sequence[Run], stored: "Sequence[StoredRun]"
) -> tuple[Setting, ...]:
    found = []
    for row, number in enumerate(laid.order):
        own = [(run, its.metrics) for run, its in zip(runs, stored, strict=True) if run.setting == row]
        metrics = [its for _, its in own]
        found.append(
            Setting(
                label=laid.labels[number],
                values=settings[number],
                levels=laid.levels[number],
                parameters=median([_finite(its.get("network/parameters")) for its in metrics]),
                multiply_adds=median([_finite(its.get("network/multiply_adds")) for its in metrics]),
                seconds=median([run.seconds for run, _ in own]),
                latency=median([run.latency for run, _ in own]),
            )
        )
    return tuple(found)


def _run(stored: "StoredRun", setting: int, images: str) -> Run:
    accuracy = _finite(stored.metrics.get(f"{images}/accuracy"))
    outcome = stored.tags.get("outcome")
    state = outcome if outcome in STATES.values() or outcome == "diverged" else STATES.get(stored.status, "failed")
    scored = accuracy is not None and 0 <= accuracy <= 1 and state in ("finished", "diverged")
    return Run(
        setting=setting,
        seed=_seed(stored),
        identity=stored.tags.get("identity", stored.run_id),
        state=state or "failed",
        reason=stored.tags.get("reason"),
        accuracy=100 * accuracy if scored and accuracy is not None else None,
        seconds=_finite(stored.metrics.get("clock/training_seconds")),
        latency=_finite(stored.metrics.get(f"clock/{ALONE}")),
        commit=stored.tags.get("git.commit"),
        uncommitted=stored.tags.get("git.uncommitted_changes") == "true",
    )


def _seed(stored: "StoredRun") -> int:
    text = stored.params.get(SEED, "")
    if not re.fullmatch(r"\d{1,18}", text):
        raise UserError(f"MLflow run {stored.run_id}: has no whole number as param seed, by which runs are paired.")
    return int(text)


def _images(stored: "Sequence[StoredRun]") -> str:
    found = {run.tags["scored_on"] for run in stored if "scored_on" in run.tags}
    if len(found) > 1:
        raise UserError("These runs were scored on different images. Narrow the filter: tags.scored_on = 'validation'")
    return "test" if found == {"test"} else "validation"


def _check_once(runs: Sequence[Run]) -> None:
    seen: dict[tuple[int, int], Run] = {}
    for run in runs:
        other = seen.setdefault((run.setting, run.seed), run)
        if other is not run:
            raise UserError(
                f"Runs {other.identity[:40]} and {run.identity[:40]} have the same params and seed {run.seed}: code, "
                "data or versions differ. Narrow the filter to one study: tags.study = '…'"
            )


def _name(stored: "Sequence[StoredRun]") -> str:
    """The name of the report's folder: that of the runs' study, marked as read from a store, or `mlflow`."""
    names = {run.tags.get("study", "") for run in stored}
    name = names.pop()
    return f"{name}_from_mlflow" if not names and STUDY_NAME.fullmatch(name) else "mlflow"


def _margin(study: "StoredRun | None") -> float:
    try:
        margin = float(study.tags["margin"]) if study is not None else MARGIN
    except (KeyError, ValueError):
        return MARGIN
    return margin if 0 < margin <= 100 else MARGIN


def _baseline(study: "StoredRun | None", settings: Sequence[Values]) -> int | None:
    """The number of the setting that the study's own run names as its baseline; None where it does not."""
    wanted = set() if study is None else _baseline_words(study.tags)
    same = [
        number
        for number, values in enumerate(settings)
        if wanted and wanted <= {f"{key} {shown(value)}" for key, value in values.items()}
    ]
    return same[0] if len(same) == 1 else None


def _baseline_words(tags: Mapping[str, str]) -> set[str]:
    """Each value of the baseline with its key; of a time when these had no tag of their own, what people read."""
    try:
        values = json.loads(tags[BASELINE_VALUES])
        return {f"{key} {shown(value)}" for key, value in values.items()}
    except (KeyError, ValueError, AttributeError):
        return set(tags.get("baseline", "").split(", "))


def _value(text: str) -> JsonValue:
    """A param as a number, a truth value or a list where it is one, else as text."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return None if text == "none" else text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
