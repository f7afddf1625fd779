"""Intervals that hold for other images as well as for other seeds, and the images on which settings disagree.

`correct` is bool [runs, images]: whether a run answered an image rightly; `settings` and `seeds` int64 [runs] say whose
run it is. All runs answered the same images.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.findings.statistics.intervals import Interval, t_quantile


@dataclass(frozen=True)
class CrossedMean:
    """A mean over seeds × images, in points, with an interval for all seeds and all images there could be.

    `seed_error` and `image_error` are the standard errors, in points, that come from the seeds and from the images.
    """

    mean: float
    interval: Interval
    seeds: int
    images: int
    seed_error: float
    image_error: float


@dataclass(frozen=True)
class Answers:
    """Which runs answered which images rightly: `correct` bool [runs, images], `settings`, `seeds` int64 [runs].

    Raises ValueError for shapes that don't fit, no run or fewer than two images, and two runs of one setting and seed.
    """

    correct: NDArray[np.bool_]
    settings: NDArray[np.int64]
    seeds: NDArray[np.int64]

    def __post_init__(self) -> None:
        correct, runs = self.correct, self.correct.shape[:1]
        if correct.ndim != 2 or correct.dtype != np.bool_ or len(correct) == 0 or correct.shape[1] < 2:
            raise ValueError(
                f"correct must be bool [runs, images] with a run and two images, not {correct.dtype} {correct.shape}"
            )
        if self.settings.shape != runs or self.seeds.shape != runs:
            raise ValueError(
                f"settings and seeds must be one number for each of {runs[0]} runs, "
                f"not {self.settings.shape} and {self.seeds.shape}"
            )
        if len(set(zip(self.settings.tolist(), self.seeds.tolist(), strict=True))) < runs[0]:
            raise ValueError("settings and seeds: two runs have the same setting and seed")

    def of(self, setting: int) -> dict[int, NDArray[np.bool_]]:
        """The answers [images] of a setting, by seed. Raises ValueError where it has no run."""
        rows = np.flatnonzero(self.settings == setting)
        if not rows.size:
            raise ValueError(f"setting {setting} has no run among settings {sorted(set(self.settings.tolist()))}")
        return {int(self.seeds[row]): self.correct[row] for row in rows}


def accuracy(answers: Answers, setting: int) -> CrossedMean | None:
    """Accuracy of one setting; None for fewer than two seeds. Raises ValueError where it has no run."""
    by_seed = answers.of(setting)
    return _crossed_mean(np.stack(list(by_seed.values())).astype(np.float64), comparisons=1)


def accuracy_difference(answers: Answers, setting: int, baseline: int, comparisons: int = 1) -> CrossedMean | None:
    """Accuracy of a setting less that of the baseline, paired by seed and image; None for fewer than two common seeds.

    The interval is one of `comparisons` that hold together. Raises ValueError where one of them has no run, they are
    the same, or comparisons is below 1.
    """
    if setting == baseline:
        raise ValueError(f"setting and baseline are both {setting}")
    ours, theirs = answers.of(setting), answers.of(baseline)
    both = sorted(ours.keys() & theirs.keys())
    if len(both) < 2:
        return None
    paired = [ours[seed].astype(np.float64) - theirs[seed] for seed in both]
    return _crossed_mean(np.stack(paired), comparisons)


def most_disputed(answers: Answers, count: int) -> NDArray[np.int64]:
    """Images int64 [at most count] on which settings disagree most: the variance, between settings, of the share of
    seeds that are right. The most disputed first, ties by number; an image that all answer alike is none of them.

    Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, not {count}")
    shares = [answers.correct[answers.settings == setting].mean(axis=0) for setting in np.unique(answers.settings)]
    # Rounded: the order of the settings moves the last bits, and must not decide a tie.
    variances = np.var(np.stack(shares), axis=0).round(12)
    order = np.argsort(-variances, kind="stable")
    disputed: NDArray[np.int64] = order[variances[order] > 0].astype(np.int64)
    return disputed[:count]


def _crossed_mean(values: NDArray[np.float64], comparisons: int) -> CrossedMean | None:
    """Mean of values float64 [seeds, images], both random and crossed, one value for each pair.

    Its error variance is that of the seeds' means plus that of the images' means, less a part for single answers that
    both contain (Brennan, "Generalizability Theory", 2001, chapter 2; Cameron, Gelbach & Miller, "Robust Inference with
    Multiway Clustering", 2011, where it is the intersection). That part is left in: the interval is a little too wide
    rather than too narrow. Each of the two has the t of its own degrees of freedom: with a single t by Satterthwaite, 3
    seeds held the truth in 93 % of simulated studies, like this in 97 % (benchmarks/comparison.json).
    """
    seeds, images = values.shape
    if seeds < 2:
        return None
    mean = 100 * float(values.mean())
    seed_error = 100 * float(values.mean(axis=1).std(ddof=1)) / math.sqrt(seeds)
    image_error = 100 * float(values.mean(axis=0).std(ddof=1)) / math.sqrt(images)
    half = math.hypot(
        t_quantile(seeds - 1, comparisons) * seed_error,
        t_quantile(images - 1, comparisons) * image_error,
    )
    return CrossedMean(mean, Interval(mean - half, mean + half), seeds, images, seed_error, image_error)
