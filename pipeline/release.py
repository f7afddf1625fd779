"""Release the network of `dvc repro`: a version in MLflow's registry, with a card, that is the champion if no worse.

python -m pipeline.release                 the record becomes models:/conv2d@champion; the former one is @previous
python -m pipeline.release --rollback      the previous one is the champion again
python -m pipeline.predict photo.png --model models:/conv2d@champion

It is compared with the champion on the same test images, as the two were scored: where it is worse beyond noise
(McNemar, p < 0.05) it becomes a version and not the champion, unless --anyway. The card counts how many networks the
test images have scored. A second release of the same weights adds nothing.
"""

import argparse
import re

import numpy as np

from pipeline.config.load import read_section
from pipeline.config.schema import Tracking
from pipeline.findings.card import write_card
from pipeline.run.identity import REPRO_STUDY
from pipeline.run.record import EvaluationPart, TrainingPart, find_record
from pipeline.statistics.images import mcnemar
from pipeline.statistics.intervals import ERROR_RATE
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.tracking.addresses import StoreUnreachableError
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.models import CHAMPION, PREVIOUS, Registry, Version
from pipeline.tracking.store import open_store


def main() -> int:
    arguments = _parser().parse_args()
    tracking = read_section(project.PARAMS, Tracking)
    if not tracking.enabled:
        raise UserError("tracking is off (tracking.enabled in params.yaml): a release needs MLflow's registry.")
    try:
        registry = Registry(open_store(tracking), arguments.name)
        print(_roll_back(registry) if arguments.rollback else _release(registry, anyway=arguments.anyway))
    except StoreUnreachableError as error:
        raise UserError(f"{error}. Nothing was released; the same command goes on once that is mended.") from None
    return 0


def _release(registry: Registry, *, anyway: bool) -> str:
    record = find_record()
    if record.training.run.outcome != "finished":
        raise UserError(f"{project.RECORD}: its run is {record.training.run.outcome}; only a finished one is released.")
    training, scored = record.training, record.evaluation
    if scored is None or scored.images != "test" or not (scored.folder / "pictures").exists():
        raise UserError(f"{record.root}: has no scores on test images with pictures. Run: dvc repro")
    champion = registry.version_of(CHAMPION)
    verdict = None if anyway or champion is None else _compare(registry, training, scored, champion)
    run_id = Mirror(registry.store, REPRO_STUDY).bring_up(record, model=True)
    version = registry.register(training, scored, run_id)
    name = f"{registry.name}/{version.number}"
    folder = registry.attach(version, *write_card(training, scored, name, version.run_id, registry.opened()))
    if verdict is None:
        registry.crown(version)
    said = _said(version, champion, verdict)
    return f"version {version.number} of {registry.name} (models:/{name}) {said}\nits card: {folder}/card.html"


def _said(version: Version, champion: Version | None, verdict: str | None) -> str:
    if verdict is not None:
        return f"is not the champion: {verdict}. To make it so all the same: --anyway"
    if champion is None:
        return "is the champion"
    if champion.number == version.number:
        return "is the champion already"
    return f"is the champion; version {champion.number} is the previous one (--rollback brings it back)"


def _compare(registry: Registry, training: TrainingPart, scored: EvaluationPart, champion: Version) -> str | None:
    """Why the record's network is worse than the champion's beyond noise; None where it is not."""
    if champion.weights == training.run.weights:
        return None
    if champion.images != scored.images_digest:
        raise UserError(
            f"version {champion.number} of {registry.name}: was scored on other test images, so the two can't be "
            "compared. To replace it all the same: --anyway"
        )
    ours, theirs = np.load(scored.folder / "correct.npy", allow_pickle=False), registry.answers(champion)
    p = mcnemar(ours, theirs)
    if ours.sum() >= theirs.sum() or p >= ERROR_RATE:
        return None
    return (
        f"it is right about {ours.sum():,} of {len(ours):,} test images, version {champion.number} about "
        f"{theirs.sum():,}, which is more than chance (p = {p:.2g})"
    )


def _roll_back(registry: Registry) -> str:
    previous = registry.version_of(PREVIOUS)
    if previous is None:
        raise UserError(f"{registry.name}: there is no previous version to go back to.")
    former = registry.version_of(CHAMPION)
    registry.crown(previous)
    after = "" if former is None else f", version {former.number} the previous one"
    return f"version {previous.number} of {registry.name} is the champion again{after}"


def _parser() -> argparse.ArgumentParser:
    parser = command.arguments(__doc__, "release")
    parser.add_argument("--name", type=_name, default="conv2d", help="of the registered model (default: conv2d)")
    parser.add_argument("--anyway", action="store_true", help="make it the champion even if it is worse")
    parser.add_argument("--rollback", action="store_true", help="make the previous version the champion again")
    return parser


def _name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z][\w.-]{0,60}", text) is None:
        raise argparse.ArgumentTypeError("must be letters, digits, - _ and ., a letter first")
    return text


if __name__ == "__main__":
    command.run(main)
