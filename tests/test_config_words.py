"""What beginners write, as tutorials have it: each door gives the line that was meant."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.config.compose import Choice, as_params, as_text, choose, compose_folder, compose_with, values
from pipeline.config.load import configure, parsed, read_params
from pipeline.config.schema import L1
from pipeline.storage import project
from pipeline.studies.hydra_entry import check_arguments
from pipeline.terminal.errors import UserError
from tests.harness.settings import article_values, put

GROUPS = "data", "model", "tracking", "training"
L2 = "{name: l2, l2: 0.01}"
ADAMW = "Did you mean adam with training.weight_decay=0.004"

VALUES = [
    ("model.conv.kernel_size", "(3,3)", "[3,3]"),
    ("model.conv.kernel_size", "(3, 3)", "[3,3]"),
    ("model.pool_size", "(2,2)", "[2,2]"),
    ("model.conv.activation", "Relu", "Did you mean relu?"),
    ("model.conv.activation", "LeakyReLU", "Did you mean leaky_relu?"),
    ("model.conv.activation", "swish", "Did you mean silu?"),
    ("model.dense.activation", "Tanh", "Did you mean tanh?"),
    ("model.conv.padding", "SAME", "Did you mean same?"),
    ("training.optimizer", "Adam", "Did you mean adam?"),
    ("training.optimizer", "adamw", ADAMW),
    ("training.optimizer", "AdamW", ADAMW),
    ("model.pooling", "avg", "Did you mean average?"),
    ("model.conv.kernel_initializer", "HeNormal", "Did you mean he_normal?"),
    ("model.conv.bias_initializer", "constant", "{name: constant, value: 0.1}"),
    ("model.conv.kernel_regularizer", "L2", "Did you mean l2?"),
    ("model.conv.kernel_constraint", "max_norm", "Did you mean MaxNorm?"),
    ("model.conv.filters", "[32,64]", "model.conv.filters=32 +model.blocks.block2.conv.filters=64"),
    ("model.conv.filters", "[32,64]", "in a sweep: model.conv.filters=32,64"),
    ("model.dense.units", "128", "must be a list, not 128. Write [128]."),
    ("model.conv.kernel_regularizer", "0.01", f"Write {L2}."),
    ("model.conv.kernel_regularizer", "{l2: 0.01}", f"Write {L2}."),
    ("model.conv.kernel_regularizer", "{l1: 0.1, l2: 0.01}", "Write {name: l1_l2, l1: 0.1, l2: 0.01}."),
    ("training.warmup", "5", "It is a share of all steps: 5 of 50 epochs are 0.1."),
    ("model.blocks", "{2: {pooling: none}}", "Write block2."),
]


def by_compose(key: str, word: str) -> None:
    found = compose_with(project.CONF, choose(Choice({}, {}), [f"{key}={word}"], GROUPS))
    configure(parsed(as_params(found), "params.yaml"))


def by_sweep(key: str, word: str) -> None:
    typed = f"++{key}={word}"
    check_arguments([typed])
    configure(values(compose_folder(project.CONF, [typed])))


def by_params(path: Path, key: str, word: str) -> None:
    plain = article_values()
    put(plain, key, "WORD")
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(plain, path)
    path.write_text(path.read_text().replace("WORD", word))
    read_params(path)


def said(door: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(UserError) as refused:
        door(*arguments)
    return str(refused.value)


@pytest.mark.parametrize(("key", "word", "meant"), VALUES)
def test_each_door_gives_the_line_that_was_meant(tmp_path: Path, key: str, word: str, meant: str) -> None:
    for answer in (said(by_compose, key, word), said(by_sweep, key, word)):
        assert meant in answer
        assert answer.count("\n") == 0
        assert "mismatched" not in answer
    # There a way back is named too; and YAML has blanks where a line that is typed has none.
    assert meant.replace("[3,3]", "[3, 3]").replace("[2,2]", "[2, 2]") in said(
        by_params, tmp_path / "params.yaml", key, word
    )


TYPED = [
    (["model.conv.kernel_size=[3, 3"], "a bracket is not closed. Write it without blanks, or in quotes: "),
    (["model.conv.kernel_size=[3, 3"], "'model.conv.kernel_size=[3,3]'"),
    (["kernel_size=[3,", "3]"], "'model.conv.kernel_size=[3,3]'"),
    (["kernel_size=(3,3)"], "Write model.conv.kernel_size=[3,3]."),
    (["model.conv.kernel_size=3,3"], "For height × width write model.conv.kernel_size=[3,3]."),
    (["tracking.address=http://h/?token=x"], "nothing after a ? or #"),
    (["tracking.address=http://h/?token=x"], "tracking.address=http://h/?…: is no override."),
    (["tracking.address=http://h/(a)"], "needs quotes within quotes: \"tracking.address='http://…'\""),
]


@pytest.mark.parametrize(("words", "meant"), TYPED)
def test_what_hydras_grammar_does_not_take_is_answered_by_what_it_takes(words: list[str], meant: str) -> None:
    def sweep() -> None:
        check_arguments(words)

    for answer in (said(sweep), said(choose, Choice({}, {}), words, GROUPS)):
        assert meant in answer
        assert "mismatched" not in answer
        assert "token=x" not in answer


@pytest.mark.parametrize("key", ["training.dropout", "training.epoch", "kernel_size", "model.kernel_size", "foo"])
def test_a_key_that_there_is_not_is_answered_alike_by_compose_and_by_a_sweep(key: str) -> None:
    answer = said(compose_folder, project.CONF, [f"{key}=1"])
    assert answer == said(by_compose, key, "1")
    assert ("Did you mean model.dropout or model.dense.dropout?" in answer) == (key == "training.dropout")


def test_a_block_that_is_called_by_its_number_has_a_name() -> None:
    typed = "+model.blocks.2.pooling=none"
    assert said(choose, Choice({}, {}), [typed], GROUPS) == (
        f"{typed}: names no block. Write +model.blocks.block2.pooling=none"
    )
    assert "Write block2." in said(lambda: configure(values(compose_folder(project.CONF, [typed]))))


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        (["--epochs", "3"], "--epochs: is no option. A value is set without dashes: training.epochs=3"),
        (["--epochs=3"], "training.epochs=3"),
        (["--batch-size", "8"], "training.batch_size=8"),
        (["--kernel_size"], "model.conv.kernel_size=…"),
        (["-c", "X"], "-c: shows one of all, hydra, job. Write --cfg job"),
        (["--cfg=X"], "--cfg: shows one of all, hydra, job. Write --cfg job"),
        (["--nonsense"], "--nonsense: is no option of a sweep"),
    ],
)
def test_an_option_of_a_sweep_that_there_is_not_is_answered_by_the_value_to_set(option: list[str], meant: str) -> None:
    def sweep() -> None:
        check_arguments(option)

    assert meant in said(sweep)


def test_an_unclosed_bracket_of_a_file_is_named_where_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("model:\n  kernel_size: [3, 3\n  strides: 1\n")
    assert "a bracket that is opened in line 2 is not closed" in said(read_params, path)


@pytest.mark.parametrize("content", ["", "null\n", "# nothing\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    way = "`python -m pipeline.compose` writes params.yaml from conf/."
    assert said(read_params, path) == f"{path}: is empty. {way}"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    shutil.copytree(project.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "chosen.yaml").write_text(as_text(Choice({}, {})))
    return tmp_path / "conf"


def test_a_variant_without_its_base_is_one_line_that_names_the_base(conf: Path) -> None:
    (conf / "model" / "mine.yaml").write_text("conv: {filters: 16}\n")
    answer = said(lambda: configure(values(compose_folder(conf, ["model=mine"]))))
    assert answer.startswith("model: lacks 25 keys, model.conv.kernel_size and others. A variant begins with")
    assert "`defaults: [article]`" in answer
    assert "\n" not in answer


def test_a_kind_over_an_inherited_one_is_answered_by_the_mapping_that_replaces_it(conf: Path) -> None:
    (conf / "model" / "base.yaml").write_text("defaults: [article]\nconv: {kernel_regularizer: {name: l2, l2: 0.1}}\n")
    mine = "defaults: [base]\nconv: {kernel_regularizer: %s}\n"
    (conf / "model" / "mine.yaml").write_text(mine % "{name: l1}")
    answer = said(lambda: configure(values(compose_folder(conf, ["model=mine"]))))
    written = answer.partition("Where it is left of another: ")[2]
    assert written == "{name: l1, l2: null}"
    (conf / "model" / "mine.yaml").write_text(mine % written)
    regularizer = configure(values(compose_folder(conf, ["model=mine"]))).model.conv.kernel_regularizer
    assert regularizer == L1(name="l1")
