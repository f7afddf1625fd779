"""Epochs by themselves: beside the machine's peak, with each option of the training, over more and more images, with
more and more filters.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.rows import Finding, Row
from benchmarks.workshop import Workshop
from pipeline.run.environment import lacks_bfloat16

OF_THE_PEAK = 0.8
TOLD = 7
"""Operations that the page names."""

DEARER = 1.25
OPTIONS = {
    "batch normalisation": ("model.batch_normalization=after_pooling",),
    "flips": ("training.augmentation.horizontal_flip=true",),
    "shifts": ("training.augmentation.shift=2",),
    "erasing": ("training.augmentation.erasing=8",),
    "dropout": ("model.head_dropout=0.4",),
}
SIZES = 15_000, 30_000, 60_000
NOT_LINEAR = 1.1
"""How many times as long an image may take among four times as many."""

FILTERS = 24, 28, 32, 36, 40, 48, 56, 64


def _fast() -> tuple[str, ...]:
    return "training=fast", f"training.precision={'float32' if lacks_bfloat16() else 'mixed_bfloat16'}"


def _measured(workshop: Workshop, overrides: Sequence[str], images: int, *options: str) -> dict[str, Any]:
    number = images // 10 if workshop.quick else images
    return workshop.epochs("--images", str(number), *options, *_fast(), *overrides)


def utilisation(workshop: Workshop) -> Finding:
    shares = []
    operations: list[dict[str, dict[str, float]]] = []
    for _ in range(workshop.rounds):
        found = _measured(workshop, (), 60_000, "--peak")
        done = 2 * found["multiply_adds"] * found["images"] / statistics.median(found["seconds"])
        shares.append(done / found["peak"])
        operations.append(found["operations"])
    said = (
        f"{statistics.median(shares):.2f} of the peak ({min(shares):.2f} to {max(shares):.2f}), {_fast()[1]}; "
        f"the time goes to {_in_words(operations[-1])}"
    )
    return Finding(said, statistics.median(shares) >= OF_THE_PEAK, {"shares": shares, "operations": operations})


def _in_words(operations: Mapping[str, Mapping[str, float]]) -> str:
    """The operations that take the most, `block2_conv Conv2DBackpropInput 22 % (at 0.66 of the peak)`."""
    told = [
        f"{name} {100 * parts['time']:.0f} %" + (f" (at {parts['peak']:.2f} of the peak)" if "peak" in parts else "")
        for name, parts in operations.items()
    ]
    return ", ".join(told[:TOLD])


def options(workshop: Workshop) -> Finding:
    contenders = {"without": (), **OPTIONS}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(workshop.rounds):
        for name, overrides in contenders.items():
            seconds[name].append(statistics.median(_measured(workshop, overrides, 20_000)["cpu_seconds"]))
    ratios = {
        name: statistics.median(mine / bare for mine, bare in zip(seconds[name], seconds["without"], strict=True))
        for name in OPTIONS
    }
    said = ", ".join(f"{name} × {ratio:.2f}" for name, ratio in ratios.items())
    return Finding(said, max(ratios.values()) <= DEARER, {"cpu seconds": seconds, "ratios": ratios})


def growth(workshop: Workshop) -> Finding:
    each: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(workshop.rounds):
        for size in SIZES:
            found = _measured(workshop, (), size)
            each[size].append(1e6 * statistics.median(found["seconds"]) / found["images"])
    micro = {size: statistics.median(found) for size, found in each.items()}
    said = ", ".join(f"{size:,} images: {found:.0f} µs each" for size, found in micro.items())
    most = NOT_LINEAR * micro[SIZES[0]]
    return Finding(said, micro[SIZES[-1]] <= most, {"microseconds an image": {str(k): v for k, v in each.items()}})


def filters(workshop: Workshop) -> Finding:
    each: dict[int, list[float]] = {number: [] for number in FILTERS}
    for _ in range(workshop.rounds):
        for number in FILTERS:
            images = 1_000 if workshop.quick else 10_000
            found = workshop.epochs("--images", str(images), "training=short", f"model.conv.filters={number}")
            done = found["multiply_adds"] * found["images"]
            each[number].append(1e12 * statistics.median(found["cpu_seconds"]) / done)
    pico = {number: statistics.median(found) for number, found in each.items()}
    said = ", ".join(f"{number}: {found:.1f} ps" for number, found in pico.items())
    is_cheaper = 2 * pico[32] < pico[28] + pico[36] and pico[64] < pico[56]
    medians, rounds = ({str(number): value for number, value in own.items()} for own in (pico, each))
    return Finding(said, is_cheaper, {"medians": medians, "picoseconds a multiply-add": rounds})


UTILISATION = Row(
    name="utilisation",
    what="an epoch of `training=fast`: operations a second (forward, gradients of weights, gradients of inputs but the "
    "first layer's) beside those of a large matrix product in the same process",
    goal="at least 0.8 of the peak",
    measure=utilisation,
)
OPTIONS_ROW = Row(
    name="options",
    what="CPU time of an epoch with batch normalisation (after pooling), flips, shifts, erasing, dropout, each beside "
    "one without ([what they do to accuracy](accuracy.md))",
    goal="at most × 1.25 each",
    measure=options,
)
GROWTH = Row(
    name="growth",
    what="an epoch over 15, 30 and 60 thousand images",
    goal="linear: at most × 1.1 an image from the first to the last",
    measure=growth,
)
FILTERS_ROW = Row(
    name="filters",
    what="CPU time a multiply-add of a training step with 24 to 64 filters (`training=short`, float32)",
    goal="powers of two are the cheapest, as a rule of thumb has it: 32 below the mean of 28 and 36, 64 below 56",
    measure=filters,
)
