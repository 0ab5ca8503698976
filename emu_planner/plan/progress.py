"""Has the step been reached, has something else happened, or can nobody tell? Pure numpy.

The live picture is compared with the step's start and with its keyframe, pixel by pixel: where these
two differ it should come to look like the keyframe, and nowhere like neither of them. Knows no robot: a
large part of the picture that looks like neither is an arm or a person in the view, and tells nothing.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Verdict(Enum):
    """What a live picture says about a step."""

    REACHED = "reached"
    DRIFTING = "drifting"  # something changed that the step does not foresee
    UNKNOWN = "unknown"  # nothing yet, on the way, or the view is covered


@dataclass(frozen=True)
class ProgressLimits:
    """From where on a verdict holds; chosen by `emu-planner bench progress --fit`."""

    # grey levels, in the channel that differs most, from where on two pixels differ
    changed_level: int = 24
    # a step is reached from this score on, [0, 1]
    reached_score: float = 0.6
    # share of strange pixels from where on a step is not reached but drifts
    drifting_share: float = 0.0017
    # share of strange pixels from where on the view is covered
    covered_share: float = 0.034

    def __post_init__(self) -> None:
        if not 0 < self.reached_score <= 1 or not 0 < self.drifting_share < self.covered_share:
            raise ValueError(f"{self}: expected 0 < reached_score <= 1, 0 < drifting_share < covered_share")


@dataclass(frozen=True)
class Progress:
    """How far a step has come.

    score: 1 - mean |live - keyframe| / mean |start - keyframe| where start and keyframe differ,
        clipped to [0, 1]; 1 for a step that changes nothing.
    strange: share of all pixels where live differs from both start and keyframe.
    """

    score: float
    strange: float

    def verdict(self, limits: ProgressLimits) -> Verdict:
        """What that means under these limits."""
        if self.strange >= limits.covered_share:
            return Verdict.UNKNOWN
        if self.strange >= limits.drifting_share:
            return Verdict.DRIFTING
        return Verdict.REACHED if self.score >= limits.reached_score else Verdict.UNKNOWN


def compare(
    live: NDArray[np.uint8],
    start: NDArray[np.uint8],
    keyframe: NDArray[np.uint8],
    *,
    changed_level: int = ProgressLimits.changed_level,
) -> Progress:
    """Compare the live picture with a step's start and its imagined end; see Progress.

    Args:
        live, start, keyframe: [H, W, 3] uint8, the same size.
    """
    if not live.shape == start.shape == keyframe.shape:
        raise ValueError(f"sizes differ: live {live.shape}, start {start.shape}, keyframe {keyframe.shape}")
    live, keyframe = _exposed_like(start, live), _exposed_like(start, keyframe)
    to_go, left = _distance(start, keyframe), _distance(live, keyframe)
    strange = (left > changed_level) & (_distance(live, start) > changed_level)
    region = to_go > changed_level
    score = 1.0
    if region.any():
        score = float(np.clip(1.0 - left[region].mean() / to_go[region].mean(), 0.0, 1.0))
    return Progress(score, float(strange.mean()))


def _exposed_like(start: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with the start's brightness: most of it shows the same things."""
    gain = max(float(np.median(start)), 1.0) / max(float(np.median(picture)), 1.0)
    return np.asarray(np.clip(np.rint(picture * gain), 0, 255), np.uint8)


def _distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Largest difference of a channel, [H, W]."""
    return np.asarray(np.abs(a.astype(np.int16) - b).max(axis=2))
