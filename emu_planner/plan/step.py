"""One step of a plan: what to do, in words, and the image imagined at its end.

A keyframe is never a camera measurement. Knows no model and no codec.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Keyframe:
    """The image that the model imagines at the end of a step.

    rgb [H, W, 3] uint8 holds the views side by side, equally wide, left to right as named.
    """

    rgb: NDArray[np.uint8]
    views: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(
                f"keyframe: expected uint8 [H, W, 3], got {self.rgb.dtype} {list(self.rgb.shape)}"
            )
        if not self.views or self.rgb.shape[1] % len(self.views):
            raise ValueError(f"keyframe: width {self.rgb.shape[1]} does not divide into views {self.views}")

    def view(self, name: str) -> NDArray[np.uint8]:
        """The part of the image that depicts one camera, [H, W / views, 3]."""
        width = self.rgb.shape[1] // len(self.views)
        start = self.views.index(name) * width
        return self.rgb[:, start : start + width]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Keyframe) and self.views == other.views and np.array_equal(self.rgb, other.rgb)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Step:
    """A whole step: its 0-based place in the plan, the subgoal in words, the imagined image."""

    index: int
    subgoal: str
    keyframe: Keyframe | None = None
    # mean probability of the subgoal's tokens in [0, 1]; None when the planner gives none
    confidence: float | None = None


class Outcome(Enum):
    """What became of a step when something tried to carry it out."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class StepOutcome:
    """A step of the past and what became of it: the history that a planner is given."""

    step: Step
    outcome: Outcome
    detail: str = ""
