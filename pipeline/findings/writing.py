"""Write a report: the whole folder or, when something goes wrong, nothing."""

from pathlib import Path

from pipeline.data.prepared import Images, load_test, load_training
from pipeline.data.scoring import held_out, held_out_digest
from pipeline.findings.csvs import results_csv, runs_csv
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Picture
from pipeline.findings.pages import page
from pipeline.findings.rendering import PICTURES, html, markdown
from pipeline.findings.sections.images import Pictures
from pipeline.storage import atomic, project
from pipeline.terminal.errors import UserError


def write_report(evidence: Evidence, decision: Decision, folder: Path) -> None:
    """Write report.html, report.md, results.csv, runs.csv and pictures/ into `folder`, in place of what it held."""
    found = page(evidence, decision, scored_images(evidence))
    with atomic.write_folder(folder) as partial:
        (partial / "report.html").write_text(html(found), encoding="utf-8")
        (partial / "report.md").write_text(markdown(found), encoding="utf-8")
        (partial / "results.csv").write_text(results_csv(evidence, decision), encoding="utf-8")
        (partial / "runs.csv").write_text(runs_csv(evidence), encoding="utf-8")
        (partial / PICTURES).mkdir()
        for section in found.sections:
            for block in section.blocks:
                if isinstance(block, Picture):
                    (partial / PICTURES / f"{block.name}.png").write_bytes(block.png)


def scored_images(evidence: Evidence) -> Pictures:
    """The images that scored the runs, out of the prepared ones; says why where these are missing or others."""
    digests = {run.images_digest for run in evidence.runs if run.answers is not None}
    if len(digests) != 1 or evidence.split is None:
        return Pictures(None, None, "no run has answers on images.")
    try:
        found, found_digest = _images(evidence, evidence.split)
    except UserError as error:
        return Pictures(None, None, str(error))
    if found_digest not in digests:
        return Pictures(None, None, "the prepared images are not those that scored the runs.")
    return Pictures(found.images, found.labels)


def _images(evidence: Evidence, split: tuple[int, int]) -> tuple[Images, str]:
    """The images and their digest as a record of scores gives it."""
    if evidence.images == "test":
        images = load_test(project.PREPARED)
        return images, images.digest
    images = load_training(project.PREPARED)
    return held_out(images, *split), held_out_digest(images.digest, *split)
