"""Does the live frame look like the keyframe yet? Pure numpy; the caller keeps the clock.

Only the region that the step changes counts: elsewhere frame and keyframe agree from the start.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Progress:
    """How far a step has come: score in [0, 1], and whether that is near enough."""

    score: float
    reached: bool


def compare(
    live: NDArray[np.uint8],
    start: NDArray[np.uint8],
    keyframe: NDArray[np.uint8],
    *,
    changed_level: int = 24,
    reached_score: float = 0.6,
) -> Progress:
    """Compare the live picture with a step's start and its imagined end.

    score = 1 - mean |live - keyframe| / mean |start - keyframe| over pixels where start and
    keyframe differ by more than `changed_level` grey levels in some channel, clipped to [0, 1].
    A step that changes nothing is reached.

    Args:
        live, start, keyframe: [H, W, 3] uint8, the same size.
    """
    if not live.shape == start.shape == keyframe.shape:
        raise ValueError(f"sizes differ: live {live.shape}, start {start.shape}, keyframe {keyframe.shape}")
    to_go = np.abs(start.astype(np.int16) - keyframe).max(axis=2)
    region = to_go > changed_level
    if not region.any():
        return Progress(1.0, True)
    left = np.abs(live.astype(np.int16) - keyframe).max(axis=2)
    score = float(np.clip(1.0 - left[region].mean() / to_go[region].mean(), 0.0, 1.0))
    return Progress(score, score >= reached_score)
