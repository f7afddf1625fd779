"""A sweep of nine settings: cold, finished, as a race, beside plain scripts and KerasTuner; many tiny runs; plans."""

import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.costs import alternately, as_figures, cost, median, ratio_in_words
from benchmarks.rows import Finding, Row
from benchmarks.workshop import Workshop, afresh, has, verb
from pipeline.run.record import TRAINING, read_training
from tests.harness.project import Project
from tests.harness.spent import Cost

KERNELS, FILTERS, SEEDS = (3, 5, 7), (16, 32, 64), (0, 1)
RACE_SEEDS = 10
EPOCHS = 1
BATCH = 64
COMMON = "--epochs", str(EPOCHS), "--batch-size", str(BATCH)
OURS, SCRIPTS, TUNER = "sweep", "plain scripts, one after another", "KerasTuner's grid search"
FINISHED_WITHIN = 3.0
TINY = 1_000
FLAT, SAME_MEMORY = 1.25, 1.1
BESIDE_TRAINING = 0.15
"""Seconds that a run may take beyond its epochs."""

PLANNED_WITHIN, MOST_MIB = 30.0, 1_000


def _grid(workshop: Workshop) -> tuple[Sequence[int], Sequence[int]]:
    """Kernel sizes and filters."""
    return (KERNELS[:2], FILTERS[:1]) if workshop.quick else (KERNELS, FILTERS)


def _line(workshop: Workshop, seeds: int, *more: str) -> tuple[str, ...]:
    kernels, filters = (",".join(map(str, values)) for values in _grid(workshop))
    return "-m", f"model.conv.kernel_size={kernels}", f"model.conv.filters={filters}", f"seed=range({seeds})", *more


def _scripts(workshop: Workshop, seeds: Sequence[int]) -> Cost:
    done = [
        workshop.script(
            "keras", *COMMON, "--images", "50000", "--kernel-size", str(kernel), "--filters", str(filters),
            "--seed", str(seed),
        )
        for kernel, filters, seed in itertools.product(*_grid(workshop), seeds)
    ]  # fmt: skip
    return Cost(
        sum(one.seconds for one in done), sum(one.cpu_seconds for one in done), max(one.peak_mib for one in done)
    )


def cold(workshop: Workshop) -> Finding:
    project = workshop.project("sweep", f"training.epochs={EPOCHS}", f"training.batch_size={BATCH}")
    line = _line(workshop, len(SEEDS))

    def ours() -> Cost:
        afresh(project)
        return verb(project, "sweep", *line)

    def tuner() -> Cost:
        folder = workshop.folder / "tuner"
        shutil.rmtree(folder, ignore_errors=True)
        return workshop.script("tuner", str(folder), *COMMON, *(("--images", "2000") if workshop.quick else ()))

    contenders = {OURS: ours, SCRIPTS: lambda: _scripts(workshop, SEEDS)}
    contenders |= {TUNER: tuner} if has("keras_tuner") else {}
    costs = alternately(contenders, 1 if workshop.quick else max(1, workshop.rounds // 2))
    ratio = median(costs[OURS]) / median(costs[SCRIPTS])
    said = "; ".join(f"{name}: {ratio_in_words(costs, OURS, name)}" for name in costs if name != OURS)
    ahead = TUNER not in costs or median(costs[OURS]) < median(costs[TUNER])
    again = [verb(project, "sweep", *line) for _ in range(workshop.rounds)]
    said += f"; the same line again: {median(again):.1f} s"
    figures = {"costs": as_figures(costs), "again": as_figures({"again": again})}
    met = ratio <= 0.33 and ahead and median(again) <= FINISHED_WITHIN
    return Finding(said, met, figures, {name: median(found) for name, found in costs.items()})


def race(workshop: Workshop) -> Finding:
    """The best of the settings with ten seeds, beside scripts of all its runs: those of one seed are measured."""
    seeds = 3 if workshop.quick else RACE_SEEDS
    project = workshop.project("race", f"training.epochs={EPOCHS}", f"training.batch_size={BATCH}")
    ours = verb(project, "sweep", *_line(workshop, seeds, "study.stop=best", "study.name=race"))
    scripts = seeds * _scripts(workshop, SEEDS[:1]).seconds
    said = f"{ours.seconds / scripts:.2f} of the time: {len(_clocks(project))} runs in {ours.seconds:.0f} s"
    return Finding(
        f"{said}, the scripts of all {scripts:.0f} s",
        ours.seconds / scripts <= 0.2,
        {"race": ours.seconds, "scripts": scripts},
    )


def tiny(workshop: Workshop) -> Finding:
    """Runs of a moment over the sample: what a run costs beside its training, at the beginning and at the end."""
    return tiny_sweep(_tiny(workshop, "tiny"), 20 if workshop.quick else TINY)


def tiny_sweep(project: Project, count: int, *more: str) -> Finding:
    """So many runs of a moment in a project of tiny ones."""
    line = "data.validation_images=200", f"seed=range({count})", "study.name=tiny", "study.ask=false", *more
    command = sys.executable, "-m", "pipeline.sweep", "-m", *line
    sweep = subprocess.Popen(command, cwd=project.path, env=project.environment, stdout=subprocess.DEVNULL)
    memory: dict[int, float] = {}
    while sweep.poll() is None:
        time.sleep(1)
        with contextlib.suppress(psutil.Error):
            memory[len(_clocks(project))] = psutil.Process(sweep.pid).memory_info().rss / 2**20
    assert sweep.returncode == 0
    ended = sorted(_ended(project).values())
    gaps = [later - earlier for earlier, later in itertools.pairwise(ended)]
    part = len(gaps) // 4
    early, late = statistics.median(gaps[part : 2 * part]), statistics.median(gaps[-part:])
    small, large = (max(mib for runs, mib in memory.items() if runs <= most) for most in (2 * part, count))
    said = f"{count:,} runs: one every {early:.2f} s in the second quarter, every {late:.2f} s in the last"
    met = late <= FLAT * early and large <= SAME_MEMORY * small
    figures = {"gaps": [round(gap, 3) for gap in gaps], "MiB by runs": {str(runs): mib for runs, mib in memory.items()}}
    return Finding(f"{said}; {small:.0f} MiB until then, {large:.0f} at the end", met, figures)


def beside_training(workshop: Workshop) -> Finding:
    """Tiny runs one after another: from the end of one to the end of the next, less its epochs."""
    project = _tiny(workshop, "beside")
    verb(
        project, "sweep", "-m", "data.validation_images=200", f"seed=range({10 if workshop.quick else 40})",
        "study.name=beside", "study.jobs=1",
    )  # fmt: skip
    ended = sorted((scored, root) for root, scored in _ended(project).items())
    more = []
    for (before, _), (now, root) in itertools.pairwise(ended):
        epochs = sum(epoch.seconds for epoch in read_training(root / TRAINING).times)
        more.append(now - before - epochs)
    beyond = statistics.median(more)
    return Finding(f"{beyond:.2f} s a run", beyond <= BESIDE_TRAINING, {"seconds": [round(one, 3) for one in more]})


def planned(workshop: Workshop) -> Finding:
    """A study of 10,000 settings, which is planned and not begun."""
    project = _tiny(workshop, "planned")
    keys = [f"model.conv.filters=range(1,{11 if workshop.quick else 101})", "model.conv.kernel_size=1,2,3,4,5"]
    keys += ["model.dropout=0,0.1,0.2,0.3,0.4", "training.epochs=1,2", "training.batch_size=32,64"]
    costs = {"plan": [verb(project, "sweep", "-m", *keys, "study.dry_run=true") for _ in range(workshop.rounds)]}
    seconds, mib = median(costs["plan"]), median(costs["plan"], "peak_mib")
    return Finding(f"{seconds:.1f} s, {mib:.0f} MiB", seconds < PLANNED_WITHIN and mib < MOST_MIB, as_figures(costs))


def _tiny(workshop: Workshop, name: str) -> Project:
    project = workshop.project(name, "model=small", "training=smoke", "model.conv.filters=2")
    project.verb("compose", "data=sample")
    project.run("dvc", "repro", "preprocess")
    return project


def _ended(project: Project) -> dict[Path, float]:
    """When each run was scored, in seconds, by the folder of its record."""
    return {path.parents[1]: json.loads(path.read_text(encoding="utf-8"))["scored"] / 1000 for path in _clocks(project)}


def _clocks(project: Project) -> list[Path]:
    """What is written last of a run that has been scored."""
    return list((project.path / "runs").glob("*/clock/*.evaluation.json"))


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
    goal="at most 0.33 of the scripts' time, ahead of KerasTuner; the same line again within 3 s",
    measure=cold,
)
RACE = Row(
    name="race",
    what="9 settings × 10 seeds of one epoch as a race for the best, beside plain scripts of all these runs",
    goal="at most 0.2 of the scripts' time",
    measure=race,
)
TINY_ROW = Row(
    name="tiny_runs",
    what="a sweep of 1,000 tiny runs: how often one ends, early and late; the memory of the process that conducts it",
    goal="late at most × 1.25 of early; at most × 1.1 of its memory",
    measure=tiny,
)
BESIDE = Row(
    name="beside_training",
    what="what a run of a sweep takes beyond its epochs, from the second on: tiny runs, one at a time",
    goal="at most 0.15 s",
    measure=beside_training,
)
PLAN = Row(
    name="plan",
    what="`study.dry_run=true` of 10,000 settings",
    goal="under 30 s and 1 GB",
    measure=planned,
)
FLOOR = Row(
    name="floor",
    what="`dvc repro` with nothing to do beside an empty pipeline's; first output of `sweep --help`",
    goal="at most 0.3 s more; under 1 s",
    measure=floor,
)
