"""From the configurations of a grid to its runs, and into the study: what it held of the same code and data stays."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.config.compose import Choice, compose_with, values
from pipeline.config.layers import layers
from pipeline.config.load import configure, leaves
from pipeline.config.messages import refused, shown, validated
from pipeline.config.schema import Configuration, Data
from pipeline.data.prepared import test_digest, training_digest
from pipeline.data.scoring import held_out_digest
from pipeline.run.checkpoint import recorded
from pipeline.run.environment import git
from pipeline.run.identity import Identity, identity, scoring_identity
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING, Record, read_record
from pipeline.storage import digest, lock, project
from pipeline.storage.documents import refuse_links
from pipeline.studies.bundle import is_bundled, keep_bundled
from pipeline.studies.race import check_study
from pipeline.studies.study import ENDED, DeclaredContrast, Point, Search, Setting, Study, StudyRun, with_runs
from pipeline.studies.study_config import ContrastConfig, StudyConfig, declared_studies
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

NO_OVERRIDE = "(no override)"


@dataclass(frozen=True)
class Job:
    """One run of a grid: what to train, what to score it on, which scoring that is."""

    configuration: Configuration
    identity: Identity
    setting: str
    images: str
    scoring: str
    pictured: bool

    @property
    def part(self) -> str:
        """The folder of its scores within the record."""
        return TEST_EVALUATION if self.images == "test" else EVALUATION

    @property
    def seed(self) -> int:
        return self.configuration.seed


@dataclass(frozen=True)
class Plan:
    """The jobs of a grid, each once, their settings by name, and the `basis` of all (see `basis_of`).

    `refused` are the settings that can't exist, as they were asked for, with the reason; `repeated` counts the runs
    that were asked for again, by how they and how the earlier ones were asked for; `excluded` the combinations that the
    study leaves out; `search` is what proposed the settings.
    """

    jobs: tuple[Job, ...]
    settings: Mapping[str, Setting]
    refused: Mapping[str, str]
    basis: str
    repeated: Mapping[tuple[str, str], int] = field(default_factory=dict)
    excluded: int = 0
    search: Search | None = None


def plan_grid(grid: Sequence[Point], config: StudyConfig) -> Plan:
    """The plan for `grid`.

    Raises UserError without prepared images, ConfigurationError for what the study excludes and is not in the grid.
    """
    kept = _without_excluded(grid, config)
    jobs, settings, data_digest = dict[str, Job](), dict[str, Setting](), ""
    asked, impossible = dict[str, str](), dict[str, str]()
    repeated: Counter[tuple[str, str]] = Counter()
    for point in kept:
        overrides = point.overrides or NO_OVERRIDE
        try:
            configuration = configure(point.values)
            config.check_held_out(configuration.data.validation_images)
        except UserError as error:
            impossible.setdefault(overrides, str(error))
            continue
        # They are the same for all: `data` can't be swept.
        data_digest = data_digest or _data_digest(configuration.data)
        job = job_of(configuration, data_digest, config)
        if (name := job.identity.name) in jobs:
            repeated[overrides, asked[name]] += 1
            continue
        jobs[name], asked[name] = job, overrides
        if job.setting not in settings:
            settings[job.setting] = setting_of(job.configuration, point)
    basis = basis_of(next(iter(jobs.values())).identity) if jobs else ""
    excluded = len({point.overrides for point in grid} - {point.overrides for point in kept})
    return Plan(tuple(jobs.values()), settings, impossible, basis, repeated, excluded)


def _without_excluded(grid: Sequence[Point], config: StudyConfig) -> Sequence[Point]:
    """The points that the study does not exclude. Raises ConfigurationError for an exclusion that meets none."""
    for number, wanted in enumerate(config.exclude):
        if not any(point.is_at(wanted) for point in grid):
            must = f"must be a combination of the grid, but {shown(wanted)} is none"
            raise refused(f"study.exclude.{number}", f"{must}. Name swept keys with their values.")
    return [point for point in grid if not config.excludes(point)]


def _data_digest(data: Data) -> str:
    """The digest of the prepared images. Raises UserError where there are none, none yet, or others than `data`."""
    try:
        return training_digest(project.PREPARED, data)
    except UserError:
        if project.PREPARED.exists() or not lock.is_held(project.STAGE_LOCK):
            raise
        raise UserError(
            f"{project.PREPARED}: the prepared images are missing; a `dvc repro` is running and may be making them. "
            "Try again when it has ended."
        ) from None


def job_of(configuration: Configuration, data_digest: str, config: StudyConfig) -> Job:
    """The job for one configuration, which holds images out where the study scores on those."""
    run, data = identity(configuration, data_digest), configuration.data
    if config.score_on == "test":
        images = test_digest(project.PREPARED, data)
    else:
        images = held_out_digest(data_digest, data.validation_images, data.split_seed)
    setting = digest.of_value({name: value for name, value in run.ingredients.items() if name != "seed"})
    scoring = scoring_identity(images, data.class_names)
    return Job(configuration, run, setting[:12], config.score_on, scoring, config.pictures)


def basis_of(run: Identity) -> str:
    """The digest of what a run shares with all others of its study: data, versions, and the code of both parts."""
    shared = {name: run.ingredients[name] for name in ("code", "data", "versions")}
    return digest.of_value(shared | {"scoring": scoring_identity("", ())})[:12]


def setting_of(configuration: Configuration, point: Point | None = None) -> Setting:
    """The configuration as a setting: all values but the seed, what the network costs, and how `point` asked for it."""
    found = layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    return Setting(
        values={key: value for key, value in leaves(recorded(configuration)) if key != "seed"},
        parameters=sum(layer.parameters for layer in found),
        multiply_adds=sum(layer.multiply_adds for layer in found),
        variants={} if point is None else dict(point.variants),
        changed=() if point is None else tuple(point.changed),
    )


def record_of(job: Job) -> Record | None:
    """The job's record once it has been trained and scored with the present code; None where that is missing."""
    root = project.run_root(job.identity.name)
    refuse_links(root)
    if not (root / TRAINING).exists():
        return None
    try:
        record = read_record(root, job.part, repair="This run is done again.")
    except UserError as error:
        console.print(str(error))
        return None
    scored = record.evaluation is not None and record.evaluation.scoring == job.scoring
    pictured = not job.pictured or (root / job.part / "pictures").exists() or is_bundled(root)
    return record if record.training.run.identity == job.identity.name and scored and pictured else None


def study_run_of(job: Job, record: Record | None) -> StudyRun:
    """The job as a study keeps it."""
    if record is None or record.evaluation is None:
        return StudyRun(job.identity.name, job.setting, job.seed)
    scores = record.evaluation.scores
    return StudyRun(
        identity=job.identity.name,
        setting=job.setting,
        seed=job.seed,
        state="diverged" if record.training.run.outcome == "diverged" else "finished",
        accuracy=scores["accuracy"],
        loss=scores["loss"],
        seconds=None if record.training.seconds is None else round(record.training.seconds, 3),
        scoring=record.evaluation.scoring,
        collapsed=record.evaluation.collapsed,
    )


def merge_plan(present: Study | None, plan: Plan, config: StudyConfig) -> Study:
    """The study with the plan's settings and runs, each as its record says, and the questions that are asked of it.

    Raises ConfigurationError for a race that can't be, and for a search that would go on another study.
    """
    before = present if present and (present.basis, present.images) == (plan.basis, config.score_on) else None
    if present is not None and before is None:
        keep_bundled(present)
        console.print(
            f"study {present.name}: the code, the data or the versions have changed since; of its {len(present.cells)} "
            "runs only those that are declared now and still hold stay in it"
        )
    _check_search(before, plan)
    study = Study(
        name=config.full_name,
        images=config.score_on,
        basis=plan.basis,
        baseline=config.baseline,
        margin=config.margin,
        settings=(before.settings if before else {}) | dict(plan.settings),
        cells=before.cells if before else (),
        refused=tuple({"setting": setting, "reason": reason} for setting, reason in plan.refused.items()),
        stop=config.stop,
        error_rate=config.error_rate,
        tracking=None if present is None else present.tracking,
        search=plan.search,
    )
    records = {job.identity.name: record_of(job) for job in plan.jobs}
    study = with_runs(study, [study_run_of(job, records[job.identity.name]) for job in plan.jobs])
    check_study(before, study, {job.identity.name for job in plan.jobs})
    # Runs of other code say much of what these will.
    seen = len(present.ended) if present is not None and before is None else 0
    scored = {name: one.evaluation.scored for name, one in records.items() if one is not None and one.evaluation}
    return replace(study, contrasts=_declare(present, study, plan, config, seen, scored))


def _check_search(before: Study | None, plan: Plan) -> None:
    """Raises ConfigurationError where a search would go on what it did not begin, or a grid on what a search did."""
    if before is None or before.search is plan.search is None:
        return
    one, two = before.search, plan.search
    if one is None:
        what = "holds settings that no search proposed"
    elif two is None:
        what = "is a search, and its finalists get a verdict from fresh seeds, in a study of their own"
    elif one != replace(two, planned=one.planned, words=one.words, trials=two.trials[: len(one.trials)]):
        what = "is a search in another space, over other seeds, or with other values beside"
    else:
        return
    raise refused("study.name", f"must be another: {before.name} {what}. Write study.name=…")


def _declare(
    present: Study | None,
    study: Study,
    plan: Plan,
    config: StudyConfig,
    seen: int,
    scored: Mapping[str, int | None],
) -> tuple[DeclaredContrast, ...]:
    """The contrasts of a study, of which `seen` runs by other code had ended; `scored` says when its own were.

    One that was asked before keeps the time of that, also where the line no longer asks it; one that is new, or not as
    it was, is declared with the commit that holds it, or now: after the runs that had ended then.
    """
    earlier = {} if present is None else {one.name: one for one in present.contrasts}
    committed, contrasts = _committed(config, plan), []
    for name, one in config.contrasts.items():
        weights = config.weights(name, plan.settings)
        since = committed.get(name, datetime.now(UTC))
        ended = [run for run in study.cells if run.state in ENDED and run.setting in weights]
        before_it = seen + sum((scored.get(run.identity) or 0) < 1000 * since.timestamp() for run in ended)
        margin, at = config.margin if one.margin is None else one.margin, since.isoformat(timespec="seconds")
        new = DeclaredContrast(name, one.claim, one.expects, weights, one.score, margin, at, before_it)
        before = earlier.pop(name, None)
        if present is not None and before is not None and _asks(before, present) == _asks(new, study):
            new = replace(new, declared=before.declared, runs_before=before.runs_before)
        contrasts.append(new)
    return (*contrasts, *(one for one in earlier.values() if one.weights.keys() <= study.settings.keys()))


def _committed(config: StudyConfig, plan: Plan) -> dict[str, datetime]:
    """Since when the file of conf/study/ that declares the study stands committed as it is, by the contrast it asks.

    Nothing where the line, or what was chosen, makes another study of it: what was seen of that was not declared there.
    """
    for variant, document, paths in declared_studies() if config.contrasts else ():
        own = document["study"]
        if own["name"] != config.name:
            continue
        as_typed = {"margin": config.margin, "settings": config.settings, "error_rate": config.error_rate}
        is_own = all(own.get(key, value) == value for key, value in as_typed.items()) and _trains(
            variant, document, plan
        )
        files = "--", *(str(path.absolute()) for path in paths)
        changes = git("-C", str(project.CONF), "status", "--porcelain", *files)
        since = git("-C", str(project.CONF), "log", "-1", "--format=%cI", *files)
        if not is_own or changes != b"" or not since:
            return {}
        moment = min(datetime.fromisoformat(since.decode().strip()).astimezone(UTC), datetime.now(UTC))
        asked = {name: validated(ContrastConfig, one) for name, one in (own.get("contrasts") or {}).items()}
        return {name: moment for name, one in asked.items() if config.contrasts.get(name) == one}
    return {}


def _trains(variant: str, document: dict[str, Any], plan: Plan) -> bool:
    """Whether the plan's settings are what the file alone composes to, but for the keys that it names or sweeps."""
    own = dict(leaves(values(compose_with(project.CONF, Choice({}, {}), [f"+study={variant}"]))))
    # As conf/sweep.yaml has it, whatever number of threads trains.
    own["data.validation_images"] = own["data.validation_images"] or own["data.held_out"]
    swept = document.get("hydra", {}).get("sweeper", {}).get("params", {})
    free = {key.lstrip("+") for one in document["study"].get("settings", {}).values() for key in one} | {
        *swept,
        "training.threads",
    }
    apart = tuple(f"{key}." for key in free)
    return all(
        own.get(key, key) == value
        for one in plan.settings.values()
        for key, value in one.values.items()
        if not f"{key}.".startswith(apart)
    )


def _asks(contrast: DeclaredContrast, study: Study) -> object:
    """What a contrast asks, whatever its settings are called: their names change with the code."""
    values = {digest.of_value(study.settings[name].values): weight for name, weight in contrast.weights.items()}
    return contrast.claim, contrast.expects, values, contrast.score, contrast.margin
