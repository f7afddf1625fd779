"""Bring MLflow up to what the records hold: after an outage, a deleted database, another tracking address.

Running it again adds nothing. MLFLOW_TRACKING_URI says where the store is, else `tracking` in params.yaml. With --all
a database that was lost is filled anew: every `dvc repro` and `dvc exp run` that DVC's cache has, and every study.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pipeline.config.load import read_params, read_section
from pipeline.config.schema import Tracking
from pipeline.data.prepared import training_digest
from pipeline.run.identity import REPRO_STUDY, identity
from pipeline.run.record import TRAINING, Record, read_record
from pipeline.run.weights import export_network
from pipeline.storage import project
from pipeline.studies.study import find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.mirror_worker import follow
from pipeline.tracking.restore import Everything
from pipeline.tracking.run_mirror import Mirror, unfinished
from pipeline.tracking.store import StoreUnreachableError, open_store, shown
from pipeline.tracking.study_mirror import StudyMirror, attached


def main() -> int:
    parser = command.arguments(__doc__, "track")
    # What pipeline.tracking.mirror_process and pipeline.tracking.study_mirror start; of no use to a person.
    parser.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attach", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("study", nargs="?", help="a study of sweeps; without it the record of `dvc repro`")
    parser.add_argument("--all", action="store_true", help="all studies, and every record that DVC's cache has")
    arguments = parser.parse_args()
    if arguments.all and arguments.study:
        parser.error("either a study or --all")
    if arguments.follow:
        # Only what follow says goes out: mlflow prints the address of each run that ends.
        with contextlib.redirect_stdout(sys.stderr):
            said = follow(sys.stdin)
        print(said or "", flush=True)
        _leave()
    if arguments.attach:
        if report := sys.stdin.readline():
            print(_attached(json.loads(report)), flush=True)
        _leave()
    tracking = read_section(project.PARAMS, Tracking)
    if not tracking.enabled:
        print("tracking is off (tracking.enabled in params.yaml): nothing to do")
        return 0
    try:
        if arguments.all:
            return _track_all(tracking)
        print(_tracked_study(tracking, arguments.study) if arguments.study else _tracked_record(tracking))
    except StoreUnreachableError as error:
        raise UserError(
            f"{error}. The records are complete; once that is mended, the same command brings MLflow up to them."
        ) from None
    return 0


def _leave() -> NoReturn:
    """Somebody waits for this process, and Python needs 0.7 s to take mlflow apart."""
    os._exit(0)


def _attached(report: Mapping[str, Any]) -> str:
    """What a pipeline.tracking.study_mirror.Attaching asks for."""
    with contextlib.redirect_stdout(sys.stderr):
        return attached(Tracking.model_validate(report["tracking"]), report["study"], Path(report["folder"]))


def _tracked_record(tracking: Tracking) -> str:
    left = _left()
    record = None if left is not None and not (project.RECORD / TRAINING).exists() else read_record(project.RECORD)
    store = open_store(tracking)
    mirror = Mirror(store)
    if left is not None:
        left_id = mirror.bring_up(left, REPRO_STUDY)
    if record is None:
        return f"MLflow run {left_id} in {shown(store.address)} holds what the training did that has not ended"
    run_id = mirror.bring_up(record, REPRO_STUDY, export_network)
    return f"MLflow run {run_id} in {shown(store.address)} holds what {project.RECORD.name}/ holds"


def _left() -> Record | None:
    """The training of params.yaml where it has not come to its end and nobody goes on with it."""
    try:
        params = read_params(project.PARAMS)
        return unfinished(identity(params, training_digest(project.PREPARED, params.data)).name)
    except UserError:
        # No prepared images, a mistake in params.yaml, a damaged record: the next `dvc repro` begins it anew.
        return None


def _track_all(tracking: Tracking) -> int:
    """Bring the store up to all there is and say what could not be had; returns the exit status."""
    store = open_store(tracking)
    everything = Everything(store, export_network)
    everything.bring_up()
    studies = ", ".join(everything.studies) or "none"
    print(
        f"MLflow in {shown(store.address)} holds {len(everything.runs)} runs of `dvc repro` and `dvc exp run`; "
        f"studies with their runs: {studies}"
    )
    if everything.lost:
        print(f"not whole in DVC's cache: {everything.lost} records (`dvc fetch --all-commits` gets what a remote has)")
    if everything.unreadable:
        print(f"made by another version, and not read by this one: {everything.unreadable} records in DVC's cache")
    for problem in everything.problems:
        print(f"not brought up: {problem}")
    return 1 if everything.problems else 0


def _tracked_study(tracking: Tracking, name: str) -> str:
    study = find_study(name)
    store = open_store(tracking)
    mirror = StudyMirror(store, name)
    mirror.bring_up_study(study)
    mirror.bring_up_unfinished(study)
    return f"MLflow run {mirror.parent()} and its children in {shown(store.address)} hold what study {name} holds"


if __name__ == "__main__":
    command.run(main)
