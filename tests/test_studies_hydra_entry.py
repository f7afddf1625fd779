"""What `python -m pipeline.sweep` makes of the words that a person typed."""

import pytest

from pipeline.studies.hydra_entry import check_arguments, name_study, without_mode
from pipeline.studies.run_study import launch_grid
from pipeline.studies.study import Point
from pipeline.terminal.errors import UserError
from tests.harness.settings import article_values
from tests.harness.studies import declared


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["model.conv.kernel_size=3,5,7", "model.conv.filters=16,32", "seed=range(3)"], "filters_by_kernel_size"),
        (["seed=range(10)", "model.conv.filters=16,32", "model.conv.kernel_size=3,5"], "filters_by_kernel_size"),
        (["model=small,deep"], "model"),
        (["model=choice(small,deep)", "training=fast"], "model_with_training_fast"),
        (["model.conv.kernel_size=3,5", "training=smoke", "seed=range(3)"], "kernel_size_with_training_smoke"),
        (["training.epochs=2", "model=deep", "seed=0,1"], "seeds_with_model_deep_epochs_2"),
        (["model=deep", "seed=3"], "seeds_with_model_deep"),
        (["model.conv.filters=8"], "seeds_with_filters_8"),
        (["model.dropout=0.1", "model.dense.dropout=0,0.1"], "dense.dropout_with_model.dropout_0.1"),
        (["model=glob(*)"], "model"),
        (["seed=0,1"], "seeds"),
        (["seed=0,0"], "seeds"),
        (["model.conv.kernel_size=3,[3,5]"], "kernel_size"),
        (["model.dropout=0,0.1", "model.dense.dropout=0,0.1"], "dense.dropout_by_model.dropout"),
        (["+model.blocks.block2.conv.filters=8,16", "seed=0"], "filters"),
        (["++training.learning_rate=1e-3,1e-2", "tracking.experiment='a b'"], "learning_rate"),
        (["training.learning_rate=1e-3,1e-2", "tracking.experiment='a=b, c'"], "learning_rate"),
        (["study.margin=1", "study.score_on=test", "model.conv.filters=8,16"], "filters"),
        (["model.conv.filters=shuffle(8,16)"], "filters"),
        (["model.conv.filters=8,16", "study.search=tpe", "study.trials=9"], "filters_with_search_tpe"),
    ],
)
def test_an_ad_hoc_sweep_is_named_after_its_keys(typed: list[str], name: str) -> None:
    assert name_study(typed, {}) == [*typed, f"study.name={name}"]


def name_of_line(*typed: str, **chosen: object) -> str:
    (found,) = [word for word in name_study(typed, chosen) if word.startswith("study.name=")]
    return found.removeprefix("study.name=")


def test_what_conf_holds_as_chosen_tells_sweeps_apart_like_what_is_typed() -> None:
    line = "model.conv.filters=8,16"
    assert name_of_line(line, training="smoke") == name_of_line(line, "training=smoke")
    assert name_of_line(line, "training=smoke", training="fast") == name_of_line(line, "training=smoke")
    assert name_of_line("training=smoke,fast", training="smoke") == "training"
    assert name_of_line("seed=0,1", training="smoke") == "seeds_with_training_smoke"
    assert name_of_line(training="smoke") == "seeds_with_training_smoke"
    # Where runs are tracked and which seed comes first is no part of a setting.
    assert name_of_line(line, tracking="off", seed=3) == "filters"


@pytest.mark.parametrize(
    "typed",
    [
        ["model.conv.kernel_regularizer={name:l2,l2:0.1}"],
        ["model.conv.kernel_regularizer={name:l2,l2:0.2}"],
        ["~model.blocks"],
        ["model=compact_on_test"],
        [f"model.conv.{key}=3" for key in ("filters", "kernel_size", "strides", "dilation_rate", "groups")],
        [f"model.conv.{key}=4" for key in ("filters", "kernel_size", "strides", "dilation_rate", "groups")],
        ["training.optimizer=sgd", "training=" + "long" * 30],
    ],
)
def test_a_name_stays_short_and_is_the_name_of_a_study_whatever_was_chosen(typed: list[str]) -> None:
    name = name_of_line(*typed, "seed=0,1")
    assert declared(name=name).full_name == name
    assert len(name) <= 60
    assert name != name_of_line(*typed, "training.epochs=3", "seed=0,1")


def test_what_differs_in_a_value_alone_has_another_name() -> None:
    line = "model.conv.kernel_regularizer={name:l2,l2:WEIGHT}", "seed=0,1"
    many = *(f"training.{key}=WEIGHT" for key in ("learning_rate", "momentum", "warmup", "label_smoothing")), "seed=0,1"
    for words in (line, many):
        names = {name_of_line(*(word.replace("WEIGHT", weight) for word in words)) for weight in ("0.1", "0.2")}
        assert len(names) == 2


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        (["seed=range(2)", "-m"], ["seed=range(2)", "study.name=seeds", "-m"]),
        (["-m", "seed=0,1"], ["seed=0,1", "study.name=seeds", "-m"]),
        (["seed=0,1", "-m", "model=deep"], ["seed=0,1", "model=deep", "study.name=seeds_with_model_deep", "-m"]),
        (["seed=1", "--cfg", "job"], ["seed=1", "--cfg", "job"]),
        (
            ["--cfg", "job", "seed=1", "-p", "model"],
            ["seed=1", "--cfg", "job", "-p", "model"],
        ),
        (["seed=1", "--info", "config"], ["seed=1", "--info", "config"]),
        (["--info", "seed=1"], ["seed=1", "--info"]),
    ],
)
def test_what_is_set_comes_in_one_piece_as_hydra_takes_it(typed: list[str], passed: list[str]) -> None:
    assert name_study(typed, {}) == passed


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["model.conv.filters=8,16", "model.conv.filters=32"], r"^model\.conv\.filters: is set more than once"),
        (["seed=0,1", "-m", "seed=2"], r"^seed: is set more than once"),
        (["seed=range(0)"], r"^seed=range\(0\): is an empty range"),
        (["data=a,b"], r"^data: can't be swept"),
        (["seed=0,1", "--cfg", "job"], r"^seed=0,1: names several runs, but --cfg shows one"),
        (["seed=range(0,3,0)"], r"^seed=range\(0,3,0\): is a range whose step is 0"),
        (["model.dropout=range(0.0,0.1,0.0)"], r"is a range whose step is 0"),
        (["seed=1", "--resolve"], r"^--resolve: says how --cfg shows"),
        (["-m", "seed=range(2)", "--info"], r"^seed=range\(2\): names several runs, but --info shows one"),
    ],
)
def test_a_line_that_hydra_would_take_otherwise_is_refused_by_what_was_typed(typed: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_arguments(typed)


@pytest.mark.parametrize(
    "typed", [[], ["seed=1", "seed=2"], ["seed=0,1", "model=a,b", "-m"], ["--cfg=job", "--resolve"]]
)
def test_a_line_that_is_as_it_should_be_is_taken(typed: list[str]) -> None:
    check_arguments(typed)


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["--help"],
        ["--cfg", "job"],
        ["seed=3"],
        ["-m", "tracking=off"],
        ["+study=kernels_by_filters"],
        ["+study=kernels_by_filters", "model.conv.filters=8,16"],
        ["study.name=mine", "model.conv.filters=8,16"],
        ["++study.name=mine", "model.conv.filters=8,16"],
        ["--config-dir=/a,b", "-cd=/a,b"],
        ["tracking.experiment='a,b'"],
    ],
)
def test_a_sweep_that_has_a_name_or_chooses_nothing_is_left_as_it_was_typed(typed: list[str]) -> None:
    assert sorted(name_study(typed, {})) == sorted(typed)


@pytest.mark.parametrize("word", ["model.conv.kernel_size=[3", "a=b=,c", "model.conv.filters=8,,16"])
def test_a_word_that_is_no_override_is_refused_in_a_sentence(word: str) -> None:
    with pytest.raises(UserError, match="is no override"):
        name_study([word], {})


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (["-m", "a=1,2"], ["-m", "a=1,2"]),
        (["--multirun", "a=1,2"], ["--multirun", "a=1,2"]),
        (["-m", "--cfg", "job", "a=1"], ["--cfg", "job", "a=1"]),
        (["--multirun", "--cfg=job"], ["--cfg=job"]),
        (["-m", "-c", "job"], ["-c", "job"]),
        (["-m", "--info"], ["--info"]),
        (["-m", "-i", "config"], ["-i", "config"]),
        (["-sc", "query=bash", "-m"], ["-sc", "query=bash"]),
        (["-m", "--shell-completion"], ["--shell-completion"]),
        (["-m", "-cd", "elsewhere"], ["-m", "-cd", "elsewhere"]),
        (["-m", "-cn", "other"], ["-m", "-cn", "other"]),
    ],
)
def test_the_mode_is_left_out_only_where_hydra_refuses_it(typed: list[str], left: list[str]) -> None:
    assert without_mode(typed) == left


STUDY = declared().model_dump()


def test_what_is_declared_of_a_study_can_not_be_swept() -> None:
    jobs = [Point("", article_values() | {"study": STUDY | {"margin": margin}}) for margin in (0.5, 1.0)]
    with pytest.raises(UserError, match=r"^study: is the same for all runs"):
        launch_grid(jobs)


def test_where_runs_are_tracked_can_not_be_swept() -> None:
    # One process writes to one experiment: the other runs would silently go there too.
    jobs = [
        Point("", article_values({"model.conv.kernel_size": 99, "tracking.experiment": name}) | {"study": dict(STUDY)})
        for name in ("a", "b")
    ]
    with pytest.raises(UserError, match=r"^tracking"):
        launch_grid(jobs)


@pytest.mark.parametrize("key", ["name", "image_shape", "class_names", "files", "sources"])
def test_which_images_are_prepared_can_not_be_swept(key: str) -> None:
    # All would train on the images that are prepared, and count as one run.
    first, second = (Point(name, article_values() | {"study": dict(STUDY)}) for name in ("a=1", "a=2"))
    data = second.values["data"]
    data[key] = data[key][:-1] if isinstance(data[key], list) else "b"
    with pytest.raises(UserError, match=rf"^data\.{key}: differs in a=2, but all runs .* that are prepared\."):
        launch_grid([first, second])


def test_a_study_with_a_key_that_there_is_not_is_refused_by_its_whole_key() -> None:
    with pytest.raises(UserError, match=r"^study\.margni: is no key .*Did you mean study\.margin\?"):
        launch_grid([Point("", article_values() | {"study": STUDY | {"margni": 1}})])
