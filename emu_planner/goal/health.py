"""Is a camera's picture worth planning from? Content is looked at, not only stamps.

A driver may send the same picture again and again, with new stamps; a lens cap gives pictures too.
Time is the caller's monotonic clock. Knows no ROS message and no topic.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import Frame

# every so many pixels, both ways, are looked at: 20 kB of a picture of 1920x1080
_STRIDE = 16
# arrivals that the rate is taken over
_ARRIVALS = 31
# a camera that was silent for longer has no rate, s
_SILENCE_S = 2.0
# the pace of a camera's clock is taken over no less than this, s
_PACE_S = 0.5
# a stamp that goes back by more is another clock: a driver or a simulation began anew, s
_CLOCK_JUMP_S = 0.5


@dataclass(frozen=True)
class HealthLimits:
    """From where on a camera counts as ill."""

    # the same pixels for longer than this: frozen, s; 0: never (a simulator has no noise)
    frozen_after_s: float = 0.0
    # mean of a picture, 0 to 255, below which it is dark; 0: never
    dark_level: float = 0.0


class CameraWatch:
    """What is known of one camera.

    Args:
        limits: from where on it counts as ill.
        size: (width, height) that its pictures must have, px; (0, 0): any.
    """

    def __init__(self, limits: HealthLimits, size: tuple[int, int] = (0, 0)) -> None:
        self._limits, self._wanted = limits, size
        self._sample: NDArray[np.uint8] | None = None
        self._changed_s, self._level, self._size = 0.0, 0.0, (0, 0)
        self._stamp_s: float | None = None
        self._arrivals: deque[float] = deque(maxlen=_ARRIVALS)
        self._stamps: deque[float] = deque(maxlen=_ARRIVALS)
        self.clock = 0  # times that the camera's clock jumped back

    def see(self, frame: Frame, now_s: float) -> None:
        """Look at a picture that has just arrived."""
        if self._stamp_s is not None and frame.stamp_s < self._stamp_s - _CLOCK_JUMP_S:
            self.clock += 1
            self._stamps.clear()
        self._stamp_s = frame.stamp_s
        self._arrivals.append(now_s)
        self._stamps.append(frame.stamp_s)
        sample = frame.rgb[::_STRIDE, ::_STRIDE]
        if self._sample is None or not np.array_equal(sample, self._sample):
            # a copy: the whole picture would be kept otherwise
            self._sample, self._changed_s = sample.copy(), now_s
            self._level = float(sample.mean())
            self._size = (frame.rgb.shape[1], frame.rgb.shape[0])

    def rest(self) -> None:
        """The camera is not listened to: what comes next is compared with nothing before."""
        self._sample = None
        self._arrivals.clear()
        self._stamps.clear()

    def rate_hz(self, now_s: float) -> float:
        """Pictures a second over the last ones; 0 before the second, and when they have ceased."""
        if len(self._arrivals) < 2 or now_s - self._arrivals[-1] > _SILENCE_S:
            return 0.0
        return (len(self._arrivals) - 1) / max(self._arrivals[-1] - self._arrivals[0], 1e-9)

    def pace(self) -> float:
        """Seconds on the camera's clock in one of ours: less than 1 in a slow simulation; never more."""
        count = len(self._stamps)
        if count < 2 or (took_s := self._arrivals[-1] - self._arrivals[-count]) < _PACE_S:
            return 1.0
        return min(max((self._stamps[-1] - self._stamps[0]) / took_s, 0.0), 1.0)

    def trouble(self) -> str:
        """Why nothing should be planned from this camera's newest picture; empty: nothing is wrong."""
        if self._sample is None:
            return ""
        if self._wanted not in ((0, 0), self._size):
            return "{}x{} px, expected {}x{}".format(*self._size, *self._wanted)
        if self._level < self._limits.dark_level:
            return f"dark (mean {self._level:.1f} of 255)"
        # up to the last arrival: a camera that sends nothing is silent, which is another fault
        still_s = self._arrivals[-1] - self._changed_s
        if 0 < self._limits.frozen_after_s < still_s:
            return f"the same picture for {still_s:.1f} s"
        return ""
