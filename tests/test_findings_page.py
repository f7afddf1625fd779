"""The page: each section with its figures, self-contained, and nothing of its text taken for markup."""

import base64
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pydantic import JsonValue

from pipeline.figures import style
from pipeline.findings import figures, tables, write
from pipeline.findings.comparison import Comparison
from pipeline.findings.load import ScoredImages, from_study
from pipeline.findings.results import compute_results
from pipeline.findings.write import escape_markdown, fenced, write_report
from pipeline.statistics.scores import Scores
from tests.harness.reports import FILTERS, KERNELS, answers, comparison, grid_values, random_scores, write_study
from tests.harness.studies import a_project, prepare

HOSTILE = '<script>alert(1)</script> | `x`\n\n# *big* [a](javascript:alert(1)) <img src=x onerror="y">'


def markdown(found: Comparison) -> str:
    return write.markdown(compute_results(found), ScoredImages(missing="none here."))


def html(found: Comparison) -> str:
    return write.html(compute_results(found), markdown(found), {}, {})


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of ten seeds of nine settings with their records, one of which failed, as files."""
    patch = pytest.MonkeyPatch()
    a_project(patch, tmp_path_factory.mktemp("project"))
    prepare()
    scores = random_scores(10)
    scores[0, 3] = math.nan
    found = from_study(write_study(scores))
    folder = tmp_path_factory.mktemp("reports") / "kernels"
    write_report(compute_results(found), folder)
    patch.undo()
    return folder


class Parsed(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_folder_holds_the_report_in_all_its_forms(full: Path) -> None:
    names = {path.relative_to(full).as_posix() for path in full.rglob("*") if path.is_file()}
    assert names == {"report.html", "report.md", "results.csv", "runs.csv", "table.tex"} | {
        f"pictures/{name}.svg" for name in ("settings", "differences", "effects", "costs", "curves", "disputed")
    }


def test_the_page_needs_nothing_but_itself(full: Path) -> None:
    text = (full / "report.html").read_text()
    parsed = Parsed(text)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in parsed.tags}
    pointing = [
        value or "" for _, attributes in parsed.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(value.startswith(("data:image/svg+xml;base64,", "#")) for value in pointing)
    assert "url(" not in text
    assert "@import" not in text
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(pictures) == 6
    assert all(len(attributes["alt"] or "") > 40 for attributes in pictures)


def test_a_phone_has_pictures_of_its_own(full: Path) -> None:
    tags = Parsed((full / "report.html").read_text()).tags
    sources = [attributes for tag, attributes in tags if tag == "source"]
    assert [source["media"] for source in sources] == ["(max-width: 40rem)"] * 6
    for source in sources:
        picture = base64.b64decode(str(source["srcset"]).removeprefix("data:image/svg+xml;base64,")).decode()
        assert re.search(r'<svg [^>]*width="302.4pt"', picture), "4.2 inches"


def test_settings_stand_by_their_mean_and_the_picture_of_differences_under_the_headline(full: Path) -> None:
    text = (full / "report.md").read_text()
    first, settings = text.partition("## All settings")[::2]
    assert first.index("# 5 × 5 kernels, 64 filters: better") < first.index("(pictures/differences.svg)")
    assert first.index("(pictures/differences.svg)") < first.index("**What each argument does**")
    labels = [line.split(" | ")[0].removeprefix("| ") for line in settings.splitlines() if line.startswith("| ")]
    order = np.argsort(-np.nanmean(np.where(np.arange(90).reshape(9, 10) == 3, np.nan, random_scores(10)), axis=1))
    names = [f"{kernel} × {kernel} kernels, {filters} filters" for kernel in KERNELS for filters in FILTERS]
    assert [label.partition(" **")[0] for label in labels[1:10]] == [names[row] for row in order]


def test_of_fifty_settings_the_best_are_drawn_first_and_the_table_has_all() -> None:
    found = comparison([[80 + row / 10, 80.1 + row / 10, 80.3 + row / 10] for row in range(50)])
    text = markdown(found)
    first, settings = text.partition("## All settings")[::2]
    assert "The best 24 are drawn; the table below has all." in first
    assert settings.partition("## Each by itself")[0].count("\n| ") == 51
    assert " more: see the report" in write.answer(compute_results(found))


@pytest.mark.parametrize("word", ["simultaneous", "omega", "Pareto", "Bonferroni", "Spearman"])
def test_the_answer_needs_no_statistics(full: Path, word: str) -> None:
    assert word not in (full / "report.md").read_text().partition("## All settings")[0]


def test_each_verdict_has_its_colour_and_what_is_long_is_folded(full: Path) -> None:
    tags = Parsed((full / "report.html").read_text()).tags
    verdicts = {str(attributes["class"]) for tag, attributes in tags if tag == "td" and "class" in attributes}
    assert verdicts == {"verdict better", "verdict worse", "verdict equivalent", "verdict cant-tell"} & verdicts
    assert {"verdict better", "verdict worse"} <= verdicts
    assert sum(attributes.get("class") == "marked" for tag, attributes in tags if tag == "tr") == 4
    assert [tag for tag, _ in tags].count("details") == 1


def test_links_within_the_page_lead_somewhere(full: Path) -> None:
    parsed = Parsed((full / "report.html").read_text())
    anchors = {attributes.get("id") for _, attributes in parsed.tags}
    links = [str(attributes["href"])[1:] for tag, attributes in parsed.tags if tag == "a"]
    assert links == [
        "all-settings", "each-by-itself", "what-each-argument-does", "what-accuracy-costs", "learning-curves", "images",
        "what-this-rests-on",
    ]  # fmt: skip
    assert set(links) <= anchors


def test_markdown_names_pictures_that_lie_beside_it(full: Path) -> None:
    text = (full / "report.md").read_text()
    named = re.findall(r"\]\((pictures/\w+\.svg)\)", text)
    assert len(named) == 6
    assert all((full / name).is_file() for name in named)


def test_every_table_row_of_the_markdown_has_the_columns_of_its_heading(full: Path) -> None:
    lines = (full / "report.md").read_text().splitlines()
    tables = [number for number, line in enumerate(lines) if re.fullmatch(r"\|[-:|]+\|", line)]
    assert len(tables) >= 7
    for rule in tables:
        width = lines[rule].count("|")
        assert lines[rule - 1].count("|") == width
        rows = _until_blank(lines[rule + 1 :])
        assert rows
        assert all(line.count("|") == width for line in rows)


def test_results_are_the_figures_of_the_scores(full: Path) -> None:
    rows = list(csv.DictReader((full / "results.csv").open()))
    scores = random_scores(10)
    scores[0, 3] = math.nan
    for row, own in zip(rows, scores, strict=True):
        assert float(row["mean"]) == pytest.approx(np.nanmean(own))
        assert float(row["deviation"]) == pytest.approx(np.nanstd(own, ddof=1))
    assert [row["failed"] for row in rows] == ["1"] + ["0"] * 8
    assert [row["baseline"] for row in rows].index("true") == 4
    assert rows[4]["difference"] == ""
    assert float(rows[5]["difference"]) == pytest.approx((scores[5] - scores[4]).mean())
    assert (rows[5]["model.conv.kernel_size"], rows[5]["model.conv.filters"]) == ("5", "64")
    assert len(list(csv.DictReader((full / "runs.csv").open()))) == 90


def test_each_section_holds_its_figures(full: Path) -> None:
    text = (full / "report.md").read_text()
    scores = random_scores(10)
    difference, mean = (scores[5] - scores[4]).mean(), scores[5].mean()
    assert f"| 5 × 5 kernels, 64 filters **(highest mean)** | better, on these images | {difference:+.2f} |" in text
    assert re.search(rf"\| {mean:.2f} \| {scores[5].std(ddof=1):.2f} \| 10 \| 0 \|", text)
    assert re.search(r"\| 3 × 3 kernels, 16 filters \| worse.* \| 9 \| 1 failed \|", text)
    assert "rank correlation" in text
    # Seed 3 is not whole: nine blocks are left for the effects.
    assert "over the 9 seeds that every setting has" in text
    assert "95 % interval for other seeds and other images" in text
    assert "out of memory" in text
    assert "commit abc" in text
    assert "python -m pipeline.promote kernels\n" in text
    assert "| test images | not opened by any of these runs |" in text


def test_what_follows_from_a_study_without_a_verdict_asks_to_do_it_anyway() -> None:
    text = markdown(comparison([[90.0, 90.1], [90.2, 90.3]]))
    assert "python -m pipeline.promote kernels --anyway\n" in text
    assert "python -m pipeline.reproduce run-1-0\n" in text


def test_what_was_selected_on_test_images_is_not_advised_to_be_promoted() -> None:
    text = markdown(comparison(random_scores(10), grid_values(), baseline=4, images="test"))
    assert "python -m pipeline.reproduce run-5-0\n" in text
    assert "pipeline.promote" not in text


def test_scores_that_no_seed_changes_have_no_interval_and_no_noise_anywhere() -> None:
    text = markdown(comparison([[90.0] * 10, [91.0] * 10]))
    assert "The seed changes nothing there" in text
    assert "| 91.00 | – | 91.00 to 91.00 |" in text, "no interval; lowest to highest is a fact"
    for end in ("0.00", "+1.00", "+0.50"):
        assert f"{end} to {end}" not in text
    assert "± 0.00" not in text


def test_runs_that_are_missing_are_done_by_the_same_sweep_and_not_by_more_seeds() -> None:
    text = markdown(comparison([[90.0, 90.1], [90.2, math.nan]]))
    assert "The study's sweep, typed again, does the runs that failed or are missing." in text
    assert "a longer list of seeds" not in text


def _until_blank(lines: Sequence[str]) -> list[str]:
    return list(lines[: list(lines).index("")])


# Studies that lack something


def test_an_incomplete_grid_lists_the_missing_combination() -> None:
    scores = random_scores(10)
    scores[8] = math.nan
    text = markdown(comparison(scores, grid_values(), baseline=4))
    assert "1 combination has no score: 7 × 7 kernels, 64 filters." in text
    assert "share of variance" not in text


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (random_scores(2), "No verdict yet: 2 seeds a setting are too few; it takes at least 3"),
        (random_scores(1), "No verdict yet: 1 seed a setting is too few"),
        (np.full((9, 3), math.nan), "Nothing can be said"),
        (random_scores(10)[:1], "One setting"),
    ],
)
def test_a_study_that_supports_little_has_a_report_that_says_so(scores: Scores, words: str) -> None:
    found = comparison(scores, grid_values()[: len(scores)])
    assert words in html(found)
    assert words in markdown(found)
    assert tables.as_csv(tables.settings(compute_results(found))).count("\n") == len(scores) + 1


def test_a_diverged_run_does_not_hide_the_others_in_the_pictures_nor_is_it_hidden() -> None:
    scores = random_scores(10)
    scores[3, 2] = 10.0
    text = markdown(comparison(scores, grid_values(), baseline=4, outcomes={(3, 2): "diverged"}))
    assert "| 1 diverged |" in text
    assert "| 2 | diverged, 10.00 % |" in text
    assert "the standard deviation is 0." in text, "the noise is that of the runs that learned"


def test_unfinished_studies_and_opened_test_images_are_said_at_the_top() -> None:
    scores = random_scores(10)
    scores[0, 0] = math.nan
    found = comparison(scores, grid_values(), baseline=4, outcomes={(0, 0): "waiting"}, images="test")
    top = markdown(found).partition("## ")[0]
    assert "The test images were opened for this study (at 2023-11-14 22:13 UTC)." in top
    assert "1 of 90 runs has not been done" in top


# Untrusted text


def test_hostile_labels_stay_text_in_html() -> None:
    values: list[dict[str, JsonValue]] = [{"note": HOSTILE}, {"note": "plain"}]
    found = comparison([[90.0, 90.1], [90.2, 90.3]], values)
    parsed = Parsed(html(found))
    tags = {tag for tag, _ in parsed.tags}
    assert "script" not in tags
    assert not any("onerror" in attributes for _, attributes in parsed.tags)
    assert "<script>alert(1)</script>" in "".join(parsed.words)


def test_a_hostile_label_is_no_attribute_of_a_picture_and_no_picture_of_its_own() -> None:
    hostile = '" onerror="y" x="](pictures/settings.svg) ![z](https://example.org/z.svg) [a](javascript:alert(1))'
    found = comparison([[90.0, 90.1], [90.2, 90.3]], [{"note": hostile}, {"note": "plain"}])
    page = write.html(compute_results(found), markdown(found), {"settings": b"png"}, {"settings": b"png"})
    tags = Parsed(page).tags
    assert not any("onerror" in attributes for _, attributes in tags)
    (image,) = [attributes for tag, attributes in tags if tag == "img"]
    assert hostile in str(image["alt"])
    assert {str(attributes["href"])[0] for tag, attributes in tags if tag == "a"} == {"#"}


def test_hostile_labels_stay_text_in_markdown() -> None:
    values: list[dict[str, JsonValue]] = [{"note": HOSTILE}, {"note": "plain"}]
    text = markdown(comparison([[90.0, 90.1], [90.2, 90.3]], values))
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert not re.search(r"^# \*big", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("| note &lt;script")]
    assert rows
    assert all(r"\| \`x\`" in row for row in rows)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b", r"a\_b"),
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("<b>", r"&lt;b&gt;"),
        ("[a](b)", r"\[a\](b)"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("# title", r"\# title"),
        ("5 × 5 kernels (a), −0.5 to +0.5", "5 × 5 kernels (a), −0.5 to +0.5"),
        ("multiply-adds", "multiply-adds"),
    ],
)
def test_markdown_is_escaped_where_it_would_be_markup_and_readable_elsewhere(text: str, shown: str) -> None:
    assert escape_markdown(text) == shown


def test_no_line_of_code_closes_its_fence() -> None:
    assert fenced(("a ```` b", "c\n```")) == "`````\na ```` b\nc ```\n`````"


def test_no_cell_is_a_formula() -> None:
    values: list[dict[str, JsonValue]] = [{"note": "=1+1"}, {"note": "-0.5"}]
    found = comparison([[90.0, 90.1], [90.2, 90.3]], values)
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(tables.runs(compute_results(found))))))
    assert {row["note"] for row in rows} == {"'=1+1", "-0.5"}


# The same bytes anywhere


def written(scores: Scores, folder: Path) -> dict[str, bytes]:
    """The files of a report with answers and curves, by name."""
    found = comparison(scores, grid_values(), baseline=4)
    runs = [
        replace(
            run,
            answers=answers(run.accuracy or 0, 20, number=1000 * run.setting + run.seed),
            curve=(80.0 + run.setting, run.accuracy or 0),
        )
        for run in found.runs
    ]
    write_report(compute_results(replace(found, runs=tuple(runs), class_names=("a", "b"))), folder)
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_machines_differ_in_is_in_no_byte_of_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bits of a sum, the list of fonts."""
    images = ScoredImages(
        np.arange(20 * 784).reshape(20, 28, 28, 1).astype(np.uint8), (np.arange(20) % 2).astype(np.uint8)
    )
    monkeypatch.setattr(write, "scored_images", lambda _: images)
    # Without ties, which noise would break.
    scores = random_scores(10) + np.random.default_rng(4).normal(0, 0.001, (9, 10))
    before = written(scores, tmp_path / "here")
    assert len(before) == 11
    monkeypatch.setattr(style, "families", lambda: (style.FIRST, "Another Font"))
    noise = np.random.default_rng(5).normal(0, 1e-13, (9, 10))
    there = written(scores + noise, tmp_path / "there")
    assert [name for name, content in there.items() if content != before[name]] == []


def test_images_in_a_picture_have_the_pixels_that_they_had() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3)).astype(np.uint8)
    figure = style.sheet(4, 4, "title")
    figure.subplots().imshow(pixels, interpolation="none")
    (image,) = re.findall(rb'"data:image/bmp;base64,([^"]+)"', figures.svg(figure))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(image)))), pixels)


def test_a_label_is_not_what_it_looks_like_in_svg() -> None:
    """Numbers, ids and fonts within text stay as they are."""
    label = '0.123456789 id="figure_1" #p1 font-family: x; <path d="M 0 0"/>'
    found = comparison([[90.0, 90.1], [90.2, 90.3]], [{"note": label}, {"note": "b"}])
    picture = figures.svg(figures.draw_settings(compute_results(found))).decode()
    ElementTree.fromstring(picture)  # noqa: S314 - our own
    texts = [element.text for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert any(str(text).startswith('note 0.123456789 id="figure_1" #p1') for text in texts)
