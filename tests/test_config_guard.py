"""What no composition may do: read the machine, steer Hydra, grow without end."""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import sweep
from pipeline.config.compose import Choice, as_text, choose, compose_folder, compose_with, read_choice
from pipeline.config.guard import MOST_RUNS, check_folder, parse_override, refuse_code
from pipeline.config.load import ForbiddenError
from pipeline.storage import project
from pipeline.studies.hydra_entry import check_arguments, split_grid
from pipeline.terminal.errors import UserError

KNOWN = "sesame-42"
FORBIDDEN = "hydra.sweep.dir=/tmp/elsewhere"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", KNOWN)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    shutil.copytree(project.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "chosen.yaml").write_text(as_text(Choice({}, {})))
    return tmp_path / "conf"


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SECRET_TOKEN}",
        "a ${seed} ${oc.env:SECRET_TOKEN}",
        "${${data.name}:SECRET_TOKEN}",
        "${${data.${seed}}.env:SECRET_TOKEN}",
        "${oc.${x}:SECRET_TOKEN}",
        "${ oc.env : SECRET_TOKEN }",
        "${oc.decode:${oc.env:SECRET_TOKEN}}",
        "${oc.env:SECRET_TOKEN,'}'}",
    ],
)
def test_a_reference_that_asks_the_machine_is_refused_however_it_is_written(text: str) -> None:
    with pytest.raises(ForbiddenError, match=r"^tracking\.experiment: may refer to other keys only") as refused:
        refuse_code({"tracking": {"experiment": text}})
    assert KNOWN not in str(refused.value)


@pytest.mark.parametrize("text", ["${seed}", "a ${seed}: b", "${data.${seed}}", "$", "{}", "a:b", "${data.files[0]}"])
def test_a_reference_to_a_key_is_none_of_those(text: str) -> None:
    refuse_code({"tracking": {"experiment": text}})


def test_a_reference_whose_resolver_is_another_keys_value_is_not_followed(conf: Path) -> None:
    path = conf / "tracking" / "local.yaml"
    path.write_text(path.read_text().replace("experiment: conv2d", "experiment: ${${data.name}:SECRET_TOKEN}"))
    with pytest.raises(ForbiddenError, match=r"conf/tracking/local\.yaml: experiment: may refer"):
        compose_folder(conf, ["data.name=oc.env"])


def test_a_reference_is_refused_wherever_in_conf_it_stands_though_another_file_is_broken(conf: Path) -> None:
    (conf / "data" / "broken.yaml").write_text("a: [\n")
    with pytest.raises(UserError, match=r"^conf/data/broken\.yaml: line 2, "):
        check_folder(conf)
    path = conf / "tracking" / "server.yaml"
    path.write_text(path.read_text() + "token: ${oc.env:SECRET_TOKEN}\n")
    with pytest.raises(ForbiddenError, match=r"conf/tracking/server\.yaml: token: may refer"):
        compose_folder(conf)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=${oc.env:SECRET_TOKEN}", "model: may refer"),
        (r"model=$\{oc.env\:SECRET_TOKEN\}", "model: may refer"),
        ('tracking.experiment="${${data.name}:SECRET_TOKEN}"', r"tracking\.experiment: may refer"),
        ("model=../../outside", "model: must name a variant in conf/model, not ../../outside"),
        ("model.blocks={a: {_target_: os.system}}", r"model\.blocks\.a\._target_: names code"),
        ("+_target_=os.system", "_target_: names code"),
        ("+model._target_=os.system", r"model\._target_: names code"),
        ("hydra.run.dir=/tmp/elsewhere", "sets Hydra itself"),
        ("model@training=deep", "sets Hydra itself"),
    ],
)
def test_overrides_of_compose_and_of_sweep_do_neither(override: str, said: str) -> None:
    for door in (lambda: choose(Choice({}, {}), [override], ["model"]), lambda: check_arguments([override])):
        with pytest.raises(ForbiddenError, match=said) as refused:
            door()
        assert KNOWN not in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "hydra.sweep.dir=/tmp/elsewhere",
        "hydra.sweep.dir=${seed}",
        "hydra.launcher._target_=os.system",
        "hydra.launcher={_target_: os.system}",
        "+hydra.launcher.more={a: {_target_: os.system}}",
        "+hydra.callbacks.a._target_=os.system",
        "++hydra.hydra_logging.handlers.a.class=subprocess.Popen",
        "hydra.searchpath=[file:///tmp]",
        "+hydra.job.env_set.LD_PRELOAD=/tmp/a.so",
        "hydra.sweeper.params={a: 1}",
        "hydra/job_logging=default",
        "hydra/launcher=../../../outside",
        "hydra=none",
        "~hydra",
        "+study=../outside",
    ],
)
def test_a_sweep_does_not_steer_hydra(override: str) -> None:
    with pytest.raises(ForbiddenError):
        check_arguments(["-m", override])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-m", "seed=1,2", "model.conv.kernel_size=3,5"],
        ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["--multirun", "+study=kernels_by_filters", "hydra.verbose=true"],
        ["--cfg", "job", "--package", "model"],
        ["-sc", "query=bash"],
        ["--help"],
        ["training.learning_rate=range(0.001,0.01,0.001)", "seed=range(9,0,-1)"],
        [f"seed=range({MOST_RUNS})"],
        ["data.sources=[{kind: folder, path: ../images}]"],
    ],
)
def test_a_sweep_takes_what_a_sweep_is_for(arguments: list[str]) -> None:
    check_arguments(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", FORBIDDEN, FORBIDDEN],
        ["--package", FORBIDDEN, FORBIDDEN],
        ["-p=" + FORBIDDEN, FORBIDDEN],
        [FORBIDDEN, "-p", FORBIDDEN],
        ["-sc", FORBIDDEN],
        ["--shell-completion", FORBIDDEN],
        ["-c", "job", "-p", "model", FORBIDDEN],
        ["seed=1,2", "-m", FORBIDDEN],
        ["-i", FORBIDDEN],
        ["-c", FORBIDDEN, FORBIDDEN],
    ],
)
def test_a_word_is_an_override_by_its_place_whatever_option_it_follows_or_equals(arguments: list[str]) -> None:
    with pytest.raises((ForbiddenError, SystemExit)) as refused:
        check_arguments(arguments)
    if isinstance(refused.value, SystemExit):
        # Hydra's parser takes a few words only there, and ends.
        assert (refused.value.code, arguments[0]) in {(2, "-i"), (2, "-c")}


@pytest.mark.parametrize("option", ["--config-dir", "--config-path=/tmp", "-cn", "-cd=/tmp", "--exp=a", "--conf"])
def test_a_sweep_reads_its_own_configuration_and_no_other(option: str) -> None:
    with pytest.raises(UserError, match="is no option of a sweep"):
        check_arguments([option, "elsewhere"])


class Touch:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


def test_a_sweep_unpickles_no_earlier_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(Touch(canary)))
    monkeypatch.setattr(sys, "argv", ["sweep", "--experimental-rerun", str(tmp_path / "config.pickle")])
    with pytest.raises(UserError, match="--experimental-rerun: is no option"):
        sweep.main()
    assert not canary.exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=range(10001)"],
        ["seed=range(100000000000)"],
        [f"seed=range({'9' * 400})"],
        ["seed=range(101)", "training.epochs=range(1,101)"],
        ["model.conv.filters=16,32,64", "seed=range(10)", "training.batch_size=range(1,1000)"],
    ],
)
def test_a_sweep_larger_than_memory_is_refused_before_it_is_laid_out(overrides: list[str]) -> None:
    with pytest.raises(UserError, match=r"this sweep has [\d,]+ runs; a sweep has at most 10,000"):
        split_grid([parse_override(override) for override in overrides])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("study/a.yaml", "# @package _global_\nhydra: {callbacks: {a: {x: 1}}}\n"),
        ("study/a.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: 1}, max_batch_size: 3}}\n"),
        ("study/a.yaml", "# @package _global_\nhydra: {sweeper: {params: {hydra.sweep.dir: /tmp}}}\n"),
        ("study/a.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: '${oc.env:SECRET_TOKEN}'}}}\n"),
        ("study/a.yaml", "# @package _global_\nhydra: [1]\n"),
        ("study/a.yaml", "# @package hydra.callbacks\na: {x: 1}\n"),
        ("study/a.yaml", "#@package   _global_.hydra\nrun: {dir: /tmp}\n"),
        ("study/a.yaml", "defaults:\n  - /model@hydra.callbacks: small\n"),
        ("study/a.yaml", "defaults:\n  - override /hydra/job_logging: default\n"),
        ("study/a.yaml", "defaults:\n  - /model: ${oc.env:SECRET_TOKEN}\n"),
        ("model/a.yaml", "defaults:\n  - ../../outside\n"),
        ("model/a.yaml", "defaults: [article]\nconv: {_target_: os.system}\n"),
        ("model/a.yaml", "blocks:\n  - {_target_: os.system}\n"),
        ("hydra/launcher/a.yaml", "a: 1\n"),
        ("chosen.yaml", "# @package _global_\ndefaults: []\nhydra: {run: {dir: /tmp}}\n"),
        ("chosen.yaml", "# @package _global_\ndefaults:\n- override /model: ${oc.env:SECRET_TOKEN}\n"),
    ],
)
def test_a_file_of_conf_that_does_more_than_state_values_is_refused(conf: Path, file: str, content: str) -> None:
    (conf / file).parent.mkdir(parents=True, exist_ok=True)
    (conf / file).write_text(content)
    for door in (lambda: check_folder(conf), lambda: compose_folder(conf)):
        with pytest.raises(ForbiddenError, match="conf/") as refused:
            door()
        assert KNOWN not in str(refused.value)


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("chosen.yaml", "# @package _global_\ndefaults: []\n# a{}hydra:{}  run: {{dir: /tmp}}\n"),
        ("study/a.yaml", "# @package _global_\n# a{}hydra:{}  callbacks: {{a: {{_target_: os.system}}}}\n"),
        ("model/a.yaml", "# a{}conv:{}  filters: ${{oc.env:SECRET_TOKEN}}\n"),
        ("config.yaml", "# a{}hydra: {{}} #{}\n"),
    ],
)
def test_a_character_that_ends_a_comment_for_one_reader_only_is_refused(
    conf: Path, file: str, content: str, character: str
) -> None:
    (conf / file).write_text(content.format(character, character), encoding="utf-8")
    for door in (lambda: check_folder(conf), lambda: compose_folder(conf)):
        with pytest.raises(ForbiddenError, match=rf"^conf/{file}: line \d, holds the character U\+"):
            door()


@pytest.mark.parametrize("file", ["a.yaml", ".yaml"])
def test_what_is_looked_at_is_what_hydra_loads(conf: Path, file: str) -> None:
    """A merge without an alias is no mapping for every reader; a name may be an ending alone."""
    (conf / "study" / file).write_text("# @package _global_\n<<: {hydra: {run: {dir: /tmp}}}\n")
    with pytest.raises(ForbiddenError, match=rf"^conf/study/{file}: hydra: may hold sweeper\.params only"):
        check_folder(conf)


def linked_file(conf: Path, outside: Path) -> None:
    (conf / "study" / "a.yaml").symlink_to(outside / "a.yaml")


def linked_folder(conf: Path, outside: Path) -> None:
    (conf / "study" / "more").symlink_to(outside)


def linked_group(conf: Path, outside: Path) -> None:
    (conf / "tracking").rename(outside / "tracking")
    (conf / "tracking").symlink_to(outside / "tracking")


def linked_hydra(conf: Path, outside: Path) -> None:
    (conf / "hydra").symlink_to(outside)


def linked_to_nothing(conf: Path, outside: Path) -> None:
    (conf / "model" / "later.yaml").symlink_to(outside / "later.yaml")


@pytest.mark.parametrize("link", [linked_file, linked_folder, linked_group, linked_hydra, linked_to_nothing])
def test_a_link_in_conf_is_refused_which_hydra_would_follow(
    conf: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.yaml").write_text("# @package _global_\nhydra: {run: {dir: /tmp}}\n")
    link(conf, outside)
    for door in (
        lambda: check_folder(conf),
        lambda: compose_folder(conf),
        lambda: compose_with(conf, Choice({}, {})),
    ):
        with pytest.raises(ForbiddenError, match=r"/(study/a\.yaml|study/more|tracking|hydra|model/later\.yaml): "):
            door()


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a0: &a0 [1]\n" + LAUGHS, "write the value itself in place of"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "levels deep"),
        ("a: 1\n" + "#" * 2_000_000, "is larger than"),
        ("a: !!python/object/apply:os.system [touch canary]\n", "conf/model/small.yaml"),
    ],
)
def test_a_bomb_in_conf_is_refused_by_its_file_before_hydra_unfolds_it(conf: Path, content: str, said: str) -> None:
    (conf / "model" / "small.yaml").write_text(content)
    with pytest.raises(UserError, match=said) as refused:
        compose_folder(conf, ["model=small"])
    assert str(refused.value).startswith("conf/model/small.yaml:")


def test_a_bomb_in_what_was_chosen_is_not_unfolded_when_the_choice_is_read(conf: Path) -> None:
    (conf / "chosen.yaml").write_text("a0: &a0 [1]\n" + LAUGHS + "defaults: []\n")
    with pytest.raises(UserError, match="is not as compose writes it"):
        read_choice(conf / "chosen.yaml")


def test_conf_as_it_is_does_nothing_of_that() -> None:
    check_folder(project.CONF)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["++data.image_shape={a: 1}"], r"^data\.image_shape: "),
        (
            ["model.blocks={block1: {dropout: 0.5}}"],
            r"^model\.blocks\.block1: is not there yet\. Write \+model\.blocks",
        ),
    ],
)
def test_what_hydra_does_not_say_is_said_by_its_key(conf: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compose_folder(conf, overrides)
