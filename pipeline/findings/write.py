"""Write a report: Markdown from one template, HTML from that Markdown, CSV and JSON: the whole folder or nothing.

Labels, reasons and all else that records and MLflow hold is untrusted text. What a template prints is escaped for
Markdown, once and without being asked; HTML in Markdown is none for the reader of Markdown that makes the page.
"""

import base64
import csv
import io
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from pydantic_core import to_json

from pipeline.figures.style import legible
from pipeline.findings import wording
from pipeline.findings.factors import shown_level
from pipeline.findings.figures import MOST_FIRST, draw_figures
from pipeline.findings.load import ScoredImages, scored_images
from pipeline.findings.results import COSTS, Results
from pipeline.findings.runs import LOST
from pipeline.run.metrics import ONE_CLASS
from pipeline.statistics.differences import FEWEST_SEEDS, Verdict
from pipeline.statistics.intervals import Interval
from pipeline.storage import atomic, project
from pipeline.studies.study_summary import one_line, shown_at

PICTURES = "pictures"
RESULTS = (
    "setting", "seeds", "failed", "collapsed", "diverged", "missing", "mean", "deviation", "interval_low",
    "interval_high", "lowest", "highest", "parameters", "multiply_adds", "seconds", "latency_ms", "baseline",
    "difference", "difference_low", "difference_high", "superiority", "verdict", "seeds_needed",
)  # fmt: skip
RUNS = "setting", "seed", "outcome", "accuracy", "seconds", "latency_ms", "identity", "commit", "reason"

BLANK = "\n\n"
BLANK_LINES = re.compile(r"\n{3,}")
"""What conditions leave of a template."""

_ANYWHERE = re.compile(r"([\\`*_\[\]|~$])")
_AT_THE_START = re.compile(r"^([-+](?=\s|$)|--|[#=:]|\d+(?=[.)](?:\s|$)))")
"""What Markdown takes for more than text: within a line, and at its start."""


def write_report(results: Results, folder: Path) -> None:
    """Write report.html, report.md, results.csv, runs.csv and pictures/ into `folder`, in place of what it held."""
    images = scored_images(results.comparison)
    text = markdown(results, images)
    wide, narrow = draw_figures(results, images)
    with atomic.write_folder(folder) as partial:
        if (records := folder / project.BUNDLE).is_file():
            shutil.copy(records, partial)
        (partial / "report.md").write_text(text, encoding="utf-8")
        (partial / "report.html").write_text(html(results, text, wide, narrow), encoding="utf-8")
        (partial / "results.csv").write_text(results_csv(results), encoding="utf-8")
        (partial / "runs.csv").write_text(runs_csv(results), encoding="utf-8")
        (partial / PICTURES).mkdir()
        for name, png in wide.items():
            (partial / PICTURES / f"{name}.png").write_bytes(png)


def markdown(results: Results, images: ScoredImages) -> str:
    """The report for a git host; pictures are named as files in `PICTURES`."""
    classes: list[str] = []
    if images.labels is not None:
        labels = [int(images.labels[one.image]) for one in results.disputed]
        classes = [legible(results.comparison.class_names[label], label) for label in labels]
    text = _render("report.md.jinja", results, escape_markdown, classes=classes, missing=images.missing)
    return BLANK_LINES.sub(BLANK, text)


def answer(results: Results) -> str:
    """The answer for a terminal: plain text."""
    text = _render("answer.md.jinja", results, one_line).replace("**", "").strip()
    return f"{one_line(wording.headline(results))}\n\n{BLANK_LINES.sub(BLANK, text)}"


def html(results: Results, text: str, wide: Mapping[str, bytes], narrow: Mapping[str, bytes]) -> str:
    """The report in Markdown as one page that opens offline: style and pictures inside, no script."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    sources = {f"{PICTURES}/{name}.png": (png, narrow.get(name)) for name, png in wide.items()}

    def image(renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, values: Any) -> str:
        """A picture of ours inside the page; of any other its text alone."""
        text = str(escape(renderer.renderInlineAsText(tokens[place].children or [], options, values)))
        source = sources.get(str(tokens[place].attrs.get("src")))
        return text if source is None else _embedded(text, *source)

    reader.add_render_rule("image", image)
    body, sections = _decorated(reader.parse(text))
    page = reader.renderer.render(body, reader.options, {})
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in sections)
    page = page.replace("<h2", f'<nav aria-label="Contents">{links}</nav>\n<h2', 1)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    title = f"{results.comparison.study}: {wording.headline(results)}"
    return environment.get_template("report.html.jinja").render(title=title, body=Markup(page))  # noqa: S704 - see above


def results_csv(results: Results) -> str:
    """One line a setting: its swept values, scores in points, costs, difference from the baseline; empty: unknown."""
    comparison = results.comparison
    keys = [key for factor in comparison.factors for key in factor.keys]
    rows = []
    for row, (setting, result) in enumerate(zip(comparison.settings, results.settings, strict=True)):
        summary, difference = result.summary, result.difference
        rows.append([
            *(shown_at(setting.values, key, missing="") for key in keys),
            setting.label, summary.seeds, *(result.lost[word] for word in ("failed", *LOST, "missing")),
            summary.mean, summary.deviation, *_ends(summary.interval), *_ends(summary.range),
            setting.parameters, setting.multiply_adds, setting.seconds, setting.latency,
            "true" if row == comparison.baseline else "false",
            *([""] * 6 if difference is None else [
                difference.mean, *_ends(difference.interval), difference.superiority, difference.verdict.value,
                difference.seeds_needed,
            ]),
        ])  # fmt: skip
    return _csv((*keys, *RESULTS), rows)


def runs_csv(results: Results) -> str:
    """One line a run: its swept values, seed, outcome, accuracy in points, costs, identity, commit."""
    comparison = results.comparison
    keys = [key for factor in comparison.factors for key in factor.keys]
    rows = [
        [
            *(shown_at(comparison.settings[run.setting].values, key, missing="") for key in keys),
            comparison.label(run.setting), run.seed, run.outcome, run.accuracy, run.seconds, run.latency, run.identity,
            run.commit, run.reason,
        ]
        for run in comparison.runs
    ]  # fmt: skip
    return _csv((*keys, *RUNS), rows)


def results_json(results: Results) -> str:
    """All results as JSON, for machines: the fields of `Results`; what is not known is null."""
    values = {"headline": wording.headline(results), "supported": results.supported, **asdict(results)}
    return to_json(values, indent=1, inf_nan_mode="null").decode()


def escape_markdown(text: str) -> str:
    """Text on one line that Markdown shows as it is, in a paragraph, a list or a cell."""
    plain = str(escape(" ".join(text.split()))).replace("&#39;", "'").replace("&#34;", '"')
    return _AT_THE_START.sub(_escape_start, _ANYWHERE.sub(r"\\\1", plain))


def _escape_start(start: re.Match[str]) -> str:
    """A sign, or the point after a number that would begin a list."""
    return f"{start[0]}\\" if start[0].isdigit() else f"\\{start[0]}"


def fenced(lines: Sequence[str]) -> Markup:
    """Lines of code, in a fence that none of them can close."""
    lines = [" ".join(line.split()) for line in lines]
    longest = max((len(ticks) for line in lines for ticks in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup("\n".join([fence, *lines, fence]))  # noqa: S704 - nothing is markup within a fence


def _render(template: str, results: Results, plain: Any, **values: object) -> str:
    """A template in which all that is printed and is not the template's own goes through `plain`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        # Markup is what a macro of the template's own returns.
        finalize=lambda value: value if isinstance(value, Markup) else Markup(plain(str(value))),  # noqa: S704
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    comparison = results.comparison
    environment.filters |= {
        "fenced": fenced, "level": shown_level, "label": comparison.label, "commit": wording.commit,
        "setting": results.settings.__getitem__,
    }  # fmt: skip
    scored = [run for run in comparison.runs if run.accuracy is not None]
    return environment.get_template(template).render(
        results=results, say=wording, marks=wording.marks(results), margin=f"{comparison.margin:g}", scored=scored,
        fewest=FEWEST_SEEDS, costs=COSTS, one_class=ONE_CLASS, most_first=MOST_FIRST, **values,
    )  # fmt: skip


def _decorated(tokens: list[Token]) -> tuple[list[Token], list[tuple[str, str]]]:
    """The page's tokens with what Markdown has no sign for; its sections by anchor and title.

    Tables scroll, a verdict has its colour, a marked row stands out, and what follows a heading of level 4 is folded.
    """
    decorated: list[Token] = []
    sections: list[tuple[str, str]] = []
    row = Token("", "", 0)
    is_folded = False
    for place, token in enumerate(tokens):
        following = tokens[place + 1].content if place + 1 < len(tokens) else ""
        if token.type == "heading_open":
            if is_folded:
                decorated.append(_raw("</div></details>"))
            is_folded = token.tag == "h4"
            if token.tag == "h2":
                sections.append((re.sub(r"\W+", "-", following.lower()), following))
                token.attrSet("id", sections[-1][0])
        row = token if token.type == "tr_open" else row
        if token.type == "td_open" and following.partition(",")[0] in set(Verdict):
            token.attrSet(
                "class", f"verdict {re.sub('[^a-z]+', '-', following.partition(',')[0].replace(chr(39), ''))}"
            )
        if (
            token.type == "inline"
            and tokens[place - 1].type == "td_open"
            and following == ""
            and "**(" in token.content
        ):
            row.attrSet("class", "marked")
        decorated += _framed(token)
    return [*decorated, *([_raw("</div></details>")] if is_folded else [])], sections


def _framed(token: Token) -> list[Token]:
    match token.type, token.tag:
        case "table_open", _:
            return [_raw('<div class="wide" tabindex="0" role="region" aria-label="table">'), token]
        case "table_close", _:
            return [token, _raw("</div>")]
        case "heading_open", "h4":
            return [_raw("<details><summary>")]
        case "heading_close", "h4":
            return [_raw("</summary><div>")]
    return [token]


def _raw(markup: str) -> Token:
    return Token("html_block", "", 0, content=markup)


def _embedded(alt: str, wide: bytes, narrow: bytes | None) -> str:
    """A picture within the page, the narrow one on a phone."""
    image = f'<img src="{_data(wide)}" alt="{alt}">'
    if narrow is None:
        return image
    return f'<picture><source media="(max-width: 40rem)" srcset="{_data(narrow)}">{image}</picture>'


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, header))
    writer.writerows([map(_cell, row) for row in rows])
    return text.getvalue()


def _cell(value: object) -> str:
    """A value as text: numbers to ten digits; no text that a spreadsheet would take for a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    text = one_line(str(value))
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "@", "-") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
