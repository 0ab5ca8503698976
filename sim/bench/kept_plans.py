"""Open-loop plans on disk: words and pictures of the planner under test, one file a scene.

Reports show them, and controls that derive from the planner replay them after a cut.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from emu_planner.plan.step import Keyframe, Step
from sim.bench.suite import SceneName


def plan_path(folder: Path, scene: SceneName) -> Path:
    """Where the plan of a scene is kept."""
    return folder / f"{scene.family}-{scene.seed}-{scene.robot}.npz"


def keep_plan(folder: Path, scene: SceneName, steps: tuple[Step, ...]) -> None:
    """Write a plan; a reader finds the whole file or none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = plan_path(folder, scene)
    keyframes = {i: s.keyframe for i, s in enumerate(steps) if s.keyframe is not None}
    views = next((keyframe.views for keyframe in keyframes.values()), ())
    arrays: dict[str, Any] = {f"picture_{i}": keyframe.rgb for i, keyframe in keyframes.items()}
    arrays |= {"words": np.array([s.subgoal for s in steps], np.str_), "views": np.array(views, np.str_)}
    partial = path.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def kept_plan(folder: Path, scene: SceneName) -> tuple[Step, ...] | None:
    """The plan of a scene; None when none is kept."""
    path = plan_path(folder, scene)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        views = tuple(str(v) for v in data["views"])
        return tuple(
            Step(i, str(words), Keyframe(data[f"picture_{i}"], views) if f"picture_{i}" in data else None)
            for i, words in enumerate(data["words"])
        )
