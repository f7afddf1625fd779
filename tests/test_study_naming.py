"""What `python -m pipeline.sweep` makes of the words that a person typed."""

import pytest

from pipeline.composition.arguments import without_mode
from pipeline.study.launching import launch_grid
from pipeline.study.naming import named
from pipeline.terminal.errors import UserError
from tests.settings import article_values


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["model.conv.kernel_size=3,5,7", "model.conv.filters=16,32", "seed=range(3)"], "filters_by_kernel_size"),
        (["seed=range(10)", "model.conv.filters=16,32", "model.conv.kernel_size=3,5"], "filters_by_kernel_size"),
        (["-m", "model=small,deep"], "model"),
        (["model=choice(small,deep)", "training=fast"], "model"),
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
    ],
)
def test_an_ad_hoc_sweep_is_named_after_its_keys(typed: list[str], name: str) -> None:
    assert named(typed) == [*typed, f"study.name={name}"]


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["--help"],
        ["--cfg", "job"],
        ["model.conv.filters=8"],
        ["model.conv.kernel_size=[3,5]"],
        ["+study=kernels_by_filters"],
        ["+study=kernels_by_filters", "model.conv.filters=8,16"],
        ["study.name=mine", "model.conv.filters=8,16"],
        ["++study.name=mine", "model.conv.filters=8,16"],
        ["--config-dir=/a,b", "-cd=/a,b"],
        ["tracking.experiment='a,b'"],
        ["~model.blocks"],
    ],
)
def test_a_sweep_that_has_a_name_or_sweeps_nothing_is_left_as_it_was_typed(typed: list[str]) -> None:
    assert named(typed) == typed


@pytest.mark.parametrize("word", ["model.conv.kernel_size=[3", "a=b=,c", "model.conv.filters=8,,16"])
def test_a_word_that_is_no_override_is_refused_in_a_sentence(word: str) -> None:
    with pytest.raises(UserError, match="is no override"):
        named([word])


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


STUDY = {
    "name": "a",
    "baseline": None,
    "margin": 0.5,
    "score_on": "validation",
    "leave_out_refused": False,
    "jobs": None,
    "pictures": False,
}


def test_what_is_declared_of_a_study_can_not_be_swept() -> None:
    jobs = [("", article_values() | {"study": STUDY | {"margin": margin}}) for margin in (0.5, 1.0)]
    with pytest.raises(UserError, match=r"^study: is the same for all runs"):
        launch_grid(jobs)


def test_where_runs_are_tracked_can_not_be_swept() -> None:
    # One process writes to one experiment: the other runs would silently go there too.
    jobs = [
        ("", article_values({"model.conv.kernel_size": 99, "tracking.experiment": name}) | {"study": dict(STUDY)})
        for name in ("a", "b")
    ]
    with pytest.raises(UserError, match=r"^tracking"):
        launch_grid(jobs)


def test_a_study_with_a_key_that_there_is_not_is_refused_by_its_whole_key() -> None:
    with pytest.raises(UserError, match=r"^study\.margni: is no key .*Did you mean study\.margin\?"):
        launch_grid([("", article_values() | {"study": STUDY | {"margni": 1}})])
