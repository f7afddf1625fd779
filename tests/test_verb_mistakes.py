"""A mistake left in params.yaml, as `dvc exp run -S training.epochs=-1` leaves one: who minds, and the way back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.doors import asked_here
from tests.harness.project import Project, new_project


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return new_project(tmp_path_factory.mktemp("mistaken"), "model=small", "training=smoke")


@pytest.fixture
def mistaken(own: Project) -> Iterator[Project]:
    before = (own.path / "params.yaml").read_bytes()
    own.edit_params({"training.epochs": -1})
    yield own
    (own.path / "params.yaml").write_bytes(before)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("ui", "--port", "99999"), "port 99999"),
        (("compare", "nothing"), "nothing: is no study here"),
        (("promote", "nothing"), "nothing: is no study here"),
        (("track", "nothing"), "nothing: is no study here"),
        (("track",), "there is no record. Run: dvc repro"),
        (("reproduce", "record"), "record: there is no record. Run: dvc repro"),
        (("preprocess",), "train-images-idx3-ubyte"),
    ],
)
def test_a_verb_does_not_mind_a_mistake_in_a_section_that_it_does_not_read(
    mistaken: Project, verb: tuple[str, ...], said: str
) -> None:
    answer = asked_here(mistaken, *verb)
    assert answer.status == 1
    assert "training.epochs" not in answer.said
    assert said in answer.said


@pytest.mark.parametrize("verb", ["check", "train"])
def test_one_that_reads_it_names_the_file_and_the_way_back(mistaken: Project, verb: str) -> None:
    output = mistaken.verb(verb, status=1)
    assert "error: training.epochs: must be at least 1, not -1.\n" in output
    assert f"So says {mistaken.path / 'params.yaml'}. `python -m pipeline.compose` writes it anew from conf/." in output
    assert "training.epochs: -1 → 1" in asked_here(mistaken, "compose").said
    assert mistaken.params()["training"]["epochs"] == 1


def test_a_mistake_in_the_section_that_is_read_is_named_with_the_way_back(mistaken: Project) -> None:
    mistaken.edit_params({"tracking.enabled": "perhaps"})
    output = asked_here(mistaken, "ui", "--port", "99999").said
    assert 'error: tracking.enabled: must be true or false, not "perhaps".\n' in output
    assert "`python -m pipeline.compose` writes it anew" in output


@pytest.mark.parametrize("content", ["data: [", "", "- 1\n"])
def test_compose_writes_a_torn_params_yaml_anew(mistaken: Project, content: str) -> None:
    path: Path = mistaken.path / "params.yaml"
    path.write_text(content, encoding="utf-8")
    assert "params.yaml written" in asked_here(mistaken, "compose").said
    assert mistaken.params()["training"]["epochs"] == 1


def test_what_conf_does_not_compose_to_is_noted_but_not_where_dvc_composed_it_just_now(mistaken: Project) -> None:
    mistaken.edit_params({"training.epochs": 7})
    assert "note: params.yaml counts" in asked_here(mistaken, "check").said
    assert "note:" not in mistaken.verb("check", DVC_EXP_NAME="soupy-over")
