"""Whether one of two networks is better on the same images."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


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
    return float(stats.binomtest(only_ours, differing).pvalue) if differing else 1.0
