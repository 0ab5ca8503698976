"""The newest picture of each camera, and observations taken only from pictures new enough.

Time is the monotonic clock of this process plus the cameras' own stamps; no two clocks are ever
subtracted from each other. Knows no ROS message and no planner.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from emu_planner.goal.health import CameraWatch, HealthLimits
from emu_planner.plan import ErrorCode, Frame, Mailbox, Observation, PlanError, Stop

# how soon a wait for a picture notices that it was asked to stop, s
_SLICE_S = 0.02
# a camera that was silent for longer is not extrapolated any further, s
_LONGEST_EXTRAPOLATION_S = 1.0
# observations of which FreshFrames remembers when they were captured
_REMEMBERED = 16


@dataclass(frozen=True)
class FeedCounts:
    """What became of the pictures so far."""

    received: int  # pictures that arrived
    sent: int  # pictures that an observation was made of
    superseded: int  # pictures replaced by a newer one before anyone took them
    age_s: float  # since the arrival of the oldest of the cameras' newest pictures


@dataclass(frozen=True, order=True)
class Moment:
    """A time on a camera's own clock; a clock that was set back is a new one, and later."""

    clock: int
    stamp_s: float


@dataclass(frozen=True)
class CameraState:
    """How one camera is."""

    name: str
    rate_hz: float
    age_s: float  # since the arrival of its newest picture; infinite without one
    trouble: str  # why nothing should be planned from it; empty: nothing is wrong
    clock_jumps: int


class CameraFeed:
    """One plan.Mailbox a camera: a new picture replaces the old one, nothing queues.

    Args:
        cameras: names of all cameras, in the order of an observation's frames.
        limits: from where on a camera counts as ill.
        sizes: (width, height) in px that a camera's pictures must have.
    """

    def __init__(
        self,
        cameras: tuple[str, ...],
        limits: HealthLimits | None = None,
        sizes: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.cameras = cameras
        self._watches = {
            name: CameraWatch(limits or HealthLimits(), (sizes or {}).get(name, (0, 0))) for name in cameras
        }
        self._boxes = {name: Mailbox((name,)) for name in cameras}
        self._arrivals: dict[str, tuple[float, float]] = {}  # camera: stamp, monotonic arrival
        self._lock = threading.Lock()
        self._received = 0
        self._sent = 0

    def put(self, frame: Frame) -> None:
        """Keep the frame as its camera's newest."""
        now_s = time.monotonic()
        with self._lock:
            self._watches[frame.camera].see(frame, now_s)
            self._arrivals[frame.camera] = (frame.stamp_s, now_s)
            self._received += 1
        self._boxes[frame.camera].put(frame)

    def clear(self) -> None:
        """Forget every picture: the cameras stop."""
        with self._lock:
            self._arrivals.clear()
            for watch in self._watches.values():
                watch.rest()
        for box in self._boxes.values():
            box.clear()

    def moment(self) -> Mapping[str, Moment]:
        """Now, on each camera's clock: its newest stamp plus the time since that arrived, at its pace."""
        now = time.monotonic()

        def on_its_clock(watch: CameraWatch, stamp: float, arrival: float) -> Moment:
            return Moment(watch.clock, stamp + watch.pace() * min(now - arrival, _LONGEST_EXTRAPOLATION_S))

        with self._lock:
            return {name: on_its_clock(self._watches[name], *seen) for name, seen in self._arrivals.items()}

    def captured(self, camera: str) -> Moment | None:
        """When the camera's newest picture was captured, on the camera's clock; None without one."""
        with self._lock:
            arrival = self._arrivals.get(camera)
            return None if arrival is None else Moment(self._watches[camera].clock, arrival[0])

    def trouble(self, camera: str) -> str:
        """Why nothing should be planned from the camera's newest picture; empty: nothing is wrong."""
        with self._lock:
            return self._watches[camera].trouble()

    def states(self) -> list[CameraState]:
        """How each camera is."""
        now_s = time.monotonic()
        return [
            CameraState(name, watch.rate_hz(now_s), self.age_s(name), self.trouble(name), watch.clock)
            for name, watch in self._watches.items()
        ]

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
        taken = _one_of([self._boxes[name].newest() for name in cameras])
        with self._lock:
            self._sent += len(cameras)
        return taken

    def glance(self, cameras: tuple[str, ...]) -> Observation:
        """The same for a look: what it shows was not sent, and counts as taken by nobody."""
        return _one_of([self._boxes[name].glance() for name in cameras])


def _one_of(cameras: list[Observation]) -> Observation:
    """One observation of those of single cameras."""
    return Observation(tuple(one.frames[0] for one in cameras), sum(one.seq for one in cameras))


@dataclass(frozen=True)
class FreshFrames:
    """A plan.FrameSource that shows only pictures young enough and captured after a moment."""

    feed: CameraFeed
    cameras: tuple[str, ...]
    # a picture that arrived longer ago than this does not count, s
    max_age_s: float
    # moment after which each camera's picture has to be captured, on that camera's clock
    after: Mapping[str, Moment]
    # ends every wait
    stop: Stop
    # shortest wait that newest() grants, whatever its caller asks for, s
    patience_s: float = 0.0
    # also keep the observation handed out last: of one alone, as pictures are large
    keeps_last: bool = False
    # of the last observations handed out, by number: when each camera's picture was captured, s
    taken: dict[int, dict[str, float]] = field(default_factory=dict)
    # that observation, by its number
    last: dict[int, Observation] = field(default_factory=dict, repr=False)

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """The newest observation of which every picture is fresh; waits for it.

        Raises:
            PlanError: STALE_OBSERVATION when there is none in time, or `stop` was requested.
        """
        patience_s = max(timeout_s, self.patience_s)
        deadline = time.monotonic() + patience_s
        while stale := self.stale():
            if self.stop.requested or time.monotonic() >= deadline:
                raise PlanError(
                    ErrorCode.STALE_OBSERVATION, self._complaint(stale, patience_s), retryable=True
                )
            time.sleep(_SLICE_S)
        observation = self.feed.take(self.cameras)
        self.taken[observation.seq] = {frame.camera: frame.stamp_s for frame in observation.frames}
        while len(self.taken) > _REMEMBERED:
            self.taken.pop(next(iter(self.taken)))
        if self.keeps_last:
            self.last.clear()
            self.last[observation.seq] = observation
        return observation

    def stale(self) -> list[str]:
        """The cameras whose newest picture is not fresh."""
        return [name for name in self.cameras if not self._is_fresh(name)]

    def _is_fresh(self, camera: str) -> bool:
        captured = self.feed.captured(camera)
        if captured is None or self.feed.age_s(camera) > self.max_age_s or self.feed.trouble(camera):
            return False
        return camera not in self.after or captured > self.after[camera]

    def _complaint(self, stale: list[str], patience_s: float) -> str:
        troubles = [f"{name}: {trouble}" for name in stale if (trouble := self.feed.trouble(name))]
        if troubles:
            return f"no picture to plan from within {patience_s:g} s: {'; '.join(troubles)}; check the camera"
        return (
            f"no fresh picture from {stale} within {patience_s:g} s; check that the "
            "cameras publish, that their topics are mapped, and observation_max_age"
        )
