"""What the repository says of its own run is what its dvc.lock holds, and that was made by the code beside it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.check import fingerprints
from pipeline.config.load import leaves, read_params
from pipeline.storage import project
from pipeline.storage.digest import as_json

README = (project.ROOT / "README.md").read_text("utf-8")
METRICS = "record/evaluation/metrics.json"


def locked(stage: str) -> dict[str, Any]:
    stages = yaml.safe_load((project.ROOT / "dvc.lock").read_text("utf-8"))["stages"]
    found: dict[str, Any] = stages[stage]
    return found


def outs(stage: str) -> dict[str, str]:
    """Path → MD5 of what a stage wrote."""
    return {out["path"]: out["md5"] for out in locked(stage)["outs"]}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("stage", ["preprocess", "train", "evaluate"])
def test_the_locked_run_was_made_by_the_code_that_is_here(stage: str) -> None:
    path = f"fingerprints/{stage}.json"
    now: dict[str, Any] = json.loads(as_json(fingerprints(read_params(project.PARAMS))[stage]))
    possible = [now]
    if stage == "train":
        # Whichever Python and device made the locked run: the code is what has to be the same.
        pythons = [now | {"versions": now["versions"] | {"python": f"3.{minor}"}} for minor in (11, 12, 13)]
        possible = [python | {"device": "cpu"} for python in pythons]
    depends = {dependency["path"]: dependency["md5"] for dependency in locked(stage)["deps"]}
    assert depends[path] == outs("check")[path]
    assert depends[path] in {md5(as_json(one).encode()) for one in possible}


def test_the_locked_run_is_that_of_the_committed_configuration() -> None:
    values = read_params(project.PARAMS).model_dump(mode="json")
    for stage in ("fetch", "preprocess", "train", "evaluate"):
        for key, at in locked(stage)["params"]["params.yaml"].items():
            level: Any = values
            for part in key.split("."):
                level = level[part]
            assert dict(leaves(at, "_")) == dict(leaves(level, "_")), key


def test_the_committed_scores_are_those_of_the_locked_run() -> None:
    assert outs("evaluate")[METRICS] == md5((project.ROOT / METRICS).read_bytes())


@pytest.mark.parametrize("picture", ["confusion_matrix", "mistakes"])
def test_the_pictures_of_the_first_hour_are_those_of_the_locked_run(picture: str) -> None:
    assert f"]({picture}.png)" in (project.ROOT / "docs" / "start.md").read_text("utf-8")
    content = (project.ROOT / "docs" / f"{picture}.png").read_bytes()
    assert outs("evaluate")[f"record/evaluation/pictures/{picture}.png"] == md5(content)


def quoted() -> Iterator[float]:
    """The five seeds of the article's network, in the order in which the README quotes them."""
    (listed,) = re.findall(r"± [\d.]+ %\*\* \(mean ± standard deviation; ([\d., ]+)\)", README)
    yield from (float(score) for score in listed.split(", "))


def test_the_readme_quotes_the_score_of_the_locked_run_and_the_mean_of_its_seeds() -> None:
    accuracy = json.loads((project.ROOT / METRICS).read_text("utf-8"))["accuracy"]
    assert read_params(project.PARAMS).seed == 0
    scores = list(quoted())
    assert scores[0] == pytest.approx(100 * accuracy)
    assert len(scores) == 5
    mean = sum(scores) / 5
    deviation = (sum((score - mean) ** 2 for score in scores) / 4) ** 0.5
    assert f"> **{mean:.2f} ± {deviation:.2f} %**" in README


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "page", [*project.ROOT.glob("*.md"), *project.ROOT.glob("docs/*.md")], ids=lambda page: page.stem
)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if heading and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(_slug, headings), link
