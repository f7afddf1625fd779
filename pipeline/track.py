"""Bring MLflow up to what the records hold: after an outage, a deleted database, another tracking address.

Running it again adds nothing. MLFLOW_TRACKING_URI says where the store is, else `tracking` in params.yaml, of a study
what its last sweep was told. With --all a database that was lost is filled anew: every `dvc repro` and `dvc exp run`
that DVC's cache has, and every study.
"""

from pipeline.config.load import read_params
from pipeline.config.schema import Tracking
from pipeline.data.prepared import training_digest
from pipeline.run.identity import REPRO_STUDY, identity
from pipeline.run.record import TRAINING, Record, find_record
from pipeline.storage import project
from pipeline.studies.study import Study, find_study
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError, tracking_of, without_secrets
from pipeline.tracking.mirror import Mirror, StudyMirror, unfinished
from pipeline.tracking.restore import restore
from pipeline.tracking.store import open_store


def main() -> int:
    parser = command.arguments(__doc__, "track")
    parser.add_argument("study", nargs="?", help="a study of sweeps; without it the record of `dvc repro`")
    parser.add_argument("--all", action="store_true", help="all studies, and every record that DVC's cache has")
    arguments = parser.parse_args()
    if arguments.all and arguments.study:
        parser.error("either a study or --all")
    study = None if arguments.study is None else find_study(arguments.study)
    tracking = tracking_of(study)
    if not tracking.enabled:
        print("tracking is off (tracking.enabled in params.yaml): nothing to do")
        return 0
    try:
        if arguments.all:
            return _track_all(tracking)
        print(_track_record(tracking) if study is None else _track_study(tracking, study))
    except StoreUnreachableError as error:
        raise UserError(
            f"{error}. The records are complete; once that is mended, the same command brings MLflow up to them."
        ) from None
    return 0


def _track_record(tracking: Tracking) -> str:
    left = _left()
    record = find_record() if left is None or (project.RECORD / TRAINING).exists() else None
    store = open_store(tracking)
    mirror = Mirror(store, REPRO_STUDY)
    if left is not None:
        run_id, held = mirror.bring_up(left), "the training did that has not ended"
    if record is not None:
        run_id, held = mirror.bring_up(record, model=True), f"{project.RECORD.name}/ holds"
    return f"MLflow run {run_id} in {without_secrets(store.address)} holds what {held}"


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
    restored = restore(store)
    studies = ", ".join(restored.studies) or "none"
    print(
        f"MLflow in {without_secrets(store.address)} holds {len(restored.runs)} runs of `dvc repro` and `dvc exp run`; "
        f"studies with their runs: {studies}"
    )
    if restored.lost:
        print(f"not whole in DVC's cache: {restored.lost} records (`dvc fetch --all-commits` gets what a remote has)")
    if restored.unreadable:
        print(f"made by another version, and not read by this one: {restored.unreadable} records in DVC's cache")
    for problem in restored.problems:
        print(f"not brought up: {problem}")
    return 1 if restored.problems else 0


def _track_study(tracking: Tracking, study: Study) -> str:
    store = open_store(tracking)
    mirror = StudyMirror(store, study.name)
    mirror.bring_up_study(study, all_runs=True)
    where = without_secrets(store.address)
    return f"MLflow run {mirror.parent()} and its children in {where} hold what study {study.name} holds"


if __name__ == "__main__":
    command.run(main)
