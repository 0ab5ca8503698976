"""Two or more planners on the same scenes, paired: wins, ties, differences, and how sure they are.

A scene is won when its value is higher by more than a margin that is stated beforehand; float noise
decides nothing. Files of different suites, scenes or scorers are refused. Knows results files only.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.bench.metrics import VECTOR
from sim.statistics import bradley_terry, mcnemar_exact, stratified_interval, wilson

MARGIN = 0.02
METRICS = (*VECTOR, "score")


@dataclass(frozen=True)
class Entrant:
    """One planner's rows from a results file."""

    name: str
    suite: dict[str, Any]
    versions: dict[str, str]
    # by scene
    rows: dict[str, dict[str, Any]]

    def values(self, metric: str) -> dict[str, float]:
        """One number a scene. ValueError: the metric is unknown, or was refused."""
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; have {list(METRICS)}")
        found = {s: r["score"] if metric == "score" else r["metrics"][metric] for s, r in self.rows.items()}
        if any(value is None for value in found.values()):
            raise ValueError(
                f"{self.name} has no {metric}: the gate refused its pictures; choose --metric "
                "progress_closed, or another that needs no picture"
            )
        return {scene: float(value) for scene, value in found.items()}


@dataclass(frozen=True)
class Pair:
    """The first against the second."""

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    # (wins + ties / 2) / scenes, its Wilson interval and its stratified bootstrap interval
    win_share: float
    wilson: tuple[float, float]
    bootstrap: tuple[float, float]
    # mean of first - second, with its stratified bootstrap interval
    difference: float
    difference_interval: tuple[float, float]
    # exact McNemar: task done by only the first, by only the second, p; closed loop and open loop
    closed: tuple[int, int, float]
    opened: tuple[int, int, float]


@dataclass(frozen=True)
class Rating:
    """Bradley-Terry strength with its stratified bootstrap interval; the first planner is at 1000."""

    name: str
    strength: float
    interval: tuple[float, float]


def read(word: str) -> Entrant:
    """A planner from FILE, or a control from FILE#NAME.

    Raises:
        ValueError: no such file or entrant, or one that was not scored.
    """
    file, _, name = word.partition("#")
    path = Path(file)
    if path.is_dir():
        path = path / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        name = name or results["planner"]["name"]
        found = results["entrants"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no results file of `emu-planner bench sim`: {error}") from error
    if name not in found:
        raise ValueError(f"{path} has no {name!r}; have {sorted(found)}")
    if any(row["kind"] != "score" for row in found[name]):
        raise ValueError(f"{name} was not scored in {path}")
    return Entrant(name, results["suite"], results["versions"], {row["scene"]: row for row in found[name]})


def check_comparable(entrants: Sequence[Entrant]) -> None:
    """ValueError: other suites, scenes or versions; says which."""
    first = entrants[0]
    for other in entrants[1:]:
        if other.suite != first.suite:
            raise ValueError(f"{first.name} ran suite {first.suite}, {other.name} {other.suite}")
        for key in sorted(set(first.versions) | set(other.versions)):
            if first.versions.get(key) != other.versions.get(key):
                raise ValueError(
                    f"{first.name} and {other.name} were scored with different versions of {key}; "
                    "run both again"
                )
        if set(other.rows) != set(first.rows):
            raise ValueError(
                f"{first.name} has {len(first.rows)} scenes and {other.name} {len(other.rows)}, or others; "
                "run both on the same"
            )


def compare(first: Entrant, second: Entrant, metric: str, margin: float) -> Pair:
    """The first against the second on every scene."""
    a, b = first.values(metric), second.values(metric)
    apart = {scene: a[scene] - b[scene] for scene in a}
    points = {scene: _points(value, margin) for scene, value in apart.items()}
    wins, losses = (sum(p == v for p in points.values()) for v in (1.0, 0.0))
    count = len(points)
    share = math.fsum(points.values()) / count
    strata, members = _strata(points)
    return Pair(
        first.name,
        second.name,
        wins,
        count - wins - losses,
        losses,
        share,
        wilson(share * count, count),
        stratified_interval(strata, lambda drawn: _weighted(points, members, drawn)),
        math.fsum(apart.values()) / count,
        stratified_interval(strata, lambda drawn: _weighted(apart, members, drawn)),
        _mcnemar(first, second, "success_closed"),
        _mcnemar(first, second, "success_open"),
    )


def rate(entrants: Sequence[Entrant], metric: str, margin: float) -> list[Rating]:
    """Bradley-Terry over all pairs of three or more planners."""
    values = [entrant.values(metric) for entrant in entrants]
    scenes = list(values[0])
    # [scene, i, j]: points of i against j
    points = np.zeros((len(scenes), len(values), len(values)))
    for i, j in itertools.permutations(range(len(values)), 2):
        points[:, i, j] = [_points(values[i][s] - values[j][s], margin) for s in scenes]
    strengths = bradley_terry(points.sum(0))
    strata, members = _strata(dict.fromkeys(scenes, 0.0))
    index = {scene: k for k, scene in enumerate(scenes)}

    def drawn_strength(player: int):  # type: ignore[no-untyped-def]
        def statistic(drawn: Mapping[str, int]) -> float:
            weights = np.zeros(len(scenes))
            for cluster, times in drawn.items():
                for scene in members[cluster]:
                    weights[index[scene]] = times
            return float(bradley_terry(np.tensordot(weights, points, 1), rounds=200)[player])

        return statistic

    return [
        Rating(
            entrant.name,
            float(strengths[k]),
            (1000.0, 1000.0) if k == 0 else stratified_interval(strata, drawn_strength(k), samples=500),
        )
        for k, entrant in enumerate(entrants)
    ]


def _points(apart: float, margin: float) -> float:
    """1 a win, 0 a loss, 0.5 a tie."""
    return 0.5 if abs(apart) <= margin else float(apart > 0)


def _strata(values: Mapping[str, float]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Clusters by family, and the scenes of each: robots of one (family, seed) belong together."""
    members: dict[str, list[str]] = {}
    for scene in values:
        members.setdefault(scene.rpartition("/")[0], []).append(scene)
    strata: dict[str, list[str]] = {}
    for cluster in members:
        strata.setdefault(cluster.partition("/")[0], []).append(cluster)
    return strata, members


def _weighted(
    values: Mapping[str, float], members: Mapping[str, list[str]], drawn: Mapping[str, int]
) -> float:
    total = count = 0.0
    for cluster, times in drawn.items():
        if times:
            total += times * sum(values[scene] for scene in members[cluster])
            count += times * len(members[cluster])
    return total / count


def _mcnemar(first: Entrant, second: Entrant, metric: str) -> tuple[int, int, float]:
    a, b = first.values(metric), second.values(metric)
    only_first = sum(a[s] == 1 and b[s] != 1 for s in a)
    only_second = sum(b[s] == 1 and a[s] != 1 for s in a)
    return only_first, only_second, mcnemar_exact(only_first, only_second)
