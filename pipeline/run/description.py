"""What a run's record says of it, whether it trains, has ended, or never got so far. Needs no TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from pipeline.config.arithmetic import layers
from pipeline.config.schema import Configuration
from pipeline.run.environment import environment
from pipeline.run.history import Epoch
from pipeline.run.identity import Identity
from pipeline.run.record import TRAINING, Outcome, Run, read_training, write_growing
from pipeline.storage import project
from pipeline.terminal.errors import UserError

NOT_OF_A_RUN = "files", "sources", "name", "class_names"


def described(
    configuration: Configuration,
    identity: Identity,
    history: Sequence[Epoch],
    outcome: Outcome,
    reason: str | None = None,
) -> Run:
    """The run, its network layer by layer."""
    found = layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    each: list[dict[str, JsonValue]] = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output": " × ".join(map(str, layer.output)),
            "parameters": layer.parameters,
            "multiply_adds": layer.multiply_adds,
        }
        for layer in found
    ]
    return Run(
        identity=identity.name,
        ingredients=identity.ingredients,
        configuration=recorded(configuration),
        outcome=outcome,
        reason=reason,
        epochs=len(history),
        parameters=sum(layer.parameters for layer in found),
        multiply_adds=sum(layer.multiply_adds for layer in found),
        layers=each,
    )


def recorded(configuration: Configuration) -> dict[str, JsonValue]:
    """What of a configuration belongs to a run: not where files come from, not where runs are tracked.

    What images and classes are called is said where they are scored, with the names of that day.
    """
    kept = configuration.model_dump(mode="json", exclude={"tracking": True, "data": set(NOT_OF_A_RUN)})
    return dict(kept)


def close_unfinished(configuration: Configuration, identity: Identity, outcome: Outcome, reason: str) -> Path:
    """Write into the growing record how a run ended whose own process can't say so any more.

    Keeps the epochs that are there. Returns the record's folder.
    """
    work = project.checkpoint(identity.name)
    try:
        before = read_training(work / TRAINING)
        history, times, where = before.history, before.times, before.environment
    except UserError:
        history, times, where = (), (), environment()
    run = described(configuration, identity, history, outcome, reason)
    write_growing(work / TRAINING, run, history, times, where)
    return work
