"""What an MLflow store must hold of a project's records: everything, once."""

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from pipeline.run.record import EVALUATION, TRAINING, Record, read_record
from pipeline.storage import digest
from pipeline.tracking import fields

SMALL = {"run.json", "history.csv", "clock.json", "evaluation.json", "metrics.json", "per_class.csv"}
"""The files of a run of a sweep that go to the store."""

HIDDEN = ".artifact.uploading."
"""Begins the names of MLflow's own files half-way; it lists and serves none of them, whatever a power cut left."""

CLOCKED = "clock.json", "study.json", "settings.csv"
"""Files that hold what a clock measured."""


def check_repro(store: MlflowClient, path: Path) -> None:
    """The store holds the record of `dvc repro` with its model, and nothing else."""
    experiment, runs = _runs(store)
    (run,) = runs
    _check_run(store, run, read_record(path / "record"), "dvc repro", whole=True)
    models = store.search_logged_models([experiment])
    assert [model.source_run_id for model in models] == [run.info.run_id], f"{len(models)} models"
    assert [output.model_id for output in run.outputs.model_outputs] == [models[0].model_id]
    assert models[0].status.value == "READY", models[0].status
    files = {artifact.path for artifact in store.list_logged_model_artifacts(models[0].model_id)}
    assert {"MLmodel", "data"} <= files, files


def check_sweep(store: MlflowClient, path: Path, study: str) -> None:
    """The store holds the study and each of its runs, and nothing else."""
    _, runs = _runs(store)
    (parent,) = (run for run in runs if run.data.tags["role"] == "study")
    assert parent.info.status == "FINISHED", parent.info.status
    assert "settings.csv" in {artifact.path for artifact in store.list_artifacts(parent.info.run_id)}
    cells = json.loads((path / "studies" / study / "study.json").read_text(encoding="utf-8"))["cells"]
    children = {run.data.tags["identity"]: run for run in runs if run.data.tags["role"] == "run"}
    assert sorted(children) == sorted(cell["identity"] for cell in cells)
    assert len(runs) == len(cells) + 1, f"{len(runs)} runs in MLflow of {len(cells)} and their parent"
    for identity, run in children.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        _check_run(store, run, read_record(path / "runs" / identity), study, whole=False)


def held(path: Path) -> list[dict[str, Any]]:
    """What the store of the project at `path` holds of each run, but for ids and clocks: alike in two projects."""
    with contextlib.closing(sqlite3.connect(f"{(path / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as database:
        found: dict[str, dict[str, Any]] = {
            run: {"status": status, "tags": {}, "params": {}, "points": [], "files": _files(path, run)}
            for run, status in database.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'")
        }
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM tags"):
            if key in ("identity", "study", "role", "outcome", "reason"):
                found[run]["tags"][key] = value
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM params"):
            found[run]["params"][key] = value
        for run, key, step, value in database.execute("SELECT run_uuid, key, step, value FROM metrics"):
            found[run]["points"].append((key, step, None if fields.is_timed(key) else value))
        for run in found.values():
            run["points"].sort()
        models = database.execute("SELECT source_run_id FROM logged_models").fetchall()
    for (run,) in models:
        found[run]["models"] = found[run].get("models", 0) + 1
    return sorted(found.values(), key=lambda run: json.dumps(run["tags"], sort_keys=True))


def told_apart(held: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> str:
    """What MLflow holds otherwise, run by run."""
    if len(held) != len(wanted):
        return f"{len(held)} runs in MLflow in place of {len(wanted)}"
    return "\n".join(
        f"{one['tags']}: {key}: {one.get(key)} in place of {other.get(key)}"
        for one, other in zip(held, wanted, strict=True)
        for key in one | other
        if one.get(key) != other.get(key)
    )[:2000]


def _files(path: Path, run: str) -> dict[str, str]:
    """Path → SHA-256 of each file of a run, but for those that hold a clock's values."""
    found: dict[str, str] = {}
    for folder in path.glob(f"mlartifacts/**/{run}/artifacts"):
        found |= digest.of_folder(folder)
    names = {name: Path(name).name for name in found}
    return {name: found[name] for name, last in names.items() if last not in CLOCKED and not last.startswith(HIDDEN)}


def _runs(store: MlflowClient) -> tuple[str, Sequence[Any]]:
    (experiment,) = (found for found in store.search_experiments() if found.name != "Default")
    return experiment.experiment_id, store.search_runs([experiment.experiment_id], max_results=1000)


def _check_run(store: MlflowClient, run: Any, record: Record, study: str, *, whole: bool) -> None:
    assert run.info.status == "FINISHED", run.info.status
    assert run.data.params == fields.params(record)
    tags, held = fields.all_tags(fields.tags(record, study)), fields.all_tags(run.data.tags)
    assert {name: held.get(name) for name in tags} == tags
    _check_metrics(store, run, record)
    assert {found.tags[0].value for found in run.inputs.dataset_inputs} >= {"training"}
    assert len(run.inputs.dataset_inputs) == 2, run.inputs.dataset_inputs
    with tempfile.TemporaryDirectory() as folder:
        for part in (TRAINING, EVALUATION):
            fetched = digest.of_folder(Path(store.download_artifacts(run.info.run_id, part, folder)))
            there = {file: sha256 for file, sha256 in fetched.items() if Path(file).name not in CLOCKED}
            here = digest.of_folder(record.root / part)
            wanted = {file: sha256 for file, sha256 in here.items() if whole or file in SMALL}
            assert there == wanted, f"{part}: {there.keys() ^ wanted.keys()}"


def _check_metrics(store: MlflowClient, run: Any, record: Record) -> None:
    """Every value of the record is there exactly once, and no other."""
    points = [(point.name, point.epoch, point.value) for point in fields.curves(record)]
    points += [(name, 0, value) for name, value in fields.final_metrics(record).items()]
    stored = [
        (name, point.step, point.value)
        for name in run.data.metrics
        for point in store.get_metric_history(run.info.run_id, name)
    ]
    missing, extra = set(points) - set(stored), set(stored) - set(points)
    assert not missing, f"missing: {sorted(missing)[:5]}"
    assert not extra, f"not in the record: {sorted(extra)[:5]}"
    assert len(stored) == len(points), "some values are there twice"
