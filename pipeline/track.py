"""Bring MLflow up to what the records hold: after an outage, a deleted database, another tracking address.

Running it again adds nothing. MLFLOW_TRACKING_URI says where the store is, else `tracking` in params.yaml.
"""

import os
import sys

from pipeline.configuration.reading import read_params
from pipeline.configuration.schema import Tracking
from pipeline.experiment.exporting import exported
from pipeline.record.identity import REPRO_STUDY
from pipeline.record.study import find_study
from pipeline.record.whole import read_record
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.following import follow
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import StoreUnreachableError, open_store, shown
from pipeline.tracking.study_mirror import StudyMirror


def main() -> int:
    parser = command.arguments(__doc__, "track")
    parser.add_argument("--follow", metavar="STUDY", help="mirror the records named on standard input as they grow")
    parser.add_argument("study", nargs="?", help="a study of sweeps; without it the record of `dvc repro`")
    arguments = parser.parse_args()
    if arguments.follow is not None:
        print(follow(sys.stdin, arguments.follow) or "", flush=True)
        # A training waits for this process, and Python needs 0.7 s to take mlflow apart.
        os._exit(0)
    tracking = read_params(project.PARAMS).tracking
    if not tracking.enabled:
        print("tracking is off (tracking.enabled in params.yaml): nothing to do")
        return 0
    try:
        print(_tracked_study(tracking, arguments.study) if arguments.study else _tracked_record(tracking))
    except StoreUnreachableError as error:
        raise UserError(f"{error}. The records are complete; try again when the store can be reached.") from None
    return 0


def _tracked_record(tracking: Tracking) -> str:
    record = read_record(project.RECORD)
    store = open_store(tracking)
    run_id = Mirror(store).bring_up(record, REPRO_STUDY, exported)
    return f"MLflow run {run_id} in {shown(store.address)} holds what {project.RECORD.name}/ holds"


def _tracked_study(tracking: Tracking, name: str) -> str:
    study = find_study(name)
    store = open_store(tracking)
    mirror = StudyMirror(store, name)
    mirror.bring_up_study(study)
    return f"MLflow run {mirror.parent()} and its children in {shown(store.address)} hold what study {name} holds"


if __name__ == "__main__":
    command.run(main)
