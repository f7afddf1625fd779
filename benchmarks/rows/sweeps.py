"""A sweep of nine settings and two seeds: cold, finished, beside plain scripts and KerasTuner; a hundred tiny runs."""

import itertools
import json
import shutil
import statistics

from benchmarks.costs import alternately, as_figures, cost, median, ratio_in_words
from benchmarks.rows import Finding, Row
from benchmarks.workshop import Workshop, afresh, has, verb
from tests.harness.project import Project
from tests.harness.spent import Cost

KERNELS, FILTERS, SEEDS = (3, 5, 7), (16, 32, 64), (0, 1)
GRID = ("model.conv.kernel_size=3,5,7", "model.conv.filters=16,32,64", "seed=range(2)")
EPOCHS = 1
BATCH = 64
OURS, SCRIPTS, TUNER = "sweep", "plain scripts, one after another", "KerasTuner's grid search"
FINISHED_WITHIN = 5.0
TINY = 100
FLAT = 1.25


def cold(workshop: Workshop) -> Finding:
    project = workshop.project("sweep", f"training.epochs={EPOCHS}", f"training.batch_size={BATCH}")
    common = "--epochs", str(EPOCHS), "--batch-size", str(BATCH)

    def ours() -> Cost:
        afresh(project)
        return verb(project, "sweep", "-m", *GRID)

    def scripts() -> Cost:
        done = [
            workshop.script(
                "keras", *common, "--images", "50000", "--kernel-size", str(kernel), "--filters", str(filters),
                "--seed", str(seed),
            )
            for kernel, filters, seed in itertools.product(KERNELS, FILTERS, SEEDS)
        ]  # fmt: skip
        return Cost(
            sum(one.seconds for one in done), sum(one.cpu_seconds for one in done), max(one.peak_mib for one in done)
        )

    def tuner() -> Cost:
        folder = workshop.folder / "tuner"
        shutil.rmtree(folder, ignore_errors=True)
        return workshop.script("tuner", str(folder), *common)

    contenders = {OURS: ours, SCRIPTS: scripts} | ({TUNER: tuner} if has("keras_tuner") else {})
    costs = alternately(contenders, 1 if workshop.quick else max(1, workshop.rounds // 2))
    ratio = median(costs[OURS]) / median(costs[SCRIPTS])
    said = "; ".join(f"{name}: {ratio_in_words(costs, OURS, name)}" for name in costs if name != OURS)
    ahead = TUNER not in costs or median(costs[OURS]) < median(costs[TUNER])
    again = [verb(project, "sweep", "-m", *GRID) for _ in range(workshop.rounds)]
    said += f"; the same line again: {median(again):.1f} s"
    figures = {"costs": as_figures(costs), "again": as_figures({"again": again})}
    met = ratio <= 0.5 and ahead and median(again) < FINISHED_WITHIN
    return Finding(said, met, figures, {name: median(found) for name, found in costs.items()})


def tiny(workshop: Workshop) -> Finding:
    """Runs of a moment over the sample: what a run costs beside its training, at the beginning and at the end."""
    count = 20 if workshop.quick else TINY
    project = workshop.project("tiny", "model=small", "training=smoke", "model.conv.filters=2")
    project.verb("compose", "data=sample")
    project.run("dvc", "repro", "preprocess")
    verb(project, "sweep", "-m", "data.validation_images=200", f"seed=range({count})", "study.name=tiny")
    ended = sorted(_ended(project))
    gaps = [later - earlier for earlier, later in itertools.pairwise(ended)]
    part = len(gaps) // 4
    early, late = statistics.median(gaps[part : 2 * part]), statistics.median(gaps[-part:])
    said = f"{count} runs: one every {early:.2f} s in the second quarter, every {late:.2f} s in the last"
    return Finding(said, late <= FLAT * early, {"gaps": [round(gap, 3) for gap in gaps]})


def _ended(project: Project) -> list[float]:
    """When each run was scored, in seconds."""
    found = (project.path / "runs").glob("*/clock/*.evaluation.json")
    return [json.loads(path.read_text(encoding="utf-8"))["scored"] / 1000 for path in found]


def floor(workshop: Workshop) -> Finding:
    """`dvc repro` with nothing to do beside an empty pipeline's, and the first words of `sweep --help`."""
    project = workshop.project("nothing", "training=smoke", "tracking=off")
    project.run("dvc", "repro")
    empty = workshop.folder / "empty"
    empty.mkdir(exist_ok=True)
    for command in (("git", "init", "-q"), ("dvc", "init", "-q"), ("dvc", "config", "core.analytics", "false")):
        Project(empty).run(*command)
    (empty / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    dvc = shutil.which("dvc", path=project.environment["PATH"])
    assert dvc is not None
    contenders = {
        "nothing to do": lambda: cost((dvc, "repro"), project.path),
        "an empty pipeline": lambda: cost((dvc, "repro"), empty),
        "sweep --help": lambda: verb(project, "sweep", "--help"),
    }
    costs = alternately(contenders, 3 * workshop.rounds)
    more = median(costs["nothing to do"]) - median(costs["an empty pipeline"])
    help_seconds = median(costs["sweep --help"])
    said = f"{more:+.2f} s to {median(costs['an empty pipeline']):.2f} s; `sweep --help` {help_seconds:.2f} s"
    return Finding(said, more <= 0.3 and help_seconds < 1.0, as_figures(costs))


COLD = Row(
    name="sweep",
    what="9 settings × 2 seeds of one epoch, cold start to closed study, beside the same as plain scripts and as "
    "KerasTuner's grid",
    goal="at most 0.5 of the scripts' time, ahead of KerasTuner; the same line again under 5 s",
    measure=cold,
)
TINY_ROW = Row(
    name="tiny_runs",
    what="a sweep of 100 tiny runs: how often one ends, early and late",
    goal="late at most × 1.25 of early",
    measure=tiny,
)
FLOOR = Row(
    name="floor",
    what="`dvc repro` with nothing to do beside an empty pipeline's; first output of `sweep --help`",
    goal="at most 0.3 s more; under 1 s",
    measure=floor,
)
