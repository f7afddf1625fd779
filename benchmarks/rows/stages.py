"""The other stages and commands: preprocess, evaluate, the mirror's cost an epoch, compare of a large study."""

import statistics
import time

from benchmarks.costs import alternately, as_figures, median
from benchmarks.rows import Finding, Row
from benchmarks.workshop import Workshop, afresh, verb
from pipeline.run.record import TRAINING, read_training
from tests.harness.project import Project
from tests.harness.spent import Cost

EPOCHS = 500
RUNS, LARGE = 500, 4.0
FLAT = 1.25


def stages(workshop: Workshop) -> Finding:
    project = workshop.project("stages", "training=smoke")

    def evaluate() -> Cost:
        """Of a run that MLflow has not seen evaluated: again it has little to do."""
        afresh(project)
        verb(project, "train")
        return verb(project, "evaluate")

    costs = alternately({"preprocess": lambda: verb(project, "preprocess"), "evaluate": evaluate}, workshop.rounds)
    seconds = {name: median(found) for name, found in costs.items()}
    said = (
        f"preprocess {seconds['preprocess']:.1f} s, evaluate {seconds['evaluate']:.1f} s with all pictures and MLflow"
    )
    return Finding(said, seconds["preprocess"] < 3 and seconds["evaluate"] <= 8, as_figures(costs))


def mirror(workshop: Workshop) -> Finding:
    """Epochs of a moment over the sample, many: does one take longer the more there were?"""
    epochs = 100 if workshop.quick else EPOCHS
    project = _tiny(workshop, "mirror", epochs)
    verb(project, "train")
    seconds = [epoch.seconds for epoch in read_training(project.path / "record" / TRAINING).times]
    begun = time.perf_counter()
    verb(project, "track")
    again = time.perf_counter() - begun
    part = epochs // 5
    early, late = statistics.median(seconds[part : 2 * part]), statistics.median(seconds[-part:])
    said = (
        f"epochs {part} to {2 * part}: {early:.3f} s, the last {part}: {late:.3f} s; `track` afterwards {again:.1f} s"
    )
    return Finding(said, late <= FLAT * early, {"seconds": [round(one, 4) for one in seconds], "track": again})


def _tiny(workshop: Workshop, name: str, epochs: int) -> Project:
    project = workshop.project(name, "model=small", "training=smoke", "model.conv.filters=2")
    project.verb("compose", "data=sample", f"training.epochs={epochs}")
    project.run("dvc", "repro", "preprocess")
    afresh(project)
    return project


def comparison(workshop: Workshop) -> Finding:
    """A study of many settings over the sample, made by a real sweep once and multiplied."""
    count = 50 if workshop.quick else RUNS
    project = _tiny(workshop, "compare", 1)
    seeds = count // 10
    verb(
        project, "sweep", "-m", "data.validation_images=200", "model.conv.filters=1,2,3,4,5,6,7,8,9,10",
        f"seed=range({seeds})", "study.name=large", "tracking=off",
    )  # fmt: skip
    costs = {"compare": [verb(project, "compare", "large") for _ in range(workshop.rounds)]}
    said = f"{10 * seeds} runs: {median(costs['compare']):.1f} s"
    return Finding(said, median(costs["compare"]) <= LARGE, as_figures(costs))


STAGES = Row(
    name="stages",
    what="`preprocess` of 70,000 images; `evaluate` of 10,000 with all pictures",
    goal="under 3 s; within 8 s",
    measure=stages,
)
MIRROR = Row(
    name="mirror",
    what="500 tiny epochs with MLflow: the first ones beside the last",
    goal="late at most × 1.25 of early",
    measure=mirror,
)
COMPARISON = Row(
    name="compare",
    what="`compare` of a study of 500 runs",
    goal="within 4 s",
    measure=comparison,
)
