"""A race is replayed from its study: which settings get the next seed, and which have a verdict that stands."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.messages import refused
from pipeline.statistics.differences import FEWEST_SEEDS, Contrast, Verdict, differences
from pipeline.statistics.race import Standing, race
from pipeline.statistics.scores import seed_deviation
from pipeline.studies.study import ENDED, DeclaredContrast, Study, StudyState, find_baseline

TO_THE_BEST: Mapping[str, str] = {Verdict.WORSE: "worse than the best", Verdict.EQUIVALENT: "equivalent to the best"}
"""A race for the best compares with the leader."""


class Scores(NamedTuple):
    """Accuracies in points [settings, seeds] in their order, NaN where there is none, and which runs have `ended`.

    A run that collapsed or diverged has ended, and is no score. The rows are those of `settings`, the columns `seeds`.
    """

    settings: list[str]
    seeds: list[int]
    points: NDArray[np.float64]
    ended: NDArray[np.bool_]


def scores(study: Study, given_up: Collection[str] = ()) -> Scores:
    """The scores of a study. Runs that failed have not ended, but for those `given_up` (identities)."""
    settings, seeds = list(study.settings), sorted({run.seed for run in study.cells})
    rows, columns = ({name: place for place, name in enumerate(names)} for names in (settings, seeds))
    points = np.full((len(settings), len(seeds)), np.nan)
    ended = np.zeros(points.shape, dtype=np.bool_)
    for run in study.cells:
        place = rows[run.setting], columns[run.seed]
        ended[place] = run.state in ENDED or run.identity in given_up
        if run.outcome == "finished" and run.accuracy is not None:
            points[place] = 100 * run.accuracy
    return Scores(settings, seeds, points, ended)


def standing(study: Study, given_up: Collection[str] = ()) -> Standing | None:
    """Where the race of a study stands; None where it is none. `given_up` as in `scores`."""
    if study.stop is None or not study.cells:
        return None
    at = scores(study, given_up)
    contrasts = [as_contrast(contrast, at.settings) for contrast in study.contrasts]
    return race(at.points, at.ended, _baseline(study), study.margin, study.stop, contrasts, study.error_rate)


def last_standing(study: Study) -> Standing | None:
    """Where the race of a study stands without the runs that failed."""
    return standing(study, {run.identity for run in study.cells if run.state == "failed"})


def check_grid(settings: int, seeds: int, runs: int) -> None:
    """Raises ConfigurationError for a grid that is none to race."""
    if settings < 2 or seeds < FEWEST_SEEDS:
        must = f"have 2 settings and {FEWEST_SEEDS} seeds or more, not {settings} and {seeds}"
        raise refused("study.stop", f"must {must}. Write 'seed=range(10)', or leave it out.")
    if runs != settings * seeds:
        must = f"have every setting with every seed, {settings} × {seeds}, not {runs} runs"
        raise refused("study.stop", f"must {must}. Name the same seeds.")


def check_study(before: Study | None, study: Study, planned: Collection[str]) -> None:
    """Raises ConfigurationError for a race whose looks are not planned for all runs (`planned`) before the first."""
    if before is not None and before.stop is not None and {run.identity for run in before.cells} != set(planned):
        raise refused(
            "study.name",
            f"must be another: {study.name} is a race with looks planned for its {len(before.cells)} runs. More, "
            "or fewer, need a study of their own with fresh seeds: study.name=… 'seed=range(100,110)'.",
        )
    if study.stop is not None and (others := {run.identity for run in study.cells} - set(planned)):
        raise refused(
            "study.stop",
            f"must be planned with all runs of its study, but {study.name} holds {len(others)} others. Name them too, "
            "or another study: study.name=…",
        )


def as_contrast(contrast: DeclaredContrast, settings: list[str]) -> Contrast:
    """A declared contrast as weights over `settings`, in their order."""
    weights = np.array([contrast.weights.get(name, 0.0) for name in settings])
    return Contrast(weights, contrast.expects, contrast.margin)


def due(study: Study, given_up: Collection[str]) -> set[tuple[str, int]]:
    """The runs (setting, seed) that a race needs before its next look."""
    now, at = standing(study, given_up), scores(study, given_up)
    if now is None or now.finished:
        return set()
    seeds = at.seeds[: max(FEWEST_SEEDS, now.seeds + 1)]
    return {(at.settings[place], seed) for place in now.open for seed in seeds}


def nearness(study: Study) -> dict[str, int]:
    """How many more seeds each setting is likely to need for a verdict; those of which nobody knows are left out."""
    at = scores(study)
    if len(at.settings) < 2 or not at.seeds:
        return {}
    return {
        at.settings[one.setting]: 0 if one.seeds_needed is None else one.seeds_needed - one.seeds
        for one in differences(at.points, _baseline(study), study.margin)
        if one.verdict is not Verdict.NO_VERDICT
    }


def verdicts(study: Study) -> tuple[dict[str, str], set[str]]:
    """Of each setting whose race is over how it ended (`worse, stopped after 4 seeds`); and the identities of the runs
    that say something of their settings: all, but for those that came after that.
    """
    if (now := last_standing(study)) is None:
        return {}, {run.identity for run in study.cells}
    at, baseline = scores(study), _baseline(study)
    contrasts = [as_contrast(contrast, at.settings) for contrast in study.contrasts]
    over, counting = dict[str, str](), dict[str, int]()
    for place, name in enumerate(at.settings):
        seeds, is_over = seeds_that_count(now, contrasts, baseline, place), place not in now.open
        counting[name] = seeds if is_over or now.finished else len(at.seeds)
        asked = [number for number, contrast in enumerate(contrasts) if contrast.weights[place]]
        ended = f"stopped after {seeds} seeds" if seeds < len(at.seeds) else f"after all {seeds} seeds"
        if contrasts and not asked:
            over[name] = "in no contrast"
        elif contrasts and is_over and now.decided.keys() >= set(asked):
            over[name] = ended
        elif not contrasts and place in now.decided:
            said = now.decided[place].verdict
            words = TO_THE_BEST.get(said, said) if study.stop == "best" else str(said)
            # The baseline runs on as long as any does.
            over[name] = words if place == baseline else f"{words}, {ended}"
    return over, {run.identity for run in study.cells if at.seeds.index(run.seed) < counting[run.setting]}


def seeds_that_count(now: Standing, contrasts: Sequence[Contrast], baseline: int, setting: int) -> int:
    """Of how many seeds the scores say something of a setting: those of the looks up to its verdict."""
    if not contrasts:
        # The baseline stays to the end.
        return now.decided[setting].seeds if setting in now.decided and setting != baseline else now.seeds
    asked = [number for number, contrast in enumerate(contrasts) if contrast.weights[setting]]
    return max((now.decided[one].seeds if one in now.decided else now.seeds for one in asked), default=0)


def contrast_verdicts(study: Study) -> dict[str, str]:
    """Of each contrast of a race how it stands: `supported after 4 seeds`."""
    if (now := last_standing(study)) is None:
        return {}
    said = {number: f"{one.verdict} after {one.seeds} seeds" for number, one in now.decided.items()}
    return {contrast.name: said.get(number, "open") for number, contrast in enumerate(study.contrasts)}


def final_state(study: Study) -> StudyState:
    """The state of a study on which no sweep works any more: runs that wait, and trials that are still to be proposed,
    were left by one that was stopped; but runs that wait in a race that is over are not needed.
    """
    now = standing(study)
    is_over = now is not None and now.finished
    states = {run.state for run in study.cells if not (is_over and run.state == "waiting")}
    is_done = states <= set(ENDED) and (study.search is None or not study.search.unproposed)
    return "failed" if "failed" in states else "finished" if is_done else "interrupted"


def noise(study: Study) -> float | None:
    """Standard deviation between seeds of one setting, in points; None where nothing is known of it."""
    at = scores(study)
    deviation = seed_deviation(at.points) if at.points.size else None
    return None if deviation is None else deviation.deviation


def _baseline(study: Study) -> int:
    """The row of the baseline. Raises UserError where the declared one is none of the settings."""
    return list(study.settings).index(find_baseline(study))
