"""What single answers say: intervals that hold for other images as well as for other seeds, images on which settings
disagree, whether one of two networks is better."""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from pipeline.statistics.intervals import Interval, Noise, pool_noise, t_quantile


@dataclass(frozen=True)
class CrossedMean:
    """A mean over seeds × images, in points, with an interval for all seeds and all images there could be.

    `seed_error` and `image_error` are the standard errors, in points, that come from the seeds (with chance in single
    answers) and from the images.
    """

    mean: float
    interval: Interval
    seeds: int
    images: int
    seed_error: float
    image_error: float


@dataclass(frozen=True)
class Answers:
    """Which runs answered which images rightly, the same for all: `correct` bool [runs, images].

    `settings` and `seeds`, int64 [runs], say whose run it is.

    Raises ValueError for shapes that don't fit, no run, fewer than two images, and two runs of one setting and seed.
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
            shapes = f"{self.settings.shape} and {self.seeds.shape}"
            raise ValueError(f"settings and seeds must be one number for each of {runs[0]} runs, not {shapes}")
        if np.unique([self.settings, self.seeds], axis=1).shape[1] < runs[0]:
            raise ValueError("settings and seeds: two runs have the same setting and seed")


def accuracy_differences(answers: Answers, baseline: int, comparisons: int) -> dict[int, CrossedMean]:
    """Accuracy of each setting less that of the baseline, paired by seed and image, for those that share two seeds.

    The intervals are those of `differences` (pooled noise, one of `comparisons` that hold together), and wider by the
    images. Empty where the baseline has no run.
    """
    paired = {setting: _pair(answers, setting, baseline) for setting in np.unique(answers.settings).tolist()}
    paired = {setting: values for setting, values in paired.items() if setting != baseline and len(values) > 1}
    means = [100 * values.mean(axis=1) for values in paired.values()]
    # Where no seed differs there is no noise to pool.
    noises = pool_noise([own if np.ptp(own) > 0 else own[:0] for own in means])
    return {
        setting: _crossed_mean(values, noise, comparisons)
        for (setting, values), noise in zip(paired.items(), noises, strict=True)
    }


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


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """p that two networks are right equally often, of which image each is right about, bool [n]; exact, two-sided.

    Of the images that only one of them is right about, half are expected to be ours (McNemar, "Note on the Sampling
    Error of the Difference Between Correlated Proportions or Percentages", Psychometrika 12, 1947). Raises ValueError
    where these are not the same images.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"the networks must have answered the same images, not {ours.shape} and {theirs.shape}")
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    differing = only_ours + only_theirs
    return float(scipy.stats.binomtest(only_ours, differing).pvalue) if differing else 1.0


def _pair(answers: Answers, setting: int, baseline: int) -> NDArray[np.int8]:
    """Whether the setting is right less whether the baseline is, int8 [seeds that both have, images]."""
    rows, base_rows = (np.flatnonzero(answers.settings == each) for each in (setting, baseline))
    _, ours, theirs = np.intersect1d(answers.seeds[rows], answers.seeds[base_rows], return_indices=True)
    return answers.correct[rows[ours]].astype(np.int8) - answers.correct[base_rows[theirs]]


def _crossed_mean(paired: NDArray[np.int8], noise: Noise | None, comparisons: int) -> CrossedMean:
    """Mean in points of answers [seeds, images], both random and crossed.

    Its error variance is that of the seeds' means plus that of the images', less the part for single answers that both
    contain (Brennan, "Generalizability Theory", 2001, chapter 2), which is taken from the images: there are many.
    """
    values = 100 * paired.astype(np.float64)
    seeds, images = values.shape
    mean, of_seeds, of_images = float(values.mean()), values.mean(axis=1, keepdims=True), values.mean(axis=0)
    single = ((values - of_seeds - of_images + mean) ** 2).sum() / ((seeds - 1) * (images - 1))
    noise = noise or Noise(float(of_seeds.std(ddof=1)), seeds - 1)
    seed_error = noise.deviation / math.sqrt(seeds)
    image_error = math.sqrt(max(float(of_images.var(ddof=1)) - single / seeds, 0.0) / images)
    half = math.hypot(
        t_quantile(noise.degrees_of_freedom, comparisons) * seed_error,
        t_quantile(images - 1, comparisons) * image_error,
    )
    return CrossedMean(mean, Interval(mean - half, mean + half), seeds, images, seed_error, image_error)
