"""The statistics that a LeRobot v3.0 dataset keeps of an episode and of the whole.

For each numeric column and each camera: min, max, mean, std, count and five quantiles. Pictures
count per channel as [3, 1, 1] on the scale 0 to 1, exactly, from histograms over all pixels.
Knows no file.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Stats = dict[str, NDArray[np.float64]]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def of_pictures(pictures: Sequence[NDArray[np.uint8]]) -> Stats:
    """Statistics of one camera's pictures, each [H, W, 3] uint8; values [3, 1, 1], count [1]."""
    pixels = np.stack(pictures).reshape(-1, 3)
    histograms = [np.bincount(pixels[:, channel], minlength=256) for channel in range(3)]
    columns = [_of_histogram(histogram) for histogram in histograms]
    stats = {name: np.array([c[name] for c in columns]).reshape(3, 1, 1) for name in columns[0]}
    return {**stats, "count": np.array([len(pictures)])}


def of_column(values: NDArray) -> Stats:
    """Statistics of one number a frame, values [N]; each [1]."""
    numbers = np.asarray(values, np.float64)
    quantiles = np.quantile(numbers, list(QUANTILES.values()), method="inverted_cdf")
    stats = {
        "min": numbers.min(),
        "max": numbers.max(),
        "mean": numbers.mean(),
        "std": numbers.std(),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }
    return {**{name: np.array([value]) for name, value in stats.items()}, "count": np.array([len(numbers)])}


def aggregate(parts: Sequence[Stats]) -> Stats:
    """Statistics of all from those of each part.

    Exact but for the quantiles, which are the parts' mean weighted by count, as LeRobot takes them.
    """
    counts = np.array([part["count"][0] for part in parts], np.float64)
    weights = counts / counts.sum()
    means, stds = np.stack([p["mean"] for p in parts]), np.stack([p["std"] for p in parts])
    mean = np.tensordot(weights, means, 1)
    # the parts' own variance, and that of their means
    variance = np.tensordot(weights, stds**2 + (means - mean) ** 2, 1)
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        **{name: np.tensordot(weights, np.stack([p[name] for p in parts]), 1) for name in QUANTILES},
        "count": np.array([int(counts.sum())]),
    }


def _of_histogram(histogram: NDArray[np.int64]) -> dict[str, float]:
    values, count = np.arange(256) / 255.0, histogram.sum()
    mean = float((histogram * values).sum() / count)
    ranks, present = np.cumsum(histogram), np.flatnonzero(histogram)
    return {
        "min": float(values[present[0]]),
        "max": float(values[present[-1]]),
        "mean": mean,
        "std": float(np.sqrt((histogram * (values - mean) ** 2).sum() / count)),
        **{name: float(values[np.searchsorted(ranks, q * count)]) for name, q in QUANTILES.items()},
    }
