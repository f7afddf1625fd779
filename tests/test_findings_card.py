"""The card of a released model: derived from the record alone, readable where it is read."""

import re
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from pipeline.findings.card import PICTURES, write_card
from pipeline.run.record import EVALUATION, TRAINING, EvaluationPart, read_training
from tests.harness.settings import article
from tests.harness.studies import a_project, write_record

RUN_ID = "0123456789abcdef0123456789abcdef"
ACTUAL = ["cat"] * 4 + ["dog"] * 6
PREDICTED = ["cat", "dog", "dog", "cat"] + ["dog"] * 5 + ["cat"]
"""7 of 10 right; of no bird was there an image."""


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationPart:
    """What a scoring on ten test images has left beside the training part of a run."""
    a_project(monkeypatch, tmp_path)
    write_record(tmp_path, article(), accuracy=None)
    folder = tmp_path / EVALUATION
    (folder / "pictures").mkdir(parents=True)
    for name in PICTURES.values():
        (folder / "pictures" / name).write_bytes(b"a picture")
    right = [a == p for a, p in zip(ACTUAL, PREDICTED, strict=True)]
    np.save(folder / "correct.npy", np.array(right))
    lines = [f"{n},{a},{p},0.9,{str(a == p).lower()}" for n, (a, p) in enumerate(zip(ACTUAL, PREDICTED, strict=True))]
    (folder / "predictions.csv").write_text("\n".join(["image,actual,predicted,probability,correct", *lines]))
    (folder / "per_class.csv").write_text(
        "class,precision,recall,f1,support\ncat,0.666667,0.500000,0.571429,4\ndog,0.714286,0.833333,0.769231,6\n"
        "bird,0.000000,0.000000,0.000000,0\n"
    )
    return EvaluationPart(
        "0", "test", "digest-of-images", "pets", ["cat", "dog", "bird"], "s", {},
        scores={"accuracy": 0.7, "expected_calibration_error": 0.0273}, folder=folder,
    )  # fmt: skip


def card(scored: EvaluationPart, opened: int = 1) -> tuple[str, dict[str, str]]:
    return write_card(read_training(scored.folder.parent / TRAINING), scored, "pets/3", RUN_ID, opened)


def wilson(right: int, images: int) -> str:
    """By Wilson's formula (1927), 95 %, without continuity correction."""
    z, share = 1.959964, right / images
    middle, half = share + z**2 / (2 * images), z * sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    low, high = (100 * (middle + sign * half) / (1 + z**2 / images) for sign in (-1, 1))
    return f"{low:.2f} % {{}} {high:.2f} %"


def test_scores_have_their_intervals_and_mistakes_are_counted(scored: EvaluationPart) -> None:
    text, _ = card(scored)
    assert f"Between {wilson(7, 10).format('and')}" in text
    assert f"| cat | 66.67 % | 50.00 % | {wilson(2, 4).format('to')} | 57.14 % | 4 |" in text
    assert "| bird | 0.00 % | 0.00 % |  | 0.00 % | 0 |" in text
    assert "cat taken for dog (2), dog taken for cat (1)." in text
    assert "its probability is 2.73 points off" in text


def test_it_names_the_version_and_the_run_that_it_is_of(scored: EvaluationPart) -> None:
    text, _ = card(scored)
    assert "predict photo.png --model models:/pets/3\n" in text
    assert f"`python -m pipeline.reproduce {RUN_ID}`" in text
    assert "filters 64, kernel\\_size 5" in text
    assert "seed 0, epochs 10, batch\\_size 32, optimizer adam" in text


def test_it_says_what_decided_where_the_clock_that_knew_the_machine_is_gone(scored: EvaluationPart) -> None:
    for clock in (scored.folder.parent / "clock").iterdir():
        clock.unlink()
    text, _ = card(scored)
    assert re.search(r"\| versions \| python 3\.\d+, keras 3", text)
    assert "| machine | unknown |" in text


@pytest.mark.parametrize(("opened", "words"), [(1, "no other network in this store"), (3, "scored 3 networks")])
def test_it_counts_how_often_the_test_images_were_opened(scored: EvaluationPart, opened: int, words: str) -> None:
    assert words in card(scored, opened)[0]


def test_pictures_are_where_the_file_says_in_the_page_itself_and_not_in_a_description(scored: EvaluationPart) -> None:
    text, files = card(scored)
    assert "![" not in text
    assert "`card/card.html`" in text
    # As it lies among the artifacts of its run.
    beside = scored.folder.parent / "card"
    paths = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", files["card.md"])
    assert len(paths) == len(PICTURES)
    assert all((beside.parent / path.removeprefix("../")).read_bytes() == b"a picture" for path in paths)
    assert files["card.html"].count('<img src="data:image/png;base64,') == len(PICTURES)
    assert "../" not in files["card.html"]
