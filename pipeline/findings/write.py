"""Write a report: Markdown from one template, HTML from that Markdown, tables, pictures: the whole folder or nothing.

Labels, reasons and all else that records and MLflow hold is untrusted text. What a template prints is escaped for
Markdown, once and without being asked; HTML in Markdown is none for the reader of Markdown that makes the page.
"""

import base64
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

from pipeline.findings import tables, wording
from pipeline.findings.comparison import cell_label, shown_level
from pipeline.findings.figures import MOST_DRAWN, draw_figures
from pipeline.findings.load import ScoredImages, scored_images
from pipeline.findings.results import COSTS, Results
from pipeline.run.metrics import ONE_CLASS
from pipeline.statistics.differences import FEWEST_SEEDS
from pipeline.storage import atomic, project
from pipeline.studies.study_summary import one_line

PICTURES = "pictures"

BLANK_LINES = re.compile(r"\n{3,}")
"""What conditions leave of a template."""

VERDICTS = {
    "better": "better", "supported": "better", "worse": "worse", "refuted": "worse", "equivalent": "equivalent",
    "no difference that matters": "equivalent", "can't tell": "cant-tell", "no verdict": "no-verdict",
}  # fmt: skip
"""What stands at the start of a cell, and how that is shown."""

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "−": "-"}
TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}

_ANYWHERE = re.compile(r"([\\`*_\[\]|~$])")
_AT_THE_START = re.compile(r"^([-+](?=\s|$)|--|[#=:]|\d+(?=[.)](?:\s|$)))")
"""What Markdown takes for more than text: within a line, and at its start."""


def write_report(results: Results, folder: Path) -> None:
    """Write report.html, report.md, results.csv, runs.csv, table.tex and pictures/ in place of what `folder` held."""
    images = scored_images(results.comparison)
    text = markdown(results, images)
    wide, narrow = draw_figures(results, images)
    files = {
        "report.md": text,
        "report.html": html(results, text, wide, narrow),
        "results.csv": tables.as_csv(tables.settings(results)),
        "runs.csv": tables.as_csv(tables.runs(results)),
        "table.tex": as_tex(results),
    }
    with atomic.write_folder(folder) as partial:
        if (records := folder / project.BUNDLE).is_file():
            shutil.copy(records, partial)
        for name, content in files.items():
            (partial / name).write_text(content, encoding="utf-8")
        (partial / PICTURES).mkdir()
        for name, picture in wide.items():
            (partial / PICTURES / f"{name}.svg").write_bytes(picture)


def markdown(results: Results, images: ScoredImages) -> str:
    """The report for a git host; pictures are named as files in `PICTURES`."""
    classes: list[str] = []
    if images.labels is not None:
        classes = [results.comparison.class_names[int(images.labels[one.image])] for one in results.disputed]
    template = "report.md.jinja" if results.comparison.search is None else "search.md.jinja"
    return _report(template, results, escape_markdown, page=True, classes=classes, missing=images.missing)


def answer(results: Results) -> str:
    """The answer for a terminal: plain text."""
    template = "answer.md.jinja" if results.comparison.search is None else "search.md.jinja"
    text = _report(template, results, one_line, page=False).replace("**", "").strip()
    return f"{one_line(wording.headline(results))}\n\n{text}"


def as_tex(results: Results) -> str:
    """The settings as a table for a paper, the highest mean first: LaTeX with the package booktabs."""
    plain = re.compile(r"[\\~^×−&%$#_{}]")
    return _report("table.tex.jinja", results, lambda text: plain.sub(lambda sign: TEX[sign[0]], one_line(text)))


def html(results: Results, text: str, wide: Mapping[str, bytes], narrow: Mapping[str, bytes]) -> str:
    """The report in Markdown as one page that opens offline; its pictures as SVG, those in `narrow` for a phone."""
    pictures = {
        f"{PICTURES}/{name}.svg": [data_uri("svg+xml", own[name]) for own in (wide, narrow) if name in own]
        for name in wide
    }
    return page(f"{results.comparison.study}: {wording.headline(results)}", text, pictures)


def page(title: str, text: str, pictures: Mapping[str, Sequence[str]]) -> str:
    """Markdown as one page that opens offline: style and pictures inside, no script.

    `pictures` are by the path that the text names: the data of one, and of another for a phone where there is one.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, values: Any) -> str:
        """A picture of ours inside the page; of any other its text alone."""
        alt = str(escape(renderer.renderInlineAsText(tokens[place].children or [], options, values)))
        sources = pictures.get(str(tokens[place].attrs.get("src")))
        if sources is None:
            return alt
        one = f'<img src="{sources[0]}" alt="{alt}">'
        phone = "".join(f'<source media="(max-width: 40rem)" srcset="{source}">' for source in sources[1:])
        return f"<picture>{phone}{one}</picture>" if phone else one

    reader.add_render_rule("image", image)
    body = Markup(_decorated(reader.render(text)))  # noqa: S704 - see above
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("report.html.jinja").render(title=title, body=body)


def data_uri(kind: str, picture: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


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


def render(template: str, plain: Callable[[str], str], filters: Mapping[str, Any], **values: object) -> str:
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
    environment.filters |= {"fenced": fenced, **filters}
    return BLANK_LINES.sub("\n\n", environment.get_template(template).render(values))


def _report(template: str, results: Results, plain: Callable[[str], str], **values: object) -> str:
    comparison = results.comparison
    filters = {
        "level": shown_level, "label": comparison.label, "commit": wording.commit,
        "setting": results.settings.__getitem__,
    }  # fmt: skip
    return render(
        template, plain, filters, results=results, c=comparison, best=results.winner, counts=comparison.counts(),
        say=wording, marks=wording.marks(results), margin=f"{comparison.margin:g}",
        confidence=wording.confidence(comparison), fewest=FEWEST_SEEDS, costs=COSTS, one_class=ONE_CLASS,
        scored=[run for run in comparison.runs if run.accuracy is not None],
        combinations=math.prod(len(factor.levels) for factor in comparison.factors),
        most_drawn=MOST_DRAWN, cell_label=cell_label, **values,
    )  # fmt: skip


def _decorated(text: str) -> str:
    """A page with what Markdown has no sign for; that of labels stands in it escaped, and is no tag.

    Tables scroll, a verdict has its colour, a marked row stands out, what follows a heading of level 4 is folded, and
    the first section follows a list of all.
    """
    text = text.replace("<table>", '<div class="wide" tabindex="0" role="region" aria-label="table"><table>')
    text = text.replace("</table>", "</table></div>")
    verdicts = "|".join(VERDICTS)
    text = re.sub(f"<td>(?=({verdicts})(,[^<]*)?</td>)", lambda cell: f'<td class="verdict {VERDICTS[cell[1]]}">', text)
    text = re.sub(r"<tr>(?=\n<td>[^\n]*<strong>\()", '<tr class="marked">', text)
    folded = r"<details><summary>\1</summary><div>\2</div></details>\n"
    text = re.sub(r"<h4>(.*?)</h4>(.*?)(?=<h[1-4]|\Z)", folded, text, flags=re.DOTALL)
    titles = {title: re.sub(r"\W+", "-", title.lower()) for title in re.findall("<h2>(.*?)</h2>", text)}
    text = re.sub("<h2>(.*?)</h2>", lambda heading: f'<h2 id="{titles[heading[1]]}">{heading[1]}</h2>', text)
    links = "".join(f'<a href="#{anchor}">{title}</a>' for title, anchor in titles.items())
    return text.replace("<h2", f'<nav aria-label="Contents">{links}</nav>\n<h2', 1)
