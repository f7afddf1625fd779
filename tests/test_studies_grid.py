"""A sweep's grid: composed together as each job by itself would be; the studies that conf/ declares."""

from collections.abc import Sequence
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pipeline.config.compose import compose_folder, differences
from pipeline.config.load import configure, leaves
from pipeline.config.messages import validated
from pipeline.storage import project
from pipeline.studies import hydra_entry as grids
from pipeline.studies.hydra_entry import composed_grid
from pipeline.studies.plan import setting_of
from pipeline.studies.study import Point, Study
from pipeline.studies.study_config import StudyConfig
from pipeline.studies.study_summary import titles
from pipeline.terminal.errors import UserError
from tests.harness.settings import article_values
from tests.harness.studies import declared as study_config

STUDIES = sorted(path.stem for path in (project.CONF / "study").glob("*.yaml"))


def loader() -> ConfigLoaderImpl:
    return ConfigLoaderImpl(create_config_search_path(str(project.CONF)))


def sweep_config(found: ConfigLoaderImpl, *overrides: str) -> DictConfig:
    return found.load_configuration("sweep", list(overrides), RunMode.MULTIRUN)


def points(jobs: Sequence[Sequence[str]], *common: str) -> list[Point]:
    """The points of the grid as the launcher composes it, for a sweep with the `common` overrides."""
    found = loader()
    return list(composed_grid(found, sweep_config(found, *common), [[*common, *job] for job in jobs]))


def grid(jobs: Sequence[Sequence[str]], *common: str) -> list[tuple[str, dict[str, Any]]]:
    """What was typed and the values of each point."""
    return [(point.overrides, point.values) for point in points(jobs, *common)]


def sweeper() -> Any:
    """The project's sweeper as Hydra makes it."""
    return instantiate(sweep_config(loader()).hydra.sweeper)


def alone(*overrides: str) -> dict[str, Any]:
    """What one job composes to by Hydra's public way."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(project.CONF), version_base=None):
        plain = OmegaConf.to_container(compose("sweep", list(overrides)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


JOBS = [
    [],
    ["seed=3"],
    ["seed=0", "model.conv.kernel_size=3"],
    ["model.conv.kernel_size=3", "seed=1"],
    ["model.conv.kernel_size=[3,5]", "seed=2", "training.learning_rate=1e-3"],
    ["seed=1", "training.learning_rate=1e-05", "model=small"],
    ["model=deep", "training=fast", "seed=4"],
    ["training=fast", "model=deep", "seed=4"],
    ["model=small", "model.conv.filters=8"],
    ["model.conv.filters=8", "model=small"],
    ["+model.blocks.block2.conv.filters=8", "seed=2"],
    ["+model.blocks={block1:{pooling:none}}", "seed=2"],
    ["data.split_seed=${seed}", "seed=7"],
    ["seed=7", "training.epochs=${seed}"],
    ["training.epochs=${seed}", "seed=8"],
    ["seed=1", "seed=2"],
    ["++seed=5"],
    ["seed='3'"],
    ["seed=null"],
    ["seed=1.5"],
    ["tracking.experiment='a b, \"c\"'"],
    ["tracking.experiment=a\\ b"],
    ["model.conv.kernel_regularizer={name:l2,l2:0.1}"],
    ["model.dense.units=[]", "seed=1"],
    ["seed=${training.epochs}"],
    # After others of the same setting, the seed of none of them.
    [],
]


def test_a_grid_is_what_each_job_composes_to_by_itself() -> None:
    found = grid(JOBS)
    assert [typed for typed, _ in found] == [
        " ".join(word for word in job if not word.startswith("seed=")) for job in JOBS
    ]
    for job, (_, values) in zip(JOBS, found, strict=True):
        assert values == alone(*job), job


@pytest.mark.parametrize(
    ("jobs", "typed"),
    [
        ([["seed=3", "model=small"]], ["model=small"]),
        ([["model.conv.kernel_size=29", "study.name=nobody_typed_it"]], ["model.conv.kernel_size=29"]),
        ([["model=small", "seed=0", "study.name=x"], ["model=small", "seed=1", "study.name=x"]], ["model=small"] * 2),
        ([["model=small", "seed=0"], ["model=deep", "seed=0"]], ["model=small", "model=deep"]),
        ([["seed=0"], ["seed=0"]], ["", ""]),
    ],
)
def test_a_job_is_called_by_what_sets_it_apart(jobs: list[list[str]], typed: list[str]) -> None:
    assert [found for found, _ in grid(jobs)] == typed


def test_a_point_says_which_variants_it_has_and_which_keys_were_typed_beside() -> None:
    jobs = [["model=deep", "+model.blocks.block2.conv.filters=8", "seed=1"], ["training=smoke", "tracking=off"]]
    first, second = points(jobs, "study.margin=1", "data.split_seed=3")
    article = {"data": "fashion_mnist", "model": "article", "training": "article"}
    assert first.variants == article | {"model": "deep"}
    assert first.changed == ("data.split_seed", "model.blocks.block2.conv.filters")
    assert (second.variants, second.changed) == (article | {"training": "smoke"}, ("data.split_seed",))


def test_jobs_of_a_grid_do_not_share_what_they_compose_to() -> None:
    (_, first), (_, second) = grid([["seed=0"], ["seed=1"]])
    first["model"]["conv"]["filters"] = 0
    assert second["model"]["conv"]["filters"] == 32
    assert (first["seed"], second["seed"]) == (0, 1)


def test_the_same_job_twice_is_in_the_grid_twice() -> None:
    (_, first), (_, second) = grid([["seed=0"], ["seed=0"]])
    assert first == second


def test_overrides_of_the_whole_sweep_hold_for_each_job() -> None:
    found = grid([["seed=0"], ["seed=1"]], "training=smoke", "study.margin=2")
    for seed, (_, values) in enumerate(found):
        assert values == alone("training=smoke", "study.margin=2", f"seed={seed}")


def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Hydra is asked to compose from now on."""
    asked: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counted(self: ConfigLoaderImpl, config: DictConfig, overrides: list[str]) -> DictConfig:
        asked.append(overrides)
        return load(self, config, overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    return asked


def test_jobs_with_other_values_of_the_same_keys_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = composed(monkeypatch)
    jobs = [[f"seed={seed}", f"model.conv.filters={filters}"] for filters in (8, 16) for seed in range(5)]
    found = grid([*jobs, *(list(reversed(job)) for job in jobs)])
    assert asked == [["seed=0", "model.conv.filters=8"]]
    assert [values["seed"] for _, values in found] == [0, 1, 2, 3, 4] * 4
    assert [values["model"]["conv"]["filters"] for _, values in found] == ([8] * 5 + [16] * 5) * 2


@pytest.mark.parametrize(
    "jobs",
    [
        [["model=small", "model.depth=1"], ["model=deep", "model.depth=1"]],
        [["data.held_out=100"], ["data.held_out=200"]],  # conf/sweep.yaml refers to it
        [["training.epochs=${seed}", "seed=3"], ["training.epochs=${seed}", "seed=4"]],
        [["model.conv.kernel_regularizer=null", "model.conv.kernel_regularizer={name:l2,l2:0.1}"]] * 2,
        [["data.image_shape=[9,9,1]", "data.image_shape.0=12"], ["data.image_shape=[8,8,1]", "data.image_shape.0=13"]],
        [
            ["model.dense.units=[]", "seed=0"],
            ["model.dense.units=[3,4]", "seed=1"],
            ["model.dense.units=[5]", "seed=2"],
        ],
        [["model.depth=1", "model.depth=2", "model.depth=1"]] * 2,
        [["model.conv.padding='a b'"], ["model.conv.padding=null"], ["model.conv.padding=1e-3"]],
        [["+model.blocks={block1:{pooling:none}}", f"seed={seed}"] for seed in (1, 2)],
    ],
)
def test_what_was_composed_for_one_job_is_that_of_another_only_where_it_comes_to_the_same(
    jobs: list[list[str]],
) -> None:
    for job, (_, values) in zip(jobs, grid(jobs), strict=True):
        assert values == alone(*job), job


def test_a_grid_reads_nothing_of_the_machine() -> None:
    with pytest.raises(UserError, match=r"tracking\.experiment: may refer to other keys only"):
        grid([["tracking.experiment=${oc.env:HOME}"]])


@pytest.mark.parametrize("word", ["model.conv.no_such=3", "model=no_such"])
def test_what_there_is_not_is_refused_by_hydra(word: str) -> None:
    with pytest.raises(HydraException):
        grid([[word]])
    assert grids.SEED == "seed="


# The sweeper and the launcher


class Asked:
    """In place of a config loader: which jobs it was asked for."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, ...]] = []

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:  # noqa: ARG002
        self.jobs.append(tuple(sweep_overrides))
        if "model.conv.no_such=1" in sweep_overrides:
            raise HydraException("no such key")
        return OmegaConf.create()


class Launched:
    """In place of a launcher: the jobs that it was given."""

    def launch(self, jobs: list[list[str]], initial_job_idx: int) -> list[Any]:
        assert initial_job_idx == 0
        self.jobs = jobs
        return []


def swept(launcher: Any, *words: str) -> list[tuple[str, ...]]:
    """What the sweeper asked Hydra to compose before it gave the jobs of `words` to `launcher`."""
    found, asked = sweeper(), Asked()
    found.config, found.hydra_context = sweep_config(loader()), type("Context", (), {"config_loader": asked})
    found.launcher = launcher
    found.sweep(list(words))
    return asked.jobs


def test_the_sweeper_checks_each_setting_once() -> None:
    launcher = Launched()
    asked = swept(launcher, "seed=range(10)", "model.conv.kernel_size=3,5")
    assert [[word for word in job if not word.startswith("seed=")] for job in asked] == [
        ["model.conv.kernel_size=3"],
        ["model.conv.kernel_size=5"],
    ]
    assert len(launcher.jobs) == 20
    with pytest.raises(HydraException, match="no such key"):
        swept(launcher, "model.conv.no_such=0,1")


def test_the_sweeper_leaves_the_check_to_the_projects_launcher_which_composes_each_setting_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launcher = instantiate(sweep_config(loader()).hydra.launcher)
    monkeypatch.setattr(type(launcher), "launch", lambda *_arguments, **_more: [])
    assert swept(launcher, "seed=0,1", "model.conv.kernel_size=3") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=range(0)"], r"^seed=range\(0\): is an empty range"),
        (["seed=range(3,1)"], r"^seed=range\(3,1\): is an empty range"),
        (["model.dropout=range(0.5,0.1,0.1)"], r"^model\.dropout=.*: is an empty range"),
        (["model=glob(x*)"], r"^model=glob\(x\*\): matches no variant\. There are: article, compact"),
        (["model.conv.filters=glob(*)"], r"model\.conv\.filters has no variants"),
        (["training.learning_rate=interval(0.1,0.2)"], r"^training\.learning_rate=interval.*: names no values"),
        (["study.margin=1,2"], r"^study\.margin: is the same for all runs"),
        (["tracking=local,off"], r"^tracking: is the same for all runs"),
        (["data=a,b"], r"^data: can't be swept"),
        (["data=glob(*)"], r"^data: can't be swept"),
        (["++data.class_names=[a],[b]"], r"^data\.class_names: can't be swept"),
        (["data.files.train_images.bytes=16,17"], r"^data\.files\.train_images\.bytes: can't be swept"),
    ],
)
def test_what_can_not_be_swept_is_refused_by_what_was_typed(words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        grids.split_grid(OverridesParser.create(loader()).parse_overrides(words))


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["data.validation_images=10,20"], 2),
        (["data.split_seed=range(3)"], 3),
        (["model.dropout=range(0.1,0.3,0.1)"], 2),
        (["seed=range(3,0,-1)"], 3),
        (["model=glob(comp*)"], 2),
        (["data=sample", "tracking=off", "study.margin=1"], 1),
    ],
)
def test_what_can_be_swept_has_a_job_for_each_value(words: list[str], jobs: int) -> None:
    assert len(grids.split_grid(OverridesParser.create(loader()).parse_overrides(words))) == jobs


def test_hydra_knows_the_projects_sweeper_and_launcher() -> None:
    config = sweep_config(loader()).hydra
    for node, kind in ((config.sweeper, Sweeper), (config.launcher, Launcher)):
        assert node._target_.startswith("hydra_plugins.study_launcher.")
        # Hydra reads its own plugins anew: only the names are the same.
        assert kind.__name__ in {base.__name__ for base in type(instantiate(node)).__mro__}


# conf/


def test_a_sweep_composes_to_what_one_run_does_but_for_held_out_images_threads_and_the_study() -> None:
    sweep = alone()
    del sweep["study"]
    one = OmegaConf.to_container(compose_folder(project.CONF), resolve=True)
    assert list(differences(one, sweep)) == [
        ("data.validation_images", "0", "10000"),
        ("training.threads", "2", "1"),
    ]
    configure(sweep)
    validated(StudyConfig, alone()["study"])


def test_conf_declares_studies() -> None:
    assert "kernels_by_filters" in STUDIES


def declared(name: str) -> tuple[DictConfig, list[list[str]]]:
    """A study's composition, and the jobs that Hydra's sweeper makes of what it declares."""
    config = sweep_config(loader(), f"+study={name}")
    params = [f"{key}={value}" for key, value in dict(config.hydra.sweeper.params).items()]
    return config, grids.split_grid(OverridesParser.create().parse_overrides(params))


@pytest.mark.parametrize("name", STUDIES)
def test_a_declared_study_can_exist_and_its_baseline_is_one_of_its_settings(name: str) -> None:
    _, jobs = declared(name)
    grid_values = [values for _, values in grid(jobs, f"+study={name}")]
    declaration = validated(StudyConfig, grid_values[0]["study"])
    assert declaration.name == name
    settings = []
    for values in grid_values:
        assert values.pop("study")["name"] == name
        settings.append(setting_of(configure(values)))
    distinct = [values for number, values in enumerate(settings) if values not in settings[:number]]
    declaration.check_grid({str(number): setting for number, setting in enumerate(distinct)})
    swept = {word.partition("=")[0] for job in jobs for word in job} - {"seed"}
    assert swept == set(declaration.baseline or {})


@pytest.mark.parametrize("name", STUDIES)
def test_a_declared_study_has_as_many_seeds_of_each_setting_and_no_run_twice(name: str) -> None:
    _, jobs = declared(name)
    assert len({tuple(sorted(job)) for job in jobs}) == len(jobs)
    by_setting: dict[tuple[str, ...], int] = {}
    for job in jobs:
        setting = tuple(sorted(word for word in job if not word.startswith("seed=")))
        by_setting[setting] = by_setting.get(setting, 0) + 1
    seeds = set(by_setting.values())
    assert len(seeds) == 1
    assert min(seeds) >= 5


def test_the_study_with_a_report_trains_as_it_did_whatever_becomes_of_the_variants() -> None:
    config, jobs = declared("kernels_by_filters")
    assert len(jobs) == 9 * 10
    wanted = {
        "epochs": 4,
        "batch_size": 128,
        "optimizer": "adam",
        "learning_rate": 0.003,
        "schedule": "cosine",
        "warmup": 0.1,
        "precision": "mixed_bfloat16",
    }
    assert {key: config.training[key] for key in wanted} == wanted


# Nested values as dotted keys


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, []),
        ({"a": 1}, [("a", 1)]),
        ({"a": {"b": {"c": None}}, "d": 0}, [("a.b.c", None), ("d", 0)]),
        ({"a": {}, "b": {"c": {}}}, [("a", {}), ("b.c", {})]),
        ({"a": [], "b": [{"c": 1}]}, [("a", []), ("b", [{"c": 1}])]),
        ({1: {2: 3}}, [("1.2", 3)]),
        (3, []),
    ],
)
def test_leaves_are_all_that_is_no_mapping_in_its_order(value: object, found: list[tuple[str, object]]) -> None:
    assert list(leaves(value)) == found


def test_leaves_of_a_section_keep_its_name() -> None:
    assert list(leaves({"b": 1}, "a")) == [("a.b", 1)]
    assert list(leaves({}, "a")) == [("a", {})]
    assert list(leaves(3, "a")) == [("a", 3)]


# Zipped, named and excluded settings


def split(*words: str, **of_study: Any) -> list[list[str]]:
    return grids.split_grid(OverridesParser.create(loader()).parse_overrides(list(words)), study_config(**of_study))


def test_the_values_of_zipped_keys_go_together_and_cross_with_the_others() -> None:
    words = "model.conv.filters=8,16", "seed=0,1", "+model.blocks.block2.conv.filters=32,64", "training.epochs=1"
    jobs = split(*words, zip=["model.conv.filters", "model.blocks.block2.conv.filters"])
    assert jobs == [
        [f"model.conv.filters={one}", f"+model.blocks.block2.conv.filters={two}", f"seed={seed}", "training.epochs=1"]
        for one, two in ((8, 32), (16, 64))
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (["model.conv.filters"], r"^study\.zip: must name two keys or more that are swept, not model\.conv\.filters\."),
        (["model.conv.filters", "model.depth"], r"that are swept, not model\.depth\."),
        (["model.conv.filters", "training.epochs"], r"that are swept, not training\.epochs\."),
        (["model.conv.filters", "seed"], r"equally many values, but model\.conv\.filters has 2, seed has 3\."),
    ],
)
def test_keys_that_can_not_go_together_are_refused(keys: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        split("model.conv.filters=8,16", "seed=range(3)", "training.epochs=1", zip=keys)


def test_named_settings_cross_with_what_is_swept_and_have_their_name_alone() -> None:
    settings: dict[str, dict[str, Any]] = {
        "wide": {"model.conv.filters": 64},
        "deep": {"model": "deep", "model.conv.kernel_size": [3, 5]},
    }
    jobs = split("seed=0,1", "training.epochs=1,2", settings=settings)
    assert len(jobs) == 2 * 2 * 2
    declared = f"study.settings={{{','.join(f'{name}:{{{inner(of)}}}' for name, of in settings.items())}}}"
    found = points(jobs, "training=smoke", f"++{declared}")
    assert [point.overrides for point in found[:2]] == ["wide training.epochs=1", "deep training.epochs=1"]
    assert [point.variants["setting"] for point in found[:2]] == ["wide", "deep"]
    wide, deep = found[:2]
    assert (wide.values["model"]["conv"]["filters"], deep.values["model"]["conv"]["kernel_size"]) == (64, [3, 5])
    assert deep.variants["model"] == "deep"
    assert wide.changed == deep.changed == ("training.epochs",)
    assert "setting" not in wide.values["study"]


def inner(of: dict[str, Any]) -> str:
    return ",".join(f"{key}:{value}" for key, value in of.items())


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"seed": 3}, r"^study\.settings\.a\.seed: must be a key of what is trained"),
        ({"study.margin": 3}, r"^study\.settings\.a\.study\.margin: must be a key of what is trained"),
        ({"tracking": "off"}, r"^study\.settings\.a\.tracking: must be a key of what is trained"),
        ({"hydra.sweep.dir": "elsewhere"}, r"hydra\.sweep\.dir"),
        ({"model.conv._target_": "os.system"}, r"names code"),
        ({"model.conv.filters": "${oc.env:HOME}"}, r"may refer to other keys only"),
        ({"training.epochs": 3}, r"^study\.settings\.a\.training\.epochs: is set by the sweep too"),
    ],
)
def test_a_named_setting_sets_what_is_trained_and_nothing_else(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        split("training.epochs=1", settings={"a": setting})


@pytest.mark.parametrize(
    "value", [3, 0.5, 1e-05, True, None, "none", "a b", "it's", 'a "b"', "3", [3, 5], {"name": "l2"}]
)
def test_a_value_of_a_file_is_the_same_value_as_an_override(value: Any) -> None:
    (job,) = split(settings={"a": {"model.conv.kernel_regularizer": value}})
    assert OverridesParser.create().parse_override(job[1]).value() == value


def test_the_settings_of_a_study_are_called_by_their_names() -> None:
    values = [({"model.conv.filters": 64}, "wide"), ({"model.conv.filters": 8, "model.conv.kernel_size": 3}, "narrow")]
    made = [
        Point(name, configured, {"model": "article", "setting": name})
        for changes, name in values
        for configured in [article_values({"data.validation_images": 10} | changes)]
    ]
    settings = {point.overrides: setting_of(configure(point.values), point) for point in made}
    found = Study("named", "validation", "b", {"setting": "wide"}, 0.5, settings=settings)
    assert list(titles(found).values()) == ["setting wide", "setting narrow"]
    study_config(baseline={"setting": "wide"}).check_grid(settings)
