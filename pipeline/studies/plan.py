"""From the configurations of a grid to its runs, and into the study: what it held of the same code and data stays."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config.layers import layers
from pipeline.config.load import configure, leaves
from pipeline.config.schema import Configuration, Data
from pipeline.data.prepared import test_digest, training_digest
from pipeline.data.scoring import held_out_digest
from pipeline.run.identity import Identity, identity, scoring_identity
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING, Record, read_record
from pipeline.run.train_run import recorded
from pipeline.storage import digest, lock, project
from pipeline.storage.documents import refuse_links
from pipeline.studies.study import Point, Setting, Study, StudyRun, with_runs
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.study_summary import count_outcomes, has_collapsed
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

NO_OVERRIDE = "(no override)"

SHARED = "code", "data", "versions"
"""What all runs of a study have in common beside their configuration."""


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
class Refused:
    """A setting that can't exist, as it was asked for, and why."""

    overrides: str
    reason: str


@dataclass(frozen=True)
class Repeated:
    """Points of a grid that are the same runs as earlier ones: how they were asked for, and how the earlier ones."""

    overrides: str
    before: str
    runs: int


@dataclass(frozen=True)
class Plan:
    """The jobs of a grid, each once, their settings by name, what was refused, and what was asked for again."""

    jobs: tuple[Job, ...]
    settings: Mapping[str, Setting]
    refused: tuple[Refused, ...]
    basis: str
    repeated: tuple[Repeated, ...] = ()


def plan_grid(grid: Sequence[Point], config: StudyConfig) -> Plan:
    """The plan for `grid`. Where settings are refused, and not left out, they come before what the baseline may lack.

    Raises UserError without prepared images, ConfigurationError for a study that does not fit the grid.
    """
    data_digest = ""
    jobs: dict[str, Job] = {}
    asked: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    refused: dict[str, Refused] = {}
    repeated: Counter[tuple[str, str]] = Counter()
    for point in grid:
        overrides = point.overrides or NO_OVERRIDE
        try:
            configuration = configure(point.values)
            config.check_held_out(configuration.data.validation_images)
        except UserError as error:
            refused[overrides] = Refused(overrides, str(error))
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
    if not refused or (config.leave_out_refused and jobs):
        config.check_baseline(list(settings.values()), left_out=len(refused))
    basis = basis_of(next(iter(jobs.values())).identity) if jobs else ""
    again = tuple(Repeated(*words, runs) for words, runs in repeated.items())
    return Plan(tuple(jobs.values()), settings, tuple(refused.values()), basis, again)


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
    """The job for one configuration. Raises ConfigurationError where there is nothing to score on."""
    config.check_held_out(configuration.data.validation_images)
    found = identity(configuration, data_digest)
    on_test = config.score_on == "test"
    data = configuration.data
    images = (
        test_digest(project.PREPARED, data)
        if on_test
        else held_out_digest(data_digest, data.validation_images, data.split_seed)
    )
    setting = digest.of_value({name: value for name, value in found.ingredients.items() if name != "seed"})
    scoring = scoring_identity(images, data.class_names)
    return Job(configuration, found, setting[:12], config.score_on, scoring, config.pictures)


def basis_of(run: Identity) -> str:
    """The digest of what a run shares with all others of its study: data, versions, and the code of both parts."""
    return digest.of_value({name: run.ingredients[name] for name in SHARED} | {"scoring": scoring_identity("", ())})[
        :12
    ]


def setting_of(configuration: Configuration, point: Point | None = None) -> Setting:
    """The configuration as a setting: all values but the seed, what the network costs, and how `point` asked for it."""
    found = layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    return Setting(
        values={key: value for key, value in leaves(recorded(configuration)) if key != "seed"},
        parameters=sum(layer.parameters for layer in found),
        multiply_adds=sum(layer.multiply_adds for layer in found),
        variants=dict(point.variants) if point is not None else {},
        changed=tuple(point.changed) if point is not None else (),
    )


def record_of(job: Job) -> Record | None:
    """The job's record once it has been trained and scored with the present code; None where that is missing."""
    root = project.run_root(job.identity.name)
    refuse_links(root)
    if not (root / TRAINING).exists():
        return None
    try:
        record = read_record(root, job.part)
    except UserError as error:
        # A sweep repairs it in its own way.
        console.print(f"{str(error).partition(' `dvc')[0]} This run is done again.")
        return None
    scored = record.evaluation is not None and record.evaluation.scoring == job.scoring
    pictured = not job.pictured or (root / job.part / "pictures").exists()
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
        collapsed=has_collapsed(record.evaluation.folder, scores["accuracy"]),
    )


def merge_plan(present: Study | None, plan: Plan, config: StudyConfig) -> Study:
    """The study with the plan's settings and runs, each as its record says."""
    study = _continued(present, plan.basis, config)
    refused = tuple({"setting": found.overrides, "reason": found.reason} for found in plan.refused)
    study = replace(study, refused=refused, settings=study.settings | dict(plan.settings))
    return with_runs(study, [study_run_of(job, record_of(job)) for job in plan.jobs])


def merge_job(
    present: Study | None, job: Job, config: StudyConfig, point: Point | None = None, reason: str | None = None
) -> Study:
    """The study with one job more, for launchers that bring jobs one by one; `reason` where it failed."""
    study = _continued(present, basis_of(job.identity), config)
    study = replace(study, settings=study.settings | {job.setting: setting_of(job.configuration, point)})
    run = study_run_of(job, record_of(job))
    if reason is not None:
        run = replace(run, state="failed", reason=reason)
    study = with_runs(study, [run])
    return replace(study, state="failed" if count_outcomes(study.cells)["failed"] else "finished")


def _continued(present: Study | None, basis: str, config: StudyConfig) -> Study:
    settings, runs = dict[str, Setting](), tuple[StudyRun, ...]()
    if present is not None and (present.basis, present.images) == (basis, config.score_on):
        settings, runs = present.settings, present.cells
    elif present is not None:
        console.print(
            f"study {present.name}: the code, the data or the versions have changed since; of its {len(present.cells)} "
            "runs only those that are declared now and still hold stay in it"
        )
    return Study(
        name=config.full_name,
        images=config.score_on,
        basis=basis,
        baseline=config.baseline,
        margin=config.margin,
        settings=settings,
        cells=runs,
        tracking=None if present is None else present.tracking,
    )
