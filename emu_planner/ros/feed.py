"""The newest picture of each camera, and observations taken only from pictures new enough.

Time is the monotonic clock of this process plus the cameras' own stamps; no two clocks are ever
subtracted from each other. Knows no ROS message and no planner.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from emu_planner.plan import ErrorCode, Frame, Mailbox, Observation, PlanError, Stop

# how soon a wait for a picture notices that it was asked to stop, s
_SLICE_S = 0.02
# a camera that was silent for longer is not extrapolated any further, s
_LONGEST_EXTRAPOLATION_S = 1.0


@dataclass(frozen=True)
class FeedCounts:
    """What became of the pictures so far."""

    received: int  # pictures that arrived
    sent: int  # pictures that an observation was made of
    superseded: int  # pictures replaced by a newer one before anyone took them
    age_s: float  # since the arrival of the oldest of the cameras' newest pictures


class CameraFeed:
    """One plan.Mailbox a camera: a new picture replaces the old one, nothing queues.

    Args:
        cameras: names of all cameras, in the order of an observation's frames.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self.cameras = cameras
        self._boxes = {name: Mailbox((name,)) for name in cameras}
        self._arrivals: dict[str, tuple[float, float]] = {}  # camera: stamp, monotonic arrival
        self._lock = threading.Lock()
        self._received = 0
        self._sent = 0

    def put(self, frame: Frame) -> None:
        """Keep the frame as its camera's newest."""
        with self._lock:
            self._arrivals[frame.camera] = (frame.stamp_s, time.monotonic())
            self._received += 1
        self._boxes[frame.camera].put(frame)

    def clear(self) -> None:
        """Forget every picture: the cameras stop."""
        with self._lock:
            self._arrivals.clear()
        for box in self._boxes.values():
            box.clear()

    def moment(self) -> Mapping[str, float]:
        """Now, on each camera's clock: its newest stamp plus the time since that arrived."""
        now = time.monotonic()
        with self._lock:
            return {
                name: stamp + min(now - arrival, _LONGEST_EXTRAPOLATION_S)
                for name, (stamp, arrival) in self._arrivals.items()
            }

    def stamp_s(self, camera: str) -> float | None:
        """Stamp of the camera's newest picture, on the camera's clock; None without one."""
        with self._lock:
            arrival = self._arrivals.get(camera)
        return None if arrival is None else arrival[0]

    def age_s(self, camera: str) -> float:
        """Time since the camera's newest picture arrived; infinite without one."""
        with self._lock:
            arrival = self._arrivals.get(camera, (0.0, float("-inf")))[1]
        return time.monotonic() - arrival

    def counts(self) -> FeedCounts:
        """What became of the pictures so far."""
        superseded = sum(box.superseded for box in self._boxes.values())
        age_s = max(self.age_s(name) for name in self.cameras)
        with self._lock:
            return FeedCounts(self._received, self._sent, superseded, age_s)

    def take(self, cameras: tuple[str, ...]) -> Observation:
        """The newest picture of each of these cameras; PlanError STALE_OBSERVATION without one."""
        taken = [self._boxes[name].newest() for name in cameras]
        with self._lock:
            self._sent += len(taken)
        frames = tuple(one.frames[0] for one in taken)
        return Observation(frames, sum(one.seq for one in taken))


@dataclass(frozen=True)
class FreshFrames:
    """A plan.FrameSource that shows only pictures young enough and captured after a moment."""

    feed: CameraFeed
    cameras: tuple[str, ...]
    # a picture that arrived longer ago than this does not count, s
    max_age_s: float
    # stamp that each camera's picture has to exceed, on that camera's clock
    after: Mapping[str, float]
    # ends every wait
    stop: Stop
    # shortest wait that newest() grants, whatever its caller asks for, s
    patience_s: float = 0.0

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """The newest observation of which every picture is fresh; waits for it.

        Raises:
            PlanError: STALE_OBSERVATION when there is none in time, or `stop` was requested.
        """
        patience_s = max(timeout_s, self.patience_s)
        deadline = time.monotonic() + patience_s
        while stale := [name for name in self.cameras if not self._is_fresh(name)]:
            if self.stop.requested or time.monotonic() >= deadline:
                raise PlanError(
                    ErrorCode.STALE_OBSERVATION,
                    f"no fresh picture from {stale} within {patience_s:g} s; check that the "
                    "cameras publish, that their topics are mapped, and observation_max_age",
                    retryable=True,
                )
            time.sleep(_SLICE_S)
        return self.feed.take(self.cameras)

    def _is_fresh(self, camera: str) -> bool:
        newest = self.feed.stamp_s(camera)
        if newest is None or self.feed.age_s(camera) > self.max_age_s:
            return False
        return camera not in self.after or newest > self.after[camera]
