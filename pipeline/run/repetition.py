"""Do a recorded run again in a temporary place: nothing of the project changes."""

import tempfile
from pathlib import Path
from typing import Any

from pipeline.config.reading import configured
from pipeline.config.schema import Configuration, Data, Tracking
from pipeline.data.prepared import Images
from pipeline.run.claim import Claim, read_claim
from pipeline.run.description import NOT_OF_A_RUN
from pipeline.run.identity import Identity
from pipeline.run.record import TRAINING, Run
from pipeline.terminal.errors import UserError


def configuration_of(run: Run, data: Data, tracking: Tracking) -> Configuration:
    """The configuration of a recorded run; what a record does not hold is that of `data` and `tracking`.

    Raises ConfigurationError for a record whose configuration is none of this version.
    """
    values: dict[str, Any] = {**run.configuration, "tracking": tracking.model_dump(mode="json")}
    files = data.model_dump(mode="json", include=set(NOT_OF_A_RUN))
    if not isinstance(values.get("data"), dict):
        raise UserError("the record's configuration has no section data: no run can be done again from there.")
    return configured(values | {"data": {**values["data"], **files}})


def repeated(configuration: Configuration, identity: Identity, images: Images) -> Claim:
    """Train the run again and return what the new record says. Raises UserError."""
    from pipeline.run.training import train_run  # noqa: PLC0415 - TensorFlow, once the rest is right

    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        root = Path(folder)
        train_run(configuration, identity, images, root, _nobody, work=root / "work")
        return read_claim(root / TRAINING)


def _nobody(_root: Path) -> None:
    """Nobody mirrors a repetition."""
