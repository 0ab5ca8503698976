"""What a planner says while it works: the stream that plan() yields.

Order: any number of Waiting, one PlanStarted, then for each step TextDelta*, KeyframeProgress*,
StepComplete, and at last one PlanComplete. A failure is a PlanError, never an event.
"""

from dataclasses import dataclass
from enum import Enum

from emu_planner.plan.step import Step


class FinishReason(Enum):
    """Why a plan's stream ended."""

    STOP = "stop"  # the planner says that nothing is left to do
    LENGTH = "length"  # the task's limit of subgoals, or of tokens, was reached
    INTERRUPTED = "interrupted"  # the caller asked it to stop
    TIMEOUT = "timeout"  # the task's time ran out between two steps


@dataclass(frozen=True)
class Timing:
    """Where the time of a step or plan went, in seconds, and how many tokens it took."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    text_s: float = 0.0
    keyframe_s: float = 0.0
    decode_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True)
class Waiting:
    """Nothing is generated yet: position in the queue (0: next), and why in words."""

    position: int
    detail: str = ""


@dataclass(frozen=True)
class PlanStarted:
    """Planning begins, from the observation with this number, with this seed."""

    observation_seq: int
    seed: int
    observation_stamp_s: float = 0.0


@dataclass(frozen=True)
class TextDelta:
    """More words of the subgoal of step `index`."""

    index: int
    text: str


@dataclass(frozen=True)
class KeyframeProgress:
    """How many of the keyframe's tokens are there."""

    index: int
    tokens_done: int
    tokens_total: int


@dataclass(frozen=True)
class StepComplete:
    """A step is whole."""

    step: Step
    timing: Timing = Timing()


@dataclass(frozen=True)
class PlanComplete:
    """The plan's stream ends."""

    reason: FinishReason
    timing: Timing = Timing()


Event = Waiting | PlanStarted | TextDelta | KeyframeProgress | StepComplete | PlanComplete
