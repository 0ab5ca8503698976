"""Has the step been reached, has something else happened, or can nobody tell? Pure numpy.

The live picture is compared with the step's start and with its keyframe: where these two differ it should
come to look like the keyframe, and elsewhere it should look like one of them. A model's keyframe is never
exact: all three are softened first, and what looks like neither counts only beside the places that the step
changes. Knows no robot: where a large part of the picture looks like neither, an arm or a person is in the
view, and nothing is known.
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
    """From where on a verdict holds; checked by `emu-planner bench progress`, see docs/progress.md."""

    # grey levels, in the channel that differs most, from where on two pixels differ
    changed_level: int = 24
    # a step is reached from this score on, [0, 1]
    reached_score: float = 0.5
    # share of strange pixels from where on a step is not reached but drifts
    drifting_share: float = 0.007
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
    strange: share of all pixels where live differs from both start and keyframe, where these two are alike
        and not next to a place where they differ.
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
    soften_px: int = 5,
    margin_px: int = 2,
) -> Progress:
    """Compare the live picture with a step's start and its imagined end; see Progress.

    Args:
        live, start, keyframe: [H, W, 3] uint8, the same size; a view of about 200 px fits the defaults.
        changed_level: see ProgressLimits.
        soften_px: each pixel is the mean of so many by so many; odd, up to 15; 1: as it is.
        margin_px: how far beside a place that the step changes nothing is drift.
    """
    if not live.shape == start.shape == keyframe.shape:
        raise ValueError(f"sizes differ: live {live.shape}, start {start.shape}, keyframe {keyframe.shape}")
    live, start, keyframe = (_softened(picture, soften_px) for picture in (live, start, keyframe))
    live, keyframe = _exposed_like(start, live), _exposed_like(start, keyframe)
    to_go, left = _distance(start, keyframe), _distance(live, keyframe)
    region = to_go > changed_level
    strange = (left > changed_level) & (_distance(live, start) > changed_level) & ~_widened(region, margin_px)
    score = 1.0
    if region.any():
        score = float(np.clip(1.0 - left[region].mean() / to_go[region].mean(), 0.0, 1.0))
    return Progress(score, float(strange.mean()))


def _softened(picture: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """Each pixel the mean of px by px around it; the edge goes on outwards."""
    if px not in range(1, 16, 2):
        raise ValueError(f"soften_px is {px}; expected an odd number up to 15")
    height, width, _ = picture.shape
    around = np.pad(picture, ((px // 2, px // 2), (px // 2, px // 2), (0, 0)), mode="edge").astype(np.uint16)
    rows = np.zeros((height, around.shape[1], 3), np.uint16)
    for row in range(px):
        rows += around[row : row + height]
    total = np.zeros(picture.shape, np.uint16)
    for column in range(px):
        total += rows[:, column : column + width]
    return np.asarray(np.rint(total / np.float32(px * px)), np.uint8)


def _widened(mask: NDArray[np.bool_], px: int) -> NDArray[np.bool_]:
    """True also where something within px, both ways, is true."""
    height, width = mask.shape
    around = np.pad(mask, px)
    rows = np.zeros((height, around.shape[1]), np.bool_)
    for row in range(2 * px + 1):
        rows |= around[row : row + height]
    wide = np.zeros(mask.shape, np.bool_)
    for column in range(2 * px + 1):
        wide |= rows[:, column : column + width]
    return wide


def _exposed_like(start: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with the start's brightness: most of it shows the same things."""
    gain = max(float(np.median(start)), 1.0) / max(float(np.median(picture)), 1.0)
    return np.asarray(np.clip(np.rint(picture * gain), 0, 255), np.uint8)


def _distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Largest difference of a channel, [H, W]."""
    return np.asarray(np.abs(a.astype(np.int16) - b).max(axis=2))
