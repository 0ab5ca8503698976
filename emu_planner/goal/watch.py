"""Does the step that is being carried out come to look like its keyframe? The newest pictures say so.

Looks when it is asked to, in the thread of whoever asks; plan/progress.py judges what it sees. It takes
no picture away from the planner and says nothing about a step's outcome. Knows no planner and no topic.
"""

import math

import numpy as np
from numpy.typing import NDArray

from emu_planner.goal.feed import CameraFeed, FreshFrames
from emu_planner.goal.states import Look, PlannedStep
from emu_planner.plan import Observation, PlanError, ProgressLimits, Stop, Verdict, compare

# a view is compared at its keyframe's size, but with no side longer than this, px: `compare` fits it
_LONGEST_PX = 192
# most pixels, both ways, whose mean is a pixel of a smaller picture: 1080p costs no more than VGA
_SAMPLES = 4


class StepWatch:
    """Over one step, from the moment that it is made.

    Args:
        feed: the cameras.
        made: the step.
        planned_from: the observation that it was planned from; None: it is not known.
        max_age_s: a picture that arrived longer ago is not looked at.
        limits: from where on a verdict holds.
    """

    def __init__(
        self,
        feed: CameraFeed,
        made: PlannedStep,
        planned_from: Observation | None,
        max_age_s: float,
        limits: ProgressLimits | None = None,
    ) -> None:
        self._feed, self._limits = feed, limits or ProgressLimits()
        self._drifting = 0
        self._stamps: tuple[float, ...] = ()
        self._blind = _blindness(made, planned_from)
        keyframe = made.step.keyframe
        if self._blind or keyframe is None or planned_from is None:
            return
        self._views = keyframe.views
        height, width = keyframe.rgb.shape[0], keyframe.rgb.shape[1] // len(keyframe.views)
        shrink = min(1.0, _LONGEST_PX / max(height, width))
        self._size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        self._keyframe = np.hstack([resized(keyframe.view(name), *self._size) for name in self._views])
        self._start = self._picture(planned_from)
        # what was captured before now shows no work
        self._fresh = FreshFrames(feed, self._views, max_age_s, feed.moment(), Stop())

    def look(self) -> Look | None:
        """What the newest pictures say; None: no camera has a new one since the last look."""
        if self._blind:
            return self._unknown(self._blind)
        if stale := self._fresh.stale():
            ill = [f"{name}: {trouble}" for name in stale if (trouble := self._feed.trouble(name))]
            return self._unknown("; ".join(ill) or f"no fresh picture of {', '.join(stale)}")
        try:
            seen = self._feed.glance(self._views)
        except PlanError as error:
            # the cameras were stopped just now
            return self._unknown(error.message)
        stamps = tuple(frame.stamp_s for frame in seen.frames)
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        progress = compare(
            self._picture(seen), self._start, self._keyframe, changed_level=self._limits.changed_level
        )
        verdict = progress.verdict(self._limits)
        self._drifting = self._drifting + 1 if verdict is Verdict.DRIFTING else 0
        return Look(verdict, progress.score, progress.strange, self._drifting, seen.stamp_s)

    def _unknown(self, reason: str) -> Look:
        self._drifting = 0
        return Look(Verdict.UNKNOWN, math.nan, math.nan, 0, 0.0, reason)

    def _picture(self, seen: Observation) -> NDArray[np.uint8]:
        """The views side by side, as the keyframe has them, [H, W, 3]."""
        return np.hstack([resized(seen.frame(name).rgb, *self._size) for name in self._views])


def resized(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The picture [H, W, 3] at another size; a pixel is the mean of up to 4x4 of those that it covers.

    Exact where the sizes are the same, and where one is up to 4 times the other.
    """
    rows, columns = _samples(rgb.shape[0], height), _samples(rgb.shape[1], width)
    total = np.zeros((height, width, 3), np.uint16)
    for column in columns.T:
        narrow = rgb[:, column]
        for row in rows.T:
            total += narrow[row]
    return np.asarray(np.rint(total / np.float32(len(rows.T) * len(columns.T))), np.uint8)


def _samples(there: int, wanted: int) -> NDArray[np.int64]:
    """Which of so many pixels are seen by each of those wanted, [wanted, 1 to 4]."""
    count = min(max(math.ceil(there / wanted), 1), _SAMPLES)
    places = (np.arange(wanted)[:, None] + (np.arange(count) + 0.5) / count) * (there / wanted)
    return places.astype(np.int64)


def _blindness(made: PlannedStep, planned_from: Observation | None) -> str:
    """Why the step cannot be watched; empty: it can."""
    keyframe = made.step.keyframe
    if keyframe is None:
        return "the step has no keyframe"
    if made.original:
        return "its words were edited, its keyframe shows what was meant before"
    if planned_from is None:
        return "the pictures that it was planned from are not known"
    missing = set(keyframe.views) - {frame.camera for frame in planned_from.frames}
    if missing:
        return f"its keyframe shows {', '.join(sorted(missing))}, which this goal has no camera of"
    return ""
