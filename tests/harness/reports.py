"""Studies with scores made by hand or at random, with and without their records, for the tests of reports."""

import shutil
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.data.prepared import training_digest
from pipeline.data.scoring import held_out_digest
from pipeline.findings.comparison import Comparison, Run, grid
from pipeline.findings.comparison import Setting as ComparedSetting
from pipeline.run.record import EVALUATION, TEST_EVALUATION, write_manifest
from pipeline.statistics.scores import Scores
from pipeline.storage import project
from pipeline.studies.study import Setting, Study, StudyRun, update_study
from tests.harness.settings import article
from tests.harness.studies import NAMED, START, write_record

KERNELS = 3, 5, 7
FILTERS = 16, 32, 64
BASELINE: dict[str, JsonValue] = {"model.conv.kernel_size": 5, "model.conv.filters": 32}
EFFECTS = np.array([[-1.4, -0.4, 0.6], [-1.0, 0.0, 1.1], [-2.2, -0.8, 0.05]])
"""Points against the baseline [kernel sizes, filters], about as the real study has them."""


def random_scores(seeds: int = 10, number: int = 0) -> Scores:
    """Accuracies [9, seeds] around 90 points with a deviation of 0.2."""
    noise = np.random.default_rng(number).normal(0, 0.2, (9, seeds))
    scores: Scores = np.round(90 + EFFECTS.reshape(9, 1) + noise, 2)
    return scores


def comparison(
    scores: Sequence[Sequence[float]] | Scores,
    settings: Sequence[Mapping[str, JsonValue]] | None = None,
    *,
    baseline: int = 0,
    images: str = "validation",
    margin: float = 0.5,
    outcomes: Mapping[tuple[int, int], str] | None = None,
) -> Comparison:
    """A comparison without records of scores [settings, seeds], NaN failed; setting n costs n + 1 thousand."""
    rows = np.array(scores, dtype=np.float64)
    values = settings or [{"model.conv.filters": 8 * (row + 1)} for row in range(len(rows))]
    laid = grid(values)
    compared = tuple(
        ComparedSetting(
            values[row], 100.0 * (row + 1), 1000.0 * (row + 1), 2.0, 0.5, laid.labels[row], laid.levels[row]
        )
        for row in laid.order
    )
    runs = tuple(
        Run(
            setting=row,
            seed=seed,
            identity=f"run-{row}-{seed}",
            outcome=(outcomes or {}).get((row, seed), "failed" if np.isnan(rows[row, seed]) else "finished"),
            accuracy=None if np.isnan(rows[row, seed]) else float(rows[row, seed]),
            scored=START + 60_000 * seed,
        )
        for row in range(rows.shape[0])
        for seed in range(rows.shape[1])
    )
    return Comparison(
        study="kernels",
        images=images,
        margin=margin,
        baseline=baseline,
        baseline_declared=True,
        factors=laid.factors,
        settings=compared,
        seeds=tuple(range(rows.shape[1])),
        runs=runs,
        commands=("python -m pipeline.compare kernels",),
    )


def grid_values() -> list[dict[str, JsonValue]]:
    """The nine settings of kernel sizes × filters, by dotted key."""
    return [
        {"model.conv.filters": filters, "model.conv.kernel_size": kernel, "training.epochs": 4}
        for kernel in KERNELS
        for filters in FILTERS
    ]


def write_study(
    scores: Scores,
    *,
    name: str = "kernels",
    images: str = "validation",
    baseline: dict[str, JsonValue] | None = BASELINE,
    answered: int = 10,
    values: Sequence[Mapping[str, JsonValue]] | None = None,
) -> Study:
    """A study of the nine settings, or those of `values`, with whole records of `answered` images each.

    Scores [settings, seeds] in points; NaN is a failed run.
    """
    declared = values or grid_values()
    settings = {
        f"s{row}": Setting(dict(values), 1000 * (row + 1), 50_000 * (row + 1)) for row, values in enumerate(declared)
    }
    cells = [
        _cell(row, values, seed, float(scores[row, seed]), images, answered)
        for row, values in enumerate(declared)
        for seed in range(scores.shape[1])
    ]
    study = Study(name, images, "basis", baseline, 0.5, "finished", settings, tuple(cells))
    return update_study(project.study(name), lambda _: study)


def _cell(row: int, values: Mapping[str, JsonValue], seed: int, score: float, images: str, answered: int) -> StudyRun:
    changes: dict[str, object] = {key: value for key, value in values.items() if key.startswith("model")}
    configuration = article({"data.validation_images": 10, "seed": seed} | changes)
    part = TEST_EVALUATION if images == "test" else EVALUATION
    scratch = project.RUNS / f"{row}-{seed}"
    shutil.rmtree(scratch, ignore_errors=True)
    found = write_record(scratch, configuration, part=part, accuracy=None if np.isnan(score) else score / 100)
    if np.isnan(score):
        return StudyRun(found.name, f"s{row}", seed, "failed", "out of memory")
    np.save(scratch / part / "correct.npy", answers(score, answered, number=1000 * row + seed), allow_pickle=False)
    digest = (
        held_out_digest(training_digest(project.PREPARED, configuration.data), 10, 0)
        if project.PREPARED.exists()
        else "i"
    )
    kept: dict[str, JsonValue] = {
        "identity": found.name,
        "images": images,
        "images_digest": digest,
        **NAMED,
        "scoring": "s",
    }
    write_manifest(scratch / part, "evaluation.json", kept | NAMED)
    shutil.rmtree(project.run_root(found.name), ignore_errors=True)
    scratch.rename(project.run_root(found.name))
    return StudyRun(found.name, f"s{row}", seed, "finished", None, score / 100, 0.25, 3.0)


def answers(score: float, images: int, number: int) -> NDArray[np.bool_]:
    """Answers [images] of which `score` percent are right, hard images wrong first."""
    hard = np.random.default_rng(0).random(images) + 0.2 * np.random.default_rng(number).random(images)
    right = np.zeros(images, dtype=np.bool_)
    right[np.argsort(hard)[: round(images * score / 100)]] = True
    return right
