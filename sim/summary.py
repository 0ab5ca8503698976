"""The benchmark's table: shares and errors with their 95% intervals, from rows."""

from collections.abc import Iterable
from dataclasses import dataclass

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

    def __str__(self) -> str:
        mean, low, high = bootstrap_mean(self.clusters)
        return "-" if mean != mean else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def summarise(rows: Iterable[dict]) -> list[Share | Mean]:
    """The figures of one planner, from its SceneScore rows."""
    rows = list(rows)
    steps = [list(row["steps"]) for row in rows]
    flat = [s for scene in steps for s in scene]
    seen = [s for s in flat if s["keyframe_agrees"] is not None]
    return [
        Share("plans whose every subgoal is valid", sum(r["plan_valid"] for r in rows), len(rows)),
        Share("subgoals valid", sum(s["valid"] for s in flat), len(flat)),
        Share("task success, closed loop", sum(r["closed_loop_success"] for r in rows), len(rows)),
        Share("task success, open loop", sum(r["open_loop_success"] for r in rows), len(rows)),
        Mean("keyframe error in the changed region", _values(steps, "keyframe_error")),
        Mean("the same for copying the last frame", _values(steps, "copy_error")),
        Mean("difference to copying, paired", _differences(steps)),
        Share("keyframes that show what the words say", sum(s["keyframe_agrees"] for s in seen), len(seen)),
        Share("keyframes that show a possible step", sum(s["keyframe_possible"] for s in seen), len(seen)),
    ]


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


def _values(steps: list[list[dict]], name: str) -> list[list[float]]:
    return [[s[name] for s in scene if s[name] is not None] for scene in steps]


def _differences(steps: list[list[dict]]) -> list[list[float]]:
    return [
        [s["keyframe_error"] - s["copy_error"] for s in scene if s["keyframe_error"] is not None]
        for scene in steps
    ]
