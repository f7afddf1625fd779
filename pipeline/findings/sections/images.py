"""What holds for other images as well as for other seeds, and the images on which settings disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.figures.style import legible
from pipeline.findings import numbers
from pipeline.findings.decision import Decision
from pipeline.findings.evidence import Evidence
from pipeline.findings.page import Block, Column, Section, Table, Text
from pipeline.findings.pictures.disputed import Disputed, disputed_picture
from pipeline.findings.statistics.images import Answers, CrossedMean, accuracy_difference, most_disputed

MOST_IMAGES = 12


@dataclass(frozen=True, eq=False)
class Pictures:
    """The images that scored the runs: uint8 [n, h, w, c] and labels [n]; `missing` says why there are none."""

    images: NDArray[np.uint8] | None
    labels: NDArray[np.uint8] | None
    missing: str = ""


def images(evidence: Evidence, decision: Decision, pictures: Pictures) -> Section:
    """Intervals over seeds and images together; the most disputed images."""
    answers = evidence.answers
    if answers is None:
        return Section("Images", "images", (Text(_no_answers(evidence)),))
    blocks: list[Block] = []
    if decision.differences:
        blocks += _crossed(evidence, decision, answers)
    if len(evidence.settings) > 1:
        blocks += _disputed(evidence, answers, pictures)
    if not blocks:
        blocks.append(Text("With one setting there is no difference that could hang on the images."))
    return Section("Images", "images", tuple(blocks))


def _no_answers(evidence: Evidence) -> str:
    if evidence.store is not None:
        return "Left out: the MLflow store holds no answers image by image. Where the records are, compare tells more."
    if len({run.images_digest for run in evidence.runs if run.answers is not None}) > 1:
        return "Left out: the settings were scored on different images."
    return "Left out: no run has its answers image by image."


def _crossed(evidence: Evidence, decision: Decision, answers: Answers) -> list[Block]:
    """Each difference from the baseline with the interval that counts the images as a sample, too."""
    present = set(answers.settings.tolist())
    columns = (
        Column("setting", "text"),
        Column("difference", about="points against the baseline"),
        Column("95 % interval for other seeds and other images", about="simultaneous"),
        Column("error from seeds", about="standard error in points"),
        Column("error from images", about="standard error in points"),
    )
    rows, drowned = [], []
    for found in decision.differences:
        if not {found.setting, decision.baseline} <= present:
            continue
        crossed = accuracy_difference(answers, found.setting, decision.baseline, len(decision.differences))
        if crossed is None:
            continue
        rows.append(_row(evidence, found.setting, crossed))
        if found.verdict.value in ("better", "worse") and crossed.interval.holds_zero():
            drowned.append(evidence.label(found.setting))
    if not rows:
        return [Text("No setting shares two seeds with the baseline yet.")]
    count = f"{answers.correct.shape[1]:,}"
    blocks: list[Block] = [
        Text(
            f"The verdicts above hold for other seeds on these {count} images. The intervals here "
            "hold for other images of the same kind as well; they are wider, since which images were drawn is "
            "chance, too."
        ),
        Table(columns, tuple(rows)),
    ]
    if drowned:
        blocks.append(
            Text(
                f"{numbers.listed(drowned)}: told from the baseline on these images, but with other images zero is "
                "possible.",
                lead="With care.",
            )
        )
    return blocks


def _row(evidence: Evidence, setting: int, crossed: CrossedMean) -> tuple[str, ...]:
    return (
        evidence.label(setting),
        numbers.points(crossed.mean),
        numbers.between(crossed.interval),
        numbers.points(crossed.seed_error, sign=False),
        numbers.points(crossed.image_error, sign=False),
    )


def _disputed(evidence: Evidence, answers: Answers, pictures: Pictures) -> list[Block]:
    chosen = most_disputed(answers, MOST_IMAGES)
    if not len(chosen):
        return [Text("All settings answer all images alike.")]
    if pictures.images is None or pictures.labels is None:
        return [Text(f"Pictures of the most disputed images are left out: {pictures.missing}")]
    present = np.unique(answers.settings)
    shares = np.stack([answers.correct[answers.settings == setting][:, chosen].mean(axis=0) for setting in present])
    found = [
        Disputed(
            number=int(number),
            image=pictures.images[number],
            label=legible(evidence.class_names[label := int(pictures.labels[number])], label),
            best=evidence.label(int(present[shares[:, place].argmax()])),
            best_share=float(shares[:, place].max()),
            worst=evidence.label(int(present[shares[:, place].argmin()])),
            worst_share=float(shares[:, place].min()),
        )
        for place, number in enumerate(chosen)
    ]
    return [
        Text(
            "The images on which the settings disagree most: the share of a setting's seeds that is right differs most."
        ),
        disputed_picture(found, evidence.images),
        _named(found),
    ]


def _named(found: Sequence[Disputed]) -> Table:
    """The disputed images with the whole names of the settings."""
    columns = (
        Column("image"),
        Column("class", "text"),
        Column("most often right", "text"),
        Column("least often", "text"),
    )
    rows = tuple(
        (
            str(one.number),
            one.label,
            f"{numbers.share(one.best_share)}: {one.best}",
            f"{numbers.share(one.worst_share)}: {one.worst}",
        )
        for one in found
    )
    return Table(columns, rows, title="These images in words", folded=True)
