"""Bad configurations through every door that is ours: refused by their key, nothing written."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config.compose import Choice, as_params, choose, compose_with
from pipeline.config.load import configure, leaves, parsed, read_params
from pipeline.config.schema import Configuration
from pipeline.storage import project
from pipeline.terminal.errors import UserError
from tests.harness.bad_configurations import Bad, every, overrides, params_yaml
from tests.harness.doors import DOORS, Answer, asked, asked_here, prepared, refused, through
from tests.harness.project import Project
from tests.harness.rules import BLOCK_RULES, RULES
from tests.harness.settings import article_values

EVERY = every()
GROUPS = "data", "model", "tracking", "training"


def test_they_are_over_every_key() -> None:
    assert len(EVERY) > 1_500
    keys = {key for key, _ in leaves(article_values())}
    assert keys <= {key for bad in EVERY for key in bad.changes} | {"data.sources"}
    assert RULES.keys() | BLOCK_RULES.keys() <= {key for bad in EVERY[:160] for key in bad.changes}


def test_all_are_refused_by_their_key() -> None:
    for bad in EVERY:
        with pytest.raises(UserError) as error:
            configure(article_values(bad.changes))
        assert bad.named in str(error.value), bad


def test_each_keys_first_is_refused_as_a_file_that_was_edited_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = as_params(compose_with(project.CONF, Choice({}, {})))
    for bad in EVERY[:160]:
        path.write_text(text)
        params_yaml(bad, path)
        with pytest.raises(UserError) as error:
            read_params(path)
        assert bad.named in str(error.value), bad


def test_a_sample_is_refused_as_overrides_that_are_chosen() -> None:
    words = [(bad, found) for bad in EVERY if (found := overrides(bad)) is not None]
    assert len(words) > 1_000
    for bad, found in random.Random(0).sample(words, 25):
        with pytest.raises(UserError) as error:
            composed(found)
        assert bad.named in str(error.value), bad


def composed(words: list[str]) -> Configuration:
    found = compose_with(project.CONF, choose(Choice({}, {}), words, GROUPS))
    return configure(parsed(as_params(found), "params.yaml"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return prepared(tmp_path_factory.mktemp("doors"))


@pytest.fixture
def door_project(made: Project) -> Iterator[Project]:
    kept = {path: path.read_bytes() for path in (made.path / "params.yaml", made.path / "conf" / "chosen.yaml")}
    yield made
    for path, content in kept.items():
        path.write_bytes(content)
    for variant in (made.path / "conf").rglob("bad.yaml"):
        variant.unlink()


SAMPLE = [bad for bad in EVERY[:400] if overrides(bad) is not None]


@pytest.mark.parametrize(
    ("door", "bad", "ask"),
    [
        (door, bad, asked_here if number else asked)
        for door in DOORS
        for number, bad in enumerate(random.Random(door).sample(SAMPLE, 8))
    ],
)
def test_a_door_refuses_in_a_sentence_and_writes_nothing(
    door_project: Project, door: str, bad: Bad, ask: Callable[..., Answer]
) -> None:
    if (answer := through(door, bad, door_project, ask)) is not None:
        refused(answer, bad.named)


def test_a_refusal_imports_nothing_that_takes_seconds(door_project: Project) -> None:
    params_yaml(EVERY[0], door_project.path / "params.yaml")
    program = (
        "import sys\nfrom pipeline import check\nsys.argv = ['check']\n"
        "try:\n    check.main()\nexcept check.UserError:\n"
        "    print(sorted({'tensorflow', 'keras', 'mlflow', 'dvc', 'matplotlib'} & set(sys.modules)))"
    )
    assert door_project.run(sys.executable, "-c", program).splitlines()[-1] == "[]"
