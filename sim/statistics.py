"""Intervals for the benchmark's figures. Pure numpy."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def wilson(successes: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval of a proportion (Wilson 1927); (0, 1) without trials. A tie may count half."""
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


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: the discordant pairs are a fair coin (Fay 2010).

    min(1, 2 * P(X <= min(b, c))), X binomial(b + c, 1/2); 1 without discordant pairs.
    """
    trials, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(trials, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**trials) if trials else 1.0


def stratified_interval(
    strata: Mapping[str, Sequence[str]],
    statistic: Callable[[Mapping[str, int]], float],
    *,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95% percentile interval of a statistic when clusters are drawn anew within each stratum.

    Args:
        strata: names of clusters (scenes), by stratum (family).
        statistic: of how often each cluster was drawn.

    Returns:
        low, high; nan, nan without clusters.
    """
    if not any(strata.values()):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        drawn: dict[str, int] = {}
        for clusters in strata.values():
            if clusters:
                counts = rng.multinomial(len(clusters), [1 / len(clusters)] * len(clusters))
                drawn.update({name: int(n) for name, n in zip(clusters, counts, strict=True)})
        values.append(statistic(drawn))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def bradley_terry(wins: NDArray[np.float64], *, rounds: int = 1000) -> NDArray[np.float64]:
    """Strengths of a Bradley-Terry model on the scale 400 / ln 10, the first player at 1000.

    Minorisation-maximisation (Hunter 2004, eq. 3), with one virtual tie between each two players, so
    that who never lost has a finite strength.

    Args:
        wins: [n, n]; wins[i, j] is how often i beat j, a tie counts 0.5 to each.
    """
    n = len(wins)
    if wins.shape != (n, n) or n < 2:
        raise ValueError(f"expected wins [n, n] of two or more players, got {list(wins.shape)}")
    won = wins + 0.5 * (1 - np.eye(n))
    np.fill_diagonal(won, 0.0)
    games = won + won.T
    strength = np.ones(n)
    for _ in range(rounds):
        new = won.sum(1) / (games / (strength[:, None] + strength[None, :])).sum(1)
        new /= new[0]
        done = np.abs(np.log(new / strength)).max() < 1e-10
        strength = new
        if done:
            break
    return np.asarray(1000 + 400 / math.log(10) * np.log(strength))
