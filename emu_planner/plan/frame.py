"""What a camera saw, and how the newest of it reaches a planner.

A FrameSource is pulled, never pushed into: whoever plans takes the newest observation at the
moment it begins, so no queue of old frames can build up anywhere. Knows no codec and no topic.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.errors import ErrorCode, PlanError


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. Optical frame: z forward, x right, y down (REP 103)."""

    name: str
    width: int  # px
    height: int  # px
    # tf frame of the optical centre; empty when unknown
    frame_id: str = ""
    # 3x3 intrinsics, row-major, px; empty when uncalibrated
    k: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"camera {self.name!r}: size {self.width}x{self.height} is not positive")
        if len(self.k) not in (0, 9):
            raise ValueError(f"camera {self.name!r}: k has {len(self.k)} values, expected 0 or 9")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of one camera: rgb [H, W, 3] uint8, stamp_s on the camera's clock."""

    rgb: NDArray[np.uint8]
    camera: str
    stamp_s: float = 0.0

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(
                f"frame of {self.camera!r}: expected uint8 [H, W, 3], "
                f"got {self.rgb.dtype} {list(self.rgb.shape)}"
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Frame)
            and (self.camera, self.stamp_s) == (other.camera, other.stamp_s)
            and np.array_equal(self.rgb, other.rgb)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Observation:
    """The pictures of all cameras at one moment, newest of each."""

    frames: tuple[Frame, ...]
    # counts up within one source; a higher number is newer
    seq: int = 0

    def __post_init__(self) -> None:
        names = [frame.camera for frame in self.frames]
        if len(set(names)) != len(names):
            raise ValueError(f"observation holds a camera twice: {names}")

    @property
    def stamp_s(self) -> float:
        """Capture time of the oldest picture in it: the observation is no fresher than that."""
        return min((frame.stamp_s for frame in self.frames), default=0.0)

    def frame(self, camera: str) -> Frame:
        """The picture of one camera; KeyError names those that are there."""
        for frame in self.frames:
            if frame.camera == camera:
                return frame
        raise KeyError(f"no camera {camera!r}; have {[frame.camera for frame in self.frames]}")


class FrameSource(Protocol):
    """Where a planner takes its newest observation from."""

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """The newest complete observation; waits up to timeout_s for a first one.

        Raises:
            PlanError: STALE_OBSERVATION when there is none in time.
        """
        ...


@dataclass(frozen=True)
class Still:
    """A FrameSource that always shows the same observation."""

    observation: Observation

    def newest(self, timeout_s: float = 0.0) -> Observation:  # noqa: ARG002 - protocol
        """The one observation."""
        return self.observation


@dataclass
class Mailbox:
    """A thread-safe FrameSource with one slot a camera: a new picture replaces the old one.

    Args:
        cameras: names of all cameras that make an observation whole, in their order.
    """

    cameras: tuple[str, ...]
    superseded: int = 0  # pictures replaced before anyone took them
    _slots: dict[str, Frame] = field(default_factory=dict, repr=False)
    _untaken: set[str] = field(default_factory=set, repr=False)
    _seq: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def put(self, frame: Frame) -> None:
        """Replace the slot of the frame's camera; wakes whoever waits. ValueError: unknown camera."""
        if frame.camera not in self.cameras:
            raise ValueError(f"camera {frame.camera!r} is not one of {list(self.cameras)}")
        with self._changed:
            self.superseded += frame.camera in self._untaken
            self._slots[frame.camera] = frame
            self._untaken.add(frame.camera)
            self._seq += 1
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every picture, for example when the cameras stop."""
        with self._changed:
            self._slots.clear()
            self._untaken.clear()

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """The newest picture of every camera, as one observation."""
        return self.newer_than(-1, timeout_s)

    def glance(self) -> Observation:
        """The newest observation at once; its pictures still count as taken by nobody."""
        return self.newer_than(-1, 0.0, take=False)

    def newer_than(self, seq: int, timeout_s: float, *, take: bool = True) -> Observation:
        """Like newest, but waits until the observation's seq is above the one given."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._whole() and self._seq > seq, timeout_s):
                missing = [name for name in self.cameras if name not in self._slots]
                raise PlanError(
                    ErrorCode.STALE_OBSERVATION,
                    f"no picture from {missing or 'any camera'} within {timeout_s:g} s; "
                    "check that the cameras publish and that their topics are mapped",
                    retryable=True,
                )
            if take:
                self._untaken.clear()
            return Observation(tuple(self._slots[name] for name in self.cameras), self._seq)

    def stamps_s(self) -> Mapping[str, float]:
        """Capture time of the newest picture of each camera that has one."""
        with self._changed:
            return {name: frame.stamp_s for name, frame in self._slots.items()}

    def _whole(self) -> bool:
        return all(name in self._slots for name in self.cameras)
