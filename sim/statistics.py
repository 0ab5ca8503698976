"""Intervals for the benchmark's figures. Pure numpy."""

import math
from collections.abc import Sequence

import numpy as np


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    scale = 1 + z * z / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle - half) / scale, (middle + half) / scale


def bootstrap_mean(
    clusters: Sequence[Sequence[float]], *, samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of all values with its 95% percentile interval, resampling whole clusters (scenes).

    Returns:
        mean, low, high; nan without values.
    """
    sums = np.array([sum(values) for values in clusters if len(values)], dtype=float)
    counts = np.array([len(values) for values in clusters if len(values)], dtype=float)
    if not len(counts):
        return math.nan, math.nan, math.nan
    picks = np.random.default_rng(seed).integers(len(counts), size=(samples, len(counts)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)
