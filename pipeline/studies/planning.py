"""From the configurations of a grid to the runs that are done, those that are missing, and those that can't exist."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.arithmetic import layers
from pipeline.config.keys import leaves
from pipeline.config.reading import configured
from pipeline.config.schema import Configuration, Data
from pipeline.data.prepared import test_digest, training_digest
from pipeline.data.scoring import held_out_digest
from pipeline.run.description import recorded
from pipeline.run.identity import Identity, identity, scoring_identity
from pipeline.run.reading import refuse_links
from pipeline.run.record import EVALUATION, TEST_EVALUATION, TRAINING
from pipeline.run.whole import Record, read_record
from pipeline.storage import digest, lock, project
from pipeline.studies.declaration import Declaration
from pipeline.studies.study import Cell, Point, Setting
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


def planned(grid: Sequence[Point], declaration: Declaration) -> Plan:
    """The plan for `grid`. Where settings are refused, and not left out, they come before what the baseline may lack.

    Raises UserError without prepared images, ConfigurationError for a declaration that does not fit the grid.
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
            configuration = configured(point.values)
            declaration.check_held_out(configuration.data.validation_images)
        except UserError as error:
            refused[overrides] = Refused(overrides, str(error))
            continue
        # They are the same for all: `data` can't be swept.
        data_digest = data_digest or _data_digest(configuration.data)
        job = job_of(configuration, data_digest, declaration)
        if (name := job.identity.name) in jobs:
            repeated[overrides, asked[name]] += 1
            continue
        jobs[name], asked[name] = job, overrides
        if job.setting not in settings:
            settings[job.setting] = setting_of(job.configuration, point)
    if not refused or (declaration.leave_out_refused and jobs):
        declaration.check_baseline(list(settings.values()), left_out=len(refused))
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


def job_of(configuration: Configuration, data_digest: str, declaration: Declaration) -> Job:
    """The job for one configuration. Raises ConfigurationError where there is nothing to score on."""
    declaration.check_held_out(configuration.data.validation_images)
    found = identity(configuration, data_digest)
    on_test = declaration.score_on == "test"
    data = configuration.data
    images = (
        test_digest(project.PREPARED, data)
        if on_test
        else held_out_digest(data_digest, data.validation_images, data.split_seed)
    )
    setting = digest.of_value({name: value for name, value in found.ingredients.items() if name != "seed"})
    scoring = scoring_identity(images, data.class_names)
    return Job(configuration, found, setting[:12], declaration.score_on, scoring, declaration.pictures)


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


def cell_of(job: Job, record: Record | None) -> Cell:
    """The job as a study keeps it."""
    if record is None or record.evaluation is None:
        return Cell(job.identity.name, job.setting, job.seed)
    scores = record.evaluation.scores
    return Cell(
        identity=job.identity.name,
        setting=job.setting,
        seed=job.seed,
        state="diverged" if record.training.run.outcome == "diverged" else "finished",
        accuracy=scores["accuracy"],
        loss=scores["loss"],
        seconds=round(sum(time.seconds for time in record.training.times), 3),
        scoring=record.evaluation.scoring,
    )
