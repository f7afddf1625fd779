"""A report as a page: the answer first, then what it rests on."""

from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Page
from pipeline.findings.remarks import since
from pipeline.findings.sections.basis import basis
from pipeline.findings.sections.differences import differences
from pipeline.findings.sections.effects import factors
from pipeline.findings.sections.fairness import fairness
from pipeline.findings.sections.images import Pictures, images
from pipeline.findings.sections.scores import noise, settings
from pipeline.findings.sentences import answer, figures, headline


def page(evidence: Evidence, decision: Decision, pictures: Pictures) -> Page:
    """The whole report."""
    found = (
        settings(evidence, decision),
        noise(evidence),
        differences(evidence, decision),
        factors(evidence),
        fairness(evidence),
        images(evidence, decision, pictures),
        basis(evidence, decision),
    )
    return Page(
        study=evidence.study,
        subtitle=_subtitle(evidence),
        headline=headline(evidence, decision),
        answer=answer(evidence, decision),
        figures=figures(evidence, decision),
        sections=tuple(section for section in found if section is not None),
        warning=_warning(evidence),
    )


def _subtitle(evidence: Evidence) -> str:
    counts = (
        numbers.counted(len(evidence.settings), "setting"),
        numbers.counted(len(evidence.seeds), "seed"),
        numbers.counted(len(evidence.runs), "run"),
    )
    return f"{' · '.join(counts)} · scored on the {evidence.images} images"


def _warning(evidence: Evidence) -> str:
    parts = []
    if evidence.images == "test":
        parts.append(f"The test images were opened for this study ({since(evidence)}).")
    left = sum(run.state not in ("finished", "diverged", "failed") for run in evidence.runs)
    if left:
        parts.append(
            f"This study is not complete: {left} of {numbers.counted(len(evidence.runs), 'run')} "
            f"{'has' if left == 1 else 'have'} not been done."
        )
    return " ".join(parts)
