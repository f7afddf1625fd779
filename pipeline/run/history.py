"""What happened in each epoch, and how long it took."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Epoch:
    """The scores of one epoch (numbered from 1); NaN or infinite where the loss was. Validation only where held out."""

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss)


@dataclass(frozen=True)
class EpochTime:
    """What the clock said: seconds the epoch took, and when it ended (milliseconds since 1970)."""

    epoch: int
    seconds: float
    ended: int


def history_csv(history: Sequence[Epoch]) -> str:
    """One line an epoch; validation columns only where there are values."""
    names = [field.name for field in fields(Epoch)]
    if not any(epoch.validation_loss is not None for epoch in history):
        names = names[:4]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue()


def read_history(text: str) -> tuple[Epoch, ...]:
    """The epochs of a history.csv. Raises ValueError, KeyError or TypeError for what is none."""
    try:
        return tuple(
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(io.StringIO(text))
        )
    except csv.Error as error:
        raise ValueError(f"history.csv: {error}") from None
