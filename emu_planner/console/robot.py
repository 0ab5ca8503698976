"""The seam between page and robot: a small protocol and the nouns that cross it.

A robot shows itself as one immutable Snapshot, replaced at each change, and its cameras' newest
pictures. What an operator does is one call, which is taken or refused in words. Knows no page, no
ROS, no network.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.goal.states import Decision, Ending, Phase, StepState
from emu_planner.plan import Keyframe, Observation

__all__ = ["Decision", "Ending", "Phase", "StepState"]

_JPEG_QUALITY = 92
JPEG, PNG = "image/jpeg", "image/png"


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    """What the operator asked for was not done; the text says why and what to do."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture; equal bytes have equal keys."""

    data: bytes = field(repr=False)
    media_type: str = JPEG

    @cached_property
    def key(self) -> str:
        """Its name: the start of the SHA-256 of its bytes, in hexadecimal digits."""
        return sha256(self.data).hexdigest()[:24]


# (camera, picture) in the order in which they are shown
Views = tuple[tuple[str, Picture], ...]


@dataclass(frozen=True)
class StepView:
    """One step as an operator sees it."""

    index: int
    epoch: int
    words: str
    state: StepState
    # the planner's words, when a person changed them
    original: str = ""
    # what the executor said of it
    detail: str = ""
    # who decided about it and what; empty: nobody did
    decided_by: str = ""
    decision: str = ""
    # mean probability of the words' tokens; None when the planner gives none
    confidence: float | None = None
    # what the cameras showed when it was planned, and what they should show afterwards
    before: Views = ()
    keyframe: Views = ()


@dataclass(frozen=True)
class Note:
    """One line of the journal: at_s in seconds since 1970, who, and what that person did."""

    at_s: float
    who: str
    what: str


@dataclass(frozen=True)
class Snapshot:
    """Everything about a robot and its plan that an operator sees, but the live pictures."""

    # what robot this is and who plans for it, in words
    robot: str
    planner: str
    # why it cannot be reached, or cannot see; empty: all is well
    trouble: str = ""
    # why it is held, and by whom; empty: it is not
    hold: str = ""
    held_by: str = ""
    # the newest plan; an empty id: there was none yet
    plan_id: str = ""
    task: str = ""
    asked_by: str = ""
    epoch: int = 0
    # what the planner does now; None: nothing
    phase: Phase | None = None
    # the step in work: its place, its words so far, the share of its keyframe
    index: int = 0
    words: str = ""
    share: float = 0.0
    queue_position: int = 0
    steps: tuple[StepView, ...] = ()
    # how the plan ended, and why in words; None while it runs or before the first
    ending: Ending | None = None
    message: str = ""
    # what people did since the plan was asked for
    journal: tuple[Note, ...] = ()

    @property
    def pending(self) -> StepView | None:
        """The step that waits for a person."""
        if self.ending is not None:
            return None
        return next((s for s in self.steps if s.state is StepState.PENDING_REVIEW), None)

    @property
    def is_busy(self) -> bool:
        """Whether a plan is in work."""
        return bool(self.plan_id) and self.ending is None


class Robot(Protocol):
    """What the page needs of a robot. Thread-safe; every call returns soon."""

    def snapshot(self) -> Snapshot:
        """The robot now; the same object as long as nothing has changed."""
        ...

    def frames(self) -> Views:
        """The newest picture of each camera; the same objects as long as they are the newest."""
        ...

    def plan(self, sentence: str, operator: str) -> None:
        """Begin to plan for a sentence. Refused: it is held, busy, or the sentence is none."""
        ...

    def review(self, step: int, epoch: int, decision: Decision, text: str, operator: str) -> None:
        """Decide about the step that waits, as it was seen at that epoch. Refused: it is another now."""
        ...

    def stop(self, operator: str) -> None:
        """End the plan, whatever it does; the robot stays ready for another."""
        ...

    def hold(self, operator: str) -> None:
        """Stop everything and start nothing, until it is re-armed."""
        ...

    def rearm(self, operator: str) -> None:
        """Release the hold. Refused: there is none."""
        ...

    def close(self) -> None:
        """End every thread of it."""
        ...


def said_of(decision: Decision, step: int, text: str) -> str:
    """A decision as a line of the journal; steps count from 1 for people."""
    words = f": {text.strip()}" if text.strip() else ""
    return f"{_SAID[decision]} step {step + 1}{words}"


_SAID = {
    Decision.APPROVE: "approved",
    Decision.EDIT: "edited and approved",
    Decision.SKIP: "skipped",
    Decision.REGENERATE: "asked again for",
    Decision.REJECT: "rejected, with the plan,",
}


def encode_jpeg(rgb: NDArray[np.uint8]) -> Picture:
    """A camera's picture, rgb [H, W, 3]."""
    return Picture(_encode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]), JPEG)


def encode_png(rgb: NDArray[np.uint8]) -> Picture:
    """An imagined picture, without loss, rgb [H, W, 3]."""
    return Picture(_encode(".png", rgb, []), PNG)


def views_of_keyframe(keyframe: Keyframe | None) -> Views:
    """Each view of a keyframe as a picture of its own."""
    if keyframe is None:
        return ()
    return tuple((name, encode_png(keyframe.view(name))) for name in keyframe.views)


def views_of_observation(observation: Observation | None) -> Views:
    """Each camera's picture of an observation."""
    if observation is None:
        return ()
    return tuple((frame.camera, encode_jpeg(frame.rgb)) for frame in observation.frames)


def _encode(suffix: str, rgb: NDArray[np.uint8], options: list[int]) -> bytes:
    written, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not written:
        raise ValueError(f"a picture of shape {list(rgb.shape)} does not fit into {suffix}")
    return bytes(data.tobytes())
