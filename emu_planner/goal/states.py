"""The words of one PlanTask goal: what it is asked, where it and its steps stand, who is told.

Plain data on top of the plan nouns. Knows no ROS message; convert.py holds the tables to those.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from emu_planner.plan import ErrorCode, Step, Task, Verdict


class Review(Enum):
    """Which steps wait for a person."""

    NONE = "none"
    FIRST = "first"
    EACH = "each"


class Decision(Enum):
    """What a person decides about a step."""

    APPROVE = "approve"
    EDIT = "edit"
    SKIP = "skip"
    REGENERATE = "regenerate"
    REJECT = "reject"


class Phase(Enum):
    """What the goal is doing."""

    CONNECTING = "connecting"  # waiting for fresh pictures, or for the planner's first word
    QUEUED = "queued"
    GENERATING_TEXT = "generating_text"
    GENERATING_KEYFRAME = "generating_keyframe"
    WAITING_REVIEW = "waiting_review"
    WAITING_OUTCOME = "waiting_outcome"


class StepState(Enum):
    """Where a step stands."""

    PENDING_REVIEW = "pending_review"
    APPROVED = "approved"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Ending(Enum):
    """How a goal ended."""

    COMPLETE = "complete"
    FAILED = "failed"  # Result.error says why
    CANCELED = "canceled"
    PREEMPTED = "preempted"
    HELD = "held"
    DEACTIVATED = "deactivated"  # the node stopped planning
    REVIEW_TIMEOUT = "review_timeout"
    REVIEW_REJECTED = "review_rejected"
    OUTCOME_FAILED = "outcome_failed"


@dataclass(frozen=True)
class GoalLimits:
    """The node's settings that hold for every goal; times in seconds."""

    observation_timeout_s: float
    observation_max_age_s: float
    subgoal_validity_s: float
    review_timeout_s: float
    # failed or expired steps in a row that end a closed-loop goal
    max_failures: int
    # how long a lost link is waited for before a goal ends; 0: not at all
    reconnect_patience_s: float = 0.0
    # time between two looks at a step that is carried out; 0: none
    progress_period_s: float = 0.0
    # so many drifting looks in a row are drift
    drift_patience: int = 5
    # whether a step that drifts is taken back and planned again; otherwise it is only told
    replan_on_drift: bool = False

    def __post_init__(self) -> None:
        if self.replan_on_drift and not self.progress_period_s:
            raise ValueError("replan_on_drift is true and progress_period 0: nothing would notice a drift")


@dataclass(frozen=True)
class GoalRequest:
    """What one goal asks for."""

    plan_id: bytes  # 16 bytes, the action's goal id
    # its generation.max_subgoals is the limit of the whole goal
    task: Task
    review: Review
    closed_loop: bool
    time_limit_s: float
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class PlannedStep:
    """A step with everything that the goal knows about it. Times in s on the node's clock."""

    step: Step
    epoch: int
    state: StepState
    stamp_s: float  # capture time of the observation it was planned from, camera's clock
    generated_at_s: float
    valid_until_s: float = 0.0  # 0: no expiry
    original: str = ""  # the planner's words, when a reviewer changed them
    detail: str = ""  # what the executor said, or why it was taken back


@dataclass(frozen=True)
class PlanView:
    """The plan as it stands. `ending` is None while the goal runs."""

    request: GoalRequest
    epoch: int
    steps: tuple[PlannedStep, ...]
    seed: int | None
    stamp_s: float
    ending: Ending | None = None
    finish: str = ""  # a plan.FinishReason's value, or "error"
    # the pictures that the newest of the planner's calls began from: camera and capture time, s
    pictures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Look:
    """What the newest pictures say about the step that is being carried out."""

    verdict: Verdict
    # as plan.Progress has them; NaN: nothing was compared
    score: float
    strange: float
    # drifting verdicts in a row, this one included
    drifting: int
    # capture time of the oldest picture, camera's clock; 0: nothing was compared
    stamp_s: float
    # why nothing was compared; empty: it was
    reason: str = ""


@dataclass(frozen=True)
class Feedback:
    """What the goal is doing now."""

    phase: Phase
    epoch: int
    index: int
    text: str
    keyframe_share: float  # [0, 1]
    queue_position: int
    elapsed_s: float


@dataclass(frozen=True)
class Result:
    """What a goal came to."""

    ending: Ending
    plan: PlanView
    seconds: float
    message: str = ""
    error: ErrorCode | None = None


class RefusedError(Exception):
    """A review or an outcome that does not fit the plan as it stands; its text says why."""


class StaleEpochError(RefusedError):
    """The plan changed since the caller looked."""


class WrongStateError(RefusedError):
    """The step is not in a state in which that can be said of it."""


class Listener(Protocol):
    """Who is told. Called in order, with the goal's lock held: return soon, never call back."""

    def plan_changed(self, plan: PlanView) -> None:
        """The plan has a new state."""

    def step_made(self, plan: PlanView, made: PlannedStep) -> None:
        """A step is whole, or was edited: show its keyframe."""

    def step_offered(self, plan: PlanView, offered: PlannedStep) -> None:
        """The step that an executor may carry out has this state now; only APPROVED may start."""

    def step_watched(self, plan: PlanView, made: PlannedStep, look: Look) -> None:
        """The cameras were looked at while the step is carried out; only a hint."""

    def progressed(self, plan: PlanView, feedback: Feedback) -> None:
        """The work moved on."""

    def link_lost(self, error: ErrorCode) -> None:
        """The planner is away for this reason; the goal will ask again."""

    def ended(self, result: Result) -> None:
        """The goal has its result; nothing follows."""
