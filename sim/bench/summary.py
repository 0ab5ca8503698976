"""The benchmark's tables: shares, means and errors with their 95% intervals, from rows.

A scene that is missing something counts as wrong there; what was not scored is shown as "-".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sim.bench.metrics import VECTOR
from sim.statistics import bootstrap_mean, wilson


@dataclass(frozen=True)
class Share:
    """A proportion with its Wilson interval."""

    name: str
    hits: int
    trials: int

    def __str__(self) -> str:
        if not self.trials:
            return "-"
        low, high = wilson(self.hits, self.trials)
        share = 100 * self.hits / self.trials
        return f"{share:.1f}% ({self.hits}/{self.trials}; {100 * low:.1f} to {100 * high:.1f})"


@dataclass(frozen=True)
class Mean:
    """A mean over scenes' values with its scene-clustered bootstrap interval."""

    name: str
    clusters: list[list[float]]

    @property
    def value(self) -> float | None:
        """The mean alone; None without values."""
        values = [value for cluster in self.clusters for value in cluster]
        return math.fsum(values) / len(values) if values else None

    @property
    def short(self) -> str:
        """The mean alone, in words."""
        return "-" if self.value is None else f"{self.value:.2f}"

    def __str__(self) -> str:
        mean, low, high = bootstrap_mean(self.clusters)
        return "-" if mean != mean else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def summarise(rows: Iterable[dict]) -> list[Share | Mean]:
    """The figures of one entrant, from its rows."""
    rows = list(rows)
    steps = [list(row["steps"]) for row in rows]
    flat = [s for scene in steps for s in scene]
    seen = [s for s in flat if s["facts"]["agrees"] is not None]
    return [
        Share("plans whose every subgoal is valid", sum(r["plan_valid"] for r in rows), len(rows)),
        Share("subgoals valid", sum(s["facts"]["valid"] for s in flat), len(flat)),
        Share("task success, closed loop", _hits(rows, "success_closed"), len(rows)),
        Share("task success, open loop", _hits(rows, "success_open"), len(rows)),
        Mean("keyframe error in the changed region", _values(steps, "keyframe_error")),
        Mean("the same for copying the last frame", _values(steps, "copy_error")),
        Mean("difference to copying, paired", _differences(steps)),
        Share("keyframes that show what the words say", sum(s["facts"]["agrees"] for s in seen), len(seen)),
        Share("keyframes that show a possible step", sum(s["keyframe_possible"] for s in seen), len(seen)),
    ]


def vector(rows: Iterable[dict]) -> list[Mean]:
    """The metrics vector and, last, the score: means over scenes with intervals."""
    rows = list(rows)
    means = [Mean(name, _clusters(row["metrics"][name] for row in rows)) for name in VECTOR]
    return [*means, Mean("score", _clusters(row["score"] for row in rows))]


def summarise_ceiling(rows: Iterable[dict]) -> list[Share | Mean]:
    """The tokenizer's ceiling, from CeilingScore rows."""
    rows = list(rows)
    scenes: dict[str, list[float]] = {}
    for row in rows:
        scenes.setdefault(row["scene"], []).append(row["psnr_db"])
    return [
        Share("real keyframes read right after the tokenizer", sum(r["right"] for r in rows), len(rows)),
        Share("real keyframes read right without it", sum(r["right_without"] for r in rows), len(rows)),
        Mean("PSNR of the round trip, dB", list(scenes.values())),
    ]


def by_family(rows: Iterable[dict]) -> dict[str, list[dict]]:
    """Rows grouped by the scene's family."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["scene"].split("/")[0], []).append(row)
    return dict(sorted(groups.items()))


def _hits(rows: list[dict], name: str) -> int:
    return sum(row["metrics"][name] == 1.0 for row in rows)


def _clusters(values: Iterable[float | None]) -> list[list[float]]:
    return [[] if value is None else [value] for value in values]


def _values(steps: list[list[dict]], name: str) -> list[list[float]]:
    return [[s[name] for s in scene if s[name] is not None] for scene in steps]


def _differences(steps: list[list[dict]]) -> list[list[float]]:
    return [
        [s["keyframe_error"] - s["copy_error"] for s in scene if s["keyframe_error"] is not None]
        for scene in steps
    ]
