"""Bring MLflow up to what the record holds: after an outage, a deleted database, another tracking address.

Running it again adds nothing. MLFLOW_TRACKING_URI says where the store is, else `tracking` in params.yaml.
"""

import os
import sys

from pipeline.configuration.reading import read_params
from pipeline.experiment.exporting import exported
from pipeline.record.identity import REPRO_STUDY
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.facts import read_record
from pipeline.tracking.following import follow
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import StoreUnreachableError, open_store, shown


def main() -> int:
    parser = command.arguments(__doc__, "track")
    parser.add_argument("--follow", metavar="STUDY", help="mirror the records named on standard input as they grow")
    study = parser.parse_args().follow
    if study is not None:
        print(follow(sys.stdin, study) or "", flush=True)
        # A training waits for this process, and Python needs 0.7 s to take mlflow apart.
        os._exit(0)
    tracking = read_params(project.PARAMS).tracking
    if not tracking.enabled:
        print("tracking is off (tracking.enabled in params.yaml): nothing to do")
        return 0
    record = read_record(project.RECORD)
    try:
        store = open_store(tracking)
        run_id = Mirror(store).bring_up(record, REPRO_STUDY, exported)
    except StoreUnreachableError as error:
        raise UserError(f"{error}. The record is complete; try again when the store can be reached.") from None
    print(f"MLflow run {run_id} in {shown(store.address)} holds what {project.RECORD.name}/ holds")
    return 0


if __name__ == "__main__":
    command.run(main)
