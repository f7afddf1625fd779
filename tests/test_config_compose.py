"""What conf/ composes to, and the choice that is kept."""

import copy
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import compose_and_dump
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.compose import (
    Choice,
    as_params,
    as_text,
    choose,
    compose_folder,
    compose_with,
    differences,
    read_choice,
    values,
)
from pipeline.config.guard import check_override, parse_override
from pipeline.config.layers import blocks
from pipeline.config.load import configure, leaves, read_params, read_yaml
from pipeline.config.schema import L1
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.doors import Answer, asked_here, refused
from tests.harness.project import Project
from tests.harness.settings import article_values, put, taken

NOTHING = Choice({}, {})
GROUPS = sorted(path.name for path in project.CONF.iterdir() if path.is_dir() and path.name != "study")
VARIANTS = [(group, path.stem) for group in GROUPS for path in sorted((project.CONF / group).glob("*.yaml"))]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ in which nothing is chosen."""
    shutil.copytree(project.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "chosen.yaml").write_text(as_text(NOTHING))
    return tmp_path / "conf"


def chosen_values(*overrides: str, before: Choice = NOTHING) -> dict[str, Any]:
    return values(compose_with(project.CONF, choose(before, overrides, GROUPS)))


# Variants


def test_groups_mirror_the_sections() -> None:
    assert sorted(set(article_values()) - {"seed"}) == GROUPS


@pytest.mark.parametrize(("group", "variant"), VARIANTS)
def test_every_variant_is_a_configuration_whose_network_can_exist(group: str, variant: str) -> None:
    configure(chosen_values(f"{group}={variant}"))


def test_variants_of_different_groups_go_together() -> None:
    for model in (name for group, name in VARIANTS if group == "model"):
        for training in (name for group, name in VARIANTS if group == "training"):
            configure(chosen_values(f"model={model}", f"training={training}"))


def committed(root: Path, target: Path) -> None:
    """conf/ and params.yaml as git has them, which `dvc exp run` does not change; as they are where there is no git."""
    names = "conf", "params.yaml"
    if (root / ".git").exists():
        archive = subprocess.run(("git", "archive", "HEAD", *names), cwd=root, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as found:
            found.extractall(target, filter="data")
        return
    shutil.copytree(root / names[0], target / names[0])
    shutil.copy(root / names[1], target)


def test_committed_params_yaml_is_what_the_committed_conf_composes_to(tmp_path: Path) -> None:
    committed(project.ROOT, tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == as_params(compose_folder(tmp_path / "conf"))


@pytest.mark.parametrize("has_git", [True, False])
def test_what_dvc_exp_run_leaves_is_not_what_is_committed(tmp_path: Path, has_git: bool) -> None:
    root, target = tmp_path / "root", tmp_path / "target"
    (root / "conf").mkdir(parents=True)
    (root / "conf" / "chosen.yaml").write_text("defaults: []\n", encoding="utf-8")
    (root / "params.yaml").write_text("seed: 0\n", encoding="utf-8")
    if has_git:
        own = "-c", "user.name=test", "-c", "user.email=test@localhost"
        for command in (("init", "-q"), ("add", "-A"), (*own, "commit", "-qm", "start")):
            subprocess.run(("git", *command), cwd=root, check=True)
    (root / "params.yaml").write_text("seed: 5\n", encoding="utf-8")
    target.mkdir()
    committed(root, target)
    assert (target / "params.yaml").read_text(encoding="utf-8") == ("seed: 0\n" if has_git else "seed: 5\n")
    assert (target / "conf" / "chosen.yaml").exists()


def test_variants_say_only_what_differs_from_their_base() -> None:
    assert (
        chosen_values("model=small")["model"]
        == article_values({"model.conv.filters": 16, "model.conv.kernel_size": 3})["model"]
    )
    smoke, fast = chosen_values("training=smoke")["training"], chosen_values("training=fast")["training"]
    assert smoke == fast | {"epochs": 1}


def test_numbers_in_conf_are_read_alike_by_hydra_and_by_dvc(tmp_path: Path) -> None:
    # YAML 1.1 and 1.2 disagree on some; params.yaml is read by 1.2.
    for group, variant in VARIANTS:
        found = compose_with(project.CONF, Choice({group: variant}, {}))
        (tmp_path / "params.yaml").write_text(as_params(found))
        assert read_yaml(tmp_path / "params.yaml") == values(found)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=deep", "training=fast", "tracking=off"],
        ["seed=3", "training.learning_rate=1e-4", "model.conv.kernel_size=[3,5]", "tracking.experiment='1e3'"],
        ["+model.blocks.block2.conv.kernel_size=3", "model.conv.kernel_regularizer={name: l2, l2: 0.1}"],
        ["tracking.experiment='é: #x'", "data.class_names=['yes','no','1','null','a: b']"],
        ["training.epochs=${seed}", "seed=4", "data.sources=[]", "model.blocks={}"],
    ],
)
def test_params_yaml_has_the_bytes_that_dvc_writes(conf: Path, overrides: list[str]) -> None:
    compose_and_dump(conf.parent / "params.yaml", str(conf), None, "config", "", overrides)
    assert as_params(compose_folder(conf, overrides)).encode() == (conf.parent / "params.yaml").read_bytes()


def test_choice_composes_to_what_its_overrides_compose_to(conf: Path) -> None:
    overrides = [
        "model=deep",
        "training.epochs=3",
        "model.conv.kernel_regularizer={name: l2, l2: 0.1}",
        "model.blocks.block1.pooling=max",
    ]
    assert chosen_values(*overrides) == values(compose_folder(conf, overrides))


@pytest.mark.parametrize(
    ("variant", "depth", "gone"),
    [("deep", 1, [3, 4]), ("deep", 3, [4]), ("compact_deep", 3, [4, 5]), ("compact_deep", 1, [2, 4, 5])],
)
def test_a_variants_depth_is_lowered_by_what_the_refusal_says(variant: str, depth: int, gone: list[int]) -> None:
    typed = [f"model={variant}", f"model.depth={depth}"]
    with pytest.raises(UserError) as refused:
        configure(chosen_values(*typed))
    way = [line.split()[-1] for line in str(refused.value).splitlines()]
    assert way == [f"model.blocks.block{number}=null" for number in gone]
    assert len(blocks(configure(chosen_values(*typed, *way)).model)) == depth
    assert len(blocks(configure(values(compose_folder(project.CONF, [*typed, *way]))).model)) == depth


def test_null_takes_away_what_a_variant_says_of_its_blocks() -> None:
    plain = configure(chosen_values("model=deep", "model.blocks=null"))
    assert plain.model.blocks == {}
    assert plain == configure(chosen_values("model=deep", *(f"model.blocks.block{at}=null" for at in (1, 3, 4))))


def test_one_regularizer_takes_the_place_of_another_where_mappings_are_merged(conf: Path) -> None:
    before = Choice({}, {"model.conv.kernel_regularizer": {"name": "l2", "l2": 0.1}})
    (conf / "chosen.yaml").write_text(as_text(before))
    typed = "+model.conv.kernel_regularizer={name: l1, l1: 0.2%s}"
    with pytest.raises(UserError, match=r"kernel_regularizer\.l2: is no key .* of another: \{name: l1, l2: null\}"):
        configure(values(compose_folder(conf, [typed % ""])))
    found = configure(values(compose_folder(conf, [typed % ", l2: null"]))).model.conv.kernel_regularizer
    assert found == L1(name="l1", l1=0.2)


# Refusals


@pytest.mark.parametrize(
    ("override", "empty"),
    [
        ("model.blocks={}", "model.blocks"),
        ("+model.blocks={block1: {}}", "model.blocks.block1"),
        ("model.blocks={},{block1: {pooling: none}}", "model.blocks"),
        ("training.augmentation={}", "training.augmentation"),
        ("model.conv.kernel_constraint={}", "model.conv.kernel_constraint"),
    ],
)
def test_an_empty_mapping_that_a_merge_would_pass_over_is_refused(override: str, empty: str) -> None:
    with pytest.raises(UserError) as refused:
        check_override(parse_override(override))
    assert str(refused.value) == (
        f"{empty}: {{}} changes nothing: a mapping is merged into what is there. {empty}=null takes that away."
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=dep", r"conf/model/dep: is no variant\. There are: article, compact, compact_deep, deep, small\."),
        ("data=kmnist", r"There are: fashion_mnist, mnist\. `python -m pipeline\.import_images` brings in others\.$"),
        ("training=", r"conf/training/: is no variant\. There are: article, fast, long, short, smoke\."),
        ("training.epoch=3", r"training\.epoch: is no key of the configuration\. Did you mean training\.epochs\?"),
        ("+training.epoch=3", r"training\.epoch: is no key of the configuration\. Did you mean training\.epochs\?"),
        ("model.kernel_size=3", r"Did you mean model\.conv\.kernel_size\?"),
        ("training.epochs=1,2", r"training\.epochs=1,2: holds several values; .* For several use a sweep\."),
        ("model=small,deep", r"model=small,deep: holds several values"),
        ("seed=range(3)", r"seed=range\(3\): holds several values"),
        ("seed=choice(1,2)", r"holds several values"),
        ("model=glob(*)", r"holds several values"),
        ("~training.epochs", r"~training\.epochs: a deletion can't be kept\."),
        ("~model", r"~model: a deletion can't be kept\."),
        ("hydra.verbose=true", r"hydra\.verbose=true: sets Hydra itself"),
        ("hydra/job_logging=none", r"sets Hydra itself"),
        ("model@training=deep", r"model@training=deep: sets Hydra itself"),
        (
            "data.sources.0.path=x",
            r"data\.sources\.0\.path=x: an element of a list can't be kept\. Write the whole list",
        ),
        ("training.epochs", r"training\.epochs: is no override .* Write key=value\."),
        ("training.epochs=[", r"training\.epochs=\[: is no override"),
        ("", r"is no override"),
        ("tracking.experiment=${oc.env:HOME}", r"tracking\.experiment: may refer to other keys only, not \$\{oc\.env:"),
        ("tracking.experiment=${hydra:job.name}", r"tracking\.experiment: may refer to other keys only"),
        ("tracking.experiment=a${oc.env:HOME}b", r"tracking\.experiment: may refer to other keys only"),
        ("data.class_names=[a,'${oc.env:HOME}']", r"data\.class_names\.1: may refer to other keys only"),
        ("training.epochs=${nowhere}", r"training\.epochs: Interpolation key 'nowhere' not found"),
        ("training.epochs=${training.epochs}", r"training\.epochs"),
        ("training=3", r"conf/training/3: is no variant"),
        ("data.image_shape={a: 1}", r"data\.image_shape: must be a list"),
        ("model.blocks=[1]", r"model\.blocks: must be a mapping of keys to values"),
        ("defaults=3", r"defaults"),
    ],
)
def test_overrides_that_cannot_be_chosen_are_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        configure(chosen_values(override))


def test_variants_in_a_folder_of_their_group_are_listed_too() -> None:
    assert {"options", "rules/padding"} <= set(project.variants("study"))


def test_a_variant_with_a_mapping_where_a_list_belongs_is_refused_by_its_key(conf: Path) -> None:
    (conf / "data" / "bad.yaml").write_text("defaults: [fashion_mnist]\nclass_names: {a: b}\n")
    with pytest.raises(UserError, match=r"^data\.class_names: must be a list") as refused:
        compose_folder(conf, ["data=bad"])
    assert "is missing" not in str(refused.value)


def test_the_environment_is_not_read_from_conf_either(conf: Path) -> None:
    path = conf / "tracking" / "local.yaml"
    path.write_text(path.read_text().replace("experiment: conv2d", "experiment: ${oc.env:HOME}"))
    with pytest.raises(
        UserError, match=r"conf/tracking/local\.yaml: experiment: may refer to other keys only"
    ) as refused:
        compose_folder(conf)
    assert os.environ["HOME"] not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", "a ${seed} ${oc.env:HOME}", "${model.${oc.env:HOME}}", "${ oc.env : HOME}"]
)
def test_no_interpolation_reads_the_machine(conf: Path, text: str) -> None:
    (conf / "chosen.yaml").write_text(as_text(Choice({}, {"tracking.experiment": text})))
    with pytest.raises(UserError, match=r"tracking\.experiment: may refer to other keys only"):
        compose_folder(conf)


def test_a_typo_in_conf_is_refused_with_the_nearest_key(conf: Path) -> None:
    path = conf / "model" / "small.yaml"
    path.write_text(path.read_text().replace("kernel_size", "kernl_size"))
    with pytest.raises(UserError, match=r"model\.conv\.kernl_size: .* Did you mean model\.conv\.kernel_size\?"):
        configure(values(compose_folder(conf, ["model=small"])))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.yaml", "defaults: ["),
        ("model/article.yaml", "conv: {"),
        ("model/article.yaml", "\ta: 1"),
        ("model/article.yaml", "- 1\n- 2\n"),
        ("model/article.yaml", "3"),
        ("model/article.yaml", "\x00"),
        ("config.yaml", ""),
        ("model/article.yaml", "a: ${b\n"),
        ("training/article.yaml", "defaults: [nowhere]\n"),
        ("training/article.yaml", "a: 1\na: 2\n"),
    ],
)
def test_a_broken_file_in_conf_is_refused_in_a_sentence(conf: Path, file: str, content: str) -> None:
    (conf / file).write_text(content)
    with pytest.raises(UserError):
        configure(values(compose_folder(conf)))


# The choice

KEYS = st.sampled_from(
    [
        "seed",
        "training.epochs",
        "training.schedule",
        "model.conv.filters",
        "model.blocks.block1.conv.filters",
        "model.head",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="$"))
)
TRICKY = [
    "1",
    "1e3",
    "1e-3",
    "0x1f",
    "0o17",
    "1_000",
    "12:30",
    "2020-01-01",
    "yes",
    "No",
    "on",
    "true",
    "null",
    "~",
    "",
    " ",
    "=",
    "<<",
    ".inf",
    "nan",
    "- a",
    "a: b",
    "#",
    "a #b",
    "'",
    '"',
    "\\",
    "!!x",
    "&a",
    "*a",
    "é",
    "[1]",
    "{a: 1}",
    "|",
    ">",
    "%",
    "@",
    "`",
    "?",
    "a\tb",
    "\U0001f600",
]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(GROUPS), st.sampled_from(["article", "off", "null", "1"])),
    st.dictionaries(KEYS, SCALARS | st.sampled_from(TRICKY) | st.lists(SCALARS | st.sampled_from(TRICKY), max_size=3)),
)
def test_a_choice_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, variants: Mapping[str, str], single: Mapping[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "chosen.yaml"
    path.write_text(as_text(Choice(variants, single)))
    found = read_choice(path)
    assert found == Choice(variants, single)
    assert [type(found.values[key]) for key in single] == [type(value) for value in single.values()]


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
def test_a_character_that_readers_of_yaml_dispute_is_not_chosen(character: str) -> None:
    with pytest.raises(UserError, match=rf"tracking\.experiment: holds the character U\+{ord(character):04X}"):
        chosen_values(f"tracking.experiment='a{character}b'")


def test_text_that_looks_like_something_else_stays_text() -> None:
    # Each at a key of its own, all composed at once.
    keys = (key for key, value in leaves(article_values()) if not isinstance(value, dict | list))
    texts = dict(zip(keys, TRICKY, strict=False))
    assert list(texts.values()) == TRICKY
    quoted = {key: text.replace("\\", "\\\\").replace("'", "\\'") for key, text in texts.items()}
    found = chosen_values(*(f"{key}='{text}'" for key, text in quoted.items()))
    assert {key: taken(found, key) for key in texts} == texts


@pytest.mark.parametrize(
    "override",
    [
        "model.blocks={block1: {pooling: none}, block2: {conv: {filters: 3}}}",
        "model.blocks=null",
        "data.sources=[{kind: folder, path: x}]",
    ],
)
def test_mappings_and_lists_are_kept(tmp_path: Path, override: str) -> None:
    choice = choose(NOTHING, [override], GROUPS)
    (tmp_path / "chosen.yaml").write_text(as_text(choice))
    assert read_choice(tmp_path / "chosen.yaml") == choice
    key = override.partition("=")[0]
    assert taken(values(compose_with(project.CONF, choice)), key) == taken(
        values(compose_folder(project.CONF, [f"++{override}"])), key
    )


def test_a_choice_is_kept_over_later_ones() -> None:
    choice = choose(NOTHING, ["model=small", "training.epochs=3"], GROUPS)
    choice = choose(choice, ["seed=0", "model.conv.filters=8"], GROUPS)
    assert choice == Choice({"model": "small"}, {"training.epochs": 3, "seed": 0, "model.conv.filters": 8})
    assert choose(choice, [], GROUPS) == choice


def test_a_newly_chosen_variant_drops_earlier_values_of_its_section_only() -> None:
    before = Choice({"model": "small"}, {"model.conv.filters": 8, "training.epochs": 3, "seed": 1})
    assert choose(before, ["model=deep"], GROUPS) == Choice({"model": "deep"}, {"training.epochs": 3, "seed": 1})
    # What is typed beside the variant counts, before it or after it.
    for typed in (["model=deep", "model.depth=2"], ["model.depth=2", "model=deep"]):
        found = choose(before, typed, GROUPS)
        assert found == Choice({"model": "deep"}, {"training.epochs": 3, "seed": 1, "model.depth": 2})


def test_a_value_takes_the_place_of_what_lies_inside_it_and_around_it() -> None:
    before = choose(NOTHING, ["model.conv.kernel_regularizer={name: l2, l2: 0.1}", "model.conv.kernel_size=3"], GROUPS)
    assert choose(before, ["model.conv.kernel_regularizer=null"], GROUPS).values == {
        "model.conv.kernel_size": 3,
        "model.conv.kernel_regularizer": None,
    }
    after_null = choose(
        Choice({}, {"model.conv.kernel_regularizer": None}), ["model.conv.kernel_regularizer.name=l2"], GROUPS
    )
    assert after_null.values == {"model.conv.kernel_regularizer.name": "l2"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "3",
        "a: [",
        "defaults: [x]\n",
        "defaults: {a: b}\n",
        "defaults:\n",
        "seed: 3\n",
        "defaults: [3]\n",
        "\x00",
        "a: ${b\n",
        "defaults: [{1: 2}]",
    ],
)
def test_a_broken_choice_is_refused_with_what_makes_it_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "chosen.yaml").write_text(content)
    with pytest.raises(UserError, match=r"chosen\.yaml: is not as compose writes it\. .* --reset"):
        read_choice(tmp_path / "chosen.yaml")


# Differences


def test_differences_are_by_key_with_both_values() -> None:
    before = article_values()
    after = copy.deepcopy(before)
    for key, value in {"seed": 1, "model.blocks": {"block1": {"dropout": 0.5}}, "training.epochs": 10.0}.items():
        put(after, key, value)
    del after["tracking"]["address"]
    assert sorted(differences(before, after)) == [
        ("model.blocks.block1", "(absent)", '{"dropout": 0.5}'),
        ("seed", "0", "1"),
        ("tracking.address", "null", "(absent)"),
        ("training.epochs", "10", "10.0"),
    ]
    assert not list(differences(before, copy.deepcopy(before)))


# The command


@pytest.fixture
def copied(tmp_path: Path, conf: Path) -> Path:
    """A copy of the project, nothing chosen, its params.yaml up to date."""
    # With its bytecode, but for what another process is writing.
    shutil.copytree(project.ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("*.pyc.*"))
    (tmp_path / "params.yaml").write_text(as_params(compose_folder(conf)))
    return tmp_path


def compose(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.compose", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def contents(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "params.yaml").read_bytes(), (folder / "conf" / "chosen.yaml").read_bytes()


def test_compose_helps(copied: Path) -> None:
    found = compose(copied, "--help")
    assert found.returncode == 0
    assert "python -m pipeline.compose model=deep training=fast" in found.stdout
    assert found.stderr == ""


def test_compose_writes_both_files_and_says_what_changed(copied: Path) -> None:
    found = compose(copied, "training=smoke", "model.conv.filters=8")
    assert (found.returncode, found.stderr) == (0, "")
    assert "model.conv.filters: 32 → 8\n" in found.stdout
    assert "training.epochs: 10 → 1\n" in found.stdout
    # 5 × 5 × 8 and 8 biases, on 24 × 24 places.
    assert re.search(r"block1_conv +│ 24 × 24 × 8 +│ +208 │ +115,200", found.stdout)
    configuration = read_params(copied / "params.yaml")
    assert (configuration.training.epochs, configuration.model.conv.filters) == (1, 8)
    assert (copied / "params.yaml").read_text() == as_params(compose_folder(copied / "conf"))
    assert read_choice(copied / "conf" / "chosen.yaml") == Choice({"training": "smoke"}, {"model.conv.filters": 8})
    written = contents(copied)
    again = compose(copied)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "params.yaml holds this already")
    assert contents(copied) == written


def composed_here(folder: Path, *arguments: str) -> Answer:
    return asked_here(Project(folder), "compose", *arguments)


def test_compose_resets_also_a_broken_choice(copied: Path) -> None:
    before = contents(copied)
    assert composed_here(copied, "seed=3").status == 0
    assert contents(copied) != before
    assert composed_here(copied, "--reset").status == 0
    assert contents(copied) == before
    (copied / "conf" / "chosen.yaml").write_text("[")
    broken = composed_here(copied, "seed=3")
    assert broken.status == 1
    assert broken.said.startswith("error: ")
    assert broken.said.count("\n") == 1
    assert composed_here(copied, "--reset").status == 0
    assert contents(copied) == before


@pytest.mark.parametrize("override", ["model=dep", "training.epoch=3", "model.conv.groups=3", "seed=1,2", "seed=-1"])
def test_compose_leaves_both_files_when_it_refuses(copied: Path, override: str) -> None:
    assert composed_here(copied, "seed=5").status == 0
    answer = composed_here(copied, override)
    refused(answer, override.partition("=")[0])
    assert answer.said.startswith("error: "), "nothing is said before"


def test_compose_imports_nothing_that_computes_or_tracks(copied: Path) -> None:
    program = (
        "import sys; sys.argv = ['compose', 'seed=1']\n"
        "from pipeline.compose import main\n"
        "status = main()\n"
        "print(status, sorted({'tensorflow', 'keras', 'numpy', 'mlflow', 'dvc', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=copied, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "0 []"
